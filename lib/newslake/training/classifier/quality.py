"""How good a classifier is on texts that it has not seen: accuracy, log loss, calibration, and a table by
class."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BINS = 15


@dataclass
class Quality:
    """Sums over texts, added to batch by batch: memory does not grow with the texts.

    Attributes:
        confusion: (classes, classes): texts of a class (row) that were given a class (column).
        bin_texts, bin_score, bin_right: (BINS,) by score: texts, sum of scores, texts that were right.
        log_loss_sum: sum of -log of the probability given to the true class.
    """

    confusion: Ints
    bin_texts: Ints
    bin_score: Floats
    bin_right: Ints
    log_loss_sum: float = 0.0

    @classmethod
    def of(cls, classes: int) -> "Quality":
        """Nothing added yet."""
        return cls(
            np.zeros((classes, classes), np.int64),
            np.zeros(BINS, np.int64),
            np.zeros(BINS),
            np.zeros(BINS, np.int64),
        )

    def add(self, probabilities: npt.NDArray[np.floating], labels: Ints) -> None:
        """Add texts: (n, classes) probabilities and (n,) true labels."""
        given, score = probabilities.argmax(axis=1), probabilities.max(axis=1).astype(np.float64)
        np.add.at(self.confusion, (labels, given), 1)
        place = np.clip(np.ceil(score * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.bin_texts += np.bincount(place, minlength=BINS)
        self.bin_score += np.bincount(place, weights=score, minlength=BINS)
        self.bin_right += np.bincount(place, weights=(given == labels), minlength=BINS).astype(np.int64)
        chance = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        self.log_loss_sum += float(-np.log(np.maximum(chance, 1e-15)).sum())

    @property
    def texts(self) -> int:
        """How many were added."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share that was right."""
        return float(np.trace(self.confusion) / max(1, self.texts))

    @property
    def log_loss(self) -> float:
        """Mean over the texts."""
        return self.log_loss_sum / max(1, self.texts)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015) over BINS bins of equal
        width."""
        return float(np.abs(self.bin_score - self.bin_right).sum() / max(1, self.texts))

    def calibration(self) -> list[tuple[float, float, int, float, float]]:
        """low, high, texts, mean score and accuracy of each bin that has texts."""
        return [
            (i / BINS, (i + 1) / BINS, int(n), float(self.bin_score[i] / n), float(self.bin_right[i] / n))
            for i, n in enumerate(self.bin_texts)
            if n
        ]

    def by_class(self) -> list[tuple[int, int, int, float | None, float, float, int | None]]:
        """texts, predicted, correct, precision, recall, f1, and the label most confused with, of each class
        in order."""
        found: list[tuple[int, int, int, float | None, float, float, int | None]] = []
        for label, row in enumerate(self.confusion):
            texts, predicted, correct = int(row.sum()), int(self.confusion[:, label].sum()), int(row[label])
            others = row.copy()
            others[label] = 0
            worst = int(others.argmax()) if others.any() else None
            f1 = 2.0 * correct / (texts + predicted) if correct else 0.0
            found.append(
                (
                    texts,
                    predicted,
                    correct,
                    correct / predicted if predicted else None,
                    correct / max(1, texts),
                    f1,
                    worst,
                )
            )
        return found

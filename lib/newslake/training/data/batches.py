"""What a model is trained on at a time: examples one by one, or clicks with the skips drawn for each. Columns
of one length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from newslake.training.data.sampling import draws, without_replacement

Arrays = dict[str, npt.NDArray[Any]]
Columns = tuple[npt.NDArray[Any], ...]


class Batch(Protocol):
    """A block or batch: Examples or Clicks."""

    users: torch.Tensor
    articles: torch.Tensor

    def __len__(self) -> int: ...

    def batches(self, size: int, device: torch.device) -> Iterator[Self]:
        """Consecutive slices of `size`, the last one shorter where they do not divide."""
        ...


@dataclass(frozen=True)
class Examples:
    """Examples in columns: user and article indices (int64), label (float32, 1 for a click); all of one
    length."""

    users: torch.Tensor
    articles: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, device: torch.device) -> Iterator["Examples"]:
        """See Batch."""
        here = Examples(self.users.to(device), self.articles.to(device), self.labels.to(device))
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Examples(here.users[part], here.articles[part], here.labels[part])


@dataclass(frozen=True)
class Clicks:
    """Clicks in rows, each with the skips drawn for it.

    Attributes:
        users, histories: (n,) indices.
        articles: (n, 1 + skips) indices, the clicked one first.
        shown: (n, 1 + skips) False where the impression had no more skips to draw.
    """

    users: torch.Tensor
    histories: torch.Tensor
    articles: torch.Tensor
    shown: torch.Tensor

    def __len__(self) -> int:
        return len(self.users)

    def batches(self, size: int, device: torch.device) -> Iterator["Clicks"]:
        """See Batch."""
        columns = [column.to(device) for column in (self.users, self.histories, self.articles, self.shown)]
        for start in range(0, len(self), size):
            yield Clicks(*(column[start : start + size] for column in columns))


def example_columns(clicks: Arrays, key: int, skips: int) -> Columns:
    """Users, articles and labels of a buffer's examples: each click, and up to `skips` skips drawn for it."""
    users, _, articles, kept = click_columns(clicks, key, skips)
    labels = np.zeros(articles.shape, dtype=np.float32)
    labels[:, 0] = 1.0
    return np.broadcast_to(users[:, None], articles.shape)[kept], articles[kept], labels[kept]


def click_columns(clicks: Arrays, key: int, skips: int) -> Columns:
    """Users, histories, articles and `shown` of a buffer's clicks, as in Clicks."""
    places, drawn = without_replacement(draws(key, clicks["click_id"], skips), clicks["skip_count"])
    articles = np.concatenate(
        (clicks["clicked"][:, None], np.take_along_axis(clicks["skips"], places, axis=1)), axis=1
    )
    shown = np.concatenate((np.ones((len(drawn), 1), dtype=bool), drawn), axis=1)
    return (
        clicks["user"].astype(np.int64),
        clicks["history"].astype(np.int64),
        articles.astype(np.int64),
        shown,
    )


def tensors(columns: Columns) -> list[torch.Tensor]:
    """The columns as tensors."""
    return [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]

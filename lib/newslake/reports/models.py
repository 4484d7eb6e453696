"""Quality of the recommenders after each epoch, as curves, from model_metrics."""

import math
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.reports.charts import Tick, nice_scale, path
from newslake.switches.latest_training import latest_runs

METRICS = {"auc": "AUC", "mrr": "MRR", "ndcg_at_5": "nDCG@5", "ndcg_at_10": "nDCG@10", "loss": "Loss"}
_ROWS = 4_000  # points that the page draws at most: 2 splits x 100 epochs x 20 models
_RANDOM_AUC = 0.5
_POINTS = 60  # points of a curve that say their value


@dataclass(frozen=True)
class Curve:
    """One model on one split: a path in per cent, points on it, and the place of the epoch that was kept."""

    model: str
    split: str
    colour: int
    line: str
    points: list[tuple[float, float, int, float]]  # x, y in per cent from below, epoch, value
    best: tuple[float, float] | None


@dataclass(frozen=True)
class Panel:
    """One metric of all models."""

    metric: str
    title: str
    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    random: float | None  # where a random order lies, in per cent, if it is in sight


@dataclass(frozen=True)
class ModelRow:
    """One model's metrics at the epoch that was kept (test where there is one, valid) and at the last
    (train)."""

    model: str
    colour: int
    trained_at: datetime | None
    best_epoch: int | None
    epochs: int
    valid: dict[str, float | None]
    train: dict[str, float | None]
    impressions: int
    test: dict[str, float | None] | None = None

    @property
    def judged_on(self) -> str:
        """The split whose metrics are reported: test where there is one, else valid, which chose the
        epoch."""
        return "valid" if self.test is None else "test"

    @property
    def judged(self) -> dict[str, float | None]:
        """The metrics that are reported."""
        return self.valid if self.test is None else self.test


@dataclass(frozen=True)
class Models:
    """What the report shows of the recommenders; models are sorted by the AUC that is reported, best
    first."""

    panels: list[Panel]
    rows: list[ModelRow]
    leading: dict[str, str]  # metric -> the model that is best


def latest_of_each_model(metrics: DataFrame) -> DataFrame:
    """The rows of model_metrics of each model's latest training run."""
    return metrics.join(F.broadcast(latest_runs(metrics).select("run_id")), on="run_id", how="left_semi")


def gather_models(lake: Lakehouse) -> Models | None:
    """What the report shows of model_metrics; None where it is empty."""
    rows = (
        latest_of_each_model(lake.read("model_metrics"))
        .orderBy("model", "split", "epoch")
        .limit(_ROWS)
        .collect()
    )
    if not rows:
        return None
    names = sorted({row["model"] for row in rows}, key=lambda model: (-_best_auc(rows, model), model))
    colours = {model: place for place, model in enumerate(names)}
    table = [
        _model_row(model, colours[model], [row for row in rows if row["model"] == model]) for model in names
    ]
    panels = [
        panel for name, title in METRICS.items() if (panel := _panel(rows, name, title, colours)) is not None
    ]
    leading = {}
    for name in METRICS:
        known = [(row.judged[name], row.model) for row in table if row.judged.get(name) is not None]
        if known and name != "loss":
            leading[name] = max(known, key=lambda pair: pair[0] or 0.0)[1]
    return Models(panels, table, leading)


def _best_auc(rows: list[Row], model: str) -> float:
    best = {row["split"]: _known(row, "auc") or 0.0 for row in rows if row["model"] == model and row["best"]}
    return best.get("test", best.get("valid", 0.0))


def _known(row: Row, metric: str) -> float | None:
    """A metric; None where there is none, as of no impressions, or where it is no number, which would break
    every scale."""
    value: float | None = row[metric]
    return None if value is None or not math.isfinite(value) else value


def _model_row(model: str, colour: int, rows: list[Row]) -> ModelRow:
    best = next((row for row in rows if row["split"] == "valid" and row["best"]), None)
    test = next((row for row in rows if row["split"] == "test"), None)
    last = max(row["epoch"] for row in rows)
    train = next((row for row in rows if row["split"] == "train" and row["epoch"] == last), None)
    return ModelRow(
        model=model,
        colour=colour,
        trained_at=rows[0]["trained_at"],
        best_epoch=None if best is None else best["epoch"],
        epochs=last,
        valid={name: None if best is None else _known(best, name) for name in METRICS},
        train={name: None if train is None else _known(train, name) for name in METRICS},
        impressions=0 if best is None else (test or best)["impressions"],
        test=None if test is None else {name: _known(test, name) for name in METRICS},
    )


def _panel(rows: list[Row], metric: str, title: str, colours: dict[str, int]) -> Panel | None:
    known = [row for row in rows if row["split"] != "test" and _known(row, metric) is not None]
    if not known:
        return None
    y = nice_scale([row[metric] for row in known], most=4)
    x = _epochs(known)
    curves = []
    for model in sorted(colours, key=lambda name: colours[name]):
        for split in ("train", "valid"):
            own = [row for row in known if row["model"] == model and row["split"] == split]
            if not own:
                continue
            points = [(x[row["epoch"]], y.at(row[metric]), row["epoch"], row[metric]) for row in own]
            best = next(
                ((x[row["epoch"]], y.at(row[metric])) for row in own if row["best"] and split == "valid"),
                None,
            )
            line = path([point[:2] for point in points])
            curves.append(
                Curve(model, split, colours[model], line, points[:: -(-len(points) // _POINTS)], best)
            )
    shown = y.low < _RANDOM_AUC < y.high
    first, last = min(x), max(x)
    marks = sorted({first, last, *range(_mark_step(last), last, _mark_step(last))})
    marks = [mark for mark in marks if mark in (first, last) or last - mark > _mark_step(last) / 2]
    return Panel(
        metric=metric,
        title=title,
        curves=curves,
        x_ticks=[Tick(x[mark], str(mark)) for mark in marks],
        y_ticks=y.ticks(4),
        random=y.at(_RANDOM_AUC) if metric == "auc" and shown else None,
    )


def _epochs(rows: list[Row]) -> dict[int, float]:
    """Place of each epoch in per cent: the first (0 where a model was judged before training) at the left
    edge, the last at the right; one alone in the middle."""
    first, last = min(1, *(row["epoch"] for row in rows)), max(row["epoch"] for row in rows)
    if last == first:
        return {last: 50.0}
    return {epoch: round(100.0 * (epoch - first) / (last - first), 2) for epoch in range(first, last + 1)}


def _mark_step(last: int) -> int:
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000, 10**9) if last / step <= 6)

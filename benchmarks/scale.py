"""How the hourly and the daily run grow with the world: 1, 4 and 16 times the articles, users and
impressions, on this machine.

Each world is generated and brought up to its last day first. Then that day comes: its files are parsed, and
the daily and the hourly run of it follow. They are measured job by job: seconds, rows, Spark tasks and the
seconds spent in them, bytes shuffled and spilled, and the peak memory of the driver's JVM and of all Python
workers together. `growth` is that of the time per row over the smallest world: 1 is linear growth, less is
better, and what is above 1.3 is marked. A small world pays mostly for what a job costs without rows, which
hides how it grows; `more` leaves that out: milliseconds in tasks for each row more than the world before had.

    python benchmarks/scale.py                  # 1, 4 and 16 times (hours)
    python benchmarks/scale.py --small          # 1 and 2 times a tiny world
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from common import bench_parser
from event_log import Cost, Window, costs, events, logged, windows_of
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.run import run_pipeline
from newslake.run.cli import run_job
from newslake.run.settings import SettingsFile
from newslake.sample import GeneratorSpec, generate
from newslake.text.articles import encode_articles
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from newslake.topics.fit import fit_topics
from newslake.training.classifier.train import train_text_classifier
from newslake.users.profiles import build_profiles

LINEAR = 1.3
DAY, DAY_BEFORE = "2019-11-15", "2019-11-14"
# The files all arrive at once: a day's events are those that occurred in it.
_BY_OCCURRENCE = SettingsFile(jobs={"build_profiles": {"clock": "occurrence"}})
_EVERY_S = 0.2


@dataclass(frozen=True)
class Measured:
    """One run of a job in one world.

    Attributes:
        window: when it ran, and its rows.
        cost: what Spark's event log says of it.
        driver_mib, workers_mib: peak resident memory while it ran; pages that forked workers share are
            counted once per worker.
    """

    window: Window
    cost: Cost
    driver_mib: float
    workers_mib: float

    @property
    def per_row(self) -> float:
        """Seconds per row; per run where a job has none."""
        return self.window.seconds / max(1, self.window.rows)


class Memory:
    """Watches, while the block runs, what the driver's JVM holds and what all Python processes below this one
    hold."""

    def __enter__(self) -> Self:
        self.seen: list[tuple[float, float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def peak(self, window: Window) -> tuple[float, float]:
        """Of the driver's JVM and of the workers, in MiB."""
        during = [(jvm, workers) for at, jvm, workers in self.seen if window.start <= at <= window.end]
        return max((jvm for jvm, _ in during), default=0.0), max(
            (workers for _, workers in during), default=0.0
        )

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(_EVERY_S):
            held = {True: 0, False: 0}
            for process in me.children(recursive=True):
                try:
                    held["java" in process.name()] += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.seen.append((time.time() * 1000, held[True] / 2**20, held[False] / 2**20))


def world(factor: int, small: bool) -> GeneratorSpec:
    """So many times the smallest one."""
    size = (
        {"articles": 500, "users": 50, "impressions": 500}
        if small
        else {"articles": 2_000, "users": 500, "impressions": 5_000}
    )
    return GeneratorSpec(**{name: n * factor for name, n in size.items()}, short_texts=0, truth=False, seed=3)  # type: ignore[arg-type]


def prepare(lake: Lakehouse, data: Path, spec: GeneratorSpec) -> None:
    """Everything up to the day before: articles with vectors, and the readers' profiles of all that they
    read."""
    generate(lake.spark, str(data), spec)
    steps: tuple[tuple[Callable[..., None], dict[str, Any]], ...] = (
        (parse_behaviors, {"train": [str(data / "train")]}),
        (encode_articles, {}),
        (fit_topics, {"topics": 20, "passes": 10}),
        (assign_topics, {}),
        (build_article_vectors, {}),
        (train_text_classifier, {}),  # the hourly run classifies by it
        (build_profiles, {"as_of": DAY_BEFORE, "clock": "occurrence", "window_hours": 24.0 * 60}),
    )
    for job, options in steps:
        run_job(job, lake, options)


def measured(spec: GeneratorSpec, folder: Path) -> dict[str, Measured]:
    """The jobs of the daily and the hourly run of the world's last day, each measured.

    Args:
        spec: the world.
        folder: an empty one.
    """
    with logged(folder) as lake:
        prepare(lake, folder / "data", spec)
        before = len(windows_of(lake))
        with Memory() as memory:
            run_job(parse_behaviors, lake, {"dev": [str(folder / "data" / "dev")]})
            for options in ({"pipeline": "daily", "as_of": DAY}, {"pipeline": "hourly", "hour": f"{DAY}T12"}):
                run_job(run_pipeline, lake, options, settings_file=_BY_OCCURRENCE)
        windows = windows_of(lake)[before:]
    found = costs(events(folder), windows)
    kept = [window for window in windows if not window.job.startswith("run_pipeline")]
    return {
        window.job: Measured(window, found.get(window.job, Cost()), *memory.peak(window)) for window in kept
    }


def told(worlds: Mapping[int, Mapping[str, Measured]]) -> str:
    """The table: a line for each job and world."""
    first = worlds[min(worlds)]
    of_a_job = ("world", "seconds", "rows", "tasks", "in tasks", "shuffled", "spilled", "driver", "workers")
    names = (*of_a_job, "growth", "more")
    units = ("", "", "", "", "s", "MiB", "MiB", "MiB", "MiB", "per row", "ms a row")
    lines = [
        f"{name:28} " + " ".join(f"{cell:>9}" for cell in cells)
        for name, cells in (("job", names), ("", units))
    ]
    for job in first:
        before: Measured | None = None
        for factor, jobs in sorted(worlds.items()):
            if (one := jobs.get(job)) is None:
                continue
            growth = one.per_row / first[job].per_row
            mib = (one.cost.shuffled / 2**20, one.cost.spilled / 2**20, one.driver_mib, one.workers_mib)
            cells = [
                f"{factor}x",
                f"{one.window.seconds:.1f}",
                f"{one.window.rows:,}",
                f"{one.cost.tasks:,}",
                f"{one.cost.task_seconds:,.1f}",
                *(f"{n:,.1f}" for n in mib),
                f"{growth:.2f}{' !' if growth > LINEAR else ''}",
                _more(one, before),
            ]
            before = one
            lines.append(f"{job:28} " + " ".join(f"{cell:>9}" for cell in cells))
    return "\n".join(lines)


def _more(one: Measured, before: Measured | None) -> str:
    """Milliseconds in tasks for each row more than the smaller world had."""
    if before is None or one.window.rows <= before.window.rows:
        return ""
    more = one.cost.task_seconds - before.cost.task_seconds
    return f"{1000 * more / (one.window.rows - before.window.rows):.3f}"


def main() -> None:
    """Run the worlds one after the other, and print the table."""
    parser = bench_parser(
        "Growth of the hourly and the daily run with the number of articles, users and impressions."
    )
    parser.add_argument(
        "--factors",
        type=int,
        nargs="+",
        default=None,
        metavar="N",
        help="how many times the smallest world (default: 1 4 16; with --small 1 2)",
    )
    given = parser.parse_args()
    worlds = {}
    for factor in given.factors or ((1, 2) if given.small else (1, 4, 16)):
        with tempfile.TemporaryDirectory() as folder:
            worlds[factor] = measured(world(factor, given.small), Path(folder))
        print(f"\n{told(worlds)}", flush=True)
    if given.json is not None:
        plain = {
            f"{factor}x": {job: {**asdict(one), "seconds": one.window.seconds} for job, one in jobs.items()}
            for factor, jobs in worlds.items()
        }
        given.json.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

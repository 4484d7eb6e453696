"""What every benchmark shares: its arguments, its table of ours, peer and ratio, and the machine's own
figures."""

import argparse
import json
import os
import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import psutil

if TYPE_CHECKING:  # peers run without Spark
    from pyspark.sql import SparkSession

CORES = len(os.sched_getaffinity(0))


def bench_session(name: str, cores: int = CORES, settings: Mapping[str, str] | None = None) -> "SparkSession":
    """A session on this machine that prints the benchmark's own lines, and errors."""
    from newslake.spark.session import quiet, spark_session

    still = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    spark = spark_session(f"benchmark: {name}", master=f"local[{cores}]", extra={**still, **(settings or {})})
    quiet(spark)
    return spark


def bench_parser(description: str) -> argparse.ArgumentParser:
    """`--small` (under two minutes) and `--json FILE`, as every benchmark takes them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--small",
        action="store_true",
        help="a smaller run that takes under two minutes; its ratios are rough",
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=None,
        metavar="FILE",
        help="write {measure: {ours, peer, ratio, ...}} there too",
    )
    return parser


def bench_arguments(
    description: str,
    *,
    impressions: int | None = None,
    seed: int | None = None,
    models: Sequence[str] | None = None,
) -> argparse.Namespace:
    """Those of `bench_parser`; with defaults, `--impressions`, `--seed` and `--models` too."""
    parser = bench_parser(description)
    if impressions is not None:
        parser.add_argument(
            "--impressions",
            type=int,
            default=impressions,
            metavar="N",
            help=f"generated (default: {impressions:,})",
        )
    if seed is not None:
        parser.add_argument(
            "--seed", type=int, default=seed, metavar="N", help=f"of the generated world (default: {seed})"
        )
    if models is not None:
        _add_models(parser, models)
    return parser.parse_args()


def add_trainings(parser: argparse.ArgumentParser, models: Sequence[str], seeds_of: str) -> None:
    """`--seeds` and `--models`, as benchmarks of recommenders take them."""
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[2, 3, 4],
        metavar="S",
        help=f"{seeds_of} (default: %(default)s)",
    )
    _add_models(parser, models)


def _add_models(parser: argparse.ArgumentParser, models: Sequence[str]) -> None:
    parser.add_argument(
        "--models",
        nargs="+",
        default=list(models),
        choices=models,
        metavar="M",
        help="(default: %(default)s)",
    )


@dataclass
class Measures:
    """The figures of one benchmark run, each ours beside a peer's (or beside a bound)."""

    title: str
    json_file: Path | None = None
    rows: list[tuple[str, float, float, float, str, str]] = field(default_factory=list)

    def add(
        self,
        measure: str,
        ours: float,
        peer: float,
        *,
        unit: str,
        better: Literal["higher", "lower"],
        peer_name: str,
    ) -> float:
        """Note one measure; returns the ratio, which is above 1 where ours is better whichever way better
        lies."""
        ratio = ours / peer if better == "higher" else peer / ours
        self.rows.append((measure, ours, peer, ratio, unit, peer_name))
        return ratio

    def finish(self) -> None:
        """Print the table and write the JSON file where one was asked for."""
        header = ("measure", "ours", "peer", "ratio", "unit", "peer is")
        cells = [header, *((m, _figure(o), _figure(p), f"{r:.2f}x", u, n) for m, o, p, r, u, n in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        print(f"\n{self.title} ({os.cpu_count()} cores)")
        for row in cells:
            print(
                "  ".join(
                    cell.rjust(w) if 1 <= i <= 3 else cell.ljust(w)
                    for i, (cell, w) in enumerate(zip(row, widths, strict=True))
                ).rstrip()
            )
        if self.json_file is not None:
            about = taken()
            # One measure against several peers.
            several = {m for m, count in Counter(row[0] for row in self.rows).items() if count > 1}
            figures = {
                f"{m} / {n}" if m in several else m: {
                    "ours": o,
                    "peer": p,
                    "ratio": r,
                    "unit": u,
                    "against": n,
                    **about,
                }
                for m, o, p, r, u, n in self.rows
            }
            self.json_file.write_text(
                json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )


def taken() -> dict[str, str]:
    """By which command, on which machine and versions, and on which day (UTC) figures are taken:
    docs/figures.md says it beside them."""
    script, *arguments = sys.argv
    if "--json" in arguments:
        place = arguments.index("--json")
        del arguments[place : place + 2]
    processor = next(
        (line.split(":")[1].strip() for line in _processors() if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "command": " ".join(["python", f"benchmarks/{Path(script).name}", *arguments]),
        "machine": f"{os.cpu_count()} cores ({processor})",
        "versions": ", ".join(
            f"{name} {metadata.version(name)}" for name in ("pyspark", "pyarrow", "numpy", "torch")
        ),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _processors() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


class PeakMemory:
    """Peak resident memory, in MiB, of this process and all its children (the JVM and its Python workers)
    while the block runs.

    Sampled every 50 ms. Resident pages shared between forked Python workers are counted once per worker: an
    upper bound.

    Args:
        workers: False leaves the JVM's Python workers out: what remains is the driver's; in local mode its
            JVM is the executor's too.
    """

    peak_mib: float = 0.0

    def __init__(self, workers: bool = True) -> None:
        self._workers = workers

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.05):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    if self._workers or process == me or process.name() == "java":
                        total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak_mib = max(self.peak_mib, total / 2**20)


def sgemm_gflops(threads: int, seconds: float = 3.0) -> float:
    """This machine's own rate of single-precision matrix products, in GFLOP/s: torch.mm, 2048 x 2048, the
    best of several."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    torch.set_num_threads(before)
    return 2 * 2048**3 / best / 1e9


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

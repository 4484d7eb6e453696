"""Parsing MIND's files into news, impressions and click_history: ours against plain Python and pandas, in one
run.

All three read the same generated files (37 candidates an impression) and write the same rows: the peers as
plain Parquet, ours as Delta tables with every check that the job makes. Each runs in a process of its own,
whose peak memory (children counted) is taken from outside; the time is that from the first file opened to the
last table written, imports and the start of Spark's JVM left out. Ours is timed twice in its process: the
first run, in which the JVM still loads and compiles most of what it executes, and the second into new tables,
as in a session that has run a job before. All that is done in two rounds, each in turn, and the better time
of each counts: what else a machine does only ever slows one down. Then ours once more, in a new process, on
four times as many.
"""

import datetime as dt
import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from common import Measures, PeakMemory, bench_arguments, bench_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS_PER_FILE = 50_000
_BEHAVIORS = ["impression_id", "user_id", "time", "history", "candidates"]
_NEWS = [
    "news_id",
    "category",
    "subcategory",
    "title",
    "abstract",
    "url",
    "title_entities",
    "abstract_entities",
]
_TIME = "%m/%d/%Y %I:%M:%S %p"
Result = dict[str, Any]


def generate_files(folder: Path, impressions: int) -> None:
    """One train split of so many impressions, in files of ROWS_PER_FILE."""
    from newslake.sample import GeneratorSpec, generate

    spark = bench_session("parse")
    # Dev is not read; train must be a little larger than asked for.
    spec = GeneratorSpec(
        articles=50_000,
        users=max(200, impressions // 20),
        impressions=int(impressions * 1.03),
        candidates=37.0,
        clicks=1.5,
        dev_share=0.01,
        body_share=0.0,
        short_texts=0,
        truth=False,
        rows_per_file=ROWS_PER_FILE,
    )
    generate(spark, str(folder), spec)
    spark.stop()


def take(generated: Path, folder: Path, impressions: int) -> Path:
    """A folder with the first files of the generated ones, linked, that hold so many impressions."""
    folder.mkdir()
    behaviors = sorted((generated / "train").glob("behaviors*.tsv"))
    for file in [*behaviors[: -(-impressions // ROWS_PER_FILE)], *(generated / "train").glob("news*.tsv")]:
        os.link(file, folder / file.name)
    return folder


def ours(source: Path, target: Path, runs: int) -> list[Result]:
    """The job parse_behaviors, so many times in one session, into new tables each time."""

    spark = bench_session("parse")
    results = [_parse(spark, source, target / str(number)) for number in range(runs)]
    spark.stop()
    return results


def _parse(spark: "SparkSession", source: Path, target: Path) -> Result:
    from newslake.intake.sources.mind.parse import parse_behaviors
    from newslake.lake.lakehouse import Lakehouse
    from newslake.run.jobrun import JobRun

    lake, run = Lakehouse(spark, str(target)), JobRun("parse_behaviors")
    start = time.perf_counter()
    parse_behaviors(lake, run, train=[str(source)])
    seconds = time.perf_counter() - start
    rows = {table: lake.read(table).count() for table in ("news", "impressions", "click_history")}
    clicks = lake.read("impressions").where("clicked").count()
    shown = lake.read("news").where("published_at IS NOT NULL").count()
    return {"seconds": seconds, "rows": rows, "clicks": clicks, "shown": shown}


def plain_python(source: Path, target: Path) -> Result:
    """As the tutorial reads: a dict per line; then columns, written with pyarrow."""
    target.mkdir()
    start = time.perf_counter()
    lines: list[dict[str, Any]] = []
    for file in sorted(source.glob("behaviors*.tsv")):
        arrived = _arrived(file)
        with file.open(encoding="utf-8", newline="\n") as text:
            for record in text:
                values = dict(zip(_BEHAVIORS, record.rstrip("\n").split("\t"), strict=True))
                lines.append(
                    {
                        "impression_id": values["impression_id"],
                        "user_id": values["user_id"],
                        "occurred_at": dt.datetime.strptime(values["time"], _TIME),
                        "ingested_at": arrived,
                        "split": "train",
                        "news_ids": values["history"].split(" ") if values["history"] else [],
                        "candidates": [
                            candidate.rsplit("-", 1) for candidate in values["candidates"].split(" ")
                        ],
                    }
                )
    history = {
        name: [line[name] for line in lines]
        for name in ("split", "impression_id", "user_id", "occurred_at", "news_ids")
    }
    pq.write_table(pa.table(history), target / "click_history.parquet")
    names = (
        "split",
        "impression_id",
        "position",
        "user_id",
        "occurred_at",
        "ingested_at",
        "news_id",
        "clicked",
    )
    columns: dict[str, list[Any]] = {name: [] for name in names}
    first: dict[str, dt.datetime] = {}
    for line in lines:
        for position, (news_id, label) in enumerate(line["candidates"]):
            for name in ("split", "impression_id", "user_id", "occurred_at", "ingested_at"):
                columns[name].append(line[name])
            columns["position"].append(position)
            columns["news_id"].append(news_id)
            columns["clicked"].append(label == "1")
            if news_id not in first or line["occurred_at"] < first[news_id]:
                first[news_id] = line["occurred_at"]
    pq.write_table(pa.table(columns), target / "impressions.parquet")
    articles = []
    for file in sorted(source.glob("news*.tsv")):
        with file.open(encoding="utf-8", newline="\n") as text:
            for record in text:
                article: dict[str, Any] = dict(zip(_NEWS, record.rstrip("\n").split("\t"), strict=True))
                for name in ("title_entities", "abstract_entities"):
                    article[name] = json.loads(article[name] or "[]")
                article["published_at"] = first.get(article["news_id"])
                article["content_hash"] = _content_hash(article["title"], article["abstract"])
                articles.append(article)
    pq.write_table(pa.Table.from_pylist(articles), target / "news.parquet")
    return _peer_result(time.perf_counter() - start, target)


def with_pandas(source: Path, target: Path) -> Result:
    """read_csv, explode, to_parquet."""
    import pandas as pd

    def read(kind: str, names: list[str]) -> pd.DataFrame:
        files = sorted(source.glob(f"{kind}*.tsv"))
        frames = [
            pd.read_csv(f, sep="\t", quoting=3, header=None, names=names, dtype=str, keep_default_na=False)
            for f in files
        ]
        return pd.concat(
            [f.assign(split="train", ingested_at=_arrived(p)) for f, p in zip(frames, files, strict=True)],
            ignore_index=True,
        )

    target.mkdir()
    start = time.perf_counter()
    lines = read("behaviors", _BEHAVIORS)
    lines["occurred_at"] = pd.to_datetime(lines.pop("time"), format=_TIME)
    history = lines[["split", "impression_id", "user_id", "occurred_at"]].copy()
    history["news_ids"] = lines.pop("history").map(lambda text: text.split(" ") if text else [])
    history.to_parquet(target / "click_history.parquet", index=False)
    del history
    lines["candidates"] = lines["candidates"].str.split(" ")
    shown = lines.explode("candidates", ignore_index=True)
    del lines
    shown["position"] = shown.groupby("impression_id").cumcount()
    candidates = shown.pop("candidates")
    shown["news_id"], shown["clicked"] = candidates.str[:-2], candidates.str[-1] == "1"
    del candidates
    first = shown.groupby("news_id")["occurred_at"].min()
    shown.to_parquet(target / "impressions.parquet", index=False)
    del shown
    news = read("news", _NEWS).drop(columns=["split", "ingested_at"])
    for name in ("title_entities", "abstract_entities"):
        news[name] = news[name].map(lambda text: json.loads(text or "[]"))
    news["published_at"] = news["news_id"].map(first)
    news["content_hash"] = [
        _content_hash(title, abstract)
        for title, abstract in zip(news["title"], news["abstract"], strict=True)
    ]
    news.to_parquet(target / "news.parquet", index=False)
    return _peer_result(time.perf_counter() - start, target)


def _arrived(file: Path) -> dt.datetime:
    return dt.datetime.fromtimestamp(file.stat().st_mtime)


def _content_hash(title: str, abstract: str) -> str:
    return hashlib.sha256(f"{title}\0{abstract}\0".encode()).hexdigest()


def _peer_result(seconds: float, target: Path) -> Result:
    rows = {
        table: pq.read_metadata(target / f"{table}.parquet").num_rows
        for table in ("news", "impressions", "click_history")
    }
    clicked = pq.read_table(target / "impressions.parquet", columns=["clicked"])["clicked"]
    published = pq.read_table(target / "news.parquet", columns=["published_at"])["published_at"]
    return {
        "seconds": seconds,
        "rows": rows,
        "clicks": clicked.to_numpy().sum().item(),
        "shown": len(published) - published.null_count,
    }


def apart(work: Callable[..., Any], *arguments: object) -> tuple[Any, float]:
    """Run something in a new process; its result, and its peak memory in MiB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool, PeakMemory() as memory:
        result = pool.apply(work, arguments)
    return result, memory.peak_mib


PEERS: dict[str, Callable[[Path, Path], Result]] = {"plain Python": plain_python, "pandas": with_pandas}
OURS = ("ours, first run", "ours, second run")


def main() -> None:
    """Generate, run all three on the smaller set, then ours on the larger one."""
    arguments = bench_arguments("Parsing MIND's files against plain Python and pandas.")
    few = 50_000 if arguments.small else 1_000_000
    many = 4 * few
    measures = Measures(f"Parsing {few:,} impressions of about 37 candidates, then {many:,}", arguments.json)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = time.perf_counter()
        apart(generate_files, folder / "generated", many)
        print(f"generated {many:,} impressions in {time.perf_counter() - start:.0f} s", flush=True)
        small, large = (
            take(folder / "generated", folder / "few", few),
            take(folder / "generated", folder / "many", many),
        )
        rounds = [_round(small, folder / f"round-{number}") for number in range(1 if arguments.small else 2)]
        peers = {name: _best(results[name] for results in rounds) for name in PEERS}
        (first, my_peak), (second, _) = (_best(results[which] for results in rounds) for which in OURS)
        (larger,), larger_peak = apart(ours, large, folder / "larger", 1)
        _say(f"ours, {many:,}", larger, larger_peak)
    for name, (peer, peak) in peers.items():
        same = all(
            peer[what] == mine[what] for what in ("rows", "clicks", "shown") for mine in (first, second)
        )
        assert same, f"{name} wrote other rows than ours: {peer} against {first}"
        for which, mine in (("first run", first), ("second run", second)):
            measures.add(
                f"{which}, against {name}",
                mine["seconds"],
                peer["seconds"],
                unit="s",
                better="lower",
                peer_name=name,
            )
        measures.add(f"peak memory against {name}", my_peak, peak, unit="MiB", better="lower", peer_name=name)
    per_million = larger["seconds"] / many * 1e6
    for which, mine in (("first run", first), ("second run", second)):
        name = f"seconds per million at {many:,}"
        measures.add(
            f"{name}, against {which}",
            per_million,
            mine["seconds"] / few * 1e6,
            unit="s",
            better="lower",
            peer_name=which,
        )
    measures.add(
        f"peak memory at {many:,}",
        larger_peak,
        my_peak,
        unit="MiB",
        better="lower",
        peer_name=f"ours at {few:,}",
    )
    measures.finish()


def _round(source: Path, folder: Path) -> dict[str, tuple[Result, float]]:
    """Each of them once, and ours twice in one process, with its peak memory in MiB."""
    folder.mkdir()
    results = {}
    for name, work in PEERS.items():
        results[name] = apart(work, source, folder / name)
        _say(name, *results[name])
    mine, peak = apart(ours, source, folder / "ours", len(OURS))
    for name, result in zip(OURS, mine, strict=True):
        results[name] = result, peak
        _say(name, *results[name])
    shutil.rmtree(folder)
    return results


def _best(results: Iterable[tuple[Result, float]]) -> tuple[Result, float]:
    return min(results, key=lambda result: float(result[0]["seconds"]))


def _say(name: str, result: Result, peak: float) -> None:
    print(f"{name}: {result['seconds']:.1f} s, peak {peak:,.0f} MiB, {result['rows']}", flush=True)


if __name__ == "__main__":
    main()

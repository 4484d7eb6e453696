"""encode_articles on many short texts with small encoders: how busy the executors are, how even the tasks,
how time grows.

Two lakehouses, one with four times the texts of the other; then 1 % of the larger one's texts change and the
job runs again. With the encoder that comes with newslake (22 million parameters), and with one of two narrow
layers, which encodes some ten times as fast as any model that is good for something: what it shows is what
Spark and Delta cost whatever the model. Task times come from Spark's own event log. Idle is the share of the
cores' time in which no task ran: over the job from start to end (the driver's planning and Delta's commits
count as idle), and within the stages that encode. Skew is the longest task of an encoding stage against the
median.
"""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from transformers import AutoTokenizer, BertConfig, BertModel

from common import CORES, Measures, bench_arguments, bench_session
from newslake.intake.articles import content_hash
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.sample import GeneratorSpec, generate
from newslake.text.articles import encode_articles
from newslake.text.spec import DEFAULT_MODEL, EncoderSpec, resolve

BUILT_IN, TINY = "all-MiniLM-L6-v2", "2 layers"


def tiny_encoder(folder: Path) -> str:
    """A BERT of 2 layers, 128 wide, with random weights and the built-in model's words."""
    words = AutoTokenizer.from_pretrained(resolve(EncoderSpec()).folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
    )
    BertModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


def short_texts(spark: SparkSession, folder: Path, texts: int) -> DataFrame:
    """news_id and title: generated short texts, all different."""
    generate(
        spark,
        str(folder),
        GeneratorSpec(
            articles=200, users=10, impressions=10, candidates=2.0, clicks=1.0, short_texts=texts, truth=False
        ),
    )
    rows = spark.read.json(str(folder / "short_texts*.jsonl"))
    return rows.select("news_id", "title")


def write_news(lake: Lakehouse, rows: DataFrame) -> None:
    """Put texts into table news; the number in the abstract keeps equal titles apart."""
    rows = rows.select(
        "news_id",
        "title",
        F.concat(F.lit("No. "), "news_id").alias("abstract"),
        F.lit(None).cast("string").alias("body"),
    )
    rows = rows.withColumn("content_hash", content_hash())
    contract = lake.schema("news")
    lake.merge(
        "news",
        rows.select(
            *(
                F.col(f.name) if f.name in rows.columns else F.lit(None).cast(f.dataType).alias(f.name)
                for f in contract
            )
        ),
    )


@dataclass(frozen=True)
class Window:
    """One run of the job, in milliseconds since 1970."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Wall clock."""
        return (self.end - self.start) / 1000


def timed(lake: Lakehouse, model: str) -> Window:
    """One run of the job."""
    start = time.time() * 1000
    encode_articles(lake, JobRun("encode_articles"), encoding=EncoderSpec(encoder=model))
    return Window(start, time.time() * 1000)


@dataclass(frozen=True)
class Load:
    """What the event log says of a window: shares between 0 and 1, skew as a ratio."""

    idle: float
    idle_encoding: float
    skew: float


def load(log: Path, window: Window) -> Load:
    """Read one window's tasks from the event log."""
    stages: dict[int, list[tuple[float, float]]] = defaultdict(list)
    encoding: set[int] = set()
    with log.open() as file:
        for line in file:
            event = json.loads(line)
            if event["Event"] == "SparkListenerTaskEnd":
                times = event["Task Info"]["Launch Time"], event["Task Info"]["Finish Time"]
                if window.start <= times[0] and times[1] <= window.end:
                    stages[event["Stage ID"]].append(times)
            elif event["Event"] == "SparkListenerStageCompleted":
                scopes = [
                    json.loads(rdd["Scope"])["name"]
                    for rdd in event["Stage Info"]["RDD Info"]
                    if "Scope" in rdd
                ]
                if "MapInArrow" in scopes:
                    encoding.add(event["Stage Info"]["Stage ID"])
    busy = sum(end - start for tasks in stages.values() for start, end in tasks)
    # The encoded rows are kept: later stages name the step too, but find its result. The first ones do the
    # work.
    longest = max(
        (sum(end - start for start, end in tasks) for stage, tasks in stages.items() if stage in encoding),
        default=0.0,
    )
    heavy = [
        tasks
        for stage, tasks in stages.items()
        if stage in encoding and sum(e - s for s, e in tasks) > longest / 2
    ]
    spans = sum(max(end for _, end in tasks) - min(start for start, _ in tasks) for tasks in heavy)
    used = sum(end - start for tasks in heavy for start, end in tasks)
    ratios = [max(e - s for s, e in tasks) / statistics.median(e - s for s, e in tasks) for tasks in heavy]
    return Load(1 - busy / (CORES * (window.end - window.start)), 1 - used / (CORES * spans), max(ratios))


def runs(spark: SparkSession, folder: Path, model: str, sizes: dict[str, int]) -> dict[str, Window]:
    """The job by one encoder at each size, and again after 1 % of the largest one's texts changed
    ("rerun")."""
    windows: dict[str, Window] = {}
    for name, texts in sizes.items():
        lake = Lakehouse(spark, str(folder / name))
        write_news(lake, short_texts(spark, folder / f"{name}-texts", texts))
        windows[name] = timed(lake, model)
        print(
            f"  {texts:,} texts: {windows[name].seconds:.1f} s, {texts / windows[name].seconds:,.0f} a"
            " second",
            flush=True,
        )
    changed = lake.read("news").where(F.pmod(F.xxhash64("news_id"), F.lit(100)) == 0)
    write_news(
        lake,
        changed.select("news_id", F.concat("title", F.lit(", corrected")).alias("title")).localCheckpoint(),
    )
    windows["rerun"] = timed(lake, model)
    print(f"  1 % changed: {windows['rerun'].seconds:.1f} s", flush=True)
    return windows


def add(
    measures: Measures, encoder: str, sizes: dict[str, int], windows: dict[str, Window], log: Path
) -> None:
    """One encoder's measures."""
    for name in ("few", "many"):
        found = load(log, windows[name])
        for measure, share in (("idle, whole job", found.idle), ("idle while encoding", found.idle_encoding)):
            measures.add(
                f"{encoder}: {measure}, {sizes[name]:,}",
                share,
                0.10,
                unit="share",
                better="lower",
                peer_name="a tenth",
            )
        skew = f"{encoder}: longest task / median, {sizes[name]:,}"
        measures.add(skew, found.skew, 1.0, unit="ratio", better="lower", peer_name="even tasks")
    growth = windows["many"].seconds / windows["few"].seconds
    linear = sizes["many"] / sizes["few"]
    measures.add(
        f"{encoder}: time, {linear:g} x texts",
        growth,
        linear * 1.1,
        unit="times",
        better="lower",
        peer_name="1.1 x linear",
    )
    again = windows["rerun"].seconds / windows["many"].seconds
    measures.add(
        f"{encoder}: run after 1 % changed",
        again,
        0.05,
        unit="of the first",
        better="lower",
        peer_name="the bar",
    )


def main() -> None:
    """Run it all."""
    arguments = bench_arguments("encode_articles on many short texts: idle time, skew, growth, reruns.")
    few, many = (2_000, 8_000) if arguments.small else (20_000, 80_000)
    sizes = {"warm": few // 4, "few": few, "many": many}
    measures = Measures("Encoding short texts in Spark", arguments.json)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "events").mkdir()
        settings = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": (folder / "events").as_uri(),
            "spark.eventLog.rolling.enabled": "false",
            "spark.eventLog.compress": "false",
        }
        spark = bench_session("encode in Spark", settings=settings)
        windows: dict[str, dict[str, Window]] = {}
        for encoder, model in ((TINY, tiny_encoder(folder / "model")), (BUILT_IN, DEFAULT_MODEL)):
            print(f"{encoder}:", flush=True)
            windows[encoder] = runs(spark, folder / encoder, model, sizes)
        spark.stop()
        (log,) = (folder / "events").iterdir()
        for encoder, taken in windows.items():
            add(measures, encoder, sizes, taken, log)
    measures.finish()


if __name__ == "__main__":
    main()

"""stream_behaviors: impressions, clicks, searches and interests as they happen, from Kafka or files, into
their tables."""

from collections.abc import Mapping
from functools import partial, reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.intake.sources.events.event_messages import (
    CLICK,
    CONFLICT,
    CONFLICT_REASON,
    IMPRESSION,
    INTEREST,
    SEARCH,
    TABLE_OF,
    USE,
    as_events,
    first_of_each,
    of_type,
    read_events,
    shown,
    with_clicks,
)
from newslake.intake.sources.events.fields import as_rejected
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import commonest, send
from newslake.spark.frames import Frames
from newslake.streaming.options import STREAM, StreamOptions
from newslake.streaming.running import run_stream

_FROM_FILES = ("train", "dev", "test")
_KINDS = (SEARCH, INTEREST, CLICK, IMPRESSION)


def stream_behaviors(
    lake: Lakehouse,
    run: JobRun,
    *,
    stream: StreamOptions = STREAM,
    split: str = "live",
) -> None:
    """Read live events from a Kafka topic or a folder of JSON lines: impressions, clicks, search queries,
    stated interests.

    A message is one JSON object (docs/messages/event.schema.json), named by its event_id; of two with one id
    the first that arrived stands. Clicks go to table clicks, and mark their impression whenever the two meet,
    whichever comes first and however late. What cannot be used goes to table quarantine, and the stream goes
    on. A killed run is taken up where it was: nothing is lost, and nothing is there twice. Give an
    impression's click the same message key as the impression: they then arrive in order.

    Args:
        split: Which split of table impressions takes the live events.
    """
    if not split or split in _FROM_FILES:
        raise UserError(
            f"--split {split}: choose a name of its own for live events; {', '.join(_FROM_FILES)} are read"
            " from files"
        )
    source, trigger, watch = stream.source(messages=20_000), stream.trigger(), stream.watch(run)
    remembered = source.checkpoint(lake, run.job, stream.checkpoint)
    source.check(lake.spark)
    source.tell_changed(lake.spark, run, remembered)
    run.progress(f"reading {source}")
    for table in (*TABLE_OF.values(), "quarantine"):
        lake.create(table)
    messages = read_events(source.messages(lake.spark))
    run_stream(
        lake,
        run,
        messages,
        partial(take_events, run=run, split=split),
        checkpoint=remembered,
        trigger=trigger,
        watch=watch,
    )


def take_events(lake: Lakehouse, batch: DataFrame, *, run: JobRun, split: str) -> str:
    """One micro-batch into the tables; the same batch again changes nothing.

    Args:
        lake: the tables, by the batch's session.
        batch: from read_events.
        run: takes the counts.
        split: where live impressions go.

    Returns:
        What was done, in a few words.
    """
    with Frames() as frames:
        batch = frames.keep(batch)
        tally = _tally(batch).collect()
        counts = {row["type"]: row["count"] for row in tally}
        run.arrived(
            min((row["oldest"] for row in tally), default=None),
            max((row["newest"] for row in tally), default=None),
        )
        total, bad = sum(counts.values()), counts.pop(None, 0)
        run.rows_in(total)
        wrong = batch.where(F.col("problem").isNotNull())
        rejects = [as_rejected(wrong, F.col("event_id"))] if bad else []
        if bad:
            run.could_not_use(bad, commonest(wrong, "problem"))
        usable = batch.where(F.col("problem").isNull())
        judged = {kind: frames.keep(_judged(lake, usable, kind, split)) for kind in _KINDS if kind in counts}
        for kind, events in judged.items():
            if kind != IMPRESSION:
                table = TABLE_OF[kind]
                rows = events.where(F.col("outcome") == USE).select(*lake.schema(table).names)
                run.wrote(table, lake.merge(table, rows, update=False).rows)
            rejects.append(
                as_rejected(
                    events.where(F.col("outcome") == CONFLICT), F.col("event_id"), F.lit(CONFLICT_REASON)
                )
            )
        if CLICK in judged or IMPRESSION in judged:
            run.wrote("impressions", _write_impressions(lake, judged, split, frames))
        rejected = send(lake, run, reduce(DataFrame.unionByName, rejects), job=run.job) if rejects else 0
        found = [f"{count:,} of type {kind}" for kind, count in sorted(counts.items())]
        return f"{total:,} messages: {', '.join([*found, f'{bad:,} unusable'])}; {rejected:,} to quarantine"


def _tally(batch: DataFrame) -> DataFrame:
    """How many messages there are of each type, and when the first and the last arrived; type NULL for those
    that cannot be used."""
    arrived = F.min("arrived_at").alias("oldest"), F.max("arrived_at").alias("newest")
    return batch.groupBy(F.when(F.col("problem").isNull(), F.col("type")).alias("type")).agg(
        F.count("*").alias("count"), *arrived
    )


def _judged(lake: Lakehouse, usable: DataFrame, kind: str, split: str) -> DataFrame:
    events = of_type(usable, kind)
    key = ("impression_id",) if kind == IMPRESSION else table_spec(TABLE_OF[kind]).key
    stored = lake.read(TABLE_OF[kind])
    if kind == IMPRESSION:
        stored = stored.where(F.col("split") == split)
    stored = stored.join(F.broadcast(events.select(*key).distinct()), on=list(key), how="left_semi")
    return first_of_each(events, as_events(stored) if kind == IMPRESSION else stored, key)


def _write_impressions(lake: Lakehouse, judged: Mapping[str, DataFrame], split: str, frames: Frames) -> int:
    """New impressions with the clicks that wait for them, and those there that the batch's clicks belong to;
    returns rows written.

    Every click of the batch counts, also one that table clicks had before: the batch may have been cut off
    after it was written.
    """
    live = lake.read("impressions").where(F.col("split") == split)
    rows = live.limit(0)
    if IMPRESSION in judged:
        rows = shown(judged[IMPRESSION].where(F.col("outcome") == USE), split)
    if CLICK in judged:
        clicked = judged[CLICK].select("impression_id").distinct()
        rows = rows.unionByName(live.join(F.broadcast(clicked), on="impression_id", how="left_semi"))
    rows = frames.keep(rows)
    clicks = lake.read("clicks").join(
        F.broadcast(rows.select("impression_id").distinct()), on="impression_id", how="left_semi"
    )
    return lake.merge("impressions", with_clicks(rows, clicks)).rows

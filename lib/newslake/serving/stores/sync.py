"""Bring a collection of a store up to date with a frame: what is new or changed goes there, what is gone
leaves, nothing else moves.

Table vector_exports says what a collection holds. It is written after the store has taken a slice, so that a
kill in between makes the rerun send that slice again, over itself; it never says that something is there
which is not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.sqltext import literal
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import rows_of, send
from newslake.serving.batches import arrow_batches
from newslake.serving.stores.store import HASH, ITEM, Collection, VectorStore
from newslake.spark.frames import Frames

TABLE = "vector_exports"
_DAYS = 100  # days that a query may name one by one


@dataclass(frozen=True)
class Synced:
    """Items that one export sent, removed, and refused as unusable, and the collection."""

    sent: int = 0
    removed: int = 0
    refused: int = 0
    collection: Collection | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Limits:
    """What bounds an export: items in one request to the store, and items between two entries in
    vector_exports."""

    batch_rows: int = 2_000
    slice_rows: int = 50_000


def exported(lake: Lakehouse, collection: Collection) -> DataFrame:
    """What the collection holds: item_id, inputs_hash."""
    lake.create(TABLE)
    return lake.read(TABLE).where(F.col("collection_id") == collection.collection_id).select(ITEM, HASH)


def sync(
    lake: Lakehouse,
    run: JobRun,
    store: VectorStore,
    collection: Collection,
    wanted: DataFrame,
    *,
    source: str,
    only: DataFrame | None = None,
    limits: Limits | None = None,
) -> Synced:
    """Bring the collection up to date.

    Args:
        lake: where vector_exports is.
        run: what to report to.
        store: an open one.
        collection: which one.
        wanted: what it is to hold: item_id, inputs_hash, vector (array<float>) and the kind's scalar fields.
        source: the table that `wanted` comes from, named where an item is refused.
        only: item_id: look at these items only, such as those of a micro-batch.
        limits: what bounds the export.

    Raises:
        JobFailed: in the end the store does not hold what vector_exports says; looked at without `only`.
    """
    limits = limits or Limits()
    held = exported(lake, collection)
    if only is not None:
        few = only.select(ITEM).distinct()
        wanted, held = wanted.join(few, on=ITEM, how="left_semi"), held.join(few, on=ITEM, how="left_semi")
    with Frames() as frames:
        # Which items changed is found on narrow columns, then vectors are read, those of the days that have
        # some.
        day = collection.kind.day
        stale = frames.keep(_stale(wanted.select(ITEM, HASH, *([day] if day else [])), held))
        changed = stale.count()
        todo = _of_their_days(wanted, stale, day).join(
            stale.select(ITEM, HASH), on=[ITEM, HASH], how="left_semi"
        )
        problem = store.problem(collection)
        unusable = todo.where(problem.isNotNull())
        refused = send(lake, run, _refused(unusable, problem, source), job="export_vectors") if changed else 0
        usable = todo.where(problem.isNull())
        run.progress(f"{changed - refused:,} new or changed items for {collection.name}")
        slices, sent = -(-(changed - refused) // limits.slice_rows), 0
        for number in range(slices):
            mine = F.pmod(F.xxhash64(ITEM), F.lit(slices)) == number
            batches = arrow_batches(
                usable.where(mine), count=-(-changed // slices), batch_rows=limits.batch_rows, by=ITEM
            )
            sent += _send(lake, store, collection, batches)
            run.progress(f"slice {number + 1} of {slices}: {sent:,} of {changed - refused:,} sent")
    removed = remove(
        lake, store, collection, held.join(wanted.select(ITEM), on=ITEM, how="left_anti"), limits=limits
    )
    # What another run was killed over may lie outside a micro-batch: the next whole export puts it right.
    if only is None:
        check(lake, store, collection)
    run.wrote(TABLE, sent)
    return Synced(sent, removed, refused, collection)


def remove(
    lake: Lakehouse,
    store: VectorStore,
    collection: Collection,
    items: DataFrame,
    *,
    limits: Limits | None = None,
) -> int:
    """Remove items from the collection, then from vector_exports; returns how many.

    Args:
        lake, store, collection: as for `sync`.
        items: item_id, of what the collection holds.
        limits: what bounds a request.
    """
    limits = limits or Limits()
    with Frames() as frames:
        gone = frames.keep(items.select(ITEM))
        leaving = gone.count()
        # Ids are short: as many as fit a slice go through the driver at once.
        for batch in (
            arrow_batches(gone, count=leaving, batch_rows=limits.slice_rows, by=ITEM) if leaving else ()
        ):
            ids = batch[ITEM].to_pylist()
            for start in range(0, len(ids), limits.batch_rows):
                store.delete(collection, ids[start : start + limits.batch_rows])
            noted = _records(lake, collection, batch.append_column(HASH, pa.array([""] * batch.num_rows)))
            lake.merge(TABLE, noted.limit(0), gone=noted)
    return leaving


def forget_lost(lake: Lakehouse, alias: str, there: Iterable[Collection]) -> int:
    """Delete from vector_exports what was sent to collections of this alias that are no more; returns how
    many rows.

    Args:
        lake: where vector_exports is.
        alias: such as newslake_articles.
        there: the collections that there are.
    """
    lake.create(TABLE)
    named = f"(collection = {literal(alias)} OR startswith(collection, {literal(alias + '_')}))"
    ids = ", ".join(literal(collection.collection_id) for collection in there)
    return lake.delete(TABLE, f"{named} AND collection_id NOT IN ({ids})" if ids else named)


def check(lake: Lakehouse, store: VectorStore, collection: Collection) -> None:
    """Compare what the store holds with what vector_exports says.

    Raises:
        JobFailed: they differ.
    """
    there, noted = store.count(collection), exported(lake, collection).count()
    if there != noted:
        raise JobFailed(
            f"collection {collection.name} holds {there:,} items, but {noted:,} were exported: if no other"
            " export runs beside this one, somebody changed it: run export_vectors --rebuild"
        )


def _send(lake: Lakehouse, store: VectorStore, collection: Collection, batches: Iterator[pa.Table]) -> int:
    """Send one slice, then note it; returns its items."""
    notes = []
    for batch in batches:
        store.upsert(collection, batch)
        notes.append(batch.select([ITEM, HASH]))
    if notes:
        # What was sent, not what the table holds by now: another job may have written it meanwhile.
        lake.merge(TABLE, _records(lake, collection, pa.concat_tables(notes)))
    return sum(part.num_rows for part in notes)


def _records(lake: Lakehouse, collection: Collection, items: pa.Table) -> DataFrame:
    rows = lake.spark.createDataFrame(items.select([ITEM, HASH]))
    return rows.select(
        F.lit(collection.collection_id).alias("collection_id"),
        ITEM,
        F.lit(collection.name).alias("collection"),
        HASH,
        F.current_timestamp().alias("exported_at"),
    )


def _stale(wanted: DataFrame, held: DataFrame) -> DataFrame:
    return wanted.join(held, on=[ITEM, HASH], how="left_anti")


def _of_their_days(wanted: DataFrame, stale: DataFrame, day: str | None) -> DataFrame:
    """Those of `wanted` whose day has a stale item, where days are few: others need not be read."""
    if day is None:
        return wanted
    days = [row[0] for row in stale.select(day).distinct().limit(_DAYS + 1).collect()]
    return wanted.where(F.col(day).isin(days)) if len(days) <= _DAYS else wanted


def _refused(items: DataFrame, problem: Column, source: str) -> DataFrame:
    return rows_of(items, source, record_id=F.col(ITEM), raw=F.lit(None).cast("binary"), reason=problem)

"""Bring a collection of a store up to date with a frame: what is new or changed goes there, what is gone
leaves, nothing else moves.

Table vector_exports says what a collection holds. It is written after the store has taken a slice, so that a
kill in between makes the rerun send that slice again, over itself; it never says that something is there
which is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.sqltext import literal
from newslake.run.jobrun import JobRun
from newslake.run.options import utc_now
from newslake.run.quarantine import rows_of, send
from newslake.serving.stores import sending
from newslake.serving.stores.limits import LIMITS, Limits
from newslake.serving.stores.slices import items_of, of_their_days, slices_of
from newslake.serving.stores.store import EXPIRES, HASH, ITEM, Collection, VectorStore
from newslake.spark.frames import Frames

TABLE = "vector_exports"
_AHEAD = timedelta(days=1)  # longer than a run takes from looking at the clock to counting


@dataclass(frozen=True)
class Synced:
    """Items that one export sent, removed, and refused as unusable, and the collection."""

    sent: int = 0
    removed: int = 0
    refused: int = 0
    collection: Collection | None = field(default=None, compare=False)


def exported(lake: Lakehouse, collection: Collection) -> DataFrame:
    """What the collection holds: item_id, inputs_hash."""
    return _noted(lake, collection).select(ITEM, HASH)


def sync(
    lake: Lakehouse,
    run: JobRun,
    store: VectorStore,
    collection: Collection,
    wanted: DataFrame,
    vectors: DataFrame,
    *,
    source: str,
    only: DataFrame | None = None,
    limits: Limits = LIMITS,
) -> Synced:
    """Bring the collection up to date.

    Args:
        lake: where vector_exports is.
        run: what to report to.
        store: an open one.
        collection: which one.
        wanted: what it is to hold: item_id, inputs_hash, expires_at and the kind's scalar fields. What leaves
            by itself within a day is held no longer.
        vectors: item_id, vector (array<float>) and the kind's day, of these items and perhaps others.
        source: the table that `wanted` comes from, named where an item is refused.
        only: item_id: look at these items only, such as those of a micro-batch.
        limits: what bounds the export.

    Raises:
        JobFailed: in the end the store does not hold what vector_exports says; looked at without `only`.
    """
    held, wanted = exported(lake, collection), wanted.where(~_leaves_soon())
    if only is not None:
        few = only.select(ITEM).distinct()
        wanted, held = wanted.join(few, on=ITEM, how="left_semi"), held.join(few, on=ITEM, how="left_semi")
    with Frames() as frames:
        # Which items changed is found on narrow columns, then vectors are read, those of the days that have
        # some.
        day = collection.kind.day
        stale = frames.keep(wanted.join(held, on=[ITEM, HASH], how="left_anti"))
        changed = stale.count()
        todo = of_their_days(vectors, stale, day).join(stale, on=[ITEM, *([day] if day else [])], how="inner")
        problem = store.problem(collection)
        unusable = todo.where(problem.isNotNull())
        refused = send(lake, run, _refused(unusable, problem, source), job="export_vectors") if changed else 0
        usable = todo.where(problem.isNull())
        run.progress(f"{changed - refused:,} new or changed items for {collection.name}")
        slices = slices_of(stale, changed, day, limits.slice_rows) if changed > refused else []
        done = 0
        with items_of(lake, usable, slices, day) as parts:
            for number, (part, items) in enumerate(zip(slices, parts, strict=True), start=1):
                with Frames() as own:
                    notes = sending.sent(store, collection, items, own, rows=part.rows, limits=limits)
                    # What was sent, not what the table holds by now: another job may have written meanwhile.
                    done += lake.merge(TABLE, _records(collection, notes)).rows
                run.progress(f"slice {number} of {len(slices)}: {done:,} of {changed - refused:,} sent")
    removed = remove(
        lake, store, collection, held.join(wanted.select(ITEM), on=ITEM, how="left_anti"), limits=limits
    )
    # What another run was killed over may lie outside a micro-batch: the next whole export puts it right.
    if only is None:
        check(lake, store, collection)
    run.wrote(TABLE, done)
    return Synced(done, removed, refused, collection)


def remove(
    lake: Lakehouse,
    store: VectorStore,
    collection: Collection,
    items: DataFrame,
    *,
    limits: Limits = LIMITS,
) -> int:
    """Remove items from the collection, then from vector_exports; returns how many.

    Args:
        lake, store, collection: as for `sync`.
        items: item_id, of what the collection holds.
        limits: what bounds a request.
    """
    with Frames() as frames:
        gone = frames.keep(items.select(ITEM))
        leaving = gone.count()
        if leaving:
            for part in sending.deleted(store, collection, gone, frames, rows=leaving, limits=limits):
                noted = _records(
                    collection,
                    part.select(ITEM, F.lit("").alias(HASH), F.lit(None).cast("timestamp").alias(EXPIRES)),
                )
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
    """Compare what the store holds with what vector_exports says, once what leaves by itself within a day is
    removed from both.

    Raises:
        JobFailed: they differ.
    """
    if collection.days is not None:
        remove(lake, store, collection, _noted(lake, collection).where(_leaves_soon()))
    there, noted = store.count(collection), exported(lake, collection).count()
    if there != noted:
        raise JobFailed(
            f"collection {collection.name} holds {there:,} items, but {noted:,} were exported: if no other"
            " export runs beside this one, somebody changed it: run export_vectors --rebuild"
        )


def _noted(lake: Lakehouse, collection: Collection) -> DataFrame:
    lake.create(TABLE)
    return lake.read(TABLE).where(F.col("collection_id") == collection.collection_id)


def _leaves_soon() -> Column:
    return F.coalesce(F.col(EXPIRES) <= F.lit(utc_now() + _AHEAD), F.lit(False))


def _records(collection: Collection, items: DataFrame) -> DataFrame:
    """Sent items as rows of vector_exports."""
    return items.select(
        F.lit(collection.collection_id).alias("collection_id"),
        ITEM,
        F.lit(collection.name).alias("collection"),
        HASH,
        F.current_timestamp().alias("exported_at"),
        EXPIRES,
    )


def _refused(items: DataFrame, problem: Column, source: str) -> DataFrame:
    return rows_of(items, source, record_id=F.col(ITEM), raw=F.lit(None).cast("binary"), reason=problem)

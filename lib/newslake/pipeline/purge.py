"""purge_news: old news out of what is served, then out of the tables; and what else grows without end.

The order is that of dependency, readers first. (1) The horizon is written: from now on no job makes, exports
or takes in a vector of an old article. (2) Old articles leave Milvus, then (3) article_vectors, which the
newsfeed searches. (4) What is made from the articles that are to go follows, and (5) their rows in news
come last. So at every moment an article that is served has its vector, and one that has a vector has its row
in news; and since news says what is old, the rerun of a killed run finds all that is left to do.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.remote import Place
from newslake.lake.lakehouse import SAFE_HOURS, Lakehouse
from newslake.lake.tablespec import table_names
from newslake.pipeline.leftovers import remove_leftovers
from newslake.pipeline.old_runs import retain_runs
from newslake.pipeline.retention import FOREVER, Retention, report_deleted, retain
from newslake.pipeline.retired import models_in_use, retire_topic_models
from newslake.run.jobrun import JobRun
from newslake.run.options import today_or
from newslake.serving.options import STORE, StoreOptions
from newslake.serving.stores import sync
from newslake.serving.stores.names import unread
from newslake.serving.stores.opening import open_store, place_exported_to
from newslake.serving.stores.store import ARTICLES, ITEM, KINDS, read_as
from newslake.spark.frames import Frames
from newslake.switches.horizon import is_old, set_horizon
from newslake.training.data.preparation import models_folder

Keep = Literal["shown", "read", "corpus", "scored", "nothing"]
_VECTORS = "article_vectors"
_MADE_FROM_NEWS = (
    "stories",
    "article_topics",
    "article_embeddings",
    "news_embeddings",
    "article_class_scores",
)
OF_OLD_NEWS = (_VECTORS, *_MADE_FROM_NEWS, "news")
"""The tables whose rows go with their article, in that order."""


def purge_news(
    lake: Lakehouse,
    run: JobRun,
    *,
    older_than: str,
    as_of: str | None = None,
    keep: tuple[Keep, ...] = ("shown", "corpus"),
    store: StoreOptions = STORE,
    kept: Retention = FOREVER,
    model_folder: str | None = None,
    vacuum: bool = True,
    vacuum_hours: int = SAFE_HOURS,
) -> None:
    """Take old news out of Milvus and article_vectors, and what nothing needs any more out of the tables.

    Articles published before the horizon are not served any more: they leave the collection in Milvus and
    article_vectors, and no later job brings them back. Their rows in news, embeddings and topics go too,
    unless --keep names a use that they have: training and profiles read what was shown and clicked. An
    article without a date is never old. Killed at any moment, the job leaves nothing half-served, and its
    rerun does the rest.

    Collections of a topic model that is neither active nor to become so are dropped once no alias names them,
    and its article_vectors go once no user vector is by it.

    The settings that end in -days, and --model-runs, bound tables that grow without end; each is off unless
    it is given. The last day or hour of what is served stays however old it is.

    Args:
        older_than: The horizon: a number of days before --as-of, or a day such as 2019-11-01.
        as_of: The day that all ages count from (default: today, UTC).
        keep: Old articles whose rows stay: shown (in impressions or a click history), read (clicked, or in a
            click history), corpus (in short_text_corpus), scored (in article_class_scores), nothing.
        model_folder: Folder for trained models (default: _models in the work folder).
        vacuum: Delete files that no recent version of any table holds, and what killed runs left beside the
            tables.
        vacuum_hours: How long such files stay: 168 at least, since runs that began before still read them.
    """
    today = today_or(as_of)
    before = parse_horizon(older_than, today)
    if vacuum_hours < SAFE_HOURS:
        raise UserError(
            f"--vacuum-hours takes {SAFE_HOURS} or more (runs that began before still read those files), or"
            " give --no-vacuum"
        )
    models = _models(lake, model_folder)
    news = lake.read("news")
    served_at = place_exported_to(lake, store.uri)
    run.fact("horizon", before)
    set_horizon(lake, before)
    with Frames() as frames:
        old = frames.keep(news.where(is_old(F.col("published_at"), before)).select("news_id"))
        run.rows_in(news.count())
        run.fact("old articles", old.count())
        if served_at is not None:
            _purge_served(lake, run, served_at, store, old)
        _remove(lake, run, (_VECTORS,), old)
        retire_topic_models(lake, run)
        retain(lake, run, today, kept)
        if kept.model_runs is not None:
            retain_runs(lake, run, kept.model_runs, models)
        gone = frames.keep(unneeded(old, [needed(lake, use) for use in keep if use != "nothing"]))
        _remove(lake, run, (*_MADE_FROM_NEWS, "news"), gone)
    if vacuum:
        _vacuum(lake, run, vacuum_hours)


def parse_horizon(text: str, today: date) -> date:
    """The day before which articles are old: so many days before today, or a day such as 2019-11-01.

    Raises:
        UserError: it is neither, or lies in the future.
    """
    try:
        day = today - timedelta(days=int(text)) if text.isdecimal() else date.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UserError(
            f"--older-than {text}: give a number of days, such as 30, or a day such as 2019-11-01"
        ) from None
    if day > today:
        raise UserError(f"--older-than {text}: that day is still to come")
    return day


def needed(lake: Lakehouse, use: Keep) -> DataFrame | None:
    """news_id of the articles that have this use; None where its tables are not there."""
    sources = {
        "shown": ("impressions", "click_history"),
        "read": ("impressions", "click_history"),
        "corpus": ("short_text_corpus",),
    }
    found: DataFrame | None = None
    for table in sources.get(use, ("article_class_scores",)):
        if not lake.exists(table):
            continue
        rows = lake.read(table)
        if table == "click_history":
            rows = rows.select(F.explode("news_ids").alias("news_id"))
        elif use == "read":
            rows = rows.where("clicked")
        rows = rows.select("news_id")
        found = rows if found is None else found.union(rows)
    return found


def unneeded(old: DataFrame, uses: list[DataFrame | None]) -> DataFrame:
    """Those of the old articles that no use names: news_id."""
    for use in uses:
        if use is not None:
            old = old.join(use, on="news_id", how="left_anti")
    return old


def _models(lake: Lakehouse, folder: str | None) -> Place | None:
    """Where trained models are; None where nothing says so, as with tables named by --schema.

    Raises:
        UserError: the folder that was given is not there.
    """
    if folder is None and lake.work is None:
        return None
    models = models_folder(lake, folder, None)
    if folder is not None and not models.exists():
        raise UserError(f"--model-folder {folder}: there is no such folder")
    return models


def _purge_served(lake: Lakehouse, run: JobRun, uri: str, options: StoreOptions, old: DataFrame) -> None:
    prefix = options.prefix
    with open_store(uri, options.token) as store:
        served = models_in_use(lake)
        for collection in unread(store, prefix, served) if served else ():
            store.drop(collection)
            run.progress(f"{collection.name} dropped: its topic model is not the active one any more")
        items, removed = old.select(F.col("news_id").alias(ITEM)), 0
        for collection in (collections := store.collections(ARTICLES, prefix)):
            held = sync.exported(lake, collection).join(items, on=ITEM, how="left_semi")
            removed += sync.remove(lake, store, collection, held)
            sync.check(lake, store, collection)
        # Where there is none at all, this may be another Milvus than the one that was exported to.
        forgotten = sum(
            sync.forget_lost(lake, read_as(kind, prefix), there)
            for kind in KINDS
            if (there := store.collections(kind, prefix))
        )
    if not collections:
        return
    run.fact("articles removed from Milvus", removed)
    if forgotten:
        run.fact("exports to a collection that is no more, forgotten", forgotten)
    run.progress(
        f"{removed:,} articles removed from {', '.join(collection.name for collection in collections)}"
    )


def _remove(lake: Lakehouse, run: JobRun, tables: tuple[str, ...], articles: DataFrame) -> None:
    """Delete the articles' rows, table by table in this order."""
    there = [table for table in tables if lake.exists(table)]
    for table in there:
        run.facts.setdefault(f"deleted from {table}", "0")
    if not articles.isEmpty():  # as on most days: to look for rows of none costs a dozen queries a table
        for table in there:
            report_deleted(run, table, lake.remove(table, articles))


def _vacuum(lake: Lakehouse, run: JobRun, hours: int) -> None:
    tables = [table for table in table_names() if lake.exists(table)]
    began = datetime.now(UTC)
    for place, table in enumerate(tables, start=1):
        lake.vacuum(table, hours=hours)
        run.progress(f"{place} of {len(tables)} tables vacuumed")
    if left := remove_leftovers(lake, hours=hours):
        run.fact("folders that killed runs left behind, removed", left)
    run.fact("seconds of vacuum", round((datetime.now(UTC) - began).total_seconds()))

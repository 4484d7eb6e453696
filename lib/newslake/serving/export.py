"""What Milvus is to hold: the vectors of articles, and those of users on a day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import vector_size
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one, those_asked_for
from newslake.serving.items import article_items, day_number, user_items
from newslake.serving.stores.limits import LIMITS, Limits
from newslake.serving.stores.names import switch_all
from newslake.serving.stores.opening import open_store
from newslake.serving.stores.store import (
    ARTICLES,
    DEFAULT_PREFIX,
    ITEM,
    USERS,
    VECTOR,
    Collection,
    Kind,
    Wanted,
)
from newslake.serving.stores.sync import Synced, sync
from newslake.switches.classes import classed_news
from newslake.switches.horizon import horizon, served
from newslake.switches.topic_model import asked_or_active

ARTICLE_VECTORS, USER_VECTORS = "article_vectors", "user_vectors"


def export_articles(
    lake: Lakehouse,
    run: JobRun,
    *,
    uri: str,
    encoder_id: str | None = None,
    topic_model: str | None = None,
    token: str | None = None,
    prefix: str = DEFAULT_PREFIX,
    only: DataFrame | None = None,
    limits: Limits = LIMITS,
    rebuild: bool = False,
    days: int | None = None,
) -> Synced:
    """Bring the collection of articles up to date with table article_vectors: send what is new or changed,
    remove what is gone.

    Then have it read by the alias, where it holds the active topic model's vectors, and no other alias stays
    behind with another model.

    Args:
        lake: where the tables are.
        run: what to report to.
        uri: a Milvus server's address, or a local file that ends in .db.
        encoder_id, topic_model: whose vectors; None: the active topic model's, and of the only encoder that
            there is.
        token: of the server.
        prefix: of the collection's name.
        only: news_id: look at these articles only, such as those of a micro-batch.
        limits: what bounds the export.
        rebuild: drop the collection first, and send everything.
        days: how long an article is there after its day; None: as the collection was made.

    Raises:
        UserError: Milvus cannot be opened, the table is not built, or the collection holds vectors of others
            or was made without a field that is to be sent.
        JobFailed: in the end the counts differ.
    """
    vectors = lake.read(ARTICLE_VECTORS)
    rows, identity = _chosen(
        vectors, ARTICLE_VECTORS, encoder_id, asked_or_active(lake, vectors, topic_model)
    )
    rows = served(rows, "news_date", horizon(lake))
    few = None if only is None else only.select(F.col("news_id").alias(ITEM))
    classes = classed_news(lake) if lake.exists("news") else lake.read_or_empty("news")
    return _export(
        lake,
        run,
        _Source(
            ARTICLES,
            ARTICLE_VECTORS,
            identity,
            lambda collection: article_items(rows, classes.select("news_id", "category"), collection.days),
            rows.select(F.col("news_id").alias(ITEM), day_number(), F.col("vector").alias(VECTOR)),
        ),
        _Target(uri, token, prefix, rebuild, days),
        few,
        limits,
        (),
    )


def export_users(
    lake: Lakehouse,
    run: JobRun,
    *,
    uri: str,
    as_of: date | None = None,
    encoder_id: str | None = None,
    topic_model: str | None = None,
    token: str | None = None,
    prefix: str = DEFAULT_PREFIX,
    limits: Limits = LIMITS,
    rebuild: bool = False,
    beside: Sequence[Collection] = (),
) -> Synced:
    """Bring the collection of users up to date with one day of table user_vectors; those without vectors on
    that day leave.

    Args:
        as_of: the day (default: the latest).
        lake, run, uri, encoder_id, topic_model, token, prefix, limits, rebuild: as for `export_articles`.
        beside: a collection of articles that was brought up to date just now: its alias moves in the same go.

    Raises:
        UserError, JobFailed: as for `export_articles`.
    """
    vectors = lake.read(USER_VECTORS)
    known = vectors if as_of is None else vectors.where(F.col("as_of") == F.lit(as_of))
    topic_model = asked_or_active(lake, known, topic_model)
    vectors = those_asked_for(vectors, encoder_id=encoder_id, topic_model=topic_model)
    row = vectors.agg(F.max("as_of")).head()
    latest = None if row is None else row[0]
    rows = vectors.where(F.col("as_of") == F.lit(as_of or latest))
    if latest is None or rows.isEmpty():
        raise UserError(
            f"table {USER_VECTORS} has nothing for {f'--as-of {as_of}' if as_of else 'any day'}: run"
            " build_user_vectors first"
        )
    run.fact("user vectors of", as_of or latest)
    rows, identity = _chosen(rows, USER_VECTORS, encoder_id, topic_model)
    items = user_items(rows)
    return _export(
        lake,
        run,
        _Source(USERS, USER_VECTORS, identity, lambda _: items.drop(VECTOR), items.select(ITEM, VECTOR)),
        _Target(uri, token, prefix, rebuild),
        None,
        limits,
        beside,
    )


def _chosen(
    rows: DataFrame, table: str, encoder_id: str | None, topic_model: str | None
) -> tuple[DataFrame, dict[str, str]]:
    """The rows of one encoder and topic model, and which."""
    built_by = "build_article_vectors" if table == ARTICLE_VECTORS else "build_user_vectors"
    identity = {
        name: the_one(rows, name, asked, table=table, built_by=built_by, things="vectors")
        for name, asked in (("encoder_id", encoder_id), ("topic_model", topic_model))
    }
    return (
        rows.where(
            (F.col("encoder_id") == identity["encoder_id"])
            & (F.col("topic_model") == identity["topic_model"])
        ),
        identity,
    )


@dataclass(frozen=True)
class _Target:
    """Where an export goes."""

    uri: str
    token: str | None
    prefix: str
    rebuild: bool
    days: int | None = None


@dataclass(frozen=True)
class _Source:
    """What is exported: a kind of items, from which table, of which encoder and topic model, as which items
    of a collection, and with which vectors."""

    kind: Kind
    table: str
    identity: dict[str, str]
    items: Callable[[Collection], DataFrame]
    vectors: DataFrame


def _export(
    lake: Lakehouse,
    run: JobRun,
    source: _Source,
    to: _Target,
    only: DataFrame | None,
    limits: Limits,
    beside: Sequence[Collection],
) -> Synced:
    with open_store(to.uri, to.token) as store:
        wanted = Wanted(source.kind, to.prefix, source.identity, to.days)
        collection = None if to.rebuild else store.ensure(wanted, size=None)
        if collection is None:
            size = vector_size(source.vectors, VECTOR, f"table {source.table}")
            collection = store.ensure(wanted, size=size, rebuild=to.rebuild)
        if collection is None:  # no vector, no collection
            return Synced()
        items = source.items(collection)
        done = sync(
            lake,
            run,
            store,
            collection,
            items,
            source.vectors,
            source=source.table,
            only=only,
            limits=limits,
        )
        switch_all(lake, run, store, to.prefix, [collection, *beside], first=only is not None)
    run.fact(f"{source.kind.name} sent to Milvus", done.sent)
    run.fact(f"{source.kind.name} removed from Milvus", done.removed)
    return done

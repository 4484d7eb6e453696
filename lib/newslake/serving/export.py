"""What Milvus is to hold: the vectors of articles, and those of users on a day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import vector_size
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one, those_asked_for
from newslake.serving.stores.names import switch_all
from newslake.serving.stores.opening import open_store
from newslake.serving.stores.store import (
    ARTICLES,
    DEFAULT_PREFIX,
    HASH,
    ITEM,
    USERS,
    VECTOR,
    Collection,
    Kind,
)
from newslake.serving.stores.sync import Limits, Synced, sync
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
    limits: Limits | None = None,
    rebuild: bool = False,
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

    Raises:
        UserError: Milvus cannot be opened, the table is not built, or the collection holds vectors of others.
        JobFailed: in the end the counts differ.
    """
    vectors = lake.read(ARTICLE_VECTORS)
    rows, identity = _chosen(
        vectors, ARTICLE_VECTORS, encoder_id, asked_or_active(lake, vectors, topic_model)
    )
    rows = served(rows, "news_date", horizon(lake))
    few = None if only is None else only.select(F.col("news_id").alias(ITEM))
    return _export(
        lake,
        run,
        ARTICLES,
        article_items(rows),
        identity,
        ARTICLE_VECTORS,
        _Target(uri, token, prefix, rebuild),
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
    limits: Limits | None = None,
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
    return _export(
        lake,
        run,
        USERS,
        user_items(rows),
        identity,
        USER_VECTORS,
        _Target(uri, token, prefix, rebuild),
        None,
        limits,
        beside,
    )


def article_items(rows: DataFrame) -> DataFrame:
    """Rows of article_vectors, of one encoder and topic model, as items: item_id, inputs_hash, news_date
    (20191115), vector."""
    day = F.date_format("news_date", "yyyyMMdd").cast("int")
    return rows.select(
        F.col("news_id").alias(ITEM),
        F.concat_ws(" ", HASH, "news_date").alias(HASH),
        day.alias("news_date"),
        F.col("vector").alias(VECTOR),
    )


def user_items(rows: DataFrame) -> DataFrame:
    """One day's rows of user_vectors as items: item_id, inputs_hash, user_id, weight, vector.

    The day is no part of an item: a vector that is the same on the next day stays where it is.
    """
    weight: Column = F.col("weight").cast("float")
    return rows.select(
        F.concat_ws("/", "user_id", "tag_group", "phrase_id").alias(ITEM),
        F.hex(F.xxhash64("vector", weight)).alias(HASH),
        "user_id",
        weight.alias("weight"),
        F.col("vector").alias(VECTOR),
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


def _export(
    lake: Lakehouse,
    run: JobRun,
    kind: Kind,
    items: DataFrame,
    identity: dict[str, str],
    source: str,
    to: _Target,
    only: DataFrame | None,
    limits: Limits | None,
    beside: Sequence[Collection],
) -> Synced:
    with open_store(to.uri, to.token) as store:
        collection = None if to.rebuild else store.ensure(kind, to.prefix, identity=identity, size=None)
        if collection is None:
            size = vector_size(items, VECTOR, f"table {source}")
            collection = store.ensure(kind, to.prefix, identity=identity, size=size, rebuild=to.rebuild)
        if collection is None:  # no vector, no collection
            return Synced()
        done = sync(lake, run, store, collection, items, source=source, only=only, limits=limits)
        switch_all(lake, run, store, to.prefix, [collection, *beside], first=only is not None)
    run.fact(f"{kind.name} sent to Milvus", done.sent)
    run.fact(f"{kind.name} removed from Milvus", done.removed)
    return done

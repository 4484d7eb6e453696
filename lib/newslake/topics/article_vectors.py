"""build_article_vectors: each article's embedding joined with the vector of its two topics, as the newsfeed
searches it."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import (
    TOPIC_SHARE,
    joined,
    joined_with_nothing,
    norm,
    unit,
    vector_size,
    weighted_mean,
)
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one
from newslake.switches.horizon import UNDATED, horizon, served
from newslake.switches.topic_model import topic_models
from newslake.topics.assign import PER_ARTICLE, topics_of
from newslake.topics.fit import TOPICS

TABLE = "article_vectors"

_SAME = ("news_id", "news_date", "inputs_hash")
_KEY = ("news_date", "news_id", "encoder_id", "topic_model")


def build_article_vectors(
    lake: Lakehouse,
    run: JobRun,
    *,
    encoder_id: str | None = None,
    topic_model: str | None = None,
    slice_rows: int = 200_000,
) -> None:
    """Join the embedding of every article with the weighted mean of its two topics' vectors, into table
    article_vectors.

    Only what is new or has changed is computed: text, topics, or the day of publication, which moves an
    article to another partition. An article waits until both encode_articles and assign_topics have seen its
    present text.

    Args:
        encoder_id: Which article embeddings to use; needed only where the table holds several encoders'.
        topic_model: The fitted version (default: the active one, and the one fitted last where it is still to
            become active).
        slice_rows: Articles that are joined and written at a time.
    """
    if slice_rows < 1:
        raise UserError("--slice-rows takes 1 or more")
    news, embeddings = lake.read("news"), lake.read("article_embeddings")
    encoder = the_one(
        embeddings,
        "encoder_id",
        encoder_id,
        table="article_embeddings",
        built_by="encode_articles",
        things="vectors",
    )
    models = topic_models(lake, topic_model)
    if topic_model is not None and topics_of(lake, topic_model).isEmpty():
        raise UserError(
            f"--topic-model {topic_model}: no article has topics by it: run assign_topics --topic-model"
            f" {topic_model}"
        )
    lake.read("article_topics")  # says what builds it
    run.fact("encoder_id", encoder)
    lake.create(TABLE)
    # What purge_news took out of the served vectors stays out, though news may keep the article.
    news = served(news, "published_at", horizon(lake))
    run.rows_in(news.count())
    embeddings = embeddings.where(F.col("encoder_id") == encoder)
    for model in models:
        run.fact("topic_model" if model == models[-1] else "candidate", model)
        _join(lake, run, news, embeddings, encoder, model, slice_rows)


def _join(
    lake: Lakehouse,
    run: JobRun,
    news: DataFrame,
    embeddings: DataFrame,
    encoder: str,
    model: str,
    slice_rows: int,
) -> None:
    """Bring the vectors of one topic model up to date."""
    topics = lake.read(TOPICS).where(F.col("topic_model") == model)
    size = vector_size(topics, "vector", f"topic model {model}")
    if size is None:
        raise UserError(f"--topic-model {model}: no such model in table topics: run fit_topics")
    wanted = inputs(news, embeddings, topics_of(lake, model))
    stored = lake.read(TABLE).where((F.col("encoder_id") == encoder) & (F.col("topic_model") == model))
    ready, count = _counted(wanted, stored)
    if (waiting := (run.rows_read or 0) - ready) > 0:
        run.fact("articles that wait for encode_articles or assign_topics", waiting)
    slices = -(-count // slice_rows)
    run.progress(f"{count:,} articles to join with topics by {model}")
    run.wrote(TABLE, 0)
    written = 0
    for number in range(slices):
        mine = F.pmod(F.xxhash64("news_id"), F.lit(slices)) == number
        todo = stale(wanted.where(mine), stored.where(mine))
        rows = vector_rows(todo, embeddings, topics, encoder=encoder, topic_model=model, topic_size=size)
        written += write_vectors(lake, run, rows, moved(wanted.where(mine), stored.where(mine)))
        run.progress(f"slice {number + 1} of {slices}: {written:,} of {count:,}")
    if written < count:
        run.fact("articles whose embedding has no direction", count - written)


def inputs(news: DataFrame, embeddings: DataFrame, assigned: DataFrame) -> DataFrame:
    """What each article's vector is made from, where its embedding and its topics are of its present text.

    Args:
        news: rows of news.
        embeddings: one encoder's rows of article_embeddings.
        assigned: one model's rows of article_topics.

    Returns:
        news_id, news_date, content_hash, topics: array<struct<topic_id, weight>> by rank, and inputs_hash
            over all but news_date.
    """
    pairs = assigned.groupBy("news_id", "content_hash").agg(
        F.sort_array(F.collect_list(F.struct("rank", "topic_id", "weight"))).alias("topics")
    )
    # Two rows that a writer changed between belong to different texts: such an article has too few topics
    # here, and waits.
    pairs = pairs.where(F.size("topics") == PER_ARTICLE)
    dated = news.select("news_id", "content_hash", news_date(F.col("published_at")).alias("news_date"))
    texts = embeddings.select("news_id", "content_hash")
    rows = dated.join(texts, on=["news_id", "content_hash"], how="inner").join(
        pairs, on=["news_id", "content_hash"], how="inner"
    )
    return rows.select(
        "news_id",
        "news_date",
        "content_hash",
        F.transform(
            "topics", lambda t: F.struct(t["topic_id"].alias("topic_id"), t["weight"].alias("weight"))
        ).alias("topics"),
        F.sha2(
            F.to_json(F.struct("content_hash", "topics", F.lit(TOPIC_SHARE).alias("topic_share"))), 256
        ).alias("inputs_hash"),
    )


def news_date(published_at: Column) -> Column:
    """The day of publication, UTC; UNDATED where there is none."""
    return F.coalesce(published_at.cast("date"), F.lit(UNDATED).cast("date"))


def stale(wanted: DataFrame, stored: DataFrame) -> DataFrame:
    """Those of `wanted` that have no vector of these inputs on that day."""
    return wanted.join(stored.select(*_SAME), on=[*_SAME], how="left_anti")


def _counted(wanted: DataFrame, stored: DataFrame) -> tuple[int, int]:
    """How many of `wanted` there are, and how many of them are stale."""
    made = stored.select(*_SAME, F.lit(True).alias("made"))
    row = (
        wanted.join(made, on=[*_SAME], how="left")
        .agg(F.count("*"), F.count_if(F.col("made").isNull()))
        .head()
    )
    assert row is not None
    return int(row[0]), int(row[1])


def moved(wanted: DataFrame, stored: DataFrame) -> DataFrame:
    """Stored rows of articles whose day is another now: nothing may hold an article twice."""
    now = wanted.select("news_id", F.col("news_date").alias("now"))
    return stored.join(now, on="news_id", how="inner").where(F.col("news_date") != F.col("now")).drop("now")


def write_vectors(lake: Lakehouse, run: JobRun, rows: DataFrame, left: DataFrame) -> int:
    """Write rows of article_vectors in place of those that an article left on another day, in one commit;
    returns how many are new or differ. One way for a job's slices and for a stream's batches.

    Args:
        lake, run: of the job or stream.
        rows: from `vector_rows`.
        left: from `moved`.
    """
    written = lake.merge(TABLE, rows, gone=left.select(*_KEY)).rows
    run.wrote(TABLE, written)
    return written


def vector_rows(
    todo: DataFrame,
    embeddings: DataFrame,
    topics: DataFrame,
    *,
    encoder: str,
    topic_model: str,
    topic_size: int,
) -> DataFrame:
    """Rows of article_vectors.

    The topic part is the weighted mean of the two topics' unit vectors, scaled by vectors.TOPIC_SHARE; zeros
    stand in where an article has no topic. An article whose embedding has no direction has no row.

    Args:
        todo: from `inputs`.
        embeddings: one encoder's rows of article_embeddings.
        topics: one model's rows of topics: few, so that they are sent to every task.
        encoder: its encoder_id.
        topic_model: the model's id.
        topic_size: entries of a topic's vector.
    """
    vectors = embeddings.where((norm(F.col("embedding")) > 0.0) & (norm(F.col("embedding")) < float("inf")))
    rows = todo.join(
        vectors.select("news_id", "content_hash", "embedding"), on=["news_id", "content_hash"], how="inner"
    )
    known = topics.select("topic_id", unit(F.col("vector")).alias("unit"))
    weights = [F.get("topics", F.lit(place))["weight"] for place in range(PER_ARTICLE)]
    for place in range(PER_ARTICLE):
        side = F.broadcast(
            known.select(F.col("topic_id").alias(f"topic_{place}"), F.col("unit").alias(f"unit_{place}"))
        )
        rows = rows.withColumn(f"topic_{place}", F.get("topics", F.lit(place))["topic_id"]).join(
            side, on=f"topic_{place}", how="left"
        )
    part = weighted_mean(
        F.array(*(F.col(f"unit_{place}") for place in range(PER_ARTICLE))), F.array(*weights)
    )
    return rows.select(
        "news_date",
        "news_id",
        F.lit(encoder).alias("encoder_id"),
        F.lit(topic_model).alias("topic_model"),
        F.coalesce(
            joined(F.col("embedding"), part), joined_with_nothing(F.col("embedding"), topic_size)
        ).alias("vector"),
        "inputs_hash",
    )

"""Articles on their way to vectors, as functions of frames: which lack one, their texts, and the rows of
article_embeddings."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.text.spec import Field, ResolvedEncoder


def pending(news: DataFrame, vectors: DataFrame) -> DataFrame:
    """Articles without a vector for their present text: those of `news` that `vectors` (one encoder's)
    lacks."""
    return news.select("news_id", "title", "abstract", "body", "content_hash").join(
        vectors.select("news_id", "content_hash"), on=["news_id", "content_hash"], how="left_anti"
    )


def segments(fields: tuple[Field, ...]) -> tuple[Column, Column]:
    """An article's text as a pair of segments: the first field, and what the others hold, joined by a blank.

    Title and abstract are the pair of the tutorial; a body joins the abstract.
    """
    others = [F.when(F.col(name) != "", F.col(name)) for name in fields[1:]]
    return F.coalesce(fields[0], F.lit("")), F.concat_ws(" ", *others) if others else F.lit("")


def one_of_each_text(articles: DataFrame, tasks: int) -> DataFrame:
    """Distinct texts, spread evenly over `tasks` partitions: content_hash, news_ids (array), title, abstract,
    body.

    The hash of the content decides where a text goes, so that lengths mix and every task has about as many
    tokens as the others, whether the articles come from one file or a thousand.
    """
    text = F.struct("title", "abstract", "body")
    spread = articles.repartition(tasks, "content_hash").groupBy("content_hash")
    return spread.agg(
        F.min_by(text, "news_id").alias("text"), F.collect_list("news_id").alias("news_ids")
    ).select("content_hash", "news_ids", "text.*")


def copies(todo: DataFrame, vectors: DataFrame) -> DataFrame:
    """Rows of article_embeddings for articles whose very text has a vector under another news_id."""
    wanted = todo.select("news_id", "content_hash")
    # Which row to copy is decided on narrow columns; only then are vectors read.
    source = (
        vectors.select(F.col("news_id").alias("source_id"), "content_hash")
        .join(wanted.select("content_hash").distinct(), on="content_hash", how="left_semi")
        .groupBy("content_hash")
        .agg(F.min("source_id").alias("source_id"))
    )
    stored = vectors.select(
        F.col("news_id").alias("source_id"), "content_hash", "encoder_id", "token_count", "embedding"
    )
    return (
        wanted.join(source, on="content_hash", how="inner")
        .join(stored, on=["source_id", "content_hash"], how="inner")
        .select("news_id", "encoder_id", "content_hash", "token_count", "embedding")
    )


def vector_rows(encoded: DataFrame, encoder: ResolvedEncoder) -> DataFrame:
    """Rows of article_embeddings: the vector of a text for each article that has it."""
    return encoded.where(F.col("error").isNull()).select(
        F.explode("news_ids").alias("news_id"),
        F.lit(encoder.encoder_id).alias("encoder_id"),
        "content_hash",
        "token_count",
        F.col("vector").alias("embedding"),
    )

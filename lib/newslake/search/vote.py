"""The vote on short texts: what "Sohu News with Milvus" does with the 20 nearest long articles,
as functions of frames."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from newslake.search.one_of_a_story import one_of_each, with_story
from newslake.text.lengths import is_long, is_short, whole_text

CHANGED, CONFIRMED, KEPT, NO_VECTOR = "changed", "confirmed", "kept", "no vector"


def short_texts(news: DataFrame, short_chars: int) -> DataFrame:
    """Texts of at most `short_chars` characters, and not none: news_id, content_hash, text, old_class."""
    texts = news.where(is_short(short_chars))
    return texts.select(
        "news_id", "content_hash", whole_text().alias("text"), F.col("category").alias("old_class")
    )


def confident_long(news: DataFrame, scores: DataFrame, *, min_score: float, short_chars: int) -> DataFrame:
    """Long articles that the classifier is sure of: news_id, content_hash, class. A score of another version
    of the text does not count.

    Args:
        news: the table.
        scores: rows of article_class_scores of one model_run.
        min_score: the score must be above it.
        short_chars: an article must be longer.
    """
    long = news.where(is_long(short_chars)).select("news_id", "content_hash")
    sure = scores.where(F.col("score") > min_score).select(
        "news_id", "class", F.col("content_hash").alias("scored_hash")
    )
    joined = long.join(sure, on="news_id", how="inner")
    return joined.where(F.coalesce(F.col("scored_hash") == F.col("content_hash"), F.lit(True))).select(
        "news_id", "content_hash", "class"
    )


def once_a_story(nearest: DataFrame, stories: DataFrame | None, neighbours: int) -> DataFrame:
    """The nearest neighbours of each text, of several that tell one story only the nearest; rank counts them
    anew.

    Args:
        nearest: query_id, item_id, score, rank.
        stories: news_id, story_id; None leaves all as it is.
        neighbours: how many of each text stay.
    """
    if stories is None:
        return nearest
    rows = one_of_each(with_story(nearest, stories, news_id="item_id"), "query_id", [F.col("rank")])
    rows = rows.withColumn("rank", F.row_number().over(Window.partitionBy("query_id").orderBy("rank")))
    return rows.where(F.col("rank") <= neighbours).select("query_id", "item_id", "score", "rank")


def ballots(nearest: DataFrame, index: DataFrame) -> DataFrame:
    """The vote of each text's neighbours: news_id, neighbours (nearest first), voted_class (ties by name),
    votes.

    Args:
        nearest: query_id, item_id, score, rank.
        index: news_id, class of the items.
    """
    classes = index.select(F.col("news_id").alias("item_id"), "class")
    named = nearest.select("query_id", "item_id", "score", "rank").join(classes, on="item_id", how="inner")
    neighbour = F.struct("rank", F.col("item_id").alias("news_id"), "class", F.col("score").alias("cosine"))
    by_class = named.groupBy("query_id", "class").agg(
        F.count("*").alias("votes"), F.collect_list(neighbour).alias("neighbours")
    )
    found = by_class.groupBy("query_id").agg(
        F.min(F.struct((-F.col("votes")).alias("votes"), "class")).alias("best"),
        F.array_sort(F.flatten(F.collect_list("neighbours"))).alias("neighbours"),
    )
    return found.select(
        F.col("query_id").alias("news_id"),
        F.transform("neighbours", lambda n: F.struct(n["news_id"], n["class"], n["cosine"])).alias(
            "neighbours"
        ),
        F.col("best.class").alias("voted_class"),
        (-F.col("best.votes")).cast("int").alias("votes"),
    )


def decided(
    texts: DataFrame, with_vector: DataFrame, cast: DataFrame, needed: int, own_votes: int
) -> DataFrame:
    """Every short text with its vote and what follows from it.

    Args:
        texts: what short_texts gives.
        with_vector: news_id of those that were searched.
        cast: what ballots gives.
        needed: votes that change a class.
        own_votes: a text with more neighbours of its own class than this keeps it.

    Returns:
        The columns of texts, neighbours, voted_class, votes, decision.
    """
    searched = with_vector.select("news_id", F.lit(True).alias("searched"))
    rows = texts.join(searched, on="news_id", how="left").join(cast, on="news_id", how="left")
    enough = F.coalesce(F.col("votes"), F.lit(0)) >= needed
    own = F.col("voted_class").eqNullSafe(F.col("old_class"))
    decision = F.when(F.col("searched").isNull(), NO_VECTOR).when(~enough, KEPT).when(own, CONFIRMED)
    for_own = F.size(F.filter("neighbours", lambda n: n["class"].eqNullSafe(F.col("old_class"))))
    decision = decision.when(for_own > own_votes, KEPT).otherwise(CHANGED)
    none = F.array().cast("array<struct<news_id: string, class: string, cosine: float>>")
    return rows.select(
        *texts.columns,
        F.coalesce("neighbours", none).alias("neighbours"),
        "voted_class",
        F.coalesce("votes", F.lit(0)).alias("votes"),
        decision.alias("decision"),
    )


def corpus(votes: DataFrame) -> DataFrame:
    """Texts with their class after the vote; those that still have none are left out."""
    after = F.when(F.col("decision") == CHANGED, F.col("voted_class")).otherwise(F.col("old_class"))
    rows = votes.select(
        "news_id", "text", after.alias("class"), "old_class", "decision", "as_of", "content_hash"
    )
    return rows.where(F.col("class").isNotNull())

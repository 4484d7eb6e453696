"""Rows of articles that tell one story: which of them counts. Stories come as rows of table stories, of one
encoder."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse


def stories_of(lake: Lakehouse, encoder_id: str) -> DataFrame | None:
    """news_id and story_id by one encoder; None where the table is not there, or holds nothing of that
    encoder."""
    if not lake.exists("stories"):
        return None
    rows = lake.read("stories").where(F.col("encoder_id") == encoder_id).select("news_id", "story_id")
    return None if rows.isEmpty() else rows


def with_story(rows: DataFrame, stories: DataFrame | None, *, news_id: str = "news_id") -> DataFrame:
    """The rows with `story`: the article's story, else the article itself. As they were where there are no
    stories.

    Args:
        rows: articles, by column `news_id`.
        stories: news_id, story_id; no article twice.
        news_id: the column's name.
    """
    if stories is None:
        return rows
    named = stories.select(F.col("news_id").alias(news_id), "story_id")
    return rows.join(named, on=news_id, how="left").select(
        *rows.columns, F.coalesce("story_id", news_id).alias("story")
    )


def one_of_each(rows: DataFrame, of: str, order: Sequence[Column]) -> DataFrame:
    """The best row of each story for each value of `of`; as they were where they name no story.

    Args:
        rows: from with_story.
        of: such as user_id.
        order: the best first; of no two rows the same.
    """
    if "story" not in rows.columns:
        return rows
    place = F.row_number().over(Window.partitionBy(of, "story").orderBy(*order))
    return rows.withColumn("__place", place).where(F.col("__place") == 1).drop("__place", "story")

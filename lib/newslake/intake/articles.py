"""What every reader of articles shares: the hash of what is encoded, which version stays, and when an article
was first shown."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

NEWS = (
    "news_id",
    "category",
    "subcategory",
    "title",
    "abstract",
    "body",
    "url",
    "entities",
    "published_at",
    "updated_at",
    "content_hash",
)
"""The columns of table news."""
DESCRIBES = ("category", "subcategory", "url", "entities")
"""What a version need not repeat: where the newest leaves it out, an older one's stands. The text is never
mixed."""
ID_HASHES = ("id_hash", "id_hash_2")


def content_hash(title: str = "title", abstract: str = "abstract", body: str = "body") -> Column:
    """SHA-256 over exactly what is encoded of an article: title, abstract and body, NULL counting as
    empty."""
    parts = [F.coalesce(F.col(name), F.lit("")) for name in (title, abstract, body)]
    return F.sha2(F.concat_ws("\0", *parts), 256)


def id_hashes(news_id: str) -> tuple[Column, Column]:
    """id_hash and id_hash_2, which stand for an article's id: 128 bits, in which no two of a billion ids
    agree but once in 1e20 times.

    Numbers are grouped and looked up in half the time that texts are, and of all candidates there are tens of
    millions.
    """
    hashes = F.xxhash64(news_id), F.xxhash64(F.lit("again"), news_id)
    return hashes[0].alias(ID_HASHES[0]), hashes[1].alias(ID_HASHES[1])


def first_shown(impressions: DataFrame) -> DataFrame:
    """id_hash and id_hash_2 of each article that was shown, the first time that it was, and how often it
    was."""
    hashed = impressions.select(*id_hashes("news_id"), "occurred_at")
    return hashed.groupBy(*ID_HASHES).agg(
        F.min("occurred_at").alias("first_shown"), F.count("*").alias("times")
    )


def settled(arrived: DataFrame, stored: DataFrame) -> DataFrame:
    """What news should hold of the articles that arrived: the newer of what came and what is there.

    A row without an updated_at, such as those of MIND's files, is older than every row with one.

    Args:
        arrived: the columns of news; no news_id twice.
        stored: rows of news; none but those of the same articles are looked at.
    """
    others = [name for name in NEWS if name != "news_id"]
    old = stored.select("news_id", F.struct(*others).alias("old")).join(
        F.broadcast(arrived.select("news_id")), on="news_id", how="left_semi"
    )
    rows = arrived.select("news_id", F.struct(*others).alias("new")).join(old, on="news_id", how="left")
    newer = F.col("old").isNull() | (_version("old") < _version("new"))

    def column(name: str) -> Column:
        ours, theirs = F.col(f"new.{name}"), F.col(f"old.{name}")
        if name in DESCRIBES:
            return F.when(newer, F.coalesce(ours, theirs)).otherwise(F.coalesce(theirs, ours)).alias(name)
        return F.when(newer, ours).otherwise(theirs).alias(name)

    return rows.select("news_id", *map(column, others))


def _version(side: str) -> Column:
    # Structs compare member by member, NULL before everything else.
    return F.struct(
        F.col(f"{side}.updated_at").alias("updated_at"), F.col(f"{side}.content_hash").alias("content_hash")
    )

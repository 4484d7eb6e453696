"""News of several ages with everything that is made from them, served by Milvus."""

from collections.abc import Mapping

from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_names
from newslake.run.jobrun import JobRun
from newslake.serving.export import export_articles
from newslake.serving.stores.milvus.client import default_uri
from tests.serving.rows import article_vectors, trained
from tests.tables import put

TODAY = "2019-11-20"
HORIZON = "2019-11-10"
DAYS: Mapping[str, str | None] = {
    "old": "2019-10-01 12:00:00",  # nothing needs it
    "last": "2019-11-09 23:59:59",  # of the last old day
    "shown": "2019-10-02 00:00:00",
    "clicked": "2019-10-03 00:00:00",
    "history": "2019-10-04 00:00:00",
    "corpus": "2019-10-05 00:00:00",
    "scored": "2019-10-06 00:00:00",
    "first": "2019-11-10 00:00:00",  # of the first day that stays
    "new": "2019-11-19 08:00:00",
    "undated": None,
}
OLD = set(DAYS) - {"first", "new", "undated"}
NEEDED = {"shown", "clicked", "history", "corpus"}
"""Old, and kept by default."""
PER_ARTICLE = ("stories", "article_embeddings", "article_topics", "news_embeddings", "news")


def fill(lake: Lakehouse) -> None:
    """News of all ages, their vectors in tables and in Milvus, and who reads them."""
    put(
        lake,
        "news",
        [*({"news_id": key, "published_at": day, "content_hash": key} for key, day in DAYS.items())],
    )
    put(
        lake,
        "article_vectors",
        article_vectors(lake, [(key, (day or "1970-01-01")[:10], key) for key, day in DAYS.items()]),
    )
    put(
        lake,
        "article_embeddings",
        [*({"news_id": key, "content_hash": key, "encoder_id": "e1", "embedding": [1.0]} for key in DAYS)],
    )
    put(
        lake,
        "topics",
        [{"topic_model": "t1", "terms": ["a"], "term_weights": [1.0], "vector": [1.0]}],
    )
    told = ({"news_id": key, "story_id": key, "encoder_id": "e1", "cosine": 1.0} for key in DAYS)
    put(lake, "stories", [*told])
    topics = (
        {"news_id": key, "content_hash": key, "topic_model": "t1", "rank": rank}
        for key in DAYS
        for rank in (1, 2)
    )
    put(lake, "article_topics", [*topics])
    trained(lake, "news_embeddings", "news_id", [(key, [1.0]) for key in DAYS])
    put(
        lake,
        "impressions",
        [
            {"split": "train", "impression_id": "1", "position": 0, "news_id": "shown", "clicked": False},
            {"split": "train", "impression_id": "1", "position": 1, "news_id": "clicked", "clicked": True},
            {"split": "test", "impression_id": "2", "position": 0, "news_id": "new"},
        ],
    )
    put(
        lake,
        "click_history",
        [{"split": "train", "impression_id": "1", "news_ids": ["history", "unknown"]}],
    )
    put(lake, "short_text_corpus", [{"news_id": "corpus"}])
    put(
        lake,
        "article_class_scores",
        [{"news_id": "scored"}, {"news_id": "new"}],
    )
    export_articles(lake, JobRun("export_vectors"), uri=default_uri(lake))


def ids(lake: Lakehouse, table: str, column: str = "news_id") -> set[str]:
    """The ids that a table names."""
    return {row[0] for row in lake.read(table).select(column).distinct().collect()}


def counts(lake: Lakehouse) -> dict[str, int]:
    """Rows of every table that a purge may touch."""
    there = [table for table in table_names() if lake.exists(table)]
    return {
        table: lake.read(table).count()
        for table in there
        if table not in ("job_starts", "job_runs", "purges")
    }

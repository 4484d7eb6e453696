"""Gathers from the tables what is known of readers and articles at some hours: the same for training and for
the feed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.files.remote import Place, hadoop_name, remove
from newslake.files.work import shared_folder
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.known import numbered, reading
from newslake.ranking.queries import Known
from newslake.ranking.recommended import for_workers
from newslake.ranking.scoring import VectorPaths
from newslake.ranking.vector_map import VectorMap, vector_map
from newslake.search.scratch import Scratch
from newslake.search.vector_files import VectorFiles
from newslake.spark.frames import Frames
from newslake.training.data.past_clicks import with_click_times

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.models.saved import SavedModel

EMBEDDINGS, ARTICLES, USERS = "article_embeddings", "article_vectors", "user_vectors"


@dataclass(frozen=True)
class Moments:
    """What to gather for.

    Attributes:
        hours: whole hours, ascending.
        days: articles published in so many days before each are candidates.
        encoder_id: whose vectors.
        topic_model: whose joined vectors; None: likeness is unknown.
    """

    hours: Sequence[datetime]
    days: int
    encoder_id: str
    topic_model: str | None

    @property
    def since(self) -> date:
        """The first day of which a candidate can be."""
        return (self.hours[0] - timedelta(days=self.days)).date()


@contextmanager
def vector_folder(lake: Lakehouse, given: str | None) -> Iterator[Place]:
    """A new folder for vectors that all workers open; removed at the end.

    Raises:
        UserError: nothing says where.
    """
    folder = shared_folder(lake, "_scratch", "--scratch-folder", given) / f"ranker-{uuid4().hex}"
    try:
        yield folder
    finally:
        remove(folder)


def impressions_of(lake: Lakehouse) -> DataFrame:
    """Table impressions with clicked_at, see `with_click_times`."""
    return with_click_times(lake.read("impressions"), lake.read("clicks") if lake.exists("clicks") else None)


def gathered(
    lake: Lakehouse,
    frames: Frames,
    folder: Place,
    moments: Moments,
    *,
    news: DataFrame,
    rates: DataFrame,
    recommender: "SavedModel | None" = None,
) -> tuple[Known, VectorPaths]:
    """What is known at the hours, and the files of vectors that it refers to.

    Args:
        lake: with impressions, and clicks, click_history and the tables of vectors, each where there is one.
        frames: keeps what is read more than once.
        folder: for the files of vectors.
        moments: what to gather for.
        news: news_id, category, subcategory, published_at.
        rates: hour, news_id and the rates of the candidates.
        recommender: whose score is a feature; None: it is unknown.
    """
    end = F.lit(moments.hours[-1])
    impressions = impressions_of(lake).where(F.col("occurred_at") < end)
    history = lake.read_or_empty("click_history").where(F.col("occurred_at") < end)
    embeddings = _map(lake, EMBEDDINGS, {"": f"encoder_id = '{moments.encoder_id}'"}, moments, folder)
    first, last = moments.since, moments.hours[-1].date()
    vectors = _map(lake, ARTICLES, {"": f"news_date BETWEEN '{first}' AND '{last}'"}, moments, folder)
    days = _profile_days(lake, moments)
    users = _map(lake, USERS, {str(day): f"as_of = '{day}'" for day in days}, moments, folder)
    profile_rows = users.index.select("id", F.col("side").cast("date").alias("as_of"), "row", "weight")
    read = frames.keep(reading(impressions, history))
    ready, numbers = None, None
    if recommender is not None:
        matter = rates.select("news_id").union(read.select("news_id")).distinct()
        ready, numbers = for_workers(lake, recommender, folder / "recommender", matter)
    articles = frames.keep(numbered(news, embeddings.index, vectors.index, numbers))
    known = Known(articles, impressions, read, rates, profile_rows, days)
    return known, VectorPaths(embeddings.file, vectors.file, users.file, ready)


def _profile_days(lake: Lakehouse, moments: Moments) -> list[date]:
    """The days whose user vectors hold at one of the hours."""
    if moments.topic_model is None or not lake.exists(USERS):
        return []
    rows = lake.read(USERS).where(
        (F.col("encoder_id") == moments.encoder_id) & (F.col("topic_model") == moments.topic_model)
    )
    known = sorted(
        row[0]
        for row in rows.where(F.col("as_of") <= F.lit(moments.hours[-1].date()))
        .select("as_of")
        .distinct()
        .collect()
    )
    before = [day for day in known if day <= moments.hours[0].date()]
    return [*before[-1:], *(day for day in known if day > moments.hours[0].date())]


def _map(lake: Lakehouse, table: str, slices: dict[str, str], moments: Moments, folder: Place) -> VectorMap:
    """The vectors of some slices of a table, by conditions on its partitions."""
    joined = table != EMBEDDINGS
    key, column = ("user_id" if table == USERS else "news_id"), ("vector" if joined else "embedding")
    identity = {"encoder_id": moments.encoder_id, "topic_model": moments.topic_model or ""} if joined else {}
    wanted = slices if lake.exists(table) and (moments.topic_model is not None or not joined) else {}
    weight = "weight" if table == USERS else None
    scratch = Scratch(hadoop_name(folder / f"{table}_files"))
    sides = {
        name: VectorFiles.of(
            lake.read(table).where(condition), key, column, scratch, where=identity, weight_column=weight
        )
        for name, condition in wanted.items()
    }
    return vector_map(lake.spark, sides, folder / table)

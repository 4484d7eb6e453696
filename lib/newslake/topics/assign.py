"""assign_topics: the two most relevant topics of every article that has none for its text, by a model fitted
before."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.connect import parallelism
from newslake.spark.frames import Frames
from newslake.switches.topic_model import fitted_topic_models, topic_models
from newslake.topics.fit import TERMS, TOPICS
from newslake.topics.inference import TopicModel, top_topics
from newslake.topics.words import article_text, terms

TABLE = "article_topics"
PER_ARTICLE = 2
"""Sohu News joins an article's embedding with its two most relevant topics."""

_ASSIGNED = "news_id string, content_hash string, topic_ids array<int>, weights array<double>"


def assign_topics(
    lake: Lakehouse, run: JobRun, *, topic_model: str | None = None, partitions: int | None = None
) -> None:
    """Give every article of table news its two most relevant topics and their weights, by a saved model,
    without refitting.

    Only articles that have none for their present text are read. An article without any word that the model
    knows gets both its rows with no topic and weight 0.

    Args:
        topic_model: The fitted version (default: the active one, and the one fitted last where it is still to
            become active).
        partitions: Tasks that the new articles are split into (default: two for each core of the cluster).
    """
    if partitions is not None and partitions < 1:
        raise UserError("--partitions takes 1 or more")
    news = lake.read("news")
    models = [load_model(lake, name) for name in topic_models(lake, topic_model)]
    lake.create(TABLE)
    tasks = partitions or 2 * parallelism(lake.spark)
    for model in models:
        run.fact("topic_model" if model is models[-1] else "candidate", model.topic_model)
        _assign_pending(lake, run, news, model, tasks)


def _assign_pending(lake: Lakehouse, run: JobRun, news: DataFrame, model: TopicModel, tasks: int) -> None:
    todo = pending(news, topics_of(lake, model.topic_model)).repartition(tasks, "content_hash")
    found = write_topics(lake, run, todo, model)
    run.rows_in(found.articles)
    run.progress(f"{found.articles:,} articles had no topics by {model.topic_model}")
    if found.without_words:
        run.fact("articles without a word that the model knows", found.without_words)


@dataclass(frozen=True)
class Assigned:
    """What came of some articles: how many they were, how many of them had no word that the model knows, and
    the rows of article_topics that are new or differ."""

    articles: int
    without_words: int
    written: int


def write_topics(lake: Lakehouse, run: JobRun, articles: DataFrame, model: TopicModel) -> Assigned:
    """Assign topics to articles and write them: all that lack some in a job, those of a batch in a stream.

    Args:
        lake, run: of the job or stream.
        articles: from `pending`.
        model: from `load_model`.
    """
    with Frames() as frames:
        assigned = frames.keep(assign(articles, model))
        unknown = F.count(F.when(F.get("topic_ids", F.lit(0)).isNull(), 1))
        counted = assigned.agg(F.count("*"), unknown).head()
        assert counted is not None
        rows = topic_rows(assigned, model.topic_model)
        written = lake.merge(TABLE, rows).rows if counted[0] else 0
    run.wrote(TABLE, written)
    return Assigned(counted[0], counted[1], written)


def topics_of(lake: Lakehouse, topic_model: str) -> DataFrame:
    """One model's rows of article_topics."""
    return lake.read(TABLE).where(F.col("topic_model") == topic_model)


def load_model(lake: Lakehouse, topic_model: str | None = None) -> TopicModel:
    """The saved model, by default the active one. It comes to the driver: its size is bounded by vocabulary
    and topics.

    Raises:
        UserError: there is no such model.
        JobFailed: tables topics and topic_terms do not fit together.
    """
    wanted = topic_model or topic_models(lake)[-1]
    topics = (
        lake.read(TOPICS)
        .where(F.col("topic_model") == wanted)
        .select("topic_id", "prior")
        .orderBy("topic_id")
        .collect()
    )
    if not topics:
        known = sorted(fitted_topic_models(lake))[:20]
        raise UserError(
            f"--topic-model {wanted}: no such model; there are:"
            f" {', '.join(known) or 'none yet, run fit_topics'}"
        )
    rows = (
        lake.read(TERMS)
        .where(F.col("topic_model") == wanted)
        .select("term_index", "term", "topic_counts")
        .toArrow()
    )
    order = np.argsort(rows.column("term_index").to_numpy())
    counts = rows.column("topic_counts").combine_chunks().flatten().to_numpy()
    if not len(order) or len(counts) != len(order) * len(topics):
        raise JobFailed(
            f"topic model {wanted} is damaged: {len(topics)} topics, {len(order)} terms, {len(counts)}"
            " weights; fit it again"
        )
    vocabulary = rows.column("term").take(pa.array(order)).to_pylist()
    return TopicModel.fitted(
        wanted, vocabulary, counts.reshape(len(order), -1)[order], np.array([row["prior"] for row in topics])
    )


def pending(news: DataFrame, assigned: DataFrame) -> DataFrame:
    """Articles without topics for their present text: those of `news` that `assigned` (one model's) lacks."""
    return news.select("news_id", "title", "abstract", "body", "content_hash").join(
        assigned.where(F.col("rank") == 1).select("news_id", "content_hash"),
        on=["news_id", "content_hash"],
        how="left_anti",
    )


def assign(articles: DataFrame, model: TopicModel) -> DataFrame:
    """The two most relevant topics of each article: a step of the plan without any table, for a micro-batch
    as for a job.

    Args:
        articles: news_id, title, abstract, body, content_hash.
        model: from `load_model`; travels to the workers with the step.

    Returns:
        news_id, content_hash, topic_ids: array<int> (heaviest first; NULLs where no word is known), weights:
            array<double>.
    """
    given = articles.select("news_id", "content_hash", article_text().alias("text"))
    return given.mapInArrow(partial(_assign, model), _ASSIGNED)


def topic_rows(assigned: DataFrame, topic_model: str) -> DataFrame:
    """Rows of article_topics, two for each article of `assign`."""
    pairs = F.posexplode(F.arrays_zip(F.col("topic_ids").alias("topic_id"), F.col("weights").alias("weight")))
    return assigned.select("news_id", "content_hash", pairs.alias("place", "pair")).select(
        "news_id",
        F.lit(topic_model).alias("topic_model"),
        (F.col("place") + 1).alias("rank"),
        F.col("pair.topic_id").alias("topic_id"),
        F.col("pair.weight").alias("weight"),
        "content_hash",
    )


def _assign(model: TopicModel, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        shares = model.shares([terms(text) for text in batch.column("text").to_pylist()])
        ids, weights = top_topics(shares, PER_ARTICLE)
        offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * PER_ARTICLE)
        known = pa.array(ids.reshape(-1), pa.int32(), mask=ids.reshape(-1) < 0)
        columns = [
            batch.column("news_id"),
            batch.column("content_hash"),
            pa.ListArray.from_arrays(offsets, known),
            pa.ListArray.from_arrays(offsets, pa.array(weights.reshape(-1))),
        ]
        yield pa.RecordBatch.from_arrays(columns, names=["news_id", "content_hash", "topic_ids", "weights"])

"""fit_topics: topics, their terms and their vectors, fitted on the articles by Spark ML, as a new version
beside the old ones."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.switches.topic_model import active_topic_model
from newslake.topics.models import FIT, FitSettings, Fitted, fit
from newslake.topics.words import article_text

TOPICS, TERMS = "topics", "topic_terms"


def fit_topics(
    lake: Lakehouse,
    run: JobRun,
    *,
    settings: FitSettings = FIT,
    force: bool = False,
) -> None:
    """Fit topics on the articles of table news: LDA over a bounded vocabulary, and Word2Vec for the terms'
    vectors.

    A fit is a new version, named by settings, seed and the articles it saw, beside the older ones. The first
    one is active at once; a later one is a candidate: jobs make vectors by it too, and activate_topic_model
    makes it the active one when all are there. Where that very version is there already, nothing is done.

    Args:
        force: Fit also where that very version is there.
    """
    articles = chosen(lake.read("news"), settings)
    count, fingerprint = fingerprint_of(articles)
    run.rows_in(count)
    model = settings.model_id(fingerprint)
    run.fact("topic_model", model)
    for table in (TERMS, TOPICS):
        lake.create(table)
    # Tables that an older version filled: what is served now stays active, not what is fitted now.
    active_topic_model(lake)
    if not force and not lake.read(TOPICS).where(F.col("topic_model") == model).isEmpty():
        run.fact("fitted before", "yes")
        return
    run.progress(f"{count:,} distinct texts for {model}")
    fitted = fit(articles, settings, count, run)
    # The terms first: a model whose topics are there is complete, and a run killed before leaves what nobody
    # reads.
    run.wrote(TERMS, lake.replace(TERMS, _term_rows(lake, model, fitted), where={"topic_model": model}).rows)
    run.wrote(
        TOPICS,
        lake.replace(
            TOPICS, _topic_rows(lake, model, fitted, settings, count), where={"topic_model": model}
        ).rows,
    )
    run.fact("active topic model", active_topic_model(lake))


def chosen(news: DataFrame, settings: FitSettings) -> DataFrame:
    """The distinct texts to fit on, about max_articles of them: content_hash, text. The same rows for the
    same articles."""
    texts = news.select("content_hash", article_text().alias("text")).where(F.length(F.trim("text")) > 0)
    total = news.count()
    if total > settings.max_articles:
        share = settings.max_articles / total
        bucket = F.pmod(F.xxhash64(F.lit(settings.seed), "content_hash"), F.lit(1 << 30))
        texts = texts.where(bucket < int(share * (1 << 30)))
    return texts.dropDuplicates(["content_hash"])


def fingerprint_of(articles: DataFrame) -> tuple[int, str]:
    """Number of texts, and a hash of them that does not depend on their order."""
    row = articles.agg(F.count("*"), F.sum(F.xxhash64("content_hash").cast("decimal(38,0)"))).head()
    assert row is not None
    return int(row[0]), f"{row[0]}:{row[1]}"


def _term_rows(lake: Lakehouse, model: str, fitted: Fitted) -> DataFrame:
    n = len(fitted.terms)
    table = pa.table(
        {
            "topic_model": [model] * n,
            "term": fitted.terms,
            "term_index": pa.array(np.arange(n), pa.int32()),
            "articles": pa.array(fitted.articles),
            "topic_counts": _lists(fitted.counts),
            "vector": _lists(fitted.vectors),
        }
    )
    return lake.spark.createDataFrame(table).coalesce(1)


def _topic_rows(lake: Lakehouse, model: str, fitted: Fitted, settings: FitSettings, count: int) -> DataFrame:
    rows, weights, vectors = fitted.top(settings.top_terms)
    k = len(fitted.prior)
    table = pa.table(
        {
            "topic_model": [model] * k,
            "topic_id": pa.array(np.arange(k), pa.int32()),
            "terms": [[fitted.terms[row] for row in one] for one in rows],
            "term_weights": _lists(weights),
            "vector": _lists(vectors),
            "prior": fitted.prior,
            "articles": pa.array([count] * k, pa.int64()),
            "fitted_at": pa.array([datetime.now(UTC)] * k, pa.timestamp("us", tz="UTC")),
        }
    )
    return lake.spark.createDataFrame(table).coalesce(1)


def _lists(values: np.ndarray) -> pa.ListArray:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))

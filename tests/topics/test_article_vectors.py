"""build_article_vectors: the joined vector, what is computed again and what is not, and that no article is
there twice."""

import shutil
from datetime import date
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import TOPIC_SHARE
from newslake.run.jobrun import JobRun
from newslake.switches.topic_model import topic_models
from newslake.topics.article_vectors import TABLE, build_article_vectors
from newslake.topics.assign import assign_topics
from tests.tables import put
from tests.topics.conftest import about, articles, fitted, write_news

SIZE, ENCODER = 6, "some.encoder"


def embed(lake: Lakehouse, encoder: str = ENCODER, *, size: int = SIZE, without: str = "") -> None:
    """Embeddings for all articles but one, as encode_articles leaves them: a vector that follows from the
    text."""
    parts = [F.pmod(F.xxhash64("content_hash", F.lit(i)), F.lit(1000)) / 500 - 1 for i in range(size)]
    rows = lake.read("news").where(F.col("news_id") != without)
    rows = rows.select(
        "news_id",
        F.lit(encoder).alias("encoder_id"),
        "content_hash",
        F.lit(3).alias("token_count"),
        F.array(*parts).cast("array<float>").alias("embedding"),
    )
    put(lake, "article_embeddings", rows)


def build(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("build_article_vectors")
    build_article_vectors(lake, run, **options)
    return run


def vectors(lake: Lakehouse) -> DataFrame:
    """The table, after a look that no article is there twice."""
    rows = lake.read(TABLE)
    assert rows.groupBy("news_id", "encoder_id", "topic_model").count().where("count > 1").isEmpty()
    return rows


@pytest.fixture
def ready(modelled: Lakehouse) -> Lakehouse:
    """Articles with embeddings and topics."""
    assign_topics(modelled, JobRun("assign_topics"), partitions=1)
    embed(modelled)
    return modelled


def test_vectors_are_numpys(ready: Lakehouse) -> None:
    write_news(ready, [("strange", "zzz", None, None, None)])
    assign_topics(ready, JobRun("assign_topics"), partitions=1)
    embed(ready)
    run = build(ready, slice_rows=20)
    assert run.rows_written == {TABLE: 37}
    found = {row["news_id"]: row for row in vectors(ready).collect()}
    assert found["sport-001"]["news_date"] == date(2019, 11, 11)
    assert found["strange"]["news_date"] == date(1970, 1, 1)
    topics = {
        row["topic_id"]: np.array(row["vector"], dtype=np.float64) for row in ready.read("topics").collect()
    }
    texts = {
        row["news_id"]: np.array(row["embedding"], dtype=np.float64)
        for row in ready.read("article_embeddings").collect()
    }
    pairs: dict[str, dict[int, float]] = {}
    for row in ready.read("article_topics").where("topic_id IS NOT NULL").collect():
        pairs.setdefault(row["news_id"], {})[row["topic_id"]] = row["weight"]
    for news_id, row in found.items():
        text = texts[news_id] / np.linalg.norm(texts[news_id])
        expected = np.concatenate([text, np.zeros(8)])
        if news_id != "strange":
            units = np.stack([topics[topic] / np.linalg.norm(topics[topic]) for topic in pairs[news_id]])
            part = np.array(list(pairs[news_id].values())) @ units
            part /= np.linalg.norm(part)
            expected = np.concatenate([text * (1 - TOPIC_SHARE) ** 0.5, part * TOPIC_SHARE**0.5])
        assert len(row["vector"]) == SIZE + 8
        np.testing.assert_allclose(row["vector"], expected, atol=1e-6, err_msg=news_id)
    assert build(ready).rows_written == {TABLE: 0}


def test_only_what_changed_is_joined_again(ready: Lakehouse) -> None:
    build(ready)
    before = {row["news_id"]: row for row in vectors(ready).collect()}
    rest = {row[0]: row for row in articles()}
    moved = (*rest["money-000"][:4], "2019-12-01 00:00:00")
    # One text changes, one day of publication, both of a third; a fourth is new and has no embedding yet.
    new = [
        ("sport-000", about("sport", 90), about("money", 91), None, rest["sport-000"][4]),
        moved,
        ("sport-002", about("sport", 92), about("sport", 93), None, "2019-12-01 00:00:00"),
        ("new", about("weather", 94), None, None, None),
    ]
    write_news(ready, new)
    waiting = build(ready)
    assert waiting.rows_written == {TABLE: 1}
    assert waiting.facts["articles that wait for encode_articles or assign_topics"] == "3"
    assert vectors(ready).where("news_id = 'money-000'").select("news_date").collect() == [
        (date(2019, 12, 1),)
    ]
    assign_topics(ready, JobRun("assign_topics"), partitions=1)
    embed(ready, without="new")
    run = build(ready)
    assert run.rows_written == {TABLE: 2}
    after = {row["news_id"]: row for row in vectors(ready).collect()}
    assert {news_id for news_id in before if before[news_id] != after[news_id]} == {
        "sport-000",
        "money-000",
        "sport-002",
    }
    assert after["money-000"]["vector"] == before["money-000"]["vector"]
    assert after["sport-002"]["news_date"] == date(2019, 12, 1)
    assert len(after) == 36


def test_a_refit_and_another_encoder_stand_beside_what_is_there(ready: Lakehouse) -> None:
    build(ready)
    first = vectors(ready).collect()
    refit = fitted(ready, seed=1, vector_size=5)
    assert build(ready).rows_read == 36  # the new model has no articles yet: nothing to do, and nothing mixed
    assert vectors(ready).collect() == first
    assign_topics(ready, JobRun("assign_topics"), partitions=1)
    assert build(ready).rows_written == {TABLE: 36}
    embed(ready, "other.encoder", size=3)
    with pytest.raises(UserError, match=r"choose with --encoder-id other\.encoder or some\.encoder"):
        build(ready)
    assert build(ready, encoder_id="other.encoder", topic_model=refit).rows_written == {TABLE: 36}
    sizes = (
        vectors(ready)
        .groupBy("encoder_id", (F.col("topic_model") == refit).alias("refit"))
        .agg(F.count("*"), F.min(F.size("vector")), F.max(F.size("vector")))
    )
    assert sorted(tuple(row) for row in sizes.collect()) == [
        ("other.encoder", True, 36, 8, 8),
        ("some.encoder", False, 36, 14, 14),
        ("some.encoder", True, 36, 11, 11),
    ]
    kept = vectors(ready).where((F.col("encoder_id") == ENCODER) & (F.col("topic_model") != refit))
    assert sorted(kept.collect()) == sorted(first)


def test_an_embedding_without_a_direction_has_no_vector(ready: Lakehouse) -> None:
    zero = (
        ready.read("article_embeddings")
        .where("news_id = 'sport-000'")
        .withColumn("embedding", F.array_repeat(F.lit(0.0).cast("float"), SIZE))
    )
    put(ready, "article_embeddings", zero)
    run = build(ready)
    assert run.rows_written == {TABLE: 35}
    assert run.facts["articles whose embedding has no direction"] == "1"


def test_mistakes(news: Lakehouse, modelled: Lakehouse) -> None:
    with pytest.raises(UserError, match="article_embeddings is not there yet"):
        build(news)
    embed(news)
    with pytest.raises(UserError, match="topics is not there yet"):
        build(news)
    with pytest.raises(UserError, match=r"no such vectors; it has some\.encoder"):
        build(news, encoder_id="x")
    for table in ("topics", "topic_terms"):
        shutil.copytree(f"{modelled.root}/{table}", f"{news.root}/{table}")
    model = topic_models(news)[-1]
    with pytest.raises(UserError, match="article_topics is not there yet"):
        build(news, topic_model=model)
    news.create("article_topics")
    with pytest.raises(UserError, match=f"run assign_topics --topic-model {model}"):
        build(news, topic_model=model)
    assert not news.exists(TABLE)

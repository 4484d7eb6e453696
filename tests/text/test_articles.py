"""encode_articles: what is encoded, copied, replaced and rejected, and that a rerun adds nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.intake.articles import content_hash
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.text.articles import encode_articles
from newslake.text.embed import NO_TEXT
from newslake.text.encoder import Encoder
from newslake.text.rows import one_of_each_text, segments
from newslake.text.spec import EncoderSpec, resolve
from tests.calling import call
from tests.tables import put
from tests.text.conftest import UNEMBEDDED

Article = tuple[str, str, str | None, str | None]

ARTICLES: list[Article] = [
    ("N1", "team wins", "the city team wins", None),
    ("N2", "storm rain", "", ""),
    ("N3", "team wins", "the city team wins", None),  # N1's text
    ("N4", "market", "stock market", "the law of the market " * 400),
    ("N5", "", "", None),
    ("N6", "\x00\x01\x02", " \t ", None),
    ("N7", "news " * 200_000, "a megabyte", None),
    ("N8", "y" * 10_000, "one word", None),
    ("N9", "天 news \x1b[0m 😀", "court", None),
]


def write_news(lake: Lakehouse, articles: Sequence[Article]) -> None:
    """Put articles into table news, with the hash of their text."""
    rows = frame_of(lake.spark, list(articles), "news_id string, title string, abstract string, body string")
    rows = rows.withColumn("content_hash", content_hash())
    contract = lake.schema("news")
    known = {
        field.name: F.col(field.name) if field.name in rows.columns else F.lit(None).cast(field.dataType)
        for field in contract
    }
    put(lake, "news", rows.select(*(known[name].alias(name) for name in contract.names)))


def vectors(lake: Lakehouse) -> dict[str, np.ndarray]:
    """news_id -> vector, for tables of a few rows."""
    rows = lake.read("article_embeddings").select("news_id", "embedding").collect()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: np.array(row[1], dtype=np.float32) for row in rows}


def encode(lake: Lakehouse, model: Path, **options: object) -> JobRun:
    """One run of the job."""
    run = JobRun("encode_articles")
    call(encode_articles, lake, run, encoder=str(model), partitions=2, **options)
    return run


def test_encodes_copies_and_rejects(lake: Lakehouse, small_model: Path) -> None:
    write_news(lake, ARTICLES)
    run = encode(lake, small_model)
    found = vectors(lake)
    assert sorted(found) == ["N1", "N2", "N3", "N4", "N7", "N8", "N9"]
    assert not any("meanwhile" in fact for fact in run.facts)
    expected = Encoder(resolve(EncoderSpec(str(small_model))))
    second = {"N4": "stock market " + "the law of the market " * 400}
    for news_id, title, abstract, _ in ARTICLES:
        if news_id in found:
            alone = expected.encode([title], [second.get(news_id, abstract or "")])
            np.testing.assert_array_equal(found[news_id], alone.vectors[0], err_msg=news_id)
    quarantine = lake.read("quarantine").orderBy("record_id").collect()
    assert [(row["record_id"], row["reason"], row["source"]) for row in quarantine] == [
        ("N5", NO_TEXT, "table news"),
        ("N6", NO_TEXT, "table news"),
    ]
    assert b"abstract" in bytes(quarantine[1]["raw"])
    assert run.rows_read == 9
    assert run.rows_written == {"article_embeddings": 7}
    assert run.rows_rejected == 2
    assert run.facts["texts encoded"] == "6"

    again = encode(lake, small_model)
    assert again.rows_written == {"article_embeddings": 0}
    assert lake.read("quarantine").count() == 2
    assert again.rows_rejected == 2  # tried again, rejected again


def test_encodes_what_is_new_or_changed_and_nothing_else(lake: Lakehouse, small_model: Path) -> None:
    write_news(lake, [("N1", "team wins", "", None), ("N2", "storm", "", None), ("N3", "court", "", None)])
    encode(lake, small_model)
    before = vectors(lake)
    # N1 changes; N2 takes over N1's old text; N4 is new with N3's text, N5 with one of its own.
    write_news(
        lake,
        [
            ("N1", "team loses", "", None),
            ("N2", "team wins", "", None),
            ("N4", "court", "", None),
            ("N5", "rain", "", None),
        ],
    )
    run = encode(lake, small_model)
    after = vectors(lake)
    assert run.rows_written == {"article_embeddings": 4}
    assert run.facts["texts encoded"] == "2"
    assert run.facts["vectors copied from an earlier article"] == "2"
    np.testing.assert_array_equal(after["N2"], before["N1"])
    np.testing.assert_array_equal(after["N3"], before["N3"])
    np.testing.assert_array_equal(after["N4"], before["N3"])
    assert not np.array_equal(after["N1"], before["N1"])
    stale = lake.read("article_embeddings").join(
        lake.read("news"), on=["news_id", "content_hash"], how="left_anti"
    )
    assert stale.count() == 0


def test_encoders_stand_beside_each_other(lake: Lakehouse, small_model: Path, tutorial_model: Path) -> None:
    write_news(lake, [("N1", "team wins", "the city", None), ("N2", "storm", "rain", None)])
    encode(lake, small_model)
    encode(lake, tutorial_model, pooling="cls", max_tokens=100)
    sizes = (
        lake.read("article_embeddings")
        .groupBy("encoder_id")
        .agg(F.count("*"), F.min(F.size("embedding")), F.max(F.size("embedding")))
    )
    found = {row[0]: tuple(row[1:]) for row in sizes.collect()}
    assert sorted(found.values()) == [(2, 32, 32), (2, 512, 512)]
    assert any(name.startswith("bert_uncased_L-8_H-512_A-8.") and ".cls.100." in name for name in found)


def test_slices_are_written_one_by_one_and_make_the_same_table(
    lake: Lakehouse, small_model: Path, tmp_path: Path
) -> None:
    articles: list[Article] = [(f"N{i}", f"news {i}", "the city " * (i % 7), None) for i in range(40)]
    write_news(lake, articles)
    encode(lake, small_model, slice_rows=12)
    commits = lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.location('article_embeddings')}`")
    assert commits.where("operation = 'MERGE' AND operationMetrics.numTargetRowsInserted > 0").count() == 4
    whole = Lakehouse(lake.spark, str(tmp_path / "whole"))
    write_news(whole, articles)
    encode(whole, small_model)
    assert lake.read("article_embeddings").exceptAll(whole.read("article_embeddings")).count() == 0
    assert lake.read("article_embeddings").count() == 40


def test_an_article_at_which_the_model_raises_loses_no_other(lake: Lakehouse, gaps_model: Path) -> None:
    articles: list[Article] = [
        ("N1", "team", "", None),
        ("N2", UNEMBEDDED, "", None),
        ("N3", UNEMBEDDED, "", None),
        ("N4", "rain", "", None),
    ]
    write_news(lake, articles)
    run = encode(lake, gaps_model)
    assert sorted(vectors(lake)) == ["N1", "N4"]
    assert run.rows_rejected == 2
    assert run.facts["texts encoded"] == "2"
    assert not any("meanwhile" in fact for fact in run.facts)
    rejected = lake.read("quarantine").select("record_id", "reason").orderBy("record_id").collect()
    assert [row["record_id"] for row in rejected] == ["N2", "N3"]
    assert all("token id" in row["reason"] for row in rejected)


def test_fields(lake: Lakehouse) -> None:
    rows = frame_of(
        lake.spark,
        [("t", None, "b"), (None, "a", ""), ("t", "a", "b")],
        "title string, abstract string, body string",
    )

    def made(*fields: str) -> list[tuple[str, str]]:
        first, second = segments(fields)  # type: ignore[arg-type]
        return [(row[0], row[1]) for row in rows.select(first, second).collect()]

    assert made("title", "abstract", "body") == [("t", "b"), ("", "a"), ("t", "a b")]
    assert made("title", "abstract") == [("t", ""), ("", "a"), ("t", "a")]
    assert made("body") == [("b", ""), ("", ""), ("b", "")]


def test_tasks_get_about_the_same_work(lake: Lakehouse) -> None:
    """From one partition, lengths in an order that would put all long texts into one task."""
    rows: DataFrame = lake.spark.range(4000, numPartitions=1).select(
        F.concat(F.lit("N"), "id").alias("news_id"),
        F.repeat(F.lit("word "), (F.col("id") / 40).cast("int")).alias("title"),
        F.lit("").alias("abstract"),
        F.lit(None).cast("string").alias("body"),
        F.sha2(F.col("id").cast("string"), 256).alias("content_hash"),
    )
    spread = one_of_each_text(rows, 4)
    work = spread.groupBy(F.spark_partition_id()).agg(F.sum(F.length("title")).alias("work")).collect()
    assert len(work) == 4
    assert max(row["work"] for row in work) < 1.1 * min(row["work"] for row in work)


def test_mistakes(lake: Lakehouse, run: JobRun, small_model: Path) -> None:
    with pytest.raises(UserError, match="table news is not there yet"):
        call(encode_articles, lake, run)
    write_news(lake, [("N1", "team", "", None)])
    with pytest.raises(UserError, match="no such folder"):
        call(encode_articles, lake, run, encoder="/no/such/model")
    with pytest.raises(UserError, match="take 1 or more"):
        call(encode_articles, lake, run, encoder=str(small_model), slice_rows=0)
    assert not lake.exists("article_embeddings")

"""The encoder inside Spark: the same vectors, rows in order, once per row, one model per Python worker."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.errors import JobFailed, UserError
from newslake.spark.frames import frame_of
from newslake.text import embed
from newslake.text.embed import EMBEDDED, NO_TEXT, EmbedSettings, device_of, embed_column
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, resolve
from tests.text.conftest import UNEMBEDDED, WORDS


def test_vectors_in_order_with_the_other_columns(spark: SparkSession, small_model: Path) -> None:
    resolved = resolve(EncoderSpec(str(small_model)))
    generator = np.random.default_rng(1)
    texts = [" ".join(generator.choice(WORDS, size=size)) for size in generator.integers(1, 60, size=300)]
    rows = frame_of(
        spark, [(i, t, t[::-1]) for i, t in enumerate(texts)], "n int, text string, `other one` string"
    ).coalesce(1)
    made = embed_column(
        rows, "text", None, resolved, output="made", settings=EmbedSettings(device="cpu", chunk_rows=70)
    )
    assert made.columns == ["n", "other one", "made"]
    assert made.schema["made"].dataType == EMBEDDED
    found = made.collect()
    assert [row["n"] for row in found] == list(range(300))
    assert [row["other one"] for row in found] == [text[::-1] for text in texts]
    expected = Encoder(resolved).encode(texts)
    np.testing.assert_array_equal(
        np.array([row["made"]["vector"] for row in found], dtype=np.float32), expected.vectors
    )
    assert [row["made"]["token_count"] for row in found] == expected.token_counts.tolist()
    assert {row["made"]["error"] for row in found} == {None}


def test_a_failure_is_its_own_rows(spark: SparkSession, gaps_model: Path) -> None:
    resolved = resolve(EncoderSpec(str(gaps_model)))
    texts = [
        ("a", "team wins", ""),
        ("b", UNEMBEDDED, "the city"),
        ("c", "", ""),
        ("d", None, "x"),
        ("e", "rain", None),
        ("f", "y" * 101, ""),
    ]
    rows = frame_of(spark, texts, "id string, first string, second string").coalesce(1)
    # Bytes that are no UTF-8 would kill the worker that reads them as text.
    broken = rows.limit(1).select(
        F.lit("g").alias("id"),
        F.expr("cast(x'7261696eff' as string)").alias("first"),
        F.lit("").alias("second"),
    )
    made = embed_column(
        rows.union(broken), "first", "second", resolved, settings=EmbedSettings(max_chars=100)
    )
    found = {row["id"]: row["embedded"] for row in made.collect()}
    assert {name for name, row in found.items() if row["vector"] is not None} == {"a", "e", "g"}
    assert found["a"]["error"] is None
    assert "token id" in found["b"]["error"]
    assert found["c"]["error"] == NO_TEXT
    assert found["d"]["error"] == found["f"]["error"] == "NULL, or a segment over 100 characters"
    assert found["e"]["token_count"] == 3


def test_runs_once_per_row_however_its_output_is_used(spark: SparkSession, small_model: Path) -> None:
    passed = spark.sparkContext.accumulator(0)

    @F.udf(returnType=T.StringType())
    def counted(text: str) -> str:
        passed.add(1)
        return text

    rows = spark.range(100, numPartitions=2).select(
        "id", counted(F.concat(F.lit("news "), "id")).alias("text")
    )
    made = embed_column(rows, "text", None, resolve(EncoderSpec(str(small_model))))
    used = (
        made.where(F.col("embedded.error").isNull() & (F.size("embedded.vector") == 32))
        .select("id", "embedded.vector", "embedded.token_count", F.col("embedded.vector")[0].alias("x"))
        .where(F.col("x").isNotNull() & (F.col("token_count") > 2))
    )
    assert used.agg(F.count("x"), F.sum(F.size("vector"))).head() == (100, 3200)
    assert passed.value == 100


def test_one_model_per_worker(monkeypatch: pytest.MonkeyPatch, small_model: Path) -> None:
    """Two tasks in one worker: the second finds the first one's model."""
    resolved = resolve(EncoderSpec(str(small_model)))
    embed._encoder.cache_clear()
    batch = pa.RecordBatch.from_pydict({"__first_segment": ["news"]})
    schema = T.StructType([T.StructField("embedded", EMBEDDED)])
    for _ in range(2):
        assert (
            sum(b.num_rows for b in embed._embed(resolved, EmbedSettings(), schema, iter([batch, batch])))
            == 2
        )
    assert embed._encoder.cache_info().misses == 1


def test_no_rows(spark: SparkSession, small_model: Path) -> None:
    made = embed_column(
        spark.range(0).select("id", F.lit("x").alias("text")),
        "text",
        None,
        resolve(EncoderSpec(str(small_model))),
    )
    assert made.count() == 0


def test_chunks_are_bounded_by_rows_and_by_size() -> None:
    batches = [pa.RecordBatch.from_pydict({"t": ["x" * 100] * 10}) for _ in range(10)]
    rows = [chunk.num_rows for chunk in embed._chunks(iter(batches), EmbedSettings(chunk_rows=25))]
    assert rows == [30, 30, 30, 10]
    rows = [chunk.num_rows for chunk in embed._chunks(iter(batches), EmbedSettings(chunk_bytes=2000))]
    assert rows == [20] * 5


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto", {"gpu": ["1", "0"]}) == "cuda:1"
    assert device_of("cuda", {}) == "cuda:0"
    assert device_of("cpu", {"gpu": ["1"]}) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto", {"gpu": ["1"]}) == "cpu"
    with pytest.raises(JobFailed, match="torch sees no GPU"):
        device_of("cuda", {"gpu": ["1"]})


def test_settings_are_checked() -> None:
    with pytest.raises(UserError, match="--device tpu"):
        EmbedSettings(device="tpu")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--batch-tokens 0"):
        EmbedSettings(batch_tokens=0)

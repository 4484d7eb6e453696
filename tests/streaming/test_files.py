"""The streams over folders of JSON lines: what the tables hold, in one batch or many, and again."""

import gzip
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.faults import explained
from newslake.run.jobrun import JobRun
from newslake.streaming.articles import stream_articles
from newslake.streaming.behaviors import stream_behaviors
from newslake.text.articles import encode_articles
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from tests.calling import call
from tests.killing import content
from tests.serving.rows import held
from tests.streaming import made
from tests.streaming.conftest import TOPIC_MODEL, write_topic_model


def put(
    folder: Path, name: str, messages: Sequence[made.Message | dict[str, Any]], at: int = 1_700_000_000
) -> None:
    """One file of JSON lines, as old as it says."""
    folder.mkdir(exist_ok=True)
    lines = [m.value if isinstance(m, made.Message) else json.dumps(m).encode() for m in messages]
    (folder / name).write_bytes(b"\n".join([*lines, b"", b""]))
    os.utime(folder / name, (at, at))


def articles(lake: Lakehouse, folder: Path, model: Path, **options: Any) -> JobRun:
    """One run over what is in the folder."""
    run = JobRun("stream_articles")
    call(stream_articles, lake, run, files=str(folder), once=True, encoder=str(model), **options)
    return run


def behaviors(lake: Lakehouse, folder: Path, **options: Any) -> JobRun:
    """One run over what is in the folder."""
    run = JobRun("stream_behaviors")
    call(stream_behaviors, lake, run, files=str(folder), once=True, **options)
    return run


def test_articles_of_a_folder(
    spark: SparkSession, lake: Lakehouse, small_model: Path, tmp_path: Path
) -> None:
    messages = made.articles(120)
    half = len(messages) // 2
    folder = tmp_path / "in"
    put(folder, "a.jsonl", messages[:half])
    first = articles(lake, folder, small_model)
    assert "none fitted yet" in first.facts["topic_model"]
    assert not lake.exists("article_vectors")

    write_topic_model(lake)
    # Older than the first file by a month: it is read all the same.
    put(folder, "b.jsonl", messages[half:], at=1_697_000_000)
    milvus = str(tmp_path / "vectors.db")
    second = articles(lake, folder, small_model, max_per_batch=1, milvus=milvus)
    assert second.facts["topic_model"] == TOPIC_MODEL
    assert (first.rows_read or 0) + (second.rows_read or 0) == len(messages)
    assert articles(lake, folder, small_model).rows_read is None, "what was read is not read again"

    stored = lake.read("news").select("news_id", F.col("updated_at").cast("string"), "content_hash").collect()
    assert {row[0]: (row[1], row[2]) for row in stored} == made.newest_articles(messages)
    bad = [m.value for m in messages if m.bad]
    assert sorted(bytes(row[0]) for row in lake.read("quarantine").select("raw").collect()) == sorted(bad)

    served = {
        row["news_id"]: row["vector"]
        for row in lake.read("article_vectors").select("news_id", "vector").collect()
    }
    sent = held(milvus)
    assert sent.keys() == served.keys()
    np.testing.assert_allclose([sent[key]["vector"] for key in served], list(served.values()), rtol=1e-6)

    # The batch jobs, over the same news.
    batch = Lakehouse(spark, str(tmp_path / "batch"))
    for table in ("news", "topics", "topic_terms"):
        shutil.copytree(f"{lake.root}/{table}", f"{batch.root}/{table}")
    run = JobRun("encode_articles")
    call(encode_articles, batch, run, encoder=str(small_model), partitions=1)
    assign_topics(batch, JobRun("assign_topics"), partitions=1)
    build_article_vectors(batch, JobRun("build_article_vectors"))
    joined = lake.read("article_vectors").select("news_id")
    for table in ("article_embeddings", "article_topics", "article_vectors"):
        same = ("embedding", "vector")  # a text's neighbours in its batch move the last bits of its vector
        wanted = batch.read(table)
        # The first file's articles were there before the topic model, and wait.
        if table != "article_embeddings":
            wanted = wanted.join(joined, on="news_id", how="left_semi").select(*lake.schema(table).names)
        assert content(lake.read(table), without=same) == content(wanted, without=same), table
    pairs = (
        lake.read("article_vectors")
        .alias("a")
        .join(batch.read("article_vectors").alias("b"), on="news_id", how="inner")
    )
    apart = F.zip_with("a.vector", "b.vector", lambda x, y: F.abs(x - y))
    far = F.array_max(apart)
    row = pairs.agg(F.count("*"), F.max(far)).head()
    assert row is not None
    assert row[0] == len({json.loads(m.value)["news_id"] for m in messages[half:] if not m.bad})
    assert row[1] < 1e-4


def test_clicks_meet_their_impressions(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shown = {"type": "impression", "user_id": "u1", "occurred_at": "2019-11-14T06:00:00Z"}
    click = {"type": "click", "user_id": "u1", "occurred_at": "2019-11-15T06:00:00Z"}
    put(
        folder,
        "a.jsonl",
        [
            {**click, "event_id": "early", "impression_id": "I2", "news_id": "N4"},
            {**click, "event_id": "lost", "impression_id": "I9", "news_id": "N1"},
            {**click, "event_id": "stranger", "impression_id": "I1", "news_id": "N2", "user_id": "u2"},
            {**shown, "event_id": "I1", "news_ids": ["N1", "N2", "N1"]},
            {**shown, "event_id": "I1", "news_ids": ["N1", "N2", "N1"]},
            {
                "type": "search",
                "event_id": "Q1",
                "user_id": "u1",
                "occurred_at": "2019-11-14T06:00:00Z",
                "query": "cats",
            },
            {
                "type": "interest",
                "event_id": "W1",
                "user_id": "u1",
                "occurred_at": "2019-11-14T06:00:00Z",
                "interest": "cats",
            },
        ],
        at=1_700_000_000,
    )
    put(
        folder,
        "b.jsonl",
        [
            {**shown, "event_id": "I2", "news_ids": ["N3", "N4"]},
            {**shown, "event_id": "I1", "news_ids": ["N5"]},
            {**click, "event_id": "late", "impression_id": "I1", "news_id": "N1"},
            {**click, "event_id": "again", "impression_id": "I1", "news_id": "N1"},
        ],
        at=1_700_086_400,
    )
    run = behaviors(lake, folder, max_per_batch=1)
    assert (run.rows_read, run.facts["batches"]) == (11, "2")
    rows = lake.read("impressions").select(
        "split", "impression_id", "position", "news_id", "clicked", F.unix_seconds("ingested_at")
    )
    first, second = 1_700_000_000, 1_700_086_400
    assert sorted(map(tuple, rows.collect())) == [
        ("live", "I1", 0, "N1", True, second),  # arrives again with its click: who reads by arrival meets it
        ("live", "I1", 1, "N2", False, first),
        ("live", "I1", 2, "N1", False, first),
        ("live", "I2", 0, "N3", False, second),
        ("live", "I2", 1, "N4", True, second),
    ]
    assert {row[0] for row in lake.read("clicks").select("click_id").collect()} == {
        "early",
        "lost",
        "stranger",
        "late",
        "again",
    }
    assert lake.read("search_queries").select("query_id", "query").collect() == [("Q1", "cats")]
    assert lake.read("user_interests").select("interest", "weight").collect() == [("cats", 1.0)]
    refused = lake.read("quarantine").select("record_id", "reason").collect()
    assert [tuple(row) for row in refused] == [
        ("I1", "another event of this id arrived before, and says something else")
    ]

    before = [
        content(lake.read(table))
        for table in ("impressions", "clicks", "search_queries", "user_interests", "quarantine")
    ]
    shutil.rmtree(f"{lake.root}/_checkpoints")
    assert behaviors(lake, folder).rows_read == 11
    assert [
        content(lake.read(t))
        for t in ("impressions", "clicks", "search_queries", "user_interests", "quarantine")
    ] == before


def search(number: int) -> dict[str, Any]:
    return {
        "type": "search",
        "event_id": f"Q{number}",
        "user_id": "U1",
        "query": "cats",
        "occurred_at": "2019-11-14T06:00:00Z",
    }


def test_files_in_folders_damaged_and_changed(
    lake: Lakehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in [1] #50% ø"
    (folder / "2019" / "11").mkdir(parents=True)
    put(folder / "2019" / "11" / "14", "part-0.jsonl", [search(1)])
    put(folder, "b.jsonl.tmp", [search(99)])
    assert behaviors(lake, folder).rows_read == 1, (
        "files in folders, as delivery services write them; uploads under way are left alone"
    )

    whole = gzip.compress("".join(json.dumps(search(n)) + "\n" for n in range(2, 40)).encode())
    (folder / "a.jsonl.gz").write_bytes(whole[:-30])
    with pytest.raises(Exception, match="FAILED_READ_FILE") as caught:
        behaviors(lake, folder)
    fault = explained(caught.value)
    assert fault is not None
    assert (fault.status, fault.line.split(",")[0]) == (
        1,
        f"{folder}/a.jsonl.gz is damaged and cannot be read",
    )
    (folder / "a.jsonl.gz").unlink()
    put(folder, "c.jsonl", [search(50)])
    assert "files that changed after they were read" not in behaviors(lake, folder).facts
    (folder / "a.jsonl.gz").write_bytes(whole)
    os.utime(folder / "a.jsonl.gz", (1_700_000_000, 1_700_000_000))
    with caplog.at_level("WARNING", logger="newslake"):
        again = behaviors(lake, folder)
    assert again.facts["files that changed after they were read"] == "1"
    assert f"{folder}/a.jsonl.gz. Give what is to be read a new name" in caplog.text
    (folder / "a.jsonl.gz").rename(folder / "new name.jsonl.gz")
    assert behaviors(lake, folder).rows_read == 38
    assert lake.read("search_queries").count() == 40

    (folder / "d.jsonl").write_text("no JSON\n\r\n{}\n")
    with pytest.raises(
        JobFailed, match=r"^no message could be used: all 2 are in quarantine, most of them \(1\) because: no"
    ):
        behaviors(lake, folder)
    (folder / "e.jsonl.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"e\.jsonl\.zip is an archive"):
        behaviors(lake, folder)


def test_mistakes_are_one_line(lake: Lakehouse, tmp_path: Path) -> None:
    def refused(**options: Any) -> str:
        with pytest.raises(UserError) as caught:
            call(stream_behaviors, lake, JobRun("stream_behaviors"), once=True, **options)
        return str(caught.value)

    assert refused() == "say where the messages come from: either --topic NAME or --files FOLDER"
    assert "either --topic" in refused(topic="t", files="f")
    assert "not the name of a Kafka topic" in refused(topic="a b")
    assert (
        refused(files=str(tmp_path / "no")) == f"--files {tmp_path / 'no'}: there is no such file or folder"
    )
    assert "--max-per-batch takes 1" in refused(files=str(tmp_path), max_per_batch=0)
    assert "choose a name of its own" in refused(files=str(tmp_path), split="train")
    assert "--starting-offsets takes earliest" in refused(topic="t", starting_offsets="first")
    assert "--kafka-config" in refused(topic="t", kafka_config=str(tmp_path / "no"))
    (tmp_path / "client").write_text("sasl.password hunter2\n")
    assert "hunter2" not in refused(topic="t", kafka_config=str(tmp_path / "client"))
    named = Lakehouse(lake.spark, schema="default")
    with pytest.raises(UserError, match="--checkpoint"):
        call(stream_behaviors, named, JobRun("stream_behaviors"), once=True, files=str(tmp_path))
    assert not Path(str(lake.root)).exists(), "a mistake leaves nothing behind"


def test_kafka_down_is_one_line_that_another_try_may_cure(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newslake.streaming.source._WAIT_S", 1)
    with pytest.raises(
        JobFailed,
        match=r"^Kafka at 127.0.0.1:1 does not answer \(.*\): is it up, and is --bootstrap-servers right\?$",
    ):
        call(
            stream_behaviors,
            lake,
            JobRun("stream_behaviors"),
            topic="t",
            bootstrap_servers="127.0.0.1:1",
            once=True,
        )
    with pytest.raises(UserError, match="--bootstrap-servers nowhere"):
        call(
            stream_behaviors,
            lake,
            JobRun("stream_behaviors"),
            topic="t",
            bootstrap_servers="nowhere",
            once=True,
        )

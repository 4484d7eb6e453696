"""reclassify_short_text: who votes, what changes, what is kept, and that a rerun adds nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.search import vote
from newslake.search.knn_settings import SearchOptions
from newslake.search.reclassify import reclassify_short_text
from newslake.spark.frames import frame_of
from tests.killing import commits, content
from tests.search.frames import (
    CLASSES,
    ENCODER,
    around,
    fill,
    long_articles,
    write_news,
    write_scores,
    write_vectors,
)
from tests.tables import put

OPTIONS: dict[str, Any] = {"neighbours": 5, "votes": 4, "short_chars": 60, "as_of": "2019-11-15"}


def reclassify(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("reclassify_short_text")
    reclassify_short_text(lake, run, **{**OPTIONS, **options})
    return run


def between(first: str, second: str) -> list[float]:
    """A vector half way between two classes."""
    return [a + b for a, b in zip(around(first, 1, 0.0), around(second, 2, 0.0), strict=True)]


SHORT: dict[str, tuple[str | None, Any]] = {
    "S1": ("sports", around("sports", 101)),  # right
    "S2": ("music", around("autos", 102)),  # wrong
    "S3": (None, around("music", 103)),  # without a class
    "S4": ("music", None),  # without a vector
    "S5": ("sports", [0.0] * 8),  # with one that has no direction
    "S6": ("autos", [1.0, 2.0]),  # of another size
}


def test_votes_decisions_corpus_and_rerun(lake: Lakehouse) -> None:
    fill(lake, SHORT, unsure=["Lautos00", "Lautos01"])
    run = reclassify(lake)
    votes = {row["news_id"]: row for row in lake.read("short_text_votes").collect()}
    decisions = {
        news_id: (row["old_class"], row["voted_class"], row["votes"], row["decision"])
        for news_id, row in votes.items()
    }
    assert decisions == {
        "S1": ("sports", "sports", 5, "confirmed"),
        "S2": ("music", "autos", 5, "changed"),
        "S3": (None, "music", 5, "changed"),
        "S4": ("music", None, 0, "no vector"),
        "S5": ("sports", None, 0, "no vector"),
        "S6": ("autos", None, 0, "no vector"),
    }
    neighbours = votes["S2"]["neighbours"]
    assert len(neighbours) == 5
    assert {n["class"] for n in neighbours} == {"autos"}
    assert [n["cosine"] for n in neighbours] == sorted((n["cosine"] for n in neighbours), reverse=True)
    assert not {n["news_id"] for n in neighbours} & {
        "Lautos00",
        "Lautos01",
    }, "a score of 0.9 is not above 0.9"
    corpus = {row["news_id"]: (row["class"], row["text"]) for row in lake.read("short_text_corpus").collect()}
    assert {news_id: name for news_id, (name, _) in corpus.items()} == {
        "S1": "sports",
        "S2": "autos",
        "S3": "music",
        "S4": "music",
        "S5": "sports",
        "S6": "autos",
    }
    assert corpus["S2"][1] == "short S2"
    assert {row["record_id"] for row in lake.read("quarantine").collect()} == {"S5", "S6"}
    assert run.rows_rejected == 2
    assert (run.facts["changed"], run.facts["long articles that vote"]) == ("2", "22")
    assert lake.read("news").where("news_id = 'S2'").head()["category"] == "music"  # type: ignore[index]

    before = [content(lake.read(table)) for table in ("short_text_votes", "short_text_corpus", "quarantine")]
    wrote = commits_of(lake, "short_text_corpus")
    again = reclassify(lake, search=SearchOptions(chunk_rows=3, query_rows=2, precision="fp32"))
    assert [
        content(lake.read(table)) for table in ("short_text_votes", "short_text_corpus", "quarantine")
    ] == before
    assert again.rows_written["short_text_corpus"] == 0
    assert commits_of(lake, "short_text_corpus") == wrote
    # Another day's votes stand beside it; what is no short text any more leaves the corpus.
    write_news(lake, [("S1", "sports", "short no longer " * 10)])
    reclassify(lake, as_of="2019-11-16", votes=5)
    assert lake.read("short_text_votes").groupBy("as_of").count().count() == 2
    assert {row["news_id"] for row in lake.read("short_text_corpus").collect()} == {
        "S2",
        "S3",
        "S4",
        "S5",
        "S6",
    }


def commits_of(lake: Lakehouse, table: str) -> int:
    """How often the table was written."""
    return commits(Path(str(lake.root)) / table)


def test_too_few_votes_and_stale_vectors_change_nothing(lake: Lakehouse) -> None:
    fill(lake, {"S1": ("music", between("autos", "sports")), "S2": ("music", around("autos", 5))})
    write_vectors(lake, {"S2": around("autos", 5)}, stale=["S2"])
    reclassify(lake, neighbours=16, votes=9)
    found = {row["news_id"]: row["decision"] for row in lake.read("short_text_votes").collect()}
    assert found == {"S1": "kept", "S2": "no vector"}


def note_classifier(lake: Lakehouse, model_run: str, trained_on: str, day: int | None) -> None:
    """A row of text_classifiers."""
    trained_at = None if day is None else datetime(2019, 11, day, tzinfo=UTC)
    row: tuple[object, ...] = (
        model_run,
        trained_on,
        "linear",
        ENCODER,
        list(CLASSES),
        1,
        5,
        1.0,
        0.0,
        0.0,
        [],
        [],
        trained_at,
    )
    put(lake, "text_classifiers", frame_of(lake.spark, [row], lake.schema("text_classifiers")))


def test_the_classifier_trained_last_on_long_articles_says_who_votes(lake: Lakehouse) -> None:
    """Week after week the classifier is trained anew, and one on short texts beside it."""
    fill(lake, {"S2": SHORT["S2"]}, each=3, unsure=list(long_articles(3)))  # the brought scores are of no use
    lake.delete("article_class_scores", "model_run = 'brought'")
    # By the last classifier all articles of one class are of another: its scores, and no one else's, change
    # the text to that.
    swapped = {
        news_id: ("music" if name == "autos" else name, 0.95) for news_id, name in long_articles(3).items()
    }
    for model_run, trained_on, day in (
        ("long-b", "long", 8),
        ("long-a", "long", 15),
        ("long-c", "long", None),
        ("short-z", "short", 16),
    ):
        note_classifier(lake, model_run, trained_on, day)
        scores = (
            swapped
            if model_run == "long-a"
            else {key: (name, 0.95) for key, name in long_articles(3).items()}
        )
        write_scores(lake, scores if trained_on == "long" else {"S2": ("autos", 0.99)}, model_run=model_run)
    run = reclassify(lake, neighbours=3, votes=2)
    assert run.facts["scores of"] == "long-a"
    assert [row["class"] for row in lake.read("short_text_corpus").collect()] == ["music"]
    assert reclassify(lake, neighbours=3, votes=2, model_run="long-b").facts["changed"] == "1"
    write_scores(lake, swapped)
    with pytest.raises(UserError, match="choose with --model-run brought or long-a"):
        reclassify(lake)


def test_neighbours_of_the_own_class_keep_it(spark: SparkSession) -> None:
    texts = [
        ("S1", "h", "t", "sports"),
        ("S2", "h", "t", "sports"),
        ("S3", "h", "t", "autos"),
        ("S4", "h", "t", None),
    ]
    near = {"S1": "aaaas", "S2": "aaaam", "S3": "aaaas", "S4": "aaaas"}
    names = {"a": "autos", "s": "sports", "m": "music"}
    cast = [
        (n, [(f"L{i}", names[c], 0.9) for i, c in enumerate(found)], "autos", 4) for n, found in near.items()
    ]
    shape = (
        "news_id string, neighbours array<struct<news_id: string, class: string, cosine: float>>, voted_class"
        " string, votes int"
    )
    rows = frame_of(
        spark, texts, "news_id string, content_hash string, text string, old_class string"
    ).coalesce(1)
    given = rows, rows.select("news_id"), frame_of(spark, cast, shape).coalesce(1)
    found = {row["news_id"]: row["decision"] for row in vote.decided(*given, needed=4, own_votes=0).collect()}
    assert found == {"S1": "kept", "S2": "changed", "S3": "confirmed", "S4": "changed"}
    assert {
        row["decision"]
        for row in vote.decided(*given, needed=4, own_votes=1).where("news_id = 'S1'").collect()
    } == {"changed"}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"votes": 6}, "take at least 1, and no more votes than neighbours"),
    ({"votes": 2}, "is no majority"),
    ({"own_votes": -1}, "--own-votes must be 0 or more"),
    ({"whiten": 1.5}, "--whiten 1.5: take 0 to 1"),
    ({"min_score": 0.99}, "no long article has both"),
    ({"short_chars": 3}, "table news holds no short text"),
    ({"encoder_id": "nope"}, f"it has {ENCODER}"),
    ({"model_run": "nope"}, "it has brought"),
    ({"as_of": "yesterday"}, "takes a day such as"),
]


def test_mistakes_are_told(lake: Lakehouse) -> None:
    fill(lake, {"S1": SHORT["S1"]}, each=2)
    for options, message in MISTAKES:
        with pytest.raises(UserError, match=message):
            reclassify(lake, **options)
    write_vectors(lake, {"S1": [1.0, 0.0]}, encoder="another")
    with pytest.raises(UserError, match="choose with --encoder-id"):
        reclassify(lake)

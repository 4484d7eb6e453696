"""build_user_vectors: the joined vector of each phrase, from the source that its match names, and the two
heaviest topics."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import TOPIC_SHARE
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.topics.assign import assign, load_model
from newslake.users.sets import phrase_id
from newslake.users.user_vectors import build_user_vectors
from tests.killing import content, data_files
from tests.tables import put
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run
from tests.users.conftest import fill_phrases
from tests.users.test_profiles import FITTED, at

DAY = "2019-11-15"
TOPIC_VECTORS = [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]]
PHRASES = [
    ("u1", ["a"]),
    ("u1", ["a", "b"]),
    ("u2", ["a", "b"]),
    ("u3", ["a"]),
    ("u3", ["unmatched"]),
    ("u3", ["nowhere"]),
]
STORED = {"a": [3.0, 4.0], "b": [0.0, 5.0], "nowhere": [0.0, 0.0]}
# u1's third topic is lighter; u2 has one; u3 none.
USER_TOPICS = [("u1", 0, 3.0), ("u1", 1, 1.0), ("u1", 2, 0.5), ("u2", 2, 9.0)]


def world(lake: Lakehouse) -> None:
    """The tables that the job reads, filled by hand. {a, b} is reused from {b}."""
    day = np.datetime64(DAY).item()
    fill_phrases(lake, DAY, PHRASES, encoder="e")
    ids = {
        row[1][0]: row[0]
        for row in frame_of(lake.spark, [([tag],) for tag in STORED], "tags array<string>")
        .select(phrase_id(F.col("tags")), "tags")
        .collect()
    }
    both = lake.read("user_phrases").where("size(tags) = 2").select("phrase_id").head()
    assert both is not None
    dates = {"first_seen": day, "last_used": day, "encoder_id": "e"}
    put(
        lake,
        "tag_phrases",
        [
            {"phrase_id": ids[tag], "tags": [tag], "text": tag, "embedding": vector, **dates}
            for tag, vector in STORED.items()
        ],
    )
    sources = {ids["a"]: ids["a"], ids["nowhere"]: ids["nowhere"], both[0]: ids["b"]}
    put(
        lake,
        "tag_phrase_matches",
        [
            {
                "as_of": day,
                "phrase_id": one,
                "encoder_id": "e",
                "decision": "encoded" if one == source else "reused",
                "source_id": source,
                "jaccard": 1.0,
            }
            for one, source in sources.items()
        ],
    )
    put(
        lake,
        "user_topics",
        [
            {"as_of": day, "user_id": u, "topic_model": "m", "topic_id": t, "weight": w}
            for u, t, w in USER_TOPICS
        ],
    )
    topics = [
        {
            "topic_model": "m",
            "topic_id": i,
            "terms": ["t"],
            "term_weights": [1.0],
            "vector": v,
            "fitted_at": at("10 00:00"),
            **FITTED,
        }
        for i, v in enumerate(TOPIC_VECTORS)
    ]
    put(lake, "topics", topics)
    # No word of the phrases above: they get their users' topics.
    words = [("football", [1.0, 1.0, 90.0]), ("opera", [1.0, 90.0, 1.0]), ("opening", [40.0, 40.0, 40.0])]
    put(
        lake,
        "topic_terms",
        [
            {
                "topic_model": "m",
                "term": term,
                "term_index": i,
                "articles": 3,
                "topic_counts": counts,
                "vector": [1.0],
            }
            for i, (term, counts) in enumerate(words)
        ],
    )


def build(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("build_user_vectors")
    build_user_vectors(lake, run, **{"as_of": DAY, **options})
    return run


def test_vectors_are_the_joined_parts(lake: Lakehouse) -> None:
    world(lake)
    run = build(lake)
    rows = (
        lake.read("user_vectors")
        .join(lake.read("user_phrases").select("user_id", "phrase_id", "tags"), on=["user_id", "phrase_id"])
        .collect()
    )
    found = {(row["user_id"], *row["tags"]): np.array(row["vector"]) for row in rows}
    text, topic = np.sqrt(1 - TOPIC_SHARE), np.sqrt(TOPIC_SHARE)
    first = np.array([3.0, 1.0, 0.0]) / np.sqrt(10.0)  # of unit vectors, by weight
    expected = {
        ("u1", "a"): [0.6 * text, 0.8 * text, *(topic * first)],
        ("u1", "a", "b"): [0.0, text, *(topic * first)],
        ("u2", "a", "b"): [0.0, text, 0.0, 0.0, topic],
        ("u3", "a"): [0.6, 0.8, 0.0, 0.0, 0.0],
    }
    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=1e-6, err_msg=str(key))
    assert run.rows_read == 6
    assert run.rows_written == {"user_vectors": 4}
    assert run.facts["users without a topic"] == "1"
    assert run.facts["phrases of users that encode_tag_phrases gave no vector"] == "1"
    assert run.facts["phrases whose vector has no direction"] == "1"
    before = content(lake.read("user_vectors"))
    build(lake, encoder_id="e", topic_model="m")
    assert content(lake.read("user_vectors")) == before


def test_topics_are_those_of_the_tag_group(lake: Lakehouse) -> None:
    """Each group of a user gets the topics that an article of its tags' words would have; where no word is
    known, the user's."""
    world(lake)
    one = lake.read("user_phrases").where("user_id = 'u3' AND tags[0] = 'a'")
    given = [
        (1, ["cup final", "football"]),
        (2, ["opera"]),
        (2, ["opening", "opera"]),
        (3, ["nothing known"]),
    ]
    more = frame_of(lake.spark, [(group, tags) for group, tags in given], "tag_group int, tags array<string>")
    # The phrases' vectors are of no matter here: their ids are those of {a}, and of {a, b} where a group has
    # two.
    other = lake.read("user_phrases").where("user_id = 'u1' AND size(tags) = 2").select("phrase_id")
    ids = F.when(F.size("tags") == 2, F.lit(other.first()[0])).otherwise(F.col("phrase_id"))  # type: ignore[index]
    rows = one.drop("tag_group", "tags").crossJoin(more).withColumn("phrase_id", ids)
    put(lake, "user_phrases", rows)
    put(
        lake,
        "user_topics",
        [
            {
                "as_of": np.datetime64(DAY).item(),
                "user_id": "u3",
                "topic_model": "m",
                "topic_id": 0,
                "weight": 1.0,
            }
        ],
    )

    def parts(**options: Any) -> dict[int, np.ndarray]:
        build(lake, **options)
        found: dict[int, np.ndarray] = {}
        for row in (
            lake.read("user_vectors").where("user_id = 'u3'").orderBy("tag_group", "phrase_id").collect()
        ):
            part = np.array(row["vector"][2:]) / np.sqrt(TOPIC_SHARE)
            if row["tag_group"] in found:  # all phrases of a group have the same topics
                np.testing.assert_allclose(part, found[row["tag_group"]], atol=1e-6)
            found[row["tag_group"]] = part
        return found

    texts = {1: "cup final football", 2: "opera opening"}
    articles = frame_of(
        lake.spark,
        [(str(group), text, None, None, "hash") for group, text in texts.items()],
        "news_id string, title string, abstract string, body string, content_hash string",
    )
    expected = {0: np.array([1.0, 0.0, 0.0]), 3: np.array([1.0, 0.0, 0.0])}
    for row in assign(articles, load_model(lake, "m")).collect():
        mean = np.asarray(row["weights"]) @ np.eye(3)[row["topic_ids"]]
        expected[int(row["news_id"])] = mean / np.linalg.norm(mean)
    assert (expected[1].argmax(), expected[2].argmax()) == (2, 1)
    found = parts(topics_of="group")
    assert found.keys() == expected.keys()
    for group, part in expected.items():
        np.testing.assert_allclose(found[group], part, atol=1e-6)
    assert all(np.allclose(part, [1.0, 0.0, 0.0]) for part in parts().values())


def test_mistakes(lake: Lakehouse) -> None:
    with pytest.raises(UserError, match="built by: build_phrases"):
        build(lake)
    world(lake)
    for options, message in (
        ({"as_of": "2019-11-16"}, "nothing for --as-of 2019-11-16"),
        ({"encoder_id": "x"}, "tag_phrase_matches has no such rows for this day; it has e"),
        ({"topic_model": "x"}, "user_topics has no such rows"),
    ):
        with pytest.raises(UserError, match=message):
            build(lake, **options)


MOMENTS: dict[str, Moment] = {
    "once the table is there": lambda root: (root / "user_vectors").exists(),
    "as it writes": lambda root: data_files(root / "user_vectors") > 0,
}


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nobody kills."""
    return undisturbed_run(
        spark, tmp_path_factory.mktemp("undisturbed"), world, build, content_of("user_vectors")
    )


@pytest.mark.slow
def test_killed(lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path) -> None:
    kill_and_rerun(undisturbed, lake, MOMENTS, ("build_user_vectors", ("--as-of", DAY)), tmp_path)

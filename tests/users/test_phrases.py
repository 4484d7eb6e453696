"""build_phrases: groups by likeness, phrases in order of weight and within bounds, each tag encoded once."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, resolve
from newslake.users.groups import PhraseSettings, groups_of, phrases_of, quantised
from newslake.users.phrases import build_phrases
from tests.calling import call
from tests.killing import commits, content
from tests.tables import put
from tests.text.conftest import UNEMBEDDED, WORDS
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run

DAY = "2019-11-15"


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.floats(-0.5, 1.0), st.integers(0, 10**6))
def test_groups_are_those_of_leaders(tags: int, threshold: float, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(tags, 4)).astype(np.float32)
    group = groups_of(vectors, threshold)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    leaders: list[int] = []
    for tag in range(tags):
        near = [
            number for number, leader in enumerate(leaders) if unit[leader] @ unit[tag] >= threshold + 1e-6
        ]
        close = [
            number for number, leader in enumerate(leaders) if unit[leader] @ unit[tag] >= threshold - 1e-6
        ]
        assert group[tag] in (*close, len(leaders))
        if near:
            assert group[tag] <= near[0]
        if group[tag] == len(leaders):
            leaders.append(tag)


def test_int8_is_near_enough() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 384)).astype(np.float32)
    small = quantised(vectors).astype(np.float32)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(small @ small.T - unit @ unit.T).max() < 0.01
    assert quantised(np.zeros((2, 3))).tolist() == [[0, 0, 0]] * 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([3.0, 2.5, 1.0, 0.1, 0.3]), min_size=1, max_size=14),
    st.integers(1, 4),
    st.integers(2, 6),
    st.integers(1, 12),
    st.integers(1, 20),
)
def test_phrases_are_the_heaviest_sets_of_each_group(
    values: list[float], many: int, size: int, per_group: int, per_user: int
) -> None:
    weights = np.array(sorted(values, reverse=True))
    group = np.arange(len(values)) % many
    group = np.unique(group, return_inverse=True)[1]
    bounds = PhraseSettings(phrase_size=size, tags_per_group=5, per_group=per_group, per_user=per_user)
    found = phrases_of(weights, group, bounds)
    expected = []
    for number in range(int(group.max()) + 1):
        places = np.flatnonzero(group == number)[:5].tolist()
        sets = [
            one
            for k in range(min(2, len(places)), min(size, len(places)) + 1)
            for one in combinations(places, k)
        ]
        means = sorted((-round(sum(weights[list(one)]) / len(one), 9), len(one), one) for one in sets)
        expected += [(mean, number, one) for mean, _, one in means[:per_group]]
    assert len(found) == min(per_user, len(expected))
    assert [round(weight, 9) for _, _, weight in found] == [-mean for mean, *_ in sorted(expected)[:per_user]]
    if per_user >= len(expected):
        assert {(number, tuple(places)) for number, places, _ in found} == {
            (number, one) for _, number, one in expected
        }


def tags(lake: Lakehouse, *rows: tuple[str, str, float]) -> None:
    """Rows of user_tags."""
    put(
        lake,
        "user_tags",
        [
            {"as_of": np.datetime64(DAY).item(), "user_id": user, "tag": tag, "weight": weight}
            for user, tag, weight in rows
        ],
    )


def build(lake: Lakehouse, model: Path, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("build_phrases")
    call(build_phrases, lake, run, as_of=DAY, encoder=str(model), **options)
    return run


def test_phrases_of_users(lake: Lakehouse, small_model: Path) -> None:
    tags(
        lake,
        *(("u1", word, 5.0 - i) for i, word in enumerate(WORDS[:4])),
        ("u2", WORDS[0], 1.0),
        ("u2", WORDS[1], 0.5),
        ("u3", "film", 1.0),
    )
    run = build(lake, small_model, group_cosine=-1.0, phrase_size=3, phrases_per_group=5)
    assert run.rows_written == {"tag_embeddings": 5, "user_phrases": 7}
    assert lake.read("tag_embeddings").count() == 5
    rows = lake.read("user_phrases").orderBy("user_id", F.desc("weight"), F.size("tags")).collect()
    a = WORDS[0]
    found = [
        (row["user_id"], "".join(sorted("abcd"[WORDS.index(tag)] for tag in row["tags"])))
        for row in rows[:-1]
    ]
    assert found == [("u1", "ab"), ("u1", "ac"), ("u1", "abc"), ("u1", "abd"), ("u1", "ad"), ("u2", "ab")]
    assert [row["weight"] for row in rows] == pytest.approx([4.5, 4.0, 4.0, 11 / 3, 3.5, 0.75, 1.0])
    assert (rows[-1]["tags"], rows[-1]["text"], rows[-1]["tag_group"]) == (["film"], "film", 0)
    assert all(
        row["text"] == ", ".join(sorted(row["tags"])) and row["tags"] == sorted(row["tags"]) for row in rows
    )
    ids = {(row["phrase_id"], row["text"]) for row in rows}
    assert len(ids) == len({one for one, _ in ids}) == 6, "one phrase of both users has one id"
    vector = lake.read("tag_embeddings").where(F.col("tag") == a).head()
    assert vector is not None
    np.testing.assert_allclose(
        vector["embedding"],
        Encoder(resolve(EncoderSpec(str(small_model)))).encode([a], [""]).vectors[0],
        atol=1e-5,
    )

    before = content(lake.read("user_phrases"))
    again = build(lake, small_model, group_cosine=-1.0, phrase_size=3, phrases_per_group=5)
    assert again.rows_written == {"user_phrases": 7}, "no tag is encoded twice"
    assert content(lake.read("user_phrases")) == before
    build(lake, small_model, top_tags=2, phrases_per_user=1, group_cosine=1.01)
    assert {(row["user_id"], *row["tags"]) for row in lake.read("user_phrases").collect()} == {
        ("u1", a),
        ("u2", a),
        ("u3", "film"),
    }


def test_tags_without_a_vector_are_left_out(lake: Lakehouse, gaps_model: Path) -> None:
    tags(lake, ("u1", UNEMBEDDED, 2.0), ("u1", "film", 1.0), ("u2", UNEMBEDDED, 1.0))
    run = build(lake, gaps_model)
    assert [(row["user_id"], row["tags"]) for row in lake.read("user_phrases").collect()] == [
        ("u1", ["film"])
    ]
    assert run.rows_rejected == 1
    assert run.facts["tags of users left out, as they could not be encoded"] == "2"


def test_mistakes(lake: Lakehouse, small_model: Path) -> None:
    with pytest.raises(UserError, match="built by: build_profiles"):
        build(lake, small_model)
    tags(lake, ("u1", "film", 1.0))
    for options, message in (
        ({"phrase_size": 1}, "--phrase-size"),
        ({"tags_per_group": 20}, "up to 16"),
        ({"top_tags": 0}, "1 or more"),
    ):
        with pytest.raises(UserError, match=message):
            build(lake, small_model, **options)


MOMENTS: dict[str, Moment] = {
    "table of tags created": lambda root: commits(root / "tag_embeddings") >= 1,
    "two slices committed": lambda root: commits(root / "tag_embeddings") >= 3,
    "six slices committed": lambda root: commits(root / "tag_embeddings") >= 7,
    "phrases about to be written": lambda root: commits(root / "user_phrases") >= 1,
}


@pytest.fixture(scope="module")
def undisturbed(
    spark: SparkSession, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """A run that nobody kills."""

    def begin(lake: Lakehouse) -> None:
        tags(lake, *((f"u{i % 7}", f"{WORDS[i % 20]} {i % 30}", 1.0 + i) for i in range(60)))

    look = content_of("tag_embeddings", "user_phrases")
    return undisturbed_run(
        spark,
        tmp_path_factory.mktemp("undisturbed"),
        begin,
        lambda lake: build(lake, small_model, slice_rows=8),
        look,
    )


@pytest.mark.slow
def test_killed(lake: Lakehouse, undisturbed: Undisturbed, small_model: Path, tmp_path: Path) -> None:
    options = ("--as-of", DAY, "--encoder", str(small_model), "--slice-rows", "8")
    kill_and_rerun(undisturbed, lake, MOMENTS, ("build_phrases", options), tmp_path)

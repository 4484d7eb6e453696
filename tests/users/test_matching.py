"""The matchers against brute force over all pairs."""

import random
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.spark.frames import Frames, frame_of
from newslake.users.matching import Matcher, candidates, exact, matcher
from newslake.users.matching.candidates import meetings
from newslake.users.matching.exact import ExactMatcher
from newslake.users.matching.lookup import DatasketchMatcher
from newslake.users.matching.minhash import MinHashMatcher
from newslake.users.sets import phrase_id, phrase_text

TagSet = frozenset[str]
Pair = tuple[TagSet, TagSet]

# One at a time, and with a session that they share.
_SHARED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "database": None,
}
FEW = settings(max_examples=2, **_SHARED)  # type: ignore[arg-type]
MANY = settings(max_examples=10, **_SHARED)  # type: ignore[arg-type]
THRESHOLDS = st.one_of(st.sampled_from([0.5, 0.8, 1.0]), st.floats(0.5, 1.0))
SEEDS, LARGEST = st.integers(0, 10**6), st.sampled_from([6, 10, 25])


def frame(spark: SparkSession, sets: Iterable[TagSet], seed: int = 0) -> DataFrame:
    """Sets as a column of tags, each in some order."""
    shuffled = random.Random(seed)
    rows = [(shuffled.sample(sorted(one), len(one)),) for one in sets]
    return frame_of(spark, rows, "tags array<string>")


def ids(spark: SparkSession, *sides: Iterable[TagSet]) -> dict[str, TagSet]:
    """phrase_id -> set."""
    every = sorted({one for side in sides for one in side if one}, key=sorted)
    rows = frame(spark, every).select(phrase_id(F.col("tags")), "tags").collect()
    return {row[0]: frozenset(row[1]) for row in rows}


def brute_force(new: Iterable[TagSet], stored: Iterable[TagSet], threshold: float) -> dict[Pair, float]:
    """Every pair at the threshold or over."""
    theirs = [one for one in stored if one]
    scores = {(a, b): len(a & b) / len(a | b) for a in new if a for b in theirs}
    return {pair: score for pair, score in scores.items() if score >= threshold}


def found_pairs(
    how: Matcher, spark: SparkSession, new: list[TagSet], stored: list[TagSet], threshold: float
) -> dict[Pair, float]:
    """What the matcher gives, each pair checked to be there once."""
    names = ids(spark, new, stored)
    with Frames() as frames:
        rows = how.pairs(frame(spark, new), frame(spark, stored, 1), threshold, frames).collect()
    assert len({row[:2] for row in rows}) == len(rows)
    return {(names[row["phrase_id"]], names[row["stored_id"]]): row["jaccard"] for row in rows}


def found_best(
    how: Matcher, spark: SparkSession, new: list[TagSet], stored: list[TagSet], threshold: float
) -> dict[str, tuple[str, float]]:
    """phrase_id -> (stored_id, jaccard)."""
    with Frames() as frames:
        rows = how.best(frame(spark, new), frame(spark, stored, 1), threshold, frames).collect()
    assert len({row["phrase_id"] for row in rows}) == len(rows)
    return {row["phrase_id"]: (row["stored_id"], row["jaccard"]) for row in rows}


def best_of(pairs: dict[Pair, float], names: dict[str, TagSet]) -> dict[str, tuple[str, float]]:
    """The best of brute force's pairs: highest first, ties by id."""
    of_set = {one: name for name, one in names.items()}
    ranked = sorted((of_set[a], -score, of_set[b]) for (a, b), score in pairs.items())
    return {a: (b, -score) for a, score, b in reversed(ranked)}


def sets_of(seed: int, count: int, *, largest: int, vocabulary: int) -> tuple[list[TagSet], list[TagSet]]:
    """Distinct sets, some of one side made from one of the other by a change or two; some tags are much
    commoner than others."""
    draw = random.Random(seed)
    tags = [f"tag {i} ☃" if i % 3 else f"a, b{i}" for i in range(vocabulary)]
    chances = [1.0 / (i + 1) for i in range(vocabulary)]
    stored = {frozenset(draw.choices(tags, chances, k=draw.randint(1, largest))) for _ in range(count)}
    new = {frozenset(draw.choices(tags, chances, k=draw.randint(1, largest))) for _ in range(count // 2)}
    for one in sorted(stored, key=sorted)[: count // 2]:
        changed = set(one)
        for _ in range(draw.randint(0, 2)):
            changed ^= {draw.choice(tags)}
        new.add(frozenset(changed))
    return sorted(new, key=sorted), sorted(stored, key=sorted)


def check_exact(spark: SparkSession, seed: int, threshold: float, largest: int, count: int = 80) -> None:
    """Every pair and no other, and of each set the best."""
    new, stored = sets_of(seed, count, largest=largest, vocabulary=30)
    expected = brute_force(new, stored, threshold)
    assert found_pairs(ExactMatcher(), spark, new, stored, threshold) == expected
    assert found_best(ExactMatcher(), spark, new, stored, threshold) == best_of(
        expected, ids(spark, new, stored)
    )


@FEW
@given(seed=SEEDS, threshold=THRESHOLDS, largest=LARGEST)
def test_exact_finds_every_pair_and_no_other(
    spark: SparkSession, seed: int, threshold: float, largest: int
) -> None:
    check_exact(spark, seed, threshold, largest)


@pytest.mark.slow
@MANY
@given(seed=SEEDS, threshold=THRESHOLDS, largest=LARGEST)
def test_exact_finds_every_pair_of_many_more(
    spark: SparkSession, seed: int, threshold: float, largest: int
) -> None:
    check_exact(spark, seed, threshold, largest, 200)


@pytest.mark.parametrize("bits", [pytest.param(64, marks=pytest.mark.slow), 7])
def test_exact_when_nothing_is_few_and_keys_collide(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    """The way of large sides, here in several tasks; and with keys of 7 bits, under which most meetings are
    false."""
    for name, value in {"_FEW_SETS": 10, "_SETS_PER_TASK": 30, "_KEYS_PER_TASK": 200}.items():
        monkeypatch.setattr(exact, name, value)
    new, stored = sets_of(5, 100, largest=20, vocabulary=25)
    names = ids(spark, new, stored)
    expected = best_of(brute_force(new, stored, 0.7), names)
    found = found_best(ExactMatcher(bits), spark, new, stored, 0.7)
    assert len(expected) > 30
    assert found == expected


def check_other(
    spark: SparkSession, how: Matcher, seed: int, threshold: float, largest: int, count: int = 150
) -> tuple[int, int]:
    """No wrong pair, and every pair of equal sets; returns how many were found, of how many."""
    new, stored = sets_of(seed, count, largest=largest, vocabulary=40)
    expected = brute_force(new, stored, threshold)
    found = found_pairs(how, spark, new, stored, threshold)
    assert found.items() <= expected.items()
    assert {pair for pair in expected if pair[0] == pair[1]} <= found.keys(), "equal sets have equal minima"
    print(
        f"{type(how).__name__} at {threshold:.3f}: recall {len(found) / max(len(expected), 1):.3f} of"
        f" {len(expected)} pairs"
    )
    return len(found), len(expected)


OTHERS = pytest.mark.parametrize(
    "how", [MinHashMatcher(seed=3), DatasketchMatcher(seed=3)], ids=["minhash", "datasketch"]
)


@OTHERS
def test_the_others_are_never_wrong(spark: SparkSession, how: Matcher) -> None:
    found, there = check_other(spark, how, seed=11, threshold=0.8, largest=9)
    assert found > 0.8 * there


@pytest.mark.slow
@OTHERS
@MANY
@given(seed=SEEDS, threshold=THRESHOLDS, largest=LARGEST)
def test_the_others_are_never_wrong_at_any_threshold(
    spark: SparkSession, how: Matcher, seed: int, threshold: float, largest: int
) -> None:
    found, there = check_other(spark, how, seed, threshold, largest, 300)
    assert found > 0.6 * there - 5


ODD: list[TagSet] = [
    frozenset(),
    frozenset({"one"}),
    frozenset({"a, b"}),
    frozenset({"a", "b"}),
    frozenset({"中国", "経済", "é", "e\u0301"}),
]


@pytest.mark.parametrize("name", ["exact", "minhash", "datasketch"])
def test_odd_sets(spark: SparkSession, name: str) -> None:
    """Empty sets match nothing, one tag is a set, a separator inside a tag is no separator, repeats do not
    count."""
    new = frame_of(
        spark,
        [
            ([],),
            (None,),
            (["one", "one"],),
            (["b", "a", None, ""],),
            (["é", "e\u0301", "経済", "中国", "中国"],),
        ],
        "tags array<string>",
    )
    stored = frame(spark, [*ODD[:2], ODD[2], *ODD[3:]])
    names = ids(spark, ODD)
    with Frames() as frames:
        found = {row[0]: row[1:] for row in matcher(name).best(new, stored, 0.8, frames).collect()}  # type: ignore[arg-type]
    assert {names[key] for key in found} == {ODD[1], ODD[3], ODD[4]}
    assert all(value == (key, 1.0) for key, value in found.items())


def test_no_side_at_all(spark: SparkSession) -> None:
    some, none = frame(spark, [frozenset({"a", "b"})]), frame(spark, [])
    for name in ("exact", "minhash", "datasketch"):
        with Frames() as frames:
            how = matcher(name)
            assert how.best(some, none, 0.8, frames).isEmpty()
            assert how.best(none, some, 0.8, frames).isEmpty()


def test_phrase_ids_sort_as_set_hashes_do_and_text_has_one_order(spark: SparkSession) -> None:
    rows = frame_of(
        spark,
        [([f"t{i}", "x"],) for i in range(200)] + [(["x", "t1", "x"],), (["x", "t1"],)],
        "tags array<string>",
    )
    found = rows.select(
        phrase_id(F.col("tags")).alias("id"), phrase_text(F.col("tags")).alias("text")
    ).collect()
    assert {len(row["id"]) for row in found} == {32}
    assert found[1] == found[200] == found[201]
    assert found[1]["text"] == "t1, x"
    assert len({row["id"] for row in found}) == 200


def test_a_common_key_spreads_over_blocks(spark: SparkSession) -> None:
    """1,000 x 600 rows under one key: every pair once, and no place has more than 300 x 300 of them, however
    few places there are."""
    new = spark.range(1000).select(F.lit(7).alias("key"), F.col("id").alias("set_hash"))
    stored = spark.range(600).select(F.lit(7).alias("key"), (F.col("id") + 10_000).alias("set_hash"))
    pairs = meetings(new, stored, "key", most=250)
    assert pairs.count() == pairs.select("new_hash", "stored_hash").distinct().count() == 600_000
    largest = pairs.groupBy("new_block", "stored_block").count().agg(F.max("count")).head()
    assert largest is not None
    assert largest[0] < 300 * 300


def test_a_hot_tag_makes_no_task_do_all(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set has the same two tags: the keys of the exact matcher still spread evenly over the tasks."""
    monkeypatch.setattr(exact, "_FEW_SETS", 10)
    monkeypatch.setattr(exact, "_KEYS_PER_TASK", 1_000)
    monkeypatch.setattr(exact, "_SETS_PER_TASK", 500)
    draw = random.Random(0)
    new, stored = (
        [frozenset({"hot", "sports", *draw.sample(range_tags, draw.randint(3, 6))}) for _ in range(1500)]
        for range_tags in [TAGS] * 2
    )
    with Frames() as frames:
        ours, theirs = (exact._side(frame(spark, set(side)), frames) for side in (new, stored))
        own = exact.key_plan("subset", 0.8, ours.sizes, theirs.sizes)
        tasks = exact._tasks(own.keys(ours.sizes), 1_000)
        keys = exact._keys("subset", ours, own).repartition(tasks, "key")
        loads = [row[1] for row in keys.groupBy(F.spark_partition_id()).count().collect()]
    assert len(loads) == tasks >= 8
    assert max(loads) < 1.3 * sum(loads) / tasks


TAGS = [f"t{i}" for i in range(300)]


def test_mistakes(spark: SparkSession) -> None:
    rows = frame(spark, [frozenset({"a"})])
    with Frames() as frames:
        for bad in (0.0, 1.1, -0.5, np.nan):
            with pytest.raises(UserError, match="Jaccard threshold"):
                ExactMatcher().best(rows, rows, bad, frames)
        with pytest.raises(UserError, match="--matcher soundex: choose one of exact, minhash, datasketch"):
            matcher("soundex")  # type: ignore[arg-type]
        with pytest.raises(UserError, match="takes up to 0 phrases"):
            DatasketchMatcher(most_sets=0).pairs(rows, rows, 0.8, frames)
    assert candidates.MOST_PER_KEY > 100

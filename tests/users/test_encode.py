"""encode_tag_phrases: what is encoded and what is reused, from which phrase, whatever the partitioning and
however often."""

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, resolve
from newslake.users.encode import decisions, encode_tag_phrases
from newslake.users.matching.exact import ExactMatcher
from newslake.users.sets import phrase_id
from tests.calling import call
from tests.killing import commits, content
from tests.text.conftest import UNEMBEDDED, WORDS
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run
from tests.users.conftest import fill_phrases
from tests.users.test_matching import frame, sets_of

DAY1 = [
    ("u1", WORDS[:4]),
    ("u1", WORDS[:5]),
    ("u2", WORDS[:5]),
    ("u2", ["film"]),
    ("u3", ["the star", "goal, late"]),
]
# u1: five of DAY1's and one more; u2: known; u3: new, and its subset; u4: four of five.
DAY2 = [("u1", WORDS[:6]), ("u2", ["film"]), ("u3", WORDS[8:13]), ("u3", WORDS[8:12]), ("u4", WORDS[1:5])]


def encode(lake: Lakehouse, as_of: str, model: Path, **options: object) -> JobRun:
    """One run of the job."""
    run = JobRun("encode_tag_phrases")
    call(encode_tag_phrases, lake, run, as_of=as_of, encoder=str(model), **options)
    return run


def matches(lake: Lakehouse, as_of: str) -> dict[tuple[str, ...], tuple[str, tuple[str, ...], float]]:
    """tags -> (decision, tags of the source, jaccard); phrase ids turned into tags by user_phrases and the
    store."""
    names = (
        lake.read("user_phrases")
        .select("phrase_id", "tags")
        .union(lake.read("tag_phrases").select("phrase_id", "tags"))
    )
    tags = {row[0]: tuple(row[1]) for row in names.collect()}
    rows = lake.read("tag_phrase_matches").where(F.col("as_of") == as_of).collect()
    return {tags[row["phrase_id"]]: (row["decision"], tags[row["source_id"]], row["jaccard"]) for row in rows}


def sorted_tags(*tags: str) -> tuple[str, ...]:
    """As the tables have them."""
    return tuple(sorted(tags))


def test_encodes_what_is_new_and_reuses_what_is_alike(lake: Lakehouse, small_model: Path) -> None:
    fill_phrases(lake, "2019-11-15", DAY1)
    run = encode(lake, "2019-11-15", small_model)
    four, five, film = sorted_tags(*WORDS[:4]), sorted_tags(*WORDS[:5]), ("film",)
    first = matches(lake, "2019-11-15")
    assert first == {
        five: ("encoded", five, 1.0),
        four: ("reused", five, 0.8),
        film: ("encoded", film, 1.0),
        ("goal, late", "the star"): ("encoded", ("goal, late", "the star"), 1.0),
    }
    assert run.rows_read == 4
    assert run.rows_written == {"tag_phrases": 3, "tag_phrase_matches": 4}

    fill_phrases(lake, "2019-11-16", DAY2)
    encode(lake, "2019-11-16", small_model)
    assert matches(lake, "2019-11-16") == {
        sorted_tags(*WORDS[:6]): ("reused", five, 5 / 6),
        film: ("reused", film, 1.0),
        sorted_tags(*WORDS[8:13]): ("encoded", sorted_tags(*WORDS[8:13]), 1.0),
        sorted_tags(*WORDS[8:12]): ("reused", sorted_tags(*WORDS[8:13]), 0.8),
        sorted_tags(*WORDS[1:5]): ("reused", five, 0.8),
    }
    store = {tuple(row["tags"]): row for row in lake.read("tag_phrases").collect()}
    assert len(store) == 4
    expected = Encoder(resolve(EncoderSpec(str(small_model)))).encode([", ".join(five)], [""])
    np.testing.assert_allclose(store[five]["embedding"], expected.vectors[0], rtol=1e-5, atol=1e-6)
    assert {tags: row["first_seen"].day for tags, row in store.items() if row["first_seen"].day == 16} == {
        sorted_tags(*WORDS[8:13]): 16
    }


def test_a_day_run_again_decides_the_same(lake: Lakehouse, small_model: Path) -> None:
    """Also after a later day has put more similar phrases into the store."""
    tables = ("tag_phrases", "tag_phrase_matches")
    for day, phrases in (("2019-11-15", DAY1), ("2019-11-16", [*DAY2, ("u9", WORDS[:3])])):
        fill_phrases(lake, day, phrases)
        encode(lake, day, small_model, touch_days=0)
    before = [content(lake.read(table)) for table in tables]
    for day in ("2019-11-15", "2019-11-16"):
        run = encode(lake, day, small_model, touch_days=0)
        assert run.rows_written["tag_phrases"] == 0
        assert [content(lake.read(table)) for table in tables] == before
    # An earlier day that comes late takes nothing from later ones but the vectors of its own phrases.
    fill_phrases(lake, "2019-11-10", [("u1", WORDS[:5]), ("u1", WORDS[:6])])
    run = encode(lake, "2019-11-10", small_model)
    assert run.rows_written["tag_phrases"] == 0
    assert matches(lake, "2019-11-10")[sorted_tags(*WORDS[:6])] == ("reused", sorted_tags(*WORDS[:5]), 5 / 6)
    assert lake.read("tag_phrases").agg(F.min("first_seen").cast("string")).head() == ("2019-11-10",)


def test_decisions_do_not_depend_on_partitions_and_make_no_chains(lake: Lakehouse) -> None:
    batch, earlier = (
        frame(lake.spark, [one for one in side if one]) for side in sets_of(3, 120, largest=8, vocabulary=14)
    )
    batch, earlier = (
        side.select(phrase_id(F.col("tags")).alias("phrase_id"), "tags") for side in (batch, earlier)
    )
    results = []
    for parts in (1, 5):
        with Frames() as frames:
            decided = decisions(
                batch.repartition(parts), earlier.repartition(parts), ExactMatcher(), 0.7, frames
            )
            results.append({row[0]: row[1:] for row in decided.collect()})
    assert results[0] == results[1]
    assert len(results[0]) == batch.count()
    encoded = {name for name, (decision, _, _) in results[0].items() if decision == "encoded"}
    known = {row[0] for row in earlier.select("phrase_id").collect()}
    inside = {source for name, (decision, source, _) in results[0].items() if decision == "reused"} - known
    assert encoded
    assert inside
    assert inside <= encoded, "only encoded phrases are reused from"


def test_rejects_what_has_no_vector(lake: Lakehouse, gaps_model: Path) -> None:
    fill_phrases(lake, "2019-11-15", [("u1", []), ("u1", [UNEMBEDDED]), ("u2", ["team"]), ("u3", ["\x01"])])
    run = encode(lake, "2019-11-15", gaps_model)
    assert matches(lake, "2019-11-15") == {("team",): ("encoded", ("team",), 1.0)}
    assert run.rows_rejected == 3
    reasons = {row["reason"] for row in lake.read("quarantine").collect()}
    assert {"an empty phrase", "no text to encode"} < reasons
    again = encode(lake, "2019-11-15", gaps_model)
    assert again.rows_rejected == 3
    assert lake.read("quarantine").count() == 3


def test_mistakes(lake: Lakehouse, small_model: Path) -> None:
    with pytest.raises(UserError, match="built by: build_phrases"):
        encode(lake, "2019-11-15", small_model)
    fill_phrases(lake, "2019-11-15", [("u1", ["team"])])
    for options, message in (
        ({"as_of": "yesterday"}, "takes a day such as"),
        ({"as_of": "2019-11-17"}, "days from 2019-11-15 to 2019-11-15"),
        ({"min_jaccard": 0.0}, "Jaccard threshold"),
        ({"slice_rows": 0}, "--slice-rows"),
    ):
        with pytest.raises(UserError, match=message):
            encode(lake, **{"as_of": "2019-11-15", "model": small_model, **options})  # type: ignore[arg-type]


MOMENTS: dict[str, Moment] = {
    "store created": lambda root: commits(root / "tag_phrases") >= 1,
    "one slice committed": lambda root: commits(root / "tag_phrases") >= 2,
    "two slices committed": lambda root: commits(root / "tag_phrases") >= 3,
    "four slices committed": lambda root: commits(root / "tag_phrases") >= 5,
}


@pytest.fixture(scope="module")
def undisturbed(
    spark: SparkSession, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """A run that nobody kills."""
    many = [("u1", [word, f"number{i}"]) for i in range(30) for word in WORDS[:2]]
    folder = tmp_path_factory.mktemp("undisturbed")
    return undisturbed_run(
        spark,
        folder,
        lambda lake: fill_phrases(lake, "2019-11-15", [*DAY1, *many]),
        lambda lake: encode(lake, "2019-11-15", small_model, slice_rows=16),
        content_of("tag_phrases", "tag_phrase_matches"),
    )


def left(lake: Lakehouse) -> None:
    """The store that a kill leaves is readable and has no phrase twice."""
    if lake.exists("tag_phrases"):
        assert lake.read("tag_phrases").groupBy("phrase_id").count().where("count > 1").isEmpty()


@pytest.mark.slow
def test_killed(lake: Lakehouse, undisturbed: Undisturbed, small_model: Path, tmp_path: Path) -> None:
    options = ("--as-of", "2019-11-15", "--encoder", str(small_model), "--slice-rows", "16")
    kill_and_rerun(undisturbed, lake, MOMENTS, ("encode_tag_phrases", options), tmp_path, left=left)

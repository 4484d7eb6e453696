"""The way of recommenders into use: judged on test against the one in use, served while they are, and back
again."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from newslake.errors import UserError
from newslake.files.remote import local
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.serving.job import export_vectors
from newslake.spark.frames import frame_of
from newslake.switches.promotions import NONE, promote
from newslake.training import recommender
from newslake.training.data.loading import coded_as, codes_of
from newslake.training.data.preparation import Prepared
from newslake.training.data.time_splits import TimeSplits
from newslake.training.encode_users import encode_users
from newslake.training.judging.on_test import paired_sums
from newslake.training.judging.promotion import Promotion, decide_on
from newslake.training.models.saved import load_saved
from newslake.training.recommender import train_recommender
from newslake.training.runs import Place
from tests.calling import call
from tests.tables import put
from tests.training import frames

USERS, ARTICLES, TEST_DAY, LATE = 24, 240, 15, "N240"
"""Only the last day shows LATE, whose category no other article has. So many articles that a user has not
clicked all liked ones before."""
NOISE = {
    f"N{i:03}": np.random.default_rng(i).normal(size=8).astype(np.float32).tolist()
    for i in range(ARTICLES + 1)
}
TELLING = {**frames.drawn_vectors(3, articles=ARTICLES), LATE: [0.1] * 8}
"""Vectors by two encoders: of one they say nothing of what users like, of the other nearly all."""
WEEK = TimeSplits(as_of="2019-11-15", train_days=4, valid_hours=24, test_hours=24)
NEXT = replace(WEEK, as_of="2019-11-16")
OPTIONS: dict[str, Any] = {"model": "nrms", "dim": 8, "batch_size": 16, "learning_rate": 0.02, "dropout": 0.1}
FIRST: dict[str, Any] = {"by_time": WEEK, "epochs": 6, "encoder_id": "noise"}
WEAK: dict[str, Any] = {"by_time": NEXT, "epochs": 1, "learning_rate": 1e-9, "encoder_id": "noise"}
GOOD = {**WEAK, "encoder_id": "telling"}
KILLED = {**FIRST, "by_time": NEXT}


def drawn() -> list[tuple[frames.Behavior, datetime]]:
    """Impressions of 10 to 15 November, each at a moment of its own but for the last day's, whose users are
    thus known by one history."""
    found = []
    for behavior in frames.drawn_behaviors(3, impressions=480, users=USERS, articles=ARTICLES):
        number = int(behavior[1])
        day = 10 + number % 6
        late = f" {LATE}-{number // 6 % 2}" if day == TEST_DAY else ""
        at = datetime(2019, 11, day, 12) + timedelta(minutes=0 if day == TEST_DAY else number)
        found.append((("live", *behavior[1:4], behavior[4] + late), at))
    return found


DRAWN = drawn()


def fill(lake: Lakehouse, *, until: int = 16) -> None:
    """All articles, and the impressions before a day."""
    spark = lake.spark
    behaviors = [(behavior, at) for behavior, at in DRAWN if at.day < until]
    moments = frame_of(
        spark, [(behavior[1], at) for behavior, at in behaviors], "impression_id string, at timestamp"
    )
    shown = frames.impressions(spark, [behavior for behavior, _ in behaviors], lake.schema("impressions"))
    shown = shown.join(moments, on="impression_id", how="inner").withColumn("occurred_at", F.col("at"))
    put(lake, "impressions", shown.select(*lake.schema("impressions").names))
    news: list[frames.NewsRow] = [(n, "a" if n == LATE else f"c{int(n[1:]) % 3}", "s", []) for n in NOISE]
    put(lake, "news", frames.news(spark, news, lake.schema("news")))
    for encoder_id, vectors in (("noise", NOISE), ("telling", TELLING)):
        put(
            lake,
            "article_embeddings",
            frames.embeddings(spark, vectors, lake.schema("article_embeddings"), encoder_id),
        )


def train(lake: Lakehouse, **options: Any) -> JobRun:
    run = JobRun("train_recommender")
    call(train_recommender, lake, run, **{**OPTIONS, **options})
    return run


def decisions(lake: Lakehouse) -> dict[str, Any]:
    """The row of train_recommender on each run."""
    return {
        row["run_id"]: row
        for row in lake.read("promotions").where("decided_by = 'train_recommender'").collect()
    }


def ranked(day: int) -> list[tuple[str, list[str], list[int]]]:
    """User, candidates and labels of the impressions of a day; what the user had clicked before it is no
    candidate."""
    found = []
    for behavior, at in DRAWN:
        if at.day != day:
            continue
        earlier = [b for b, moment in DRAWN if b[2] == behavior[2] and moment < at]
        clicked = {candidate[:-2] for b in earlier for candidate in b[4].split() if candidate.endswith("-1")}
        shown = [candidate.split("-") for candidate in behavior[4].split()]
        pairs = [(news_id, label) for news_id, label in shown if news_id not in clicked]
        labels = [int(label) for _, label in pairs]
        if 0 < sum(labels) < len(labels):
            found.append((behavior[2], [news_id for news_id, _ in pairs], labels))
    return found


def aucs(users: dict[str, np.ndarray], articles: dict[str, np.ndarray], day: int) -> np.ndarray:
    """scikit-learn's AUC of each impression of a day, by inner products of these vectors."""
    return np.array(
        [
            roc_auc_score(labels, [articles[n] @ users[user] for n in shown])
            for user, shown, labels in ranked(day)
        ]
    )


def vectors(lake: Lakehouse, run_id: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A run's vectors of users and of articles, out of the tables."""
    found = []
    for table in ("user_embeddings", "news_embeddings"):
        rows = lake.read(table).where(F.col("run_id") == run_id).collect()
        found.append({row[0]: np.array(row["embedding"]) for row in rows})
    return found[0], found[1]


def zero_shot(embeddings: dict[str, list[float]]) -> np.ndarray:
    """AUCs of the test day by the mean of what a user had clicked before it, worked out one by one; LATE was
    never clicked before."""
    articles = {news_id: np.array(vector) / np.linalg.norm(vector) for news_id, vector in embeddings.items()}
    clicked: dict[str, list[str]] = {}
    for behavior, at in sorted(DRAWN, key=lambda one: one[1]):
        if at.day < TEST_DAY:
            clicked.setdefault(behavior[2], []).extend(
                c[:-2] for c in behavior[4].split() if c.endswith("-1")
            )
    latest = {user: list(dict.fromkeys(reversed(ids)))[:50] for user, ids in clicked.items()}
    return aucs(
        {user: np.mean([embeddings[n] for n in ids], axis=0) for user, ids in latest.items()},
        articles,
        TEST_DAY,
    )


def learnt_something(models: Path, run_id: str) -> None:
    """Give a model that was kept as it began weights as if it had learnt: what is learnt of articles
    counts."""
    file = models / run_id / "model.safetensors"
    weights = load_file(str(file))
    weights["gate"] = torch.ones_like(weights["gate"])
    save_file(weights, str(file))


@dataclass(frozen=True)
class Story:
    """Four trainings, each judged against the one before it that came into use.

    Attributes:
        lake: where it all lies.
        first: a week before the others, on vectors that say little.
        good: on vectors that say nearly all.
        weak: as the first, on impressions of the next week.
        killed: the rerun of one that was killed before it was judged; with a tolerance that lets anything in.
        before: promotions that there were when it was killed.
        prepared, place: what the last two were trained on, and where.
    """

    lake: Lakehouse
    first: JobRun
    good: JobRun
    weak: JobRun
    killed: JobRun
    before: int
    prepared: Prepared
    place: Place

    def id_of(self, which: str) -> str:
        """The id of a training run."""
        run: JobRun = getattr(self, which)
        return run.facts["training run"]


@pytest.fixture(scope="module")
def story(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Every run of train_recommender that these tests look at."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("story") / "lakehouse"))
    fill(lake)
    first = train(lake, **FIRST)
    learnt_something(Path(str(lake.root)) / "_models", first.facts["training run"])
    good, weak = train(lake, **GOOD), train(lake, **WEAK)
    seen: list[Any] = []

    def kill(
        lake: Lakehouse, run: JobRun, prepared: Prepared, run_id: str, place: Place, *_: object, **__: object
    ) -> None:
        seen.extend([prepared, place])
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recommender, "decide_on", kill)
        with pytest.raises(KeyboardInterrupt):
            train(lake, **KILLED)
    before = lake.read("promotions").count()
    return Story(
        lake, first, good, weak, train(lake, **KILLED, promotion=Promotion(tolerance=0.9)), before, *seen
    )


def test_a_model_that_is_not_worse_than_zero_shot_comes_into_use(story: Story) -> None:
    lake, run_id = story.lake, story.id_of("first")
    row = decisions(lake)[run_id]
    assert (row["promoted"], row["kind"], row["name"], row["in_use"], row["metric"]) == (
        True,
        "recommender",
        "nrms",
        NONE,
        "auc",
    )
    assert (story.first.facts["promoted"], story.first.rows_written["promotions"]) == ("yes", 1)
    kept = lake.read("model_metrics").where(F.col("run_id") == run_id).where("split = 'test'").head()
    assert kept is not None
    assert row["value"] == pytest.approx(kept["auc"], abs=1e-9)
    assert row["impressions"] == kept["impressions"] == len(ranked(14))


def test_a_better_one_takes_its_place_and_both_figures_are_those_of_the_same_impressions(
    story: Story, spark: SparkSession, tmp_path: Path
) -> None:
    lake, first, good = story.lake, story.id_of("first"), story.id_of("good")
    row = decisions(lake)[good]
    assert (row["promoted"], row["in_use"]) == (True, first)
    # The one in use as of before the test day: its vectors by another job, from tables that end there.
    before = Lakehouse(spark, str(tmp_path / "before"))
    fill(before, until=TEST_DAY)
    encode_users(before, JobRun("encode_users"), model_run=first, model_folder=f"{lake.root}/_models")
    of_first, of_good = aucs(*vectors(before, first), TEST_DAY), aucs(*vectors(lake, good), TEST_DAY)
    assert row["impressions"] == len(of_first) > 40
    assert row["in_use_value"] == pytest.approx(of_first.mean(), abs=1e-5)
    assert abs(of_first - zero_shot(NOISE)).max() > 0.01, "by what it learnt, and not as it began"
    assert row["value"] == pytest.approx(of_good.mean(), abs=1e-5)
    assert float(story.good.facts["test AUC of zero-shot"]) == pytest.approx(
        zero_shot(TELLING).mean(), abs=1e-4
    )
    draw = np.random.default_rng(0)
    resampled = [draw.choice(of_good - of_first, len(of_first)).mean() for _ in range(4000)]
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.percentile(resampled, (2.5, 97.5))), abs=0.02)
    assert row["low"] > 0


def test_a_worse_one_does_not_and_the_other_stays(story: Story) -> None:
    row = decisions(story.lake)[story.id_of("weak")]
    assert (row["promoted"], row["in_use"]) == (False, story.id_of("good"))
    assert row["in_use_value"] == pytest.approx(
        decisions(story.lake)[story.id_of("good")]["value"], abs=1e-9
    ), "by vectors of its own encoder"
    assert row["value"] == pytest.approx(zero_shot(NOISE).mean(), abs=0.01), (
        "hardly trained, it ranks as it began"
    )
    assert "worse" in row["reason"]
    assert decisions(story.lake)[story.id_of("killed")]["in_use"] == story.id_of("good")


def test_a_rerun_finds_its_decision_and_makes_good_what_a_kill_left_out(story: Story) -> None:
    assert story.killed.rows_written == {"promotions": 1}, "the model was there, the decision was not"
    assert story.killed.facts["promoted"] == "yes"
    assert story.before == 3
    rows = story.lake.read("promotions").count()
    again = train(story.lake, **WEAK)
    assert again.rows_written == {}
    assert (again.facts["promoted"], again.facts["in use before"]) == ("no", story.id_of("good"))
    assert story.lake.read("promotions").count() == rows


def test_what_is_in_use_is_served_and_the_way_back_leads_to_the_one_before(story: Story) -> None:
    lake, first, last = story.lake, story.id_of("good"), story.id_of("killed")

    def served() -> tuple[str, str]:
        """The runs that encode_users and export_vectors take by themselves."""
        encoded, exported = JobRun("encode_users"), JobRun("export_vectors")
        encode_users(lake, encoded)
        call(export_vectors, lake, exported, to=("tsv",))
        assert (Path(exported.facts["files"]) / "user_embeddings.tsv").is_file()
        return encoded.facts["model run"], exported.facts["vectors of"].split()[1]

    promote(lake, JobRun("promote"), kind="recommender", run_id=last)
    assert served() == (last, last)
    shown = frames.impressions(
        lake.spark, [("live", "new", "U99", "", "N001-1 N002-0")], lake.schema("impressions")
    )
    put(lake, "impressions", shown.withColumn("occurred_at", F.lit(datetime(2019, 11, 17))))
    promote(lake, JobRun("promote"), kind="recommender", previous=True)
    assert served() == (first, first)
    assert vectors(lake, first)[0].keys() == vectors(lake, last)[0].keys() | {"U99"}, "a user who came since"
    back = JobRun("promote")
    promote(lake, back, kind="recommender", previous=True)
    assert back.facts["in use"] == story.id_of("first")
    promote(lake, JobRun("promote"), kind="recommender", previous=True)
    encoded, exported = JobRun("encode_users"), JobRun("export_vectors")
    encode_users(lake, encoded)
    call(export_vectors, lake, exported, to=("tsv",))
    assert encoded.rows_written == exported.rows_written == {}
    assert (encoded.facts["recommender in use"], exported.facts["recommender in use"]) == (
        "none: nothing to do",
        "none: no files to write",
    )
    call(export_vectors, lake, exported, to=("tsv",), run_id=last)
    assert exported.facts["vectors of"] == f"nrms {last}"


def test_zero_shot_stands_for_one_in_use_that_is_gone(story: Story, tmp_path: Path) -> None:
    lake, first, second = story.lake, story.id_of("good"), story.id_of("weak")
    promote(lake, JobRun("promote"), kind="recommender", run_id=first)
    models, bar = local(story.place.models), Promotion(tolerance=0.9)
    (models / first).rename(tmp_path / first)
    try:
        with pytest.raises(
            UserError, match=f"recommender {first}, which is in use, cannot be read: .* --previous"
        ):
            encode_users(lake, JobRun("encode_users"))
        decide_on(lake, JobRun("train_recommender"), story.prepared, second, story.place, bar, again=True)
        row = decisions(lake)[second]
        assert (row["promoted"], row["in_use"]) == (True, first)
        assert f"zero-shot stands for {first}, which is in use and cannot be" in row["reason"]
        assert row["in_use_value"] == pytest.approx(zero_shot(NOISE).mean(), abs=1e-5)
    finally:
        (tmp_path / first).rename(models / first)


def test_who_cannot_be_compared_fairly_does_not_come_into_use(story: Story, tmp_path: Path) -> None:
    lake, first, last = story.lake, story.id_of("good"), story.id_of("killed")
    assert (
        story.prepared.known_until
        == load_saved(story.place.models, last).known_until
        == datetime(2019, 11, 15)
    )
    promote(lake, JobRun("promote"), kind="recommender", run_id=last)
    # A rerun of the week before, whose test is what the one in use was chosen by; and one that staged fewer
    # clicks than it reads.
    earlier = replace(story.prepared, known_until=datetime(2019, 11, 14))
    short = replace(
        story.prepared,
        staged=replace(story.prepared.staged, sizes={**story.prepared.staged.sizes, "max_history": 5}),
    )
    for prepared, reason in (
        (
            earlier,
            (
                f"not compared: {last}, which is in use, learnt from impressions until 2019-11-15 00:00,"
                " after the start of test"
            ),
        ),
        (
            short,
            f"not compared: {last}, which is in use, reads 50 clicks, and only --max-history 5 are staged",
        ),
    ):
        decide_on(lake, JobRun("train_recommender"), prepared, first, story.place, Promotion(), again=True)
        row = decisions(lake)[first]
        assert (row["promoted"], row["value"], row["in_use"], row["reason"]) == (False, None, last, reason)


def test_who_has_no_test_or_asks_for_none_is_not_judged(story: Story) -> None:
    rows = story.lake.read("promotions").count()
    without = replace(story.prepared, staged=replace(story.prepared.staged, sizes={"train": 1, "valid": 1}))
    for prepared, options, told in (
        (without, Promotion(), "not judged: there is no test"),
        (story.prepared, Promotion(promote=False), "not judged: --no-promote"),
    ):
        run = JobRun("train_recommender")
        decide_on(story.lake, run, prepared, story.id_of("weak"), story.place, options, again=True)
        assert run.facts["promoted"] == told
    assert story.lake.read("promotions").count() == rows
    for mistake in ({"tolerance": -0.1}, {"resamples": 0}):
        with pytest.raises(UserError, match="--tolerance must be 0 or more, --resamples at least 1"):
            Promotion(**mistake)


def test_attributes_have_the_numbers_that_the_model_gave_them() -> None:
    codes = codes_of(pa.chunked_array([["a", "c0", None, "c1", "c0"]]))
    assert codes.names == ("a", "c0", "c1")
    found = coded_as(codes, ("c0", "c1", "c2"))
    assert (found.values.tolist(), found.count, found.names) == ([4, 1, 0, 2, 1], 4, ("c0", "c1", "c2"))


def test_resamples_are_the_same_for_both_and_row_0_is_all() -> None:
    values = np.random.default_rng(0).random((2, 50))
    one, other = paired_sums(np.arange(50), list(values), resamples=300, seed=0)
    assert one.shape == (301, 2)
    assert np.array_equal(one[:, 0], other[:, 0])
    assert (one[0, 0], one[0, 1], other[0, 1]) == pytest.approx((50, values[0].sum(), values[1].sum()))
    assert one[1:, 0].mean() == pytest.approx(50, abs=2)
    assert one[1:, 0].var() == pytest.approx(50, rel=0.3), "each counts by a Poisson number of mean 1"

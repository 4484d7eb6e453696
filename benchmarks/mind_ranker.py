"""train_ranker on the candidates of MIND's own impressions: the part of mind.py that judges rankers and the
formula as it judges models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.files.folders import read
from newslake.files.remote import Place
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking import ctr, judge
from newslake.ranking.examples import LABEL
from newslake.ranking.gather import Moments, gathered, impressions_of, vector_folder
from newslake.ranking.options import CANDIDATES, FORMULA
from newslake.ranking.queries import Known, queries_of
from newslake.ranking.ranker import Ranker, load
from newslake.ranking.scoring import VectorPaths, with_features
from newslake.ranking.train import train_ranker
from newslake.run.cli import run_job
from newslake.spark.frames import Frames
from newslake.switches.classes import classed_news
from newslake.training.data.preparation import Prepared, models_folder
from newslake.training.data.time_splits import TEST, TRAIN, VALID, TimeSplits
from newslake.training.judging.spark_evaluate import METRICS, metrics_of

KINDS = ("linear", "trees")
DAYS = 7
"""An impression may show an article of any age; train_ranker's own default is that of a feed, which chooses
among recent ones."""


@dataclass(frozen=True)
class Judged:
    """One way to rank, with one seed, judged on the impressions of one group of users."""

    way: str
    seed: int
    users: str
    impressions: int
    metrics: Mapping[str, float]


def rankers(lake: Lakehouse, when: TimeSplits, seeds: Sequence[int]) -> dict[tuple[str, int], Ranker]:
    """Rankers of each kind and seed that train_ranker makes of these splits by time, by kind and seed.

    It draws no articles that were not shown, which help a feed's ranker alone. A seed then only decides which
    impressions are left out where there are too many: the others' rankers would be the first one's where
    there are not, and are not trained.
    """
    options = {"by_time": when, "days": DAYS, "unshown": 0}
    found = {}
    for kind in KINDS:
        for seed in seeds:
            run = run_job(train_ranker, lake, {**options, "kind": kind, "seed": seed})
            print(f"train_ranker {kind}, seed {seed}: {run.seconds:.0f} s: {run.summary()}", flush=True)
            found[kind, seed] = load(models_folder(lake, None, None), run.facts["training run"])
            if all_taken(run.facts):
                break
    return found


def all_taken(facts: Mapping[str, str]) -> bool:
    """Whether a run of train_ranker, by its facts, left out no impression to learn from or to choose by: no
    seed decides anything then."""
    counted = [facts.get(f"{part} impressions with a click") for part in (TRAIN, VALID)]
    return all(
        many is not None and int(many.replace(",", "")) <= CANDIDATES.max_impressions for many in counted
    )


def judged(lake: Lakehouse, prepared: Prepared, found: Mapping[tuple[str, int], Ranker]) -> list[Judged]:
    """Rankers and the formula on the test impressions as compare_models judges models on them: the same
    candidates, the same metrics.

    What is known of a candidate is what was known at the start of the impression's hour, as for a feed. The
    formula is that of readers without a profile: click-through rate and age.
    """
    names = {f"{kind}/{seed}": ranker for (kind, seed), ranker in found.items()}
    with Frames() as frames, vector_folder(lake, None) as folder:
        shown = frames.keep(_shown(lake, prepared))
        hours = sorted(row[0] for row in shown.select("hour").distinct().collect())
        rows = frames.keep(shown.select("query", "user_id", "hour", "news_id", LABEL))
        known, paths = _known(lake, frames, folder, hours, rows, next(iter(found.values())).encoder_id)
        features = with_features(queries_of(rows, known, ("news_id", LABEL)), paths, ("news_id", LABEL))
        # What was shown first within the hour is new; how far into the hour that was is not known at its
        # start.
        features = features.withColumn("age_hours", F.greatest("age_hours", F.lit(0.0).cast("float")))
        scores = judge.scored(features, {name: ranker.scorer() for name, ranker in names.items()}, FORMULA)
        each = metrics_of(_lists(scores, [judge.FORMULA, *names]))
        before = shown.select("query", "clicks_before").distinct()
        return _means(frames.keep(each.join(before, on="query", how="inner")))


def _shown(lake: Lakehouse, prepared: Prepared) -> DataFrame:
    """The candidates of test as they were staged for the models: query, user_id, hour, news_id, label,
    clicks_before."""
    folder = prepared.staged.folder
    before = read(lake.spark, folder / "histories").select(
        "history", F.size("articles").alias("clicks_before")
    )
    index = read(lake.spark, folder / "articles").select("news_id", "article")
    pairs = F.explode(F.arrays_zip("articles", "labels")).alias("pair")
    staged = read(lake.spark, folder / TEST).join(before, on="history", how="left")
    staged = staged.select(
        "split", "impression_id", F.coalesce("clicks_before", F.lit(0)).alias("clicks_before"), pairs
    )
    staged = staged.select(
        "split",
        "impression_id",
        "clicks_before",
        F.col("pair.articles").alias("article"),
        F.col("pair.labels"),
    )
    moments = lake.read("click_history").select(
        "split", "impression_id", "user_id", F.date_trunc("hour", "occurred_at").alias("hour")
    )
    rows = staged.join(index, on="article", how="inner").join(
        moments, on=["split", "impression_id"], how="inner"
    )
    return rows.groupBy(
        F.concat_ws("/", "split", "impression_id").alias("query"),
        "user_id",
        "hour",
        "news_id",
        "clicks_before",
    ).agg(F.max("labels").alias(LABEL))


def _known(
    lake: Lakehouse, frames: Frames, folder: Place, hours: list[datetime], rows: DataFrame, encoder_id: str
) -> tuple[Known, VectorPaths]:
    """What is known of every candidate of the rows, also of one that table news lacks or that was first shown
    in its hour."""
    news = classed_news(lake).select("news_id", "category", "subcategory", "published_at")
    impressions = impressions_of(lake)
    first = impressions.groupBy("news_id").agg(F.min("occurred_at").alias("first_shown"))
    every = news.join(first, on="news_id", how="full_outer")
    every = every.select(
        "news_id", "category", "subcategory", F.coalesce("published_at", "first_shown").alias("published_at")
    )
    candidates = (
        rows.select("hour", "news_id")
        .distinct()
        .join(news.select("news_id", "category"), on="news_id", how="left")
    )
    counts = frames.keep(ctr.counts_at(impressions, hours, FORMULA.ctr_half_life_hours))
    rates = ctr.estimated_at(frames.keep(candidates), counts, news)
    return gathered(lake, frames, folder, Moments(hours, DAYS, encoder_id, None), news=every, rates=rates)


def _lists(scores: DataFrame, names: Iterable[str]) -> DataFrame:
    """query, model, scores and labels of each query, by each column of scores."""
    one = F.explode(
        F.array(*(F.struct(F.lit(name).alias("model"), F.col(f"`{name}`").alias("score")) for name in names))
    ).alias("one")
    each = scores.select("query", "news_id", LABEL, one).select("query", "news_id", LABEL, "one.*")
    lists = each.groupBy("model", "query").agg(
        F.sort_array(F.collect_list(F.struct("news_id", "score", LABEL))).alias("all")
    )
    return lists.select(
        "model", "query", F.col("all.score").alias("scores"), F.col(f"all.{LABEL}").alias("labels")
    )


def _means(each: DataFrame) -> list[Judged]:
    groups = {
        "all": F.lit(True),
        "with_clicks": F.col("clicks_before") > 0,
        "no_clicks": F.col("clicks_before") == 0,
    }
    told = F.explode(
        F.array_compact(F.array(*(F.when(condition, F.lit(name)) for name, condition in groups.items())))
    )
    means = (
        each.withColumn("users", told)
        .groupBy("model", "users")
        .agg(F.count("*").alias("n"), *(F.avg(m).alias(m) for m in METRICS))
    )
    found = []
    for row in means.collect():
        way, _, seed = row["model"].partition("/")
        found.append(
            Judged(way, int(seed or 0), row["users"], row["n"], {metric: row[metric] for metric in METRICS})
        )
    return found

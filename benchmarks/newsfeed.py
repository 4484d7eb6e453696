"""The newsfeed's evidence: each hour of dev ranked by rank_newsfeed for every user, and judged by what was
clicked in the next hour.

The job runs as it is, hour by hour, with a feed so long that it holds all candidates: what it knows is what
happened strictly before the hour (user vectors of the day's start, clicks and impressions up to the hour).
The same candidates are then ordered by popularity alone (the job's estimated click-through rate), by
popularity and age (the job's own score without the cosine), by similarity alone (cosine), and by rankers that
train_ranker made of the days before dev: trees and a linear one, by the features that the job computes for
them.

Two recommenders, nrms and dssm, learn from the first two days and a half; their scores order the candidates
alone, and that of the better one is a feature of the rankers.

A user-hour is a user with a click in the hour. What counts as right is every article that the user clicked in
it, also one that is no candidate (published within the hour, or read before): no order can find it. nDCG@10
has gains of 0 and 1 (Järvelin and Kekäläinen, TOIS 2002); both measures are means over user-hours.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from common import CORES, Measures, bench_arguments, bench_session
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.features import FEATURES, RATES
from newslake.ranking.gather import Moments, gathered, vector_folder
from newslake.ranking.newsfeed import rank_newsfeed
from newslake.ranking.options import FORMULA
from newslake.ranking.queries import queries_of
from newslake.ranking.ranker import Ranker, load
from newslake.ranking.scoring import with_features
from newslake.ranking.train import train_ranker
from newslake.run.cli import run_job
from newslake.spark.frames import Frames
from newslake.switches.promotions import promote
from newslake.training.data.preparation import models_folder
from newslake.training.models.saved import SavedModel, load_saved
from newslake.training.recommender import train_recommender
from world import DEV_DAY, SEED, tables, world_spec

EVERYTHING = 100_000
ORDERS = (
    *("blend", "popularity", "popularity and age", "age", "similarity", "nrms", "dssm"),
    *("linear", "trees", "random"),
)
LEARNT = ("linear", "trees")
RECOMMENDERS = ("nrms", "dssm")
KNOWN_UNTIL = {"as_of": "2019-11-12", "train_days": 2.5, "valid_hours": 6, "test_hours": 6}
"""Recommenders learn from the first days: the later half of what rankers learn from is new to them."""
PROFILE_DAYS = ("2019-11-11", "2019-11-12", "2019-11-13", "2019-11-14", DEV_DAY)
"""Days of which users have vectors: a ranker learns from those up to the 14th."""


def ndcg(right: np.ndarray, relevant: int, depth: int = 10) -> float:
    """Normalised discounted cumulative gain. right: flags of a ranking, best first; relevant: how many there
    are to find."""
    gains = 1.0 / np.log2(np.arange(2, depth + 2))
    return float(gains[: len(right[:depth])] @ right[:depth] / gains[:relevant].sum())


def recall(right: np.ndarray, relevant: int, depth: int = 50) -> float:
    """Share of what there is to find among the first."""
    return float(right[:depth].sum() / relevant)


def orders(feed: pd.DataFrame, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of one user's candidates, which come by news_id, in the order of each way to rank; ties by
    news_id."""
    keys = {
        "blend": feed["rank"],
        "popularity": -feed["ctr"],
        "popularity and age": -feed["popular_and_new"],
        "age": feed["age_hours"],
        "similarity": -feed["cosine"],
        **{kind: -feed[kind] for kind in (*RECOMMENDERS, *LEARNT)},
        "random": pd.Series(draw.random(len(feed))),
    }
    return {name: np.argsort(keys[name].to_numpy(), kind="stable") for name in ORDERS}


def recommenders(lake: Lakehouse) -> dict[str, SavedModel]:
    """Recommenders of the first days, by model; the one that is better on their valid hours is brought into
    use, so that rankers learn with it."""
    found, judged_by = {}, {}
    for model in RECOMMENDERS:
        run = run_job(train_recommender, lake, {"model": model, **KNOWN_UNTIL, "threads": CORES})
        print(f"train_recommender {model}: {run.seconds:.1f} s: {run.summary()}", flush=True)
        found[model] = load_saved(models_folder(lake, None, None), run.facts["training run"])
        judged_by[model] = float(run.facts["valid AUC"])
    best = max(judged_by, key=lambda model: judged_by[model])
    run_job(promote, lake, {"kind": "recommender", "run_id": found[best].run_id})
    return found


def trained(lake: Lakehouse) -> dict[str, Ranker]:
    """Rankers that know nothing of dev, by kind."""
    found = {}
    for kind in LEARNT:
        run = run_job(train_ranker, lake, {"kind": kind, "as_of": DEV_DAY})
        print(f"train_ranker {kind}: {run.seconds:.1f} s: {run.summary()}", flush=True)
        found[kind] = load(models_folder(lake, None, None), run.facts["training run"])
    print(
        {
            name: round(gain)
            for name, gain in sorted(found["trees"].about["gains"].items(), key=lambda one: -one[1])
        }
    )
    return found


@dataclass(frozen=True)
class Learnt:
    """What was trained on the days before dev, by name."""

    rankers: dict[str, Ranker]
    recommenders: dict[str, SavedModel]


def scores(lake: Lakehouse, feeds: DataFrame, hour: datetime, learnt: Learnt) -> pd.DataFrame:
    """user_id, news_id, age_hours and each ranker's and recommender's score of the candidates in feeds, by
    the job's own features."""
    [row] = lake.read("user_vectors").select("encoder_id", "topic_model").limit(1).collect()
    moments = Moments([hour], signature(rank_newsfeed).parameters["days"].default, row[0], row[1])
    rates = (
        lake.read("article_ctr")
        .where(F.col("as_of") == F.lit(hour))
        .select(F.col("as_of").alias("hour"), "news_id", *RATES)
    )
    pairs = feeds.select(F.col("user_id").alias("query"), "user_id", "hour", "news_id")
    found: dict[str, pd.DataFrame] = {}
    for model, saved in learnt.recommenders.items():
        with Frames() as frames, vector_folder(lake, None) as folder:
            known, paths = gathered(
                lake, frames, folder, moments, news=lake.read("news"), rates=rates, recommender=saved
            )
            rows = with_features(queries_of(pairs, known, ["news_id"]), paths, ["news_id"])
            found[model] = rows.toArrow().to_pandas().sort_values(["user_id", "news_id"], ignore_index=True)
    some = next(iter(found.values()))
    values = {model: rows["recommended"].to_numpy() for model, rows in found.items()}
    for kind, one in learnt.rankers.items():
        own = {saved.run_id: model for model, saved in learnt.recommenders.items()}.get(one.recommender or "")
        features = (some if own is None else found[own])[list(FEATURES)].to_numpy(np.float32)
        values[kind] = one.scorer()()(features)
    return some[["user_id", "news_id", "age_hours"]].assign(**values)


def judged(
    lake: Lakehouse, hour: datetime, weight: float, draw: np.random.Generator, learnt: Learnt
) -> list[dict[str, float | str]]:
    """The measures of every user-hour of one hour: one row for each order, and one (`fallback`) where the
    user has no vectors."""
    span = (F.col("occurred_at") >= F.lit(hour)) & (F.col("occurred_at") < F.lit(hour + timedelta(hours=1)))
    clicks = lake.read("impressions").where(span & F.col("clicked")).select("user_id", "news_id").distinct()
    feeds = (
        lake.read("newsfeed")
        .where(F.col("hour") == F.lit(hour))
        .join(clicks.select("user_id").distinct(), on="user_id", how="left_semi")
    )
    scored = feeds.withColumn(
        "popular_and_new", F.col("score") - weight * F.coalesce("cosine", F.lit(0.0)).cast("double")
    )
    rows = scored.orderBy("user_id", "news_id").toArrow().to_pandas()
    rows = rows.merge(
        scores(lake, feeds, hour, learnt), on=["user_id", "news_id"], how="left", validate="one_to_one"
    )
    of_user = {str(user): feed.reset_index(drop=True) for user, feed in rows.groupby("user_id")}
    found: list[dict[str, float | str]] = []
    for user, clicked in clicks.toArrow().to_pandas().groupby("user_id"):
        relevant = set(clicked["news_id"])
        feed = of_user.get(str(user))
        if feed is None:  # unknown before this hour: no order has anything for such a user
            found.append({"order": "no feed", "ndcg": 0.0, "recall": 0.0})
            continue
        right = feed["news_id"].isin(relevant).to_numpy()
        with_vectors = feed["reason"].iloc[0] == "vectors"
        ways = orders(feed, draw) if with_vectors else {"fallback": np.argsort(feed["rank"].to_numpy())}
        for name, order in ways.items():
            found.append(
                {
                    "order": name,
                    "ndcg": ndcg(right[order], len(relevant)),
                    "recall": recall(right[order], len(relevant)),
                }
            )
    return found


def report(found: pd.DataFrame, measures: Measures) -> None:
    """Means of each order, and how sure the differences are: the standard error over user-hours of the
    difference to the blend."""
    each = {name: found[found["order"] == name].reset_index(drop=True) for name in ORDERS}
    many = len(each["blend"])
    for name in ("fallback", "no feed"):
        rows = found[found["order"] == name]
        if len(rows):
            print(
                f"{name}: {len(rows):,} user-hours, nDCG@10 {rows['ndcg'].mean():.4f}, recall@50"
                f" {rows['recall'].mean():.4f}"
            )
    print(f"\n{many:,} user-hours of users with vectors")
    print(f"{'order':<20}{'nDCG@10':>9}{'recall@50':>11}   blend's lead in nDCG@10, in recall@50")
    for name, rows in each.items():
        leads = [each["blend"][measure] - rows[measure] for measure in ("ndcg", "recall")]
        told = (
            ""
            if name == "blend"
            else "   ".join(f"{lead.mean():+.4f} +- {lead.std() / many**0.5:.4f}" for lead in leads)
        )
        print(f"{name:<20}{rows['ndcg'].mean():>9.4f}{rows['recall'].mean():>11.4f}   {told}".rstrip())
    for measure, name in (("ndcg", "nDCG@10"), ("recall", "recall@50")):
        ours = float(each["trees"][measure].mean())
        for peer in ("blend", "linear"):
            measures.add(
                f"{name}, learnt ranker, against {peer}",
                ours,
                float(each[peer][measure].mean()),
                unit="mean",
                better="higher",
                peer_name=peer,
            )
        for peer in ("popularity", "popularity and age", "similarity"):
            ours, theirs = float(each["blend"][measure].mean()), float(each[peer][measure].mean())
            measures.add(
                f"{name} against {peer}",
                ours,
                theirs,
                unit="mean",
                better="higher",
                peer_name=f"{peer} alone",
            )


def main() -> None:
    """Run it all."""
    title = (
        "The hourly newsfeed: nDCG@10 and recall@50 of the next hour's clicks, by the learnt ranker, the"
        " formula and its parts."
    )
    arguments = bench_arguments(title, seed=SEED)
    hours = range(9, 21, 3) if arguments.small else range(24)
    measures = Measures("The hourly newsfeed", arguments.json)
    spark = bench_session("newsfeed")
    with tempfile.TemporaryDirectory() as folder:
        # A reader's week, of which dev is a fourth: with half of it, as other benchmarks have it, three days
        # of six impressions a reader would be all that rankers learn from.
        spec = replace(world_spec(arguments.small, arguments.seed), dev_share=0.25)
        spec = replace(spec, impressions=2 * spec.impressions)
        lake = tables(spark, Path(folder), spec, days=PROFILE_DAYS)
        found = of_hours(lake, hours)
    spark.stop()
    report(found, measures)
    measures.finish()


def of_hours(lake: Lakehouse, hours: Iterable[int]) -> pd.DataFrame:
    """The measures of every user-hour of some hours of dev."""
    weight = FORMULA.similarity_weight
    draw = np.random.default_rng(0)
    found_recommenders = recommenders(lake)
    learnt = Learnt(trained(lake), found_recommenders)
    found: list[dict[str, float | str]] = []
    for hour in hours:
        at = datetime.fromisoformat(DEV_DAY) + timedelta(hours=hour)
        run = run_job(
            rank_newsfeed,
            lake,
            {"hour": f"{at:%Y-%m-%dT%H}", "feed_size": EVERYTHING, "ranker": "formula", "diversity": 0.0},
        )
        found.extend(judged(lake, at, weight, draw, learnt))
        print(f"{at:%Y-%m-%dT%H}: {run.seconds:.1f} s", flush=True)
    return pd.DataFrame(found)


if __name__ == "__main__":
    main()

"""What --diversity costs and brings: the judged hours of newsfeed.py, each feed in the greedy order for
several strengths.

The job ranks every hour's candidates as it does without --diversity; the order for each strength is then that
of ranking/calibration.py, over the same first candidates as in the job. Printed for each strength: nDCG@10 of
the next hour's clicks, what it costs with the standard error of that, and miscalibration of the first 50.
Choose on --seed 1 the largest strength that costs less than 1 %; what is reported is --seed 2
(benchmarks/world.py).
"""

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from common import Measures, bench_arguments, bench_session
from newsfeed import EVERYTHING, ndcg
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking import feed
from newslake.ranking.calibration import DEPTH, calibrated, divergence, mixes, relevance_of
from newslake.ranking.gather import impressions_of
from newslake.ranking.newsfeed import rank_newsfeed
from newslake.run.cli import run_job
from newslake.switches.classes import classed_news
from world import DEV_DAY, SEED, tables, world_spec

STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_FEED = 50


def judged(lake: Lakehouse, hour: datetime) -> list[dict[str, float]]:
    """nDCG@10 and miscalibration of every user-hour of one hour, for each strength."""
    span = (F.col("occurred_at") >= F.lit(hour)) & (F.col("occurred_at") < F.lit(hour + timedelta(hours=1)))
    impressions = impressions_of(lake)
    clicks = impressions.where(span & F.col("clicked")).select("user_id", "news_id").distinct()
    news = classed_news(lake).select("news_id", "category")
    own = (F.col("hour") == F.lit(hour)) & (F.col("reason") == "vectors") & (F.col("rank") <= DEPTH)
    feeds = (
        lake.read("newsfeed")
        .where(own)
        .join(clicks.select("user_id").distinct(), on="user_id", how="left_semi")
    )
    rows = feeds.join(news, on="news_id", how="inner").orderBy("user_id", "rank").toArrow().to_pandas()
    read = feed.read_before(impressions, lake.read("click_history"), hour).join(
        news, on="news_id", how="inner"
    )
    mix = {
        row["user_id"]: row["mix"]
        for row in mixes(
            read.join(clicks.select("user_id").distinct(), on="user_id", how="left_semi")
        ).collect()
    }
    right = clicks.toArrow().to_pandas().groupby("user_id")["news_id"].agg(set)
    found = []
    for user, listed in rows.groupby("user_id"):
        kinds = sorted({*listed["category"].fillna(""), *mix.get(user, {})})
        category = listed["category"].fillna("").map({name: n for n, name in enumerate(kinds)}).to_numpy()
        p = np.array([[mix.get(user, {}).get(name, 0.0) for name in kinds]])
        flags = listed["news_id"].isin(right[user]).to_numpy()
        relevance = relevance_of(listed["score"].to_numpy()[None])
        for strength in STRENGTHS:
            order = calibrated(relevance, category[None], p, strength)[0]
            q = np.bincount(category[order[:_FEED]], minlength=len(kinds))[None] / min(_FEED, len(order))
            apart = float(divergence(p, q)[0]) if p.any() else np.nan
            found.append(
                {"strength": strength, "ndcg": ndcg(flags[order], len(right[user])), "miscalibration": apart}
            )
    return found


def main() -> None:
    """Run it all."""
    given = bench_arguments(
        "Calibrated feeds: what the reader's mix of categories costs in nDCG@10.", seed=SEED
    )
    hours = range(9, 21, 3) if given.small else range(24)
    measures = Measures("Diversity of the newsfeed", given.json)
    spark = bench_session("diversity")
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        lake = tables(spark, Path(folder), replace(world_spec(given.small), seed=given.seed))
        for hour in hours:
            at = datetime.fromisoformat(DEV_DAY) + timedelta(hours=hour)
            run_job(
                rank_newsfeed, lake, {"hour": f"{at:%Y-%m-%dT%H}", "feed_size": EVERYTHING, "diversity": 0.0}
            )
            found.extend(judged(lake, at))
            print(f"{at:%Y-%m-%dT%H}: {len(found) // len(STRENGTHS):,} user-hours", flush=True)
    spark.stop()
    rows = pd.DataFrame(found)
    each = {strength: rows[rows["strength"] == strength].reset_index(drop=True) for strength in STRENGTHS}
    plain = float(each[0.0]["ndcg"].mean())
    print(
        f"\n{len(each[0.0]):,}"
        f" user-hours\n{'--diversity':<14}{'nDCG@10':>9}{'cost':>9}{'+-':>8}{'miscalibration':>16}"
    )
    for strength, one in each.items():
        ndcg_here, cost = float(one["ndcg"].mean()), (each[0.0]["ndcg"] - one["ndcg"]) / plain
        print(
            f"{strength:<14}{ndcg_here:>9.4f}{cost.mean():>9.2%}{cost.sem():>8.2%}"
            f"{one['miscalibration'].mean():>16.4f}"
        )
        measures.add(
            f"nDCG@10 at {strength}",
            ndcg_here,
            plain,
            unit="mean",
            better="higher",
            peer_name="the score alone",
        )
    measures.finish()


if __name__ == "__main__":
    main()

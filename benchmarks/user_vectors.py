"""What user vectors are worth: where a user's next clicked articles stand among all articles of that hour.

Generated users read for train's six days; profiles, phrases and vectors are made as of the seventh, dev, and
nothing of that day goes into them. For each click of dev, all articles that anybody was shown in the same
hour are ranked for the user: by the likeness that ranks the newsfeed (ours: the highest of the cosines of the
user's vectors, each times the root of its weight over that of the heaviest); by clicks before that hour
(popularity); at random. A rank is given as the share of the hour's articles that stand before the clicked
one, ties counting half: 0 is best, random gives 0.5. Nor can 0 be reached: what is clicked is chosen among
some twenty articles that the user happened to be shown; whoever knew the generated users' true tastes would
reach 0.35.

The vectors are built twice: with the user's two heaviest topics for all of a user's phrases (the job's
default), and with the topics of each phrase's tag group. `--seed` takes another world.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from pyspark.sql import functions as F

from common import Measures, bench_arguments, bench_session
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import run_job
from newslake.users.user_vectors import build_user_vectors
from world import DEV_DAY, SEED, matrix, tables, world_spec


def share_before(scores: np.ndarray, wanted: int) -> float:
    """Share of the others that stand before one, ties counting half."""
    others = np.delete(scores, wanted)
    return float(
        ((others > scores[wanted]).sum() + 0.5 * (others == scores[wanted]).sum()) / max(len(others), 1)
    )


def ranks(lake: Lakehouse) -> dict[str, np.ndarray]:
    """The rank of each of dev's clicks by each way, over the users who have vectors."""
    articles, of_article, _ = matrix(lake.read("article_vectors"), "news_id")
    mine = (
        lake.read("user_vectors")
        .where(F.col("as_of") == DEV_DAY)
        .orderBy("user_id", "tag_group", "phrase_id")
    )
    users, of_user, weights = matrix(mine, "user_id", "weight")
    place = {news_id: row for row, news_id in enumerate(articles)}
    shown = lake.read("impressions").select(
        "split", "user_id", "news_id", "clicked", F.date_trunc("hour", "occurred_at").alias("hour")
    )
    candidates = shown.toArrow().to_pandas().sort_values("hour", kind="stable")
    popularity = np.zeros(len(articles))
    clicks = candidates[(candidates["split"] == "train") & candidates["clicked"]]
    np.add.at(popularity, [place[news_id] for news_id in clicks["news_id"] if news_id in place], 1.0)
    rows_of: dict[str, np.ndarray] = {user: np.flatnonzero(users == user) for user in set(users)}
    draw = np.random.default_rng(0)
    found: dict[str, list[float]] = {"ours": [], "highest cosine": [], "popularity": [], "random": []}
    without = 0
    for _, hour in candidates[candidates["split"] == "dev"].groupby("hour"):
        out = np.unique([place[news_id] for news_id in hour["news_id"] if news_id in place])
        clicked = hour[hour["clicked"]]
        for user, news_id in zip(clicked["user_id"], clicked["news_id"], strict=True):
            if user not in rows_of or news_id not in place or len(out) < 2:
                without += 1
                continue
            wanted = int(np.searchsorted(out, place[news_id]))
            cosines, weight = of_article[out] @ of_user[rows_of[user]].T, weights[rows_of[user]]
            found["ours"].append(share_before((cosines * np.sqrt(weight / weight.max())).max(axis=1), wanted))
            found["highest cosine"].append(share_before(cosines.max(axis=1), wanted))
            found["popularity"].append(share_before(popularity[out], wanted))
            found["random"].append(share_before(draw.random(len(out)), wanted))
        np.add.at(popularity, [place[news_id] for news_id in clicked["news_id"] if news_id in place], 1.0)
    print(
        f"{len(found['ours']):,} clicks of dev ranked; {without:,} of users without vectors, or of articles"
        " without one, left out"
    )
    for name, values in found.items():
        print(f"{name:<16}{_told(np.asarray(values))}")
    return {name: np.asarray(values) for name, values in found.items()}


def _told(values: np.ndarray) -> str:
    return f"{values.mean():.4f} +- {values.std() / max(len(values), 1) ** 0.5:.4f} (standard error)"


def main() -> None:
    """Run it all."""
    arguments = bench_arguments(
        "User vectors: the mean rank of a user's next clicks among the articles of the hour.", seed=SEED
    )
    measures = Measures("User vectors", arguments.json)
    spark = bench_session("user vectors")
    with tempfile.TemporaryDirectory() as folder:
        lake = tables(spark, Path(folder), replace(world_spec(arguments.small), seed=arguments.seed))
        found = {}
        for topics_of in ("group", "user"):
            run_job(build_user_vectors, lake, {"as_of": DEV_DAY, "topics_of": topics_of})
            print(f"\ntopics of the {topics_of}:")
            found[topics_of] = ranks(lake)
    spark.stop()
    print(
        f"\nthe tag group's topics less the user's: {_told(found['group']['ours'] - found['user']['ours'])}"
    )
    mean = {name: float(values.mean()) for name, values in found["user"].items()}
    mean["the tag group's topics"] = float(found["group"]["ours"].mean())
    for peer in ("random", "popularity", "highest cosine", "the tag group's topics"):
        measures.add(
            f"mean rank against {peer}",
            mean["ours"],
            mean[peer],
            unit="share before",
            better="lower",
            peer_name=peer,
        )
    measures.finish()


if __name__ == "__main__":
    main()

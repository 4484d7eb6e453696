"""A tiny world of readers for the ranker's tests: tables drawn by a seed, and features of its candidates by
brute force."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.features import FEATURES
from newslake.spark.frames import frame_of
from tests.tables import put

START = datetime(2019, 11, 14)
HOURS = [START + timedelta(hours=hour) for hour in (7, 20, 27, 40)]
ENCODER, TOPICS = "E", "T"
PROFILE_DAYS = (date(2019, 11, 14), date(2019, 11, 15))
DAYS, HALF_LIFE = 1, 6.0
Tables = dict[str, list[tuple[Any, ...]]]


def tables(seed: int = 0, *, articles: int = 24, users: int = 6, impressions: int = 90) -> Tables:
    """Rows of the tables: two days of impressions; some articles without a category, an embedding, or
    both."""
    draw, later = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    categories = ["sports", "music", "autos", None]
    news, embeddings, vectors = [], [], []
    for i in range(articles):
        category = categories[i % 4]
        published = START + timedelta(hours=float(draw.uniform(-20, 44)))
        news.append((f"N{i:02}", category, None if category is None else f"{category}-{i % 3}", published))
        if i % 7 != 3:
            embeddings.append((f"N{i:02}", ENCODER, "hash", 3, draw.normal(size=5).tolist()))
        if i % 5 != 2:
            vectors.append(
                (published.date(), f"N{i:02}", ENCODER, TOPICS, draw.normal(size=7).tolist(), "hash")
            )
    published_at = {row[0]: row[3] for row in news}
    shown, told, clicks = [], [], []
    old = [one for one in published_at if published_at[one] < START]  # nobody has read what is not out yet
    past = {f"U{u}": [str(one) for one in draw.permutation(old)[: draw.integers(0, 5)]] for u in range(users)}
    for i in range(impressions):
        user, at = f"U{draw.integers(users)}", START + timedelta(seconds=int(draw.integers(48 * 3600)))
        # On the hour: known only from the next one on.
        at = at.replace(minute=0, second=0) if i % 9 == 0 else at
        out = [one for one in published_at if published_at[one] < at]
        listed = draw.permutation(out)[: draw.integers(2, 7)]
        for position, news_id in enumerate(listed):
            clicked = None if i % 17 == 5 else bool(draw.random() < 0.3)
            shown.append(("train", f"I{i}", position, user, at, at, str(news_id), clicked))
            if clicked and i % 3 == 0:  # as a stream tells it: some came in another hour than the impression
                came = at + timedelta(minutes=float(later.integers(1, 100)))
                clicks.append((f"C{i}-{position}", f"I{i}", user, str(news_id), came, came))
        told.append(("train", f"I{i}", user, at, past[user] + (["N99"] if i % 4 == 0 else [])))
    profiles = [
        (
            day,
            f"U{u}",
            group,
            f"P{group}",
            ENCODER,
            TOPICS,
            float(draw.uniform(0, 2)),
            draw.normal(size=7).tolist(),
        )
        for day in PROFILE_DAYS
        for u in range(users - 1)
        for group in range(1 + u % 3)
    ]
    return {
        "news": news,
        "impressions": shown,
        "click_history": told,
        "clicks": clicks,
        "article_embeddings": embeddings,
        "article_vectors": vectors,
        "user_vectors": profiles,
    }


def write(lake: Lakehouse, rows: Tables) -> None:
    """Put them into the lakehouse."""
    for table, of_table in rows.items():
        if table == "news":
            frame = frame_of(
                lake.spark,
                of_table,
                "news_id string, category string, subcategory string, published_at timestamp",
            )
            frame = frame.withColumns({"title": F.lit("a title"), "content_hash": F.col("news_id")})
            missing = [field for field in lake.schema("news") if field.name not in frame.columns]
            frame = frame.withColumns({field.name: F.lit(None).cast(field.dataType) for field in missing})
        else:
            # What comes after, such as which feed an impression was of, is NULL.
            width = len(lake.schema(table))
            frame = frame_of(
                lake.spark, [(*row, *[None] * (width - len(row))) for row in of_table], lake.schema(table)
            )
        put(lake, table, frame)


def altered(rows: Tables, hour: datetime, seed: int = 0) -> Tables:
    """The same up to the hour; all from then on is another: clicks turned, articles and users shuffled,
    profiles changed."""
    draw = np.random.default_rng(seed)
    found = {**rows, "impressions": [], "clicks": [row for row in rows["clicks"] if row[4] < hour]}
    clicked = {(row[1], row[3]) for row in found["clicks"]}
    late = {(row[1], row[3]) for row in rows["clicks"]} - clicked
    later = [row for row in rows["impressions"] if row[4] >= hour]
    earlier = [row for row in rows["impressions"] if row[4] < hour]
    found["impressions"] = [(*row[:7], False if (row[1], row[6]) in late else row[7]) for row in earlier]
    swapped = draw.permutation([row[6] for row in later])
    for row, news_id in zip(later, swapped, strict=True):
        found["impressions"].append((*row[:3], f"U{draw.integers(6)}", *row[4:6], str(news_id), not row[7]))
    found["click_history"] = [
        row if row[3] < hour else (*row[:4], ["N01", "N02", "N03"]) for row in rows["click_history"]
    ]
    found["user_vectors"] = [
        row if row[0] <= hour.date() else (*row[:7], row[7][::-1]) for row in rows["user_vectors"]
    ]
    found["news"] = [
        row if row[3] < hour else (row[0], "other", "other", row[3] + timedelta(hours=1))
        for row in rows["news"]
    ]
    return found


def brute_force(rows: Tables, user: str, news_id: str, hour: datetime) -> dict[str, float]:
    """The features of one candidate by loops over everything that was before the hour."""
    news = {row[0]: row for row in rows["news"]}
    embedding = {row[0]: _unit(row[4]) for row in rows["article_embeddings"]}
    vector = {row[1]: _unit(row[4]) for row in rows["article_vectors"]}
    read = history(rows, user, hour)
    known = [one for one in read if one in embedding]
    cosines = [float(embedding[news_id] @ embedding[one]) for one in known] if news_id in embedding else []
    top = sorted(cosines, reverse=True)[:3]
    days = [day for day in PROFILE_DAYS if day <= hour.date()]
    profile = [
        (row[6], _unit(row[7]))
        for row in rows["user_vectors"]
        if days and row[0] == days[-1] and row[1] == user
    ]
    heaviest = max((weight for weight, _ in profile), default=0.0)
    likeness = (
        [float(vector[news_id] @ one) * (weight / heaviest) ** 0.5 for weight, one in profile]
        if news_id in vector
        else []
    )
    nan = float("nan")
    found = {
        "age_hours": (hour - news[news_id][3]).total_seconds() / 3600,
        "cosine_mean": float(np.mean(cosines)) if cosines else nan,
        "cosine_max": max(cosines, default=nan),
        "cosine_top3": float(np.mean(top)) if top else nan,
        "cosine_recent": float(np.mean(cosines[-5:])) if cosines else nan,
        "likeness": max(likeness, default=nan),
        "recommended": nan,  # no recommender is in use in this world
        "exposures": float(
            sum(row[3] == user and row[6] == news_id and row[4] < hour for row in rows["impressions"])
        ),
        "history_length": float(len(read)),
    }
    for name, place in (("category_share", 1), ("subcategory_share", 2)):
        own = news[news_id][place]
        same = sum(one in news and news[one][place] == own for one in read)
        found[name] = nan if own is None or not read else same / len(read)
    rates = rates_by_hand(rows, hour)[news_id]
    return {name: {**found, **rates}[name] for name in FEATURES}


def came_at(rows: Tables) -> dict[tuple[str, str], datetime]:
    """When each click came, by impression and article: as its event says, or else with the impression."""
    return {(row[1], row[6]): row[4] for row in rows["impressions"] if row[7]} | {
        (row[1], row[3]): row[4] for row in rows["clicks"]
    }


def _weight(at: datetime, hour: datetime) -> float:
    return float(0.5 ** ((hour - at).total_seconds() / 3600 / HALF_LIFE))


def history(rows: Tables, user: str, hour: datetime) -> list[str]:
    """What the user had read before the hour, oldest first."""
    first: dict[str, tuple[datetime, int]] = {}
    told = [
        (row[3], place, one)
        for row in rows["click_history"]
        if row[2] == user
        for place, one in enumerate(row[4])
    ]
    came = came_at(rows)
    clicked = [
        (came[row[1], row[6]], 1_000_000 + row[2], row[6])
        for row in rows["impressions"]
        if row[3] == user and row[7]
    ]
    for at, place, one in told + clicked:
        if at < hour:
            first[one] = min(first.get(one, (at, place)), (at, place))
    return sorted(first, key=lambda one: first[one])


def rates_by_hand(rows: Tables, hour: datetime) -> dict[str, dict[str, float]]:
    """Counts and estimated rates of all articles, after the module's description, with pandas."""
    category = {row[0]: row[1] for row in rows["news"]}
    counts: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    came = came_at(rows)
    for row in rows["impressions"]:
        if row[4] < hour and row[7] is not None:
            counts[row[6]] = list(np.add(counts[row[6]], [0.0, 1.0, 0.0, _weight(row[4], hour)]))
            if row[7] and came[row[1], row[6]] < hour:
                counts[row[6]] = list(np.add(counts[row[6]], [1.0, 0.0, _weight(row[4], hour), 0.0]))
    frame = pd.DataFrame(
        [(one, category.get(one), *values) for one, values in counts.items()],
        columns=["id", "cat", "c", "n", "rc", "rn"],
    )
    found = {
        one: dict(zip(("clicks", "impressions", "recent_clicks", "recent_impressions"), values, strict=True))
        for one, values in counts.items()
    }
    groups = dict(iter(frame.fillna({"cat": ""}).groupby("cat")))
    excess = reach = noise = 0.0
    for group in groups.values():
        total, rate, k = group.n.sum(), group.c.sum() / group.n.sum(), len(group)
        chance = rate * (1 - rate)
        excess += (group.n * (group.c / group.n - rate) ** 2).sum() - chance * (k - 1)
        reach += chance * (total - (group.n**2).sum() / total - (k - 1))
        noise += 2 * chance**2 * (k - 1) + chance * max(0.0, 1 - 6 * chance) * (1 / group.n).sum()
    of_articles = _strength(excess, reach, noise)

    def evidence(shown: pd.Series) -> float:
        alike = 1 / (1 + of_articles)
        return shown.sum() / max(1.0, 1 + alike * ((shown**2).sum() / shown.sum() - 1))

    sizes = np.array([evidence(group.n) for group in groups.values()])
    means = np.array([group.c.sum() / group.n.sum() for group in groups.values()])
    rate, k = (sizes @ means) / sizes.sum() if len(sizes) else 0.0, len(sizes)
    chance = rate * (1 - rate)
    of_categories = _strength(
        (sizes * (means - rate) ** 2).sum() - chance * (k - 1),
        chance * (sizes.sum() - (sizes**2).sum() / sizes.sum() - (k - 1)) if k else 0.0,
        2 * chance**2 * (k - 1) + chance * max(0.0, 1 - 6 * chance) * (1 / sizes).sum(),
    )
    overall = frame.rc.sum() / frame.rn.sum() if len(frame) else 0.0
    rates: dict[str, dict[str, float]] = {}
    for one, of_category in category.items():
        own = found.get(
            one, dict.fromkeys(("clicks", "impressions", "recent_clicks", "recent_impressions"), 0.0)
        )
        prior = overall
        if of_category in groups and of_category is not None:
            group = groups[of_category]
            sure = evidence(group.rn)
            prior = (group.rc.sum() / group.rn.sum() * sure + of_categories * overall) / (
                sure + of_categories
            )
        estimate = (own["recent_clicks"] + of_articles * prior) / (own["recent_impressions"] + of_articles)
        rates[one] = {**own, "prior": prior, "ctr": estimate}
    return rates


def _strength(excess: float, reach: float, noise: float) -> float:
    guess = 1 / 51
    told, sure = (excess / reach, reach**2 / noise) if noise and reach > 0 else (0.0, 0.0)
    both = sure + 1 / guess**2
    between = max((sure * told + guess / guess**2) / both, both**-0.5)
    return float(min(10_000.0, max(2.0, 1 / between - 1)))


def _unit(values: list[float]) -> np.ndarray:
    return np.array(values) / np.linalg.norm(values)

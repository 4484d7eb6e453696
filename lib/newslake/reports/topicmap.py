"""The topics of the active model as a map: alike topics lie near each other."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.reports.charts import projected, spread
from newslake.switches.topic_model import served_topic_model

_TOPICS = 150  # bubbles that stay apart on a page; the largest are shown
_TERMS = 6
_COLOURS = 6  # categories with a colour of their own
_WIDTH, _HEIGHT = 1000.0, 560.0
_LARGEST = 46.0  # radius in the same unit
_PHONE = 0.34  # pixels of a phone that a unit takes; a wide screen: 1
_CARRIES = 22.0  # radius of a bubble that carries its label
_LETTER = 6.4  # pixels that a letter of a label takes, about


@dataclass(frozen=True)
class Bubble:
    """One topic: its place in per cent from the top left, its radius, and what it is about."""

    topic_id: int
    x: float
    y: float
    radius: float
    terms: list[str]
    articles: int
    category: str
    colour: int
    below: int  # pixels from the middle to its label; 0: the label lies on it
    label: str  # where there is room for one: "both", "wide" (screens only) or nowhere


@dataclass(frozen=True)
class TopicMap:
    """What the report shows of the topics."""

    topic_model: str
    fitted_at: datetime
    topics: int  # of the model
    bubbles: list[Bubble]
    articles: int  # with a topic
    shown_variance: float
    legend: list[tuple[str, int]]  # category, colour
    aspect: float


def sizes_of_topics(assigned: DataFrame, news: DataFrame) -> DataFrame:
    """topic_id, articles, category: how many articles have the topic as their first, and their most common
    category (ties by name).

    Args:
        assigned: rows of article_topics of one model.
        news: news_id and category.
    """
    first = assigned.where((F.col("rank") == 1) & F.col("topic_id").isNotNull()).select("topic_id", "news_id")
    of_news = news.select("news_id", F.coalesce("category", F.lit("")).alias("category"))
    counted = (
        first.join(of_news, on="news_id", how="left")
        .groupBy("topic_id", "category")
        .agg(F.count("*").alias("n"))
    )
    most = F.min(F.struct((-F.col("n")).alias("fewest"), F.coalesce("category", F.lit("")).alias("category")))
    return counted.groupBy("topic_id").agg(F.sum("n").alias("articles"), most["category"].alias("category"))


def gather_topics(lake: Lakehouse) -> TopicMap | None:
    """The map of the active topic model; None where there is none."""
    topics = lake.read("topics")
    active = served_topic_model(lake)
    latest = topics.where(F.col("topic_model") == F.lit(active)).select("topic_model", "fitted_at").head()
    if latest is None:
        return None
    own = topics.where(F.col("topic_model") == latest["topic_model"])
    rows = _largest(lake, own, latest["topic_model"])
    places, radii, variance = _placed(rows)
    colours = _colours(rows)
    wide = labelled(places, radii, rows, scale=1.0)
    narrow = labelled(places, radii, rows, scale=_PHONE)
    bubbles = [
        Bubble(
            topic_id=row["topic_id"],
            x=round(100.0 * float(places[number, 0]) / _WIDTH, 2),
            y=round(100.0 * float(places[number, 1]) / _HEIGHT, 2),
            radius=round(float(radii[number]), 1),
            terms=list(row["terms"]),
            articles=row["articles"],
            category=row["category"],
            colour=colours.get(row["category"], _COLOURS),
            below=_below(float(radii[number])),
            label="both" if number in narrow else "wide" if number in wide else "",
        )
        for number, row in enumerate(rows)
    ]
    return TopicMap(
        topic_model=latest["topic_model"],
        fitted_at=latest["fitted_at"],
        topics=own.count(),
        bubbles=bubbles,
        articles=sum(row["articles"] for row in rows),
        shown_variance=variance,
        legend=list(colours.items()),
        aspect=_WIDTH / _HEIGHT,
    )


def label_of(terms: list[str]) -> str:
    """What a bubble is called: its two heaviest terms."""
    return " ".join(terms[:2])


def _below(radius: float) -> int:
    """How far below its middle a bubble's label is written: not at all on a large one."""
    return 0 if radius >= _CARRIES else round(radius) + 9


def labelled(places: np.ndarray, radii: np.ndarray, rows: list[Row], scale: float) -> set[int]:
    """Bubbles that can carry their label without one lying over another; the largest come first.

    Args:
        places: shape (n, 2), in the map's unit.
        radii: shape (n,).
        rows: topics with their terms, largest first.
        scale: pixels a unit of the map takes; letters keep their size.
    """
    taken: list[tuple[float, float, float, float]] = []
    chosen = set()
    for number, row in enumerate(rows):
        half = (_LETTER * len(label_of(list(row["terms"]))) / 2 + 4) / scale
        x, y, line = (
            float(places[number, 0]),
            float(places[number, 1]) + _below(float(radii[number])) / scale,
            9.0 / scale,
        )
        box = (x - half, y - line, x + half, y + line)
        free = all(
            box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] or other[3] <= box[1]
            for other in taken
        )
        if (
            free
            and box[0] >= 0
            and box[2] <= _WIDTH
            and box[1] >= 0
            and box[3] <= _HEIGHT
            and row["articles"] > 0
        ):
            taken.append(box)
            chosen.add(number)
    return chosen


def _largest(lake: Lakehouse, topics: DataFrame, model: str) -> list[Row]:
    """The topics with the most articles: topic_id, terms, vector, articles, category."""
    if lake.exists("article_topics") and lake.exists("news"):
        assigned = lake.read("article_topics").where(F.col("topic_model") == model)
        sized = topics.drop("articles").join(
            sizes_of_topics(assigned, lake.read("news")), on="topic_id", how="left"
        )
    else:
        sized = topics.drop("articles").withColumns(
            {"articles": F.lit(0).cast("bigint"), "category": F.lit("")}
        )
    wanted = sized.select(
        "topic_id",
        F.slice("terms", 1, _TERMS).alias("terms"),
        "vector",
        F.coalesce("articles", F.lit(0)).alias("articles"),
        F.coalesce("category", F.lit("")).alias("category"),
    )
    return wanted.orderBy(F.desc("articles"), "topic_id").limit(_TOPICS).collect()


def _placed(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, float]:
    """Places (n, 2) and radii (n,) in the map's unit, and the share of the variance that the map shows."""
    points, variance = projected(np.array([row["vector"] for row in rows], dtype=np.float64))
    counts = np.array([row["articles"] for row in rows], dtype=np.float64)
    # Area for articles; many topics get smaller bubbles, so that together they cover about as much of the
    # map.
    largest = _LARGEST / max(1.0, (len(rows) / 40.0) ** 0.5)
    radii = np.maximum(largest * np.sqrt(counts / max(counts.max(), 1.0)), 5.0)
    return spread(points, radii, _WIDTH, _HEIGHT), radii, variance


def _colours(rows: list[Row]) -> dict[str, int]:
    """A colour's number for each of the commonest categories."""
    common: dict[str, int] = {}
    for row in rows:
        common[row["category"]] = common.get(row["category"], 0) + row["articles"]
    named = sorted((name for name in common if name), key=lambda name: (-common[name], name))
    return {name: place for place, name in enumerate(named[:_COLOURS])}

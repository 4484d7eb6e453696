"""Estimated click-through rates: how strongly they are smoothed, on counts drawn from rates whose strength is
known."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from newslake.ranking import ctr
from newslake.spark.frames import frame_of

COUNTS = "news_id string, clicks long, impressions long, recent_clicks double, recent_impressions double"
GUESS, WEAKEST, STRONGEST = 50.0, 2.0, 10_000.0
Counted = tuple[str, str | None, int, int, float]
"""news_id, category, clicks, impressions, what is left of each after its decay."""


def estimated(
    spark: SparkSession, counted: Sequence[Counted], more: Sequence[tuple[str, str | None]] = ()
) -> dict[str, tuple[float, float]]:
    """news_id -> prior and estimated rate, of the articles that were shown and of others."""
    rows = [
        (news_id, clicks, shown, clicks * left, shown * left) for news_id, _, clicks, shown, left in counted
    ]
    articles = frame_of(
        spark, [*((one[0], one[1]) for one in counted), *more], "news_id string, category string"
    )
    found: DataFrame = ctr.estimated(articles, frame_of(spark, rows, COUNTS), articles)
    return {row["news_id"]: (row["prior"], row["ctr"]) for row in found.collect()}


def strength_used(rates: dict[str, tuple[float, float]], counted: Sequence[Counted]) -> float:
    """The strength by which the estimates were made: from ctr = (clicks + strength x prior) / (impressions +
    strength), decayed."""
    found = []
    for news_id, _, clicks, shown, left in counted:
        prior, rate = rates[news_id]
        if abs(rate - prior) > 1e-9 * prior:
            found.append(left * (clicks - rate * shown) / (rate - prior))
    return float(np.median(found))


def drawn(
    seed: int, *, articles: int, shown: int, strength: float | None, days: int = 1, rate: float = 0.06
) -> list[Counted]:
    """`articles` of each day, in one category, shown so often each; their rates vary by a beta distribution,
    or not at all."""
    draw = np.random.default_rng(seed)
    rates = (
        np.full(days * articles, rate)
        if strength is None
        else draw.beta(rate * strength, (1 - rate) * strength, days * articles)
    )
    clicks = draw.binomial(shown, rates).tolist()
    return [(f"N{i}", "a", clicks[i], shown, 0.5 ** (i // articles + 0.5)) for i in range(days * articles)]


@pytest.mark.parametrize("days", [2, 7, 30, 90])
def test_the_strength_is_found_however_long_the_history(spark: SparkSession, days: int) -> None:
    """Articles of strength 20, each day's decayed by half for every day since. Estimated from decayed counts:
    28, 180, 10,000, 10,000."""
    for seed in range(3):
        counted = drawn(seed, articles=100, shown=100, strength=20.0, days=days)
        lately = counted[:100]  # what is decayed to next to nothing tells the strength that was used no more
        assert 10.0 <= strength_used(estimated(spark, counted), lately) <= 40.0


@pytest.mark.parametrize(
    ("articles", "shown", "strength", "least", "most"),
    [
        (1, 100, 20.0, 49.9, 50.1),  # one article says nothing of how rates vary: the guess
        (300, 1, 20.0, 49.9, 50.1),  # nor do articles that were shown once each
        (5, 20, 20.0, 10.0, 60.0),  # few counts: near the guess, by chance or not
        (5, 20, None, 25.0, 60.0),
        (10, 100, None, 40.0, 300.0),  # no difference seen among ten: no more than ten can tell
        (300, 100, None, 400.0, 2_000.0),  # among 300: it counts for more, and stays below the bound
    ],
)
def test_chance_alone_does_not_smooth_everything_away(
    spark: SparkSession, articles: int, shown: int, strength: float | None, least: float, most: float
) -> None:
    for seed in range(4):
        counted = drawn(
            seed, articles=articles, shown=shown, strength=strength, rate=0.3 if articles == 1 else 0.06
        )
        if not 0 < sum(one[2] for one in counted) < articles * shown:
            continue  # without a click every rate is 0, however strong the smoothing
        # A second category, never clicked, keeps the prior from being the only article's own rate.
        counted.append(("OTHER", "b", 0, shown, 1.0))
        assert least <= strength_used(estimated(spark, counted), counted[:-1]) <= most


def test_articles_vary_around_their_category(spark: SparkSession) -> None:
    """Two categories whose rates differ tenfold, and articles that hardly vary: the difference of the
    categories is none of theirs."""
    draw = np.random.default_rng(5)
    counted: list[Counted] = []
    for category, rate in (("a", 0.02), ("b", 0.2)):
        rates = draw.beta(rate * 200.0, (1 - rate) * 200.0, 300)
        counted += [
            (f"{category}{i}", category, int(draw.binomial(200, one)), 200, 1.0)
            for i, one in enumerate(rates)
        ]
    rates_found = estimated(spark, counted, [("NEW", "a"), ("OLD", "b")])
    assert 100.0 <= strength_used(rates_found, counted) <= 400.0  # around the rate of all it would be 20
    assert rates_found["NEW"][1] == pytest.approx(0.02, rel=0.2)
    assert rates_found["OLD"][1] == pytest.approx(0.2, rel=0.1)


def test_one_article_shown_often_is_not_the_category(spark: SparkSession) -> None:
    """Impressions of one article are alike: however many, they say less of a new article than as many of many
    articles."""
    base = [(f"N{i}", "a", 2 + 9 * (i % 2), 100, 1.0) for i in range(400)]
    hit: Counted = ("HIT", "hit", 3_000, 10_000, 1.0)
    many = [(f"M{i}", "many", 20 + 20 * (i % 2), 100, 1.0) for i in range(100)]
    rates = estimated(spark, [*base, hit, *many], [("NEW hit", "hit"), ("NEW many", "many")])
    assert rates["NEW many"][1] == pytest.approx(0.3, rel=0.05)
    assert rates["NEW hit"][1] < 0.97 * rates["NEW many"][1]
    assert rates["HIT"][1] == pytest.approx(0.3, rel=0.02)  # of itself it says all


def test_estimates_are_those_of_the_formula(spark: SparkSession) -> None:
    """Kleinman's moments of whole counts, weighed against the guess; then the decayed counts are smoothed.
    Reckoned here without Spark."""
    counted: list[Counted] = [
        (f"N{c}{i}", c, 1 + (i * (3 if c == "a" else 1)) % 10, 20 + i, 0.5 ** (i % 4))
        for c in ("a", "b")
        for i in range(12)
    ]
    rates = estimated(spark, counted, [("NEW", "a"), ("ODD", "z"), ("NONE", None)])

    def settled(excess: float, reach: float, noise: float) -> float:
        guess = 1 / (1 + GUESS)
        told, sure = excess / reach, reach**2 / noise
        between = max((sure * told + 1 / guess) / (sure + guess**-2), (sure + guess**-2) ** -0.5)
        return min(STRONGEST, max(WEAKEST, 1 / between - 1))

    def moments(groups: list[tuple[float, float]]) -> tuple[float, float, float]:
        shown, rate = sum(n for _, n in groups), sum(c for c, _ in groups) / sum(n for _, n in groups)
        chance, free = rate * (1 - rate), len(groups) - 1
        excess = sum(n * (c / n - rate) ** 2 for c, n in groups) - chance * free
        reach = chance * (shown - sum(n * n for _, n in groups) / shown - free)
        return (
            excess,
            reach,
            2 * chance**2 * free + chance * max(0, 1 - 6 * chance) * sum(1 / n for _, n in groups),
        )

    each = {c: [(float(k), float(n)) for _, d, k, n, _ in counted if d == c] for c in ("a", "b")}
    excess, reach, noise = (
        sum(values) for values in zip(*(moments(groups) for groups in each.values()), strict=True)
    )
    of_articles = settled(excess, reach, noise)

    def evidence(shown: Sequence[float]) -> float:
        clusters = 1 + (sum(n * n for n in shown) / sum(shown) - 1) / (1 + of_articles)
        return sum(shown) / max(1, clusters)

    sizes = {c: evidence([n for _, n in groups]) for c, groups in each.items()}
    whole = [
        (sizes[c] * sum(k for k, _ in groups) / sum(n for _, n in groups), sizes[c])
        for c, groups in each.items()
    ]
    of_categories = settled(*moments(whole))
    assert WEAKEST < of_articles < 1_000
    assert WEAKEST < of_categories < STRONGEST
    recent = {c: [(k * left, n * left) for _, d, k, n, left in counted if d == c] for c in ("a", "b")}
    overall = sum(k for groups in recent.values() for k, _ in groups) / sum(
        n for groups in recent.values() for _, n in groups
    )
    known = evidence([n for _, n in recent["a"]])
    rate_a = sum(k for k, _ in recent["a"]) / sum(n for _, n in recent["a"])
    prior_a = (rate_a * known + of_categories * overall) / (known + of_categories)
    assert rates["NEW"] == pytest.approx((prior_a, prior_a))
    assert rates["ODD"][1] == rates["NONE"][1] == pytest.approx(overall)
    _, _, clicks, shown, left = counted[3]
    assert rates["Na3"][1] == pytest.approx(
        (clicks * left + of_articles * prior_a) / (shown * left + of_articles)
    )
    assert all(math.isfinite(x) for pair in rates.values() for x in pair)


def test_what_was_never_clicked_or_shown_has_the_rate_0(spark: SparkSession) -> None:
    assert estimated(spark, [("N1", "a", 0, 50, 1.0)], [("NEW", "b")]) == {
        "N1": (0.0, 0.0),
        "NEW": (0.0, 0.0),
    }
    assert estimated(spark, [], [("NEW", "b")]) == {"NEW": (0.0, 0.0)}
    always = estimated(spark, [("N1", "a", 5, 5, 1.0), ("N2", "a", 7, 7, 1.0)])
    assert always == {"N1": (1.0, 1.0), "N2": (1.0, 1.0)}

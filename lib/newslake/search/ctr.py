"""Click-through rates of articles at an hour, by empirical Bayes: shown rarely, an article is taken to be like its category.

Rates of articles are taken as drawn from a beta distribution around their category's rate, those of categories around the rate of all.
How much either varies, and so how strongly to smooth, is estimated from the counts by moments (Kleinman, JASA 1973).
"""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Bounds of the estimated strength, in impressions: with few groups the moments may say anything.
_WEAKEST, _STRONGEST = 2.0, 10_000.0


def counts(impressions: DataFrame, hour: datetime, half_life_hours: float) -> DataFrame:
    """Clicks and impressions of every article strictly before the hour: news_id, clicks, impressions, and both as recent_...

    Args:
        impressions: rows of the table; those without a label are left out.
        hour: UTC.
        half_life_hours: an event counts half after this time.
    """
    before = impressions.where((F.col("occurred_at") < F.lit(hour)) & F.col("clicked").isNotNull())
    weight = F.pow(F.lit(0.5), hours_between(F.col("occurred_at"), hour) / half_life_hours)
    clicked = F.col("clicked").cast("int")
    return before.groupBy("news_id").agg(
        F.sum(clicked).alias("clicks"),
        F.count("*").alias("impressions"),
        # Summed in decimals: the sum of doubles would depend on their order.
        F.sum((weight * clicked).cast("decimal(28,12)")).cast("double").alias("recent_clicks"),
        F.sum(weight.cast("decimal(28,12)")).cast("double").alias("recent_impressions"),
    )


def hours_between(earlier: Column, hour: datetime) -> Column:
    """Hours from a timestamp to the hour, with fractions."""
    return (F.lit(hour).cast("double") - earlier.cast("double")) / 3600.0


def estimated(candidates: DataFrame, found: DataFrame, categories: DataFrame) -> DataFrame:
    """Estimated click-through rate of the candidates.

    Args:
        candidates: news_id, category.
        found: what counts gives, of all articles.
        categories: news_id, category of all articles: what rates are smoothed towards is learnt from all of them.

    Returns:
        news_id, clicks, impressions, recent_clicks, recent_impressions, prior, ctr. An article that was never shown has its
        category's rate; a category that never was, and an article without one, that of all; 0 where nothing was ever shown.
    """
    named = found.join(categories.select("news_id", "category"), on="news_id", how="left")
    by_category = named.groupBy("category").agg(
        F.sum(F.col("recent_clicks").cast("decimal(28,12)")).cast("double").alias("c"),
        F.sum(F.col("recent_impressions").cast("decimal(28,12)")).cast("double").alias("n"),
    )
    overall, of_categories = _moments(by_category)
    _, of_articles = _moments(named.select(F.col("recent_clicks").alias("c"), F.col("recent_impressions").alias("n")))
    prior = (F.col("c") + of_categories * overall) / (F.col("n") + of_categories)
    priors = by_category.where(F.col("category").isNotNull()).select("category", prior.alias("prior"))
    rows = candidates.join(found, on="news_id", how="left").join(priors, on="category", how="left")
    zero, base = F.lit(0.0), F.coalesce("prior", F.lit(overall))
    clicks, shown = F.coalesce("recent_clicks", zero), F.coalesce("recent_impressions", zero)
    return rows.select(
        "news_id",
        F.coalesce("clicks", F.lit(0)).cast("bigint").alias("clicks"),
        F.coalesce("impressions", F.lit(0)).cast("bigint").alias("impressions"),
        clicks.alias("recent_clicks"),
        shown.alias("recent_impressions"),
        base.alias("prior"),
        ((clicks + of_articles * base) / (shown + of_articles)).alias("ctr"),
    )


def _moments(groups: DataFrame) -> tuple[float, float]:
    """The rate over all groups, and the strength of the beta distribution (alpha + beta) that their rates vary by.

    Args:
        groups: c clicks of n impressions each.
    """
    exact = "decimal(38,12)"
    row = (
        groups.where(F.col("n") > 0)
        .agg(
            F.count("*").alias("k"),
            F.sum(F.col("c").cast(exact)).cast("double").alias("clicks"),
            F.sum(F.col("n").cast(exact)).cast("double").alias("shown"),
            F.sum((F.col("n") * F.col("n")).cast(exact)).cast("double").alias("squares"),
            F.sum((F.col("c") * F.col("c") / F.col("n")).cast(exact)).cast("double").alias("rates"),
        )
        .head()
    )
    assert row is not None  # an aggregate without groups has one row
    if not row["k"] or not row["shown"]:
        return 0.0, _STRONGEST
    rate = row["clicks"] / row["shown"]
    spread = row["rates"] - row["clicks"] * rate  # sum of n (c / n - rate)^2
    chance = rate * (1.0 - rate)
    room = row["shown"] - row["squares"] / row["shown"] - (row["k"] - 1)
    if chance <= 0.0 or room <= 0.0:
        return rate, _STRONGEST
    correlation = (spread - chance * (row["k"] - 1)) / (chance * room)
    if correlation <= 0.0:
        return rate, _STRONGEST
    return rate, min(_STRONGEST, max(_WEAKEST, 1.0 / correlation - 1.0))

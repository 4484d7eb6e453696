"""Click-through rates of articles at an hour, by empirical Bayes: shown rarely, an article is taken to be like its category.

Rates of articles are taken as drawn from a beta distribution around their category's rate, those of categories around the rate of all.
How much either varies, and so how strongly to smooth, is estimated by moments (Kleinman, JASA 1973) from whole, undecayed counts: what the
moments expect of chance is the variance of that many draws, and a decayed count is no number of draws. Only the rates themselves are of
decayed counts, as they should follow the news.

The moments of few articles may say anything, also that rates vary less than chance alone would make them. So they are weighed, by their
variance, against a guess, and the share of variance that lies between rates is never taken to be less than the standard error of its
estimate: nothing that the counts can tell from zero (as Chung et al., Statistics in Medicine 2013, keep a between-study variance from
zero). Without any count the strength is the guess; it grows beyond what chance could explain only as the counts do.
"""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Bounds of a strength, and what it is taken to be where nothing is known: so many impressions weigh as much as the prior.
_WEAKEST, _STRONGEST, _GUESS = 2.0, 10_000.0, 50.0
_EXACT = "decimal(38,12)"  # sums in decimals: those of doubles would depend on their order


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
    by_category = _by_category(found.join(categories.select("news_id", "category"), on="news_id", how="left"))
    overall = _overall(by_category)
    of_articles = strength_of_articles(by_category)
    of_categories = strength_of_categories(by_category, of_articles)
    known = _evidence(F.col("recent_impressions"), F.col("recent_squares"), of_articles)
    rate = F.col("recent_clicks") / F.col("recent_impressions")
    prior = (rate * known + of_categories * overall) / (known + of_categories)
    shown_lately = F.col("category").isNotNull() & (F.col("recent_impressions") > 0)
    priors = by_category.where(shown_lately).select("category", prior.alias("prior"))
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


def strength_of_articles(by_category: DataFrame) -> float:
    """The strength (alpha + beta, in impressions) of the beta distribution that the rates of a category's articles vary by.

    Args:
        by_category: what _by_category gives.
    """
    chance = F.col("rate") * (1.0 - F.col("rate"))
    free = F.col("articles") - 1
    spread = F.col("rates") - F.col("clicks") * F.col("rate")  # sum of n (c / n - rate)^2
    room = F.col("impressions") - F.col("squares") / F.col("impressions") - free
    return _strength(by_category, excess=spread - chance * free, reach=chance * room, noise=_noise(chance, free))


def strength_of_categories(by_category: DataFrame, of_articles: float) -> float:
    """The strength (alpha + beta, in impressions) of the beta distribution that categories' rates vary by.

    A category's impressions are clustered: those of one article say together no more than its rate does. So each category counts as
    many impressions as would tell as much, were each of another article.

    Args:
        by_category: what _by_category gives.
        of_articles: what strength_of_articles gives.
    """
    sizes = by_category.select("rate", _evidence(F.col("impressions"), F.col("squares"), of_articles).alias("n"))
    row = sizes.agg(
        F.count("*").alias("k"),
        _sum(F.col("n")).alias("n"),
        _sum(F.col("n") * F.col("rate")).alias("c"),
        _sum(F.col("n") * F.col("n")).alias("squares"),
        _sum(F.col("n") * F.col("rate") * F.col("rate")).alias("rates"),
        _sum(1.0 / F.col("n")).alias("inverses"),
    )
    rate = F.col("c") / F.col("n")
    chance, free = rate * (1.0 - rate), F.col("k") - 1
    excess, room = F.col("rates") - F.col("c") * rate - chance * free, F.col("n") - F.col("squares") / F.col("n") - free
    return _strength(row.where(F.col("n") > 0), excess=excess, reach=chance * room, noise=_noise(chance, free))


def _by_category(named: DataFrame) -> DataFrame:
    """A row for each category (NULL is one) that was ever shown: articles, clicks, impressions, recent_clicks, recent_impressions, rate,
    and sums over its articles: squares of impressions n (squares), of recent ones (recent_squares), c^2 / n (rates), and 1 / n (inverses).

    Args:
        named: what counts gives, with category.
    """
    clicks, shown = F.col("clicks").cast("double"), F.col("impressions").cast("double")
    sums = named.where(F.col("impressions") > 0).groupBy("category")
    rows = sums.agg(
        F.count("*").alias("articles"),
        _sum(shown * shown).alias("squares"),
        _sum(clicks * clicks / shown).alias("rates"),
        _sum(1.0 / shown).alias("inverses"),
        _sum(F.col("recent_impressions") * F.col("recent_impressions")).alias("recent_squares"),
        *(_sum(F.col(name)).alias(name) for name in ("clicks", "impressions", "recent_clicks", "recent_impressions")),
    )
    return rows.withColumn("rate", F.col("clicks") / F.col("impressions"))


def _overall(by_category: DataFrame) -> float:
    """The recent rate of all; 0 where nothing was shown."""
    row = by_category.agg(_sum(F.col("recent_clicks")).alias("c"), _sum(F.col("recent_impressions")).alias("n")).head()
    return float(row["c"] / row["n"]) if row and row["n"] else 0.0


def _evidence(shown: Column, squares: Column, of_articles: float) -> Column:
    """Impressions of single articles that would tell as much of a category's rate as `shown` ones do, which come in clusters.

    Args:
        shown: the category's impressions.
        squares: the sum of the squares of its articles' impressions.
        of_articles: the strength of articles, whose rates make impressions of one article alike.
    """
    alike = 1.0 / (1.0 + of_articles)
    return shown / F.greatest(F.lit(1.0), 1.0 + alike * (squares / shown - 1.0))


def _noise(chance: Column, free: Column) -> Column:
    """The variance of a sum of n (c / n - rate)^2 over binomial counts: as of chi squares, and more where rare clicks meet few draws."""
    return 2.0 * chance * chance * free + chance * F.greatest(F.lit(0.0), 1.0 - 6.0 * chance) * F.col("inverses")


def _strength(groups: DataFrame, *, excess: Column, reach: Column, noise: Column) -> float:
    """The strength that the sums over the rows tell.

    Args:
        groups: one row or more.
        excess: by how much squared deviations surpass what chance makes of them.
        reach: what excess would be if all of a draw's variance lay between rates.
        noise: the variance of excess where none of it does.
    """
    row = groups.agg(*(_sum(value).alias(name) for name, value in (("excess", excess), ("reach", reach), ("noise", noise)))).head()
    guess = 1.0 / (1.0 + _GUESS)
    sure_of_guess = 1.0 / guess**2
    told, sure = 0.0, 0.0
    if row and row["noise"] and row["reach"] > 0.0:
        told, sure = row["excess"] / row["reach"], row["reach"] ** 2 / row["noise"]
    both = sure + sure_of_guess
    between = max((sure * told + sure_of_guess * guess) / both, both**-0.5)
    return float(min(_STRONGEST, max(_WEAKEST, 1.0 / between - 1.0)))


def _sum(value: Column) -> Column:
    return F.sum(value.cast(_EXACT)).cast("double")

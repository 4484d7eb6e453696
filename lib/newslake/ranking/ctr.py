"""Click-through rates of articles at an hour, by empirical Bayes: shown rarely, an article is taken to be
like its category.

Rates of articles are taken as drawn from a beta distribution around their category's rate, those of
categories around the rate of all. How much either varies, and so how strongly to smooth, is estimated by
moments (Kleinman, JASA 1973) from whole, undecayed counts: what the moments expect of chance is the variance
of that many draws, and a decayed count is no number of draws. Only the rates themselves are of decayed
counts, as they should follow the news.

The moments of few articles may say anything, also that rates vary less than chance alone would make them. So
they are weighed, by their variance, against a guess, and the share of variance that lies between rates is
never taken to be less than the standard error of its estimate: nothing that the counts can tell from zero (as
Chung et al., Statistics in Medicine 2013, keep a between-study variance from zero). Without any count the
strength is the guess; it grows beyond what chance could explain only as the counts do.
"""

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.spark.frames import frame_of

# Bounds of a strength, and what it is taken to be where nothing is known: so many impressions weigh as much
# as the prior.
_WEAKEST, _STRONGEST, _GUESS = 2.0, 10_000.0, 50.0
_ANY_HOUR = datetime(1970, 1, 1)
_EXACT = "decimal(38,12)"  # sums in decimals: those of doubles would depend on their order


def counts(impressions: DataFrame, hour: datetime, half_life_hours: float) -> DataFrame:
    """Clicks and impressions of every article strictly before the hour: news_id, clicks, impressions, and
    both as recent_...

    Args:
        impressions: rows of the table with clicked_at (see `with_click_times`); those without a label are
            left out. A click counts from when it came, though its article was shown before.
        hour: UTC, a whole one.
        half_life_hours: an event counts half after this time.
    """
    return counts_at(impressions, [hour], half_life_hours).drop("hour")


def counts_at(impressions: DataFrame, hours: Sequence[datetime], half_life_hours: float) -> DataFrame:
    """The same at each of several whole hours: hour, news_id and so on; an article has a row from its first
    event on.

    Events are counted once for the hour in which they fall, and carried on to the later ones from there.
    """
    rows = _events(impressions).where(F.col("at") < F.lit(max(hours)))
    rows = rows.withColumn("known_from", F.date_trunc("hour", "at") + F.expr("INTERVAL 1 HOUR"))
    weight = _decay(F.col("occurred_at"), F.col("known_from"), half_life_hours)
    by_hour = rows.groupBy("news_id", "known_from").agg(
        F.sum("click").alias("clicks"),
        F.sum("impression").alias("impressions"),
        # Summed in decimals: the sum of doubles would depend on their order.
        F.sum((weight * F.col("click")).cast("decimal(28,12)")).cast("double").alias("recent_clicks"),
        F.sum((weight * F.col("impression")).cast("decimal(28,12)"))
        .cast("double")
        .alias("recent_impressions"),
    )
    at = F.broadcast(frame_of(impressions.sparkSession, [(hour,) for hour in hours], "hour timestamp"))
    later = by_hour.join(at, on=F.col("known_from") <= F.col("hour"), how="inner")
    since = _decay(F.col("known_from"), F.col("hour"), half_life_hours)
    return later.groupBy("hour", "news_id").agg(
        F.sum("clicks").alias("clicks"),
        F.sum("impressions").alias("impressions"),
        *(
            F.sum((since * F.col(name)).cast("decimal(28,12)")).cast("double").alias(name)
            for name in ("recent_clicks", "recent_impressions")
        ),
    )


def _events(impressions: DataFrame) -> DataFrame:
    """Impressions and clicks: news_id, at (when it came), occurred_at, impression and click (1 or 0).

    A click has its impression's occurred_at: decayed by its own, clicks could outnumber impressions.
    """
    shown, clicked = (
        F.struct(
            F.col(at).alias("at"), F.lit(impression).alias("impression"), F.lit(1 - impression).alias("click")
        )
        for at, impression in (("occurred_at", 1), ("clicked_at", 0))
    )
    both = F.when(F.col("clicked"), F.array(shown, clicked)).otherwise(F.array(shown))
    return impressions.where(F.col("clicked").isNotNull()).select("news_id", "occurred_at", F.inline(both))


def hours_between(earlier: Column, hour: datetime) -> Column:
    """Hours from a timestamp to the hour, with fractions."""
    return hours_between_columns(earlier, F.lit(hour))


def hours_between_columns(earlier: Column, later: Column) -> Column:
    """Hours from a timestamp to another, with fractions."""
    return (later.cast("double") - earlier.cast("double")) / 3600.0


def estimated(candidates: DataFrame, found: DataFrame, categories: DataFrame) -> DataFrame:
    """Estimated click-through rate of the candidates.

    Args:
        candidates: news_id, category.
        found: what counts gives, of all articles.
        categories: news_id, category of all articles: what rates are smoothed towards is learnt from all of
            them.

    Returns:
        news_id, clicks, impressions, recent_clicks, recent_impressions, prior, ctr. An article that was never
            shown has its
        category's rate; a category that never was, and an article without one, that of all; 0 where nothing
            was ever shown.
    """
    hour = F.lit(_ANY_HOUR).alias("hour")
    return estimated_at(candidates.select("*", hour), found.select("*", hour), categories).drop("hour")


def estimated_at(candidates: DataFrame, found: DataFrame, categories: DataFrame) -> DataFrame:
    """The same at several hours, each for itself: candidates, found (of counts_at, read several times) and
    the result have `hour`."""
    by_category = _by_category(found.join(categories.select("news_id", "category"), on="news_id", how="left"))
    of_hours = _of_hours(by_category)
    known = _evidence(F.col("recent_impressions"), F.col("recent_squares"), F.col("of_articles"))
    rate = F.col("recent_clicks") / F.col("recent_impressions")
    prior = (rate * known + F.col("of_categories") * F.col("overall")) / (known + F.col("of_categories"))
    shown_lately = F.col("category").isNotNull() & (F.col("recent_impressions") > 0)
    priors = (
        by_category.where(shown_lately)
        .join(F.broadcast(of_hours), on="hour", how="inner")
        .select("hour", "category", prior.alias("prior"))
    )
    rows = candidates.join(found, on=["hour", "news_id"], how="left").join(
        F.broadcast(priors), on=["hour", "category"], how="left"
    )
    rows = rows.join(F.broadcast(of_hours), on="hour", how="left")
    zero, base = F.lit(0.0), F.coalesce("prior", "overall", F.lit(0.0))
    clicks, shown = F.coalesce("recent_clicks", zero), F.coalesce("recent_impressions", zero)
    strength = F.coalesce("of_articles", F.lit(_GUESS))
    return rows.select(
        "hour",
        "news_id",
        F.coalesce("clicks", F.lit(0)).cast("bigint").alias("clicks"),
        F.coalesce("impressions", F.lit(0)).cast("bigint").alias("impressions"),
        clicks.alias("recent_clicks"),
        shown.alias("recent_impressions"),
        base.alias("prior"),
        ((clicks + strength * base) / (shown + strength)).alias("ctr"),
    )


def _of_hours(by_category: DataFrame) -> DataFrame:
    """What is estimated from all categories together: hour, of_articles and of_categories (strengths),
    overall (the recent rate of all).

    Args:
        by_category: what _by_category gives.
    """
    of_articles = _strength_of_articles(by_category)
    of_categories = _strength_of_categories(by_category.join(of_articles, on="hour", how="inner"))
    overall = F.coalesce(
        F.try_divide(_sum(F.col("recent_clicks")), _sum(F.col("recent_impressions"))), F.lit(0.0)
    )
    rates = by_category.groupBy("hour").agg(overall.alias("overall"))
    return rates.join(of_articles, on="hour", how="inner").join(of_categories, on="hour", how="inner")


def _strength_of_articles(by_category: DataFrame) -> DataFrame:
    """hour, of_articles: the strength (alpha + beta, in impressions) of the beta distribution that rates of a
    category's articles vary by.

    Args:
        by_category: what _by_category gives.
    """
    chance = F.col("rate") * (1.0 - F.col("rate"))
    free = F.col("articles") - 1
    spread = F.col("rates") - F.col("clicks") * F.col("rate")  # sum of n (c / n - rate)^2
    room = F.col("impressions") - F.col("squares") / F.col("impressions") - free
    strength = _strength(excess=spread - chance * free, reach=chance * room, noise=_noise(chance, free))
    return by_category.groupBy("hour").agg(strength.alias("of_articles"))


def _strength_of_categories(by_category: DataFrame) -> DataFrame:
    """hour, of_categories: the strength (alpha + beta, in impressions) of the beta distribution that
    categories' rates vary by.

    A category's impressions are clustered: those of one article say together no more than its rate does. So
    each category counts as many impressions as would tell as much, were each of another article.

    Args:
        by_category: what _by_category gives, with of_articles.
    """
    sizes = by_category.select(
        "hour", "rate", _evidence(F.col("impressions"), F.col("squares"), F.col("of_articles")).alias("n")
    )
    rows = sizes.groupBy("hour").agg(
        F.count("*").alias("k"),
        _sum(F.col("n")).alias("n"),
        _sum(F.col("n") * F.col("rate")).alias("c"),
        _sum(F.col("n") * F.col("n")).alias("squares"),
        _sum(F.col("n") * F.col("rate") * F.col("rate")).alias("rates"),
        _sum(1.0 / F.col("n")).alias("inverses"),
    )
    rate = F.col("c") / F.col("n")
    chance, free = rate * (1.0 - rate), F.col("k") - 1
    excess, room = (
        F.col("rates") - F.col("c") * rate - chance * free,
        F.col("n") - F.col("squares") / F.col("n") - free,
    )
    # One row an hour: its sum is itself.
    strength = _strength(excess=excess, reach=chance * room, noise=_noise(chance, free))
    return rows.groupBy("hour").agg(strength.alias("of_categories"))


def _by_category(named: DataFrame) -> DataFrame:
    """A row for each hour and category (NULL is one) that was ever shown: articles, clicks, impressions,
    recent_clicks, recent_impressions, rate, and sums over its articles: squares of impressions n (squares),
    of recent ones (recent_squares), c^2 / n (rates), and 1 / n (inverses).

    Args:
        named: what counts_at gives, with category.
    """
    clicks, shown = F.col("clicks").cast("double"), F.col("impressions").cast("double")
    sums = named.where(F.col("impressions") > 0).groupBy("hour", "category")
    rows = sums.agg(
        F.count("*").alias("articles"),
        _sum(shown * shown).alias("squares"),
        _sum(clicks * clicks / shown).alias("rates"),
        _sum(1.0 / shown).alias("inverses"),
        _sum(F.col("recent_impressions") * F.col("recent_impressions")).alias("recent_squares"),
        *(
            _sum(F.col(name)).alias(name)
            for name in ("clicks", "impressions", "recent_clicks", "recent_impressions")
        ),
    )
    return rows.withColumn("rate", F.col("clicks") / F.col("impressions"))


def _evidence(shown: Column, squares: Column, of_articles: Column) -> Column:
    """Impressions of single articles that would tell as much of a category's rate as `shown` ones do, which
    come in clusters.

    Args:
        shown: the category's impressions.
        squares: the sum of the squares of its articles' impressions.
        of_articles: the strength of articles, whose rates make impressions of one article alike.
    """
    alike = 1.0 / (1.0 + of_articles)
    return shown / F.greatest(F.lit(1.0), 1.0 + alike * (squares / shown - 1.0))


def _noise(chance: Column, free: Column) -> Column:
    """The variance of a sum of n (c / n - rate)^2 over binomial counts: as of chi squares, and more where
    rare clicks meet few draws."""
    return 2.0 * chance * chance * free + chance * F.greatest(F.lit(0.0), 1.0 - 6.0 * chance) * F.col(
        "inverses"
    )


def _strength(*, excess: Column, reach: Column, noise: Column) -> Column:
    """The strength that the sums over a group's rows tell, to aggregate.

    Args:
        excess: by how much squared deviations surpass what chance makes of them.
        reach: what excess would be if all of a draw's variance lay between rates.
        noise: the variance of excess where none of it does.
    """
    excess, reach, noise = _sum(excess), _sum(reach), _sum(noise)
    guess = 1.0 / (1.0 + _GUESS)
    sure_of_guess = 1.0 / guess**2
    tells = (noise != 0.0) & (reach > 0.0)
    told = F.coalesce(F.when(tells, F.try_divide(excess, reach)), F.lit(0.0))
    sure = F.coalesce(F.when(tells, F.try_divide(reach * reach, noise)), F.lit(0.0))
    both = sure + sure_of_guess
    between = F.greatest((sure * told + sure_of_guess * guess) / both, F.pow(both, F.lit(-0.5)))
    return F.least(F.lit(_STRONGEST), F.greatest(F.lit(_WEAKEST), 1.0 / between - 1.0))


def _decay(earlier: Column, later: Column, half_life_hours: float) -> Column:
    return F.pow(F.lit(0.5), hours_between_columns(earlier, later) / half_life_hours)


def _sum(value: Column) -> Column:
    return F.sum(value.cast(_EXACT)).cast("double")

"""What a day's events add to the weights of the day before, as functions of frames; weights in billionths,
see weights.py."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.users.arrivals import Added
from newslake.users.keywords import article_tags
from newslake.users.profile_options import WeightOptions
from newslake.users.weights import age_in_days, decay, heaviest, units


def first_seen(old: DataFrame, candidates: DataFrame, told: DataFrame) -> DataFrame:
    """The first impression of each user that has a click or a history: user_id, first_seen_at, is_known (a
    row of `old` names the user).

    An impression with neither leaves no row in user_articles to remember it by; so it dates nothing on any
    day.
    """
    users = old.select("user_id", "first_seen_at", F.lit(True).alias("is_known"))
    for rows in (candidates.where("clicked"), told):
        users = users.union(rows.select("user_id", "occurred_at", F.lit(False)))
    return users.groupBy("user_id").agg(
        F.min("first_seen_at").alias("first_seen_at"), F.max("is_known").alias("is_known")
    )


def articles_read(
    candidates: DataFrame,
    told: DataFrame,
    old: DataFrame,
    seen: DataFrame,
    day: date,
    settings: WeightOptions,
) -> DataFrame:
    """What was read anew: user_id, news_id, whole (billionths of a click's weight, decayed to the day),
    history (the part from histories).

    Each click counts. An article of the history counts once per user, unless a click on it is known: where
    one comes later it takes the place of the history's, which is taken back. It is dated at the user's first
    impression, as nothing more is known.

    What was counted is remembered by its row in `old`, which goes when it weighs less than min_weight. From
    then on the history would give it no more than that; so of users who are known, histories that weigh less
    than min_weight are not counted.
    """
    clicks = candidates.where("clicked").select(
        "user_id", "news_id", units(_left(F.col("occurred_at"), day, settings)).alias("whole")
    )
    clicked = clicks.groupBy("user_id", "news_id").agg(F.sum("whole").alias("whole"))
    known = clicked.select("user_id", "news_id").union(old.select("user_id", "news_id"))
    pairs = told.select("user_id", F.explode("news_ids").alias("news_id")).distinct()
    dated = pairs.join(known, on=["user_id", "news_id"], how="left_anti").join(
        seen, on="user_id", how="inner"
    )
    dated = dated.withColumn("whole", units(_left(F.col("first_seen_at"), day, settings)))
    before = dated.where(~F.col("is_known") | (F.col("whole") >= units(F.lit(settings.min_weight))))
    given = old.where("history > 0").select("user_id", "news_id", (-F.col("history")).alias("whole"))
    taken_back = given.join(clicked, on=["user_id", "news_id"], how="left_semi")
    from_histories = before.select("user_id", "news_id", "whole").unionByName(taken_back)
    return clicked.withColumn("history", F.lit(0).cast("bigint")).unionByName(
        from_histories.withColumn("history", F.col("whole"))
    )


def user_articles(old: DataFrame, read: DataFrame, seen: DataFrame, min_weight: float) -> DataFrame:
    """The new weights of articles: user_id, news_id, first_seen_at, whole, history. A user's heaviest stays:
    it keeps first_seen_at."""
    both = old.select("user_id", "news_id", "whole", "history").unionByName(read)
    summed = both.groupBy("user_id", "news_id").agg(
        F.sum("whole").alias("whole"), F.sum("history").alias("history")
    )
    best = heaviest(summed, "user_id", "news_id", 1).select(
        "user_id", "news_id", F.lit(True).alias("is_best")
    )
    kept = summed.join(best, on=["user_id", "news_id"], how="left").where(
        (F.col("whole") >= units(F.lit(min_weight))) | F.col("is_best").isNotNull()
    )
    return kept.join(seen, on="user_id", how="inner").select(
        "user_id", "news_id", "first_seen_at", "whole", "history"
    )


def day_tags(
    read: DataFrame,
    skipped: DataFrame | None,
    heard: list[DataFrame],
    news: DataFrame,
    rarity: DataFrame | None,
    day: date,
    settings: WeightOptions,
) -> DataFrame:
    """What the day's events add to tags: user_id, tag, whole (below 0 for skips)."""
    weights = read.select("user_id", "news_id", "whole")
    weights = weights if skipped is None else weights.unionByName(skipped)
    touched = news.join(weights.select("news_id").distinct(), on="news_id", how="left_semi")
    tags = article_tags(touched, rarity, settings.keywords)
    shares = F.round(F.col("whole").cast("double") * F.col("share")).cast("bigint")
    found = weights.join(tags, on="news_id", how="inner").select("user_id", "tag", shares.alias("whole"))
    for one in heard:
        spoken = units(F.col("weight") * _left(F.col("occurred_at"), day, settings))
        found = found.unionByName(one.select("user_id", "tag", spoken.alias("whole")))
    return found


def user_tags(old: DataFrame, added: DataFrame, settings: WeightOptions) -> DataFrame:
    """The new weights of tags: user_id, tag, whole."""
    both = old.select("user_id", "tag", "whole").unionByName(added)
    summed = both.groupBy("user_id", "tag").agg(F.sum("whole").alias("whole"))
    least = F.greatest(units(F.lit(settings.min_weight)), F.lit(1).cast("bigint"))
    return heaviest(summed.where(F.col("whole") >= least), "user_id", "tag", settings.max_tags).drop("place")


def user_topics(articles: DataFrame, article_topics: DataFrame) -> DataFrame:
    """Topics from the articles' weights and one model's topics: user_id, topic_model, topic_id, whole."""
    shares = F.round(F.col("whole").cast("double") * F.col("share")).cast("bigint")
    topics = article_topics.select("news_id", "topic_model", "topic_id", F.col("weight").alias("share"))
    both = articles.join(topics, on="news_id", how="inner").select(
        "user_id", "topic_model", "topic_id", shares.alias("whole")
    )
    summed = both.groupBy("user_id", "topic_model", "topic_id").agg(F.sum("whole").alias("whole"))
    return summed.where("whole > 0")


def skips(shown: Added, day: date, settings: WeightOptions) -> DataFrame | None:
    """What was shown and not clicked; below 0. What was subtracted for an article that was clicked later is
    given back."""
    if settings.skip_weight == 0.0:
        return None
    found = _weighed(shown.rows.where("NOT clicked"), -settings.skip_weight, day, settings)
    if shown.withdrawn is None:
        return found
    return found.unionByName(
        _weighed(shown.withdrawn.where("NOT clicked"), settings.skip_weight, day, settings)
    )


def _weighed(rows: DataFrame, weight: float, day: date, settings: WeightOptions) -> DataFrame:
    return rows.select(
        "user_id", "news_id", units(F.lit(weight) * _left(F.col("occurred_at"), day, settings)).alias("whole")
    )


def _left(occurred_at: Column, day: date, settings: WeightOptions) -> Column:
    return decay(age_in_days(occurred_at, day), settings.half_life_days)

"""Histories of impressions that came without one, as streams bring them: what the user had clicked strictly
before.

Frames in, frames out.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

LATEST_CLICKS = 200
"""Clicks of a user that a history takes from impressions at most: what bounds the work for those who click
most."""


def past_clicks(
    shown: DataFrame,
    impressions: DataFrame,
    click_history: DataFrame,
    clicks: DataFrame,
    *,
    length: int = LATEST_CLICKS,
) -> DataFrame:
    """A history for each impression that has no row in click_history, out of the user's older rows there and
    clicks in impressions.

    A click happened when its event says, or else when its impression was shown. Of the rows of click_history
    the user's latest before the impression counts; what it holds was clicked before the user's first
    impression with this very history. So clicks of that moment or later come after it, and earlier ones
    before all of it, as in encode_users.latest_clicks. Nothing that happened at the moment of the impression
    or later is looked at.

    Args:
        shown: impressions to find histories for: split, impression_id, user_id, occurred_at; a row for each
            candidate or impression.
        impressions: all impressions, of any split; those with clicked decide.
        click_history: the table.
        clicks: table clicks, which says when a live click came.
        length: latest clicks that are looked at, and most articles of a history.

    Returns:
        split, impression_id, user_id, occurred_at, news_ids (oldest first; an article clicked twice stands
            where it was clicked last).
    """
    key = ["split", "impression_id"]
    # Grouped first: an impression's candidates lie together, so that few rows are left to look up.
    each = shown.groupBy(*key).agg(
        F.min("user_id").alias("user_id"), F.min("occurred_at").alias("occurred_at")
    )
    without = each.join(click_history.select(*key), on=key, how="left_anti")
    moments = without.select("user_id", F.unix_micros("occurred_at").alias("at")).distinct()
    users = moments.select("user_id").distinct()
    found = _histories(
        moments,
        clicked_at(impressions, clicks).join(users, on="user_id", how="left_semi"),
        click_history.join(users, on="user_id", how="left_semi"),
        length,
    )
    rows = without.withColumn("at", F.unix_micros("occurred_at")).join(
        found, on=["user_id", "at"], how="left"
    )
    return rows.select(
        *key,
        "user_id",
        "occurred_at",
        F.coalesce("news_ids", F.array().cast("array<string>")).alias("news_ids"),
    )


def clicked_at(impressions: DataFrame, clicks: DataFrame) -> DataFrame:
    """Every click in impressions with its moment: split, impression_id, position, user_id, news_id, at
    (bigint, microseconds).

    A click that came some time after its impression was shown is not known before it came.
    """
    marked = with_click_times(impressions.where("clicked"), clicks)
    return marked.select(
        "split", "impression_id", "position", "user_id", "news_id", F.unix_micros("clicked_at").alias("at")
    )


def with_click_times(impressions: DataFrame, clicks: DataFrame | None) -> DataFrame:
    """The impressions with clicked_at: when the click came, by its event or else at the impression; NULL
    where there was none.

    Args:
        impressions: rows of the table.
        clicks: the table; None where no stream ever wrote one.
    """
    if clicks is None:
        return impressions.withColumn("clicked_at", F.when(F.col("clicked"), F.col("occurred_at")))
    which = ["impression_id", "user_id", "news_id"]
    came = clicks.groupBy(*which).agg(F.min("clicked_at").alias("clicked_at"))
    at = F.when(F.col("clicked"), F.greatest("occurred_at", "clicked_at"))  # greatest skips NULLs
    return impressions.join(came, on=which, how="left").withColumn("clicked_at", at)


def _histories(moments: DataFrame, clicked: DataFrame, click_history: DataFrame, length: int) -> DataFrame:
    """user_id, at, news_ids of every moment (user_id, at). One shuffle by user, and no more than `length`
    clicks at a time."""
    user = Window.partitionBy("user_id")
    order = F.row_number().over(user.orderBy("at", "split", "impression_id", "position"))
    of_clicks = clicked.select(
        "user_id", "at", order.alias("clicks"), F.struct(order.alias("nth"), "at", "news_id").alias("click")
    )
    at = F.unix_micros("occurred_at").alias("at")
    told = click_history.select("user_id", at, "split", "impression_id", "news_ids")
    # As long as a history stays the same, it is that of the first impression which had it.
    known_at = F.min("at").over(Window.partitionBy("user_id", "news_ids")).alias("known_at")
    told = told.select(
        "user_id", "at", F.struct("at", "split", "impression_id", known_at, "news_ids").alias("told")
    )
    rows = of_clicks.unionByName(told, allowMissingColumns=True).unionByName(
        moments.withColumn("asked", F.lit(True)), allowMissingColumns=True
    )
    earlier = user.orderBy("at").rangeBetween(Window.unboundedPreceding, -1)
    # Counted by clicks alone, so that the latest of them are a range, however many impressions lie between.
    before = F.coalesce("clicks", F.max("clicks").over(earlier), F.lit(0))
    rows = rows.select(
        "user_id", "at", "asked", "click", F.max("told").over(earlier).alias("told"), before.alias("clicks")
    )
    latest = F.array_sort(F.collect_list("click").over(user.orderBy("clicks").rangeBetween(1 - length, 0)))
    rows = rows.withColumn("latest", latest).where("asked")
    return rows.select("user_id", "at", _in_order(length).alias("news_ids"))


def _in_order(length: int) -> Column:
    known_at, none = F.col("told.known_at"), F.array().cast("array<string>")
    before = F.filter("latest", lambda click: click["at"] < known_at)["news_id"]
    # Without a history, known_at is NULL: every click is one since.
    since = F.filter("latest", lambda click: F.coalesce(click["at"] >= known_at, F.lit(True)))["news_id"]
    every = F.concat(F.coalesce(before, none), F.coalesce(F.col("told.news_ids"), none), since)
    return F.reverse(F.slice(F.array_distinct(F.reverse(every)), 1, length))

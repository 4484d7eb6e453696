"""Impressions, click history and news -> what a recommender is trained and judged on. Frames in, frames out,
no I/O.

Users and articles become contiguous indices from 0, those met in training first, each part sorted by id: the
same data gives the same indices whatever the partitions.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.training.data.time_splits import TRAIN, Roles


def candidates(impressions: DataFrame, click_history: DataFrame, roles: Roles) -> DataFrame:
    """The labelled candidates that have a role, less those that the user had clicked before (in the history).

    Returns:
        role (train, valid or test), split, impression_id, position, user_id, news_id, clicked.
    """
    labelled = impressions.where(roles.chosen() & F.col("clicked").isNotNull()).select(
        roles.role().alias("role"),
        "split",
        "impression_id",
        "position",
        "user_id",
        "news_id",
        "clicked",
    )
    clicked_before = click_history.select("split", "impression_id", F.explode("news_ids").alias("news_id"))
    return labelled.join(clicked_before, on=["split", "impression_id", "news_id"], how="left_anti").select(
        labelled.columns
    )


def recent_clicks(shown: DataFrame, click_history: DataFrame, *, length: int) -> DataFrame:
    """The latest `length` earlier clicks of every impression in `candidates`.

    Returns:
        split, impression_id, user_id, occurred_at, recent (array<string>, latest first), history_key (bigint,
            a hash of it).
    """
    impressions = shown.select("split", "impression_id").distinct()
    recent = F.slice(F.reverse("news_ids"), 1, length)
    found = click_history.join(impressions, on=["split", "impression_id"], how="left_semi").withColumn(
        "recent", recent
    )
    return found.select(
        "split",
        "impression_id",
        "user_id",
        "occurred_at",
        "recent",
        F.xxhash64("recent").alias("history_key"),
    )


def distinct_histories(recent: DataFrame) -> DataFrame:
    """One row per distinct list that is not empty: history_key, recent, in_training (TRUE: all are one part,
    see `with_index`)."""
    some = recent.where(F.size("recent") > 0).select("history_key", "recent")
    return some.dropDuplicates(["history_key"]).withColumn("in_training", F.lit(True))


def history_lists(histories: DataFrame, article_index: DataFrame) -> DataFrame:
    """Histories as articles' indices; what is no known article is left out.

    Args:
        histories: history (int, from 0), recent.
        article_index: news_id, article.

    Returns:
        history (int, from 1: 0 stands for no click at all), articles (array<int>, latest first).
    """
    clicks = histories.select("history", F.posexplode("recent").alias("place", "news_id"))
    known = clicks.join(article_index.select("news_id", "article"), on="news_id", how="inner")
    lists = known.groupBy("history").agg(
        F.array_sort(F.collect_list(F.struct("place", "article"))).alias("clicked")
    )
    return lists.select((F.col("history") + 1).alias("history"), F.col("clicked.article").alias("articles"))


def users(shown: DataFrame, recent: DataFrame) -> DataFrame:
    """Every user in `candidates`.

    Returns:
        user_id, in_training (has a click in training), history_key (of the latest impression),
            first_history_key (of the first).
    """
    flags = shown.groupBy("user_id").agg(
        F.max((F.col("role") == TRAIN) & F.col("clicked")).alias("in_training")
    )
    moment = F.struct("occurred_at", "split", "impression_id")
    keys = (
        F.max_by("history_key", moment).alias("history_key"),
        F.min_by("history_key", moment).alias("first_history_key"),
    )
    return flags.join(recent.groupBy("user_id").agg(*keys), on="user_id", how="left")


def articles(shown: DataFrame, news: DataFrame) -> DataFrame:
    """Every article that was shown or is in `news`, with its attributes (NULL where it has none).

    Returns:
        news_id, in_training (shown in an impression of training that has a click), has_news, category,
            subcategory,
        entity (Wikidata id of the first entity: of the title, else of the abstract).
    """
    of_training = shown.where(F.col("role") == TRAIN)
    with_click = of_training.where("clicked").select("split", "impression_id").distinct()
    trained_on = of_training.join(with_click, on=["split", "impression_id"], how="left_semi").select(
        "news_id", F.lit(True).alias("in_training")
    )
    seen = shown.select("news_id", F.lit(False).alias("in_training")).unionByName(trained_on)
    seen = seen.groupBy("news_id").agg(F.max("in_training").alias("in_training"))
    known = attributes(news).withColumn("has_news", F.lit(True))
    return seen.join(known, on="news_id", how="full").select(
        "news_id",
        F.coalesce("in_training", F.lit(False)).alias("in_training"),
        F.coalesce("has_news", F.lit(False)).alias("has_news"),
        "category",
        "subcategory",
        "entity",
    )


def attributes(news: DataFrame) -> DataFrame:
    """news_id, category, subcategory, entity (see `articles`)."""
    return news.select("news_id", "category", "subcategory", _first_entity().alias("entity"))


def _first_entity() -> Column:
    of_title = F.filter("entities", lambda entity: entity["field"] == "title")
    return F.coalesce(F.get(of_title, F.lit(0))["wikidata_id"], F.get("entities", F.lit(0))["wikidata_id"])


def spread_by_range(rows: DataFrame, key: str) -> DataFrame:
    """Rows sorted across partitions, those in training first, with `part` = the partition; to be written out.

    The bounds of the ranges come from a sample, so two evaluations may differ in them: `with_index` needs one
    that stays.
    """
    spread = rows.repartitionByRange(F.col("in_training").desc(), F.col(key)).sortWithinPartitions(
        F.col("in_training").desc(), key
    )
    return spread.select(F.spark_partition_id().alias("part"), *rows.columns)


def with_index(spread: DataFrame, key: str, index: str) -> DataFrame:
    """Number the rows of a written `spread_by_range` from 0: those in training first, then the others, each
    sorted by key.

    No partition holds all rows, and none are collected: a row's number is its place in its part and the sizes
    of the parts before.
    """
    sizes = spread.groupBy("part").agg(F.count(F.lit(1)).alias("size"))
    before = F.sum("size").over(Window.orderBy("part").rowsBetween(Window.unboundedPreceding, -1))
    starts = sizes.select("part", F.coalesce(before, F.lit(0)).alias("start"))
    place = F.row_number().over(Window.partitionBy("part").orderBy(F.col("in_training").desc(), key))
    numbered = spread.join(F.broadcast(starts), on="part", how="inner")
    columns = [name for name in spread.columns if name != "part"]
    return numbered.select((F.col("start") + place - 1).cast("int").alias(index), *columns)


def with_history(rows: DataFrame, histories: DataFrame, name: str = "history") -> DataFrame:
    """The rows with `name` (int, 0 for none) in place of `name`_key. histories: history_key, history from
    0."""
    numbers = histories.select(F.col("history_key").alias(f"{name}_key"), F.col("history").alias(name))
    found = rows.join(numbers, on=f"{name}_key", how="left")
    return found.withColumn(name, F.coalesce(F.col(name) + 1, F.lit(0)).cast("int")).drop(f"{name}_key")


def impression_lists(
    shown: DataFrame, user_index: DataFrame, article_index: DataFrame, histories: DataFrame
) -> DataFrame:
    """One row per impression, its candidates in the order shown.

    Args:
        shown: from `candidates`.
        user_index: user_id, user.
        article_index: news_id, article.
        histories: split, impression_id, history (int, 0 for none).

    Returns:
        role, split, impression_id, impression_key (bigint, a hash of the two), user (int), history (int),
            articles (array<int>),
        labels (array<tinyint>, 1 for a click).
    """
    indexed = (
        shown.join(article_index.select("news_id", "article"), on="news_id", how="inner")
        .join(user_index.select("user_id", "user"), on="user_id", how="inner")
        .groupBy("role", "split", "impression_id", "user")
        .agg(F.array_sort(F.collect_list(F.struct("position", "article", "clicked"))).alias("shown"))
    )
    with_clicks = indexed.join(
        histories.select("split", "impression_id", "history"), on=["split", "impression_id"], how="left"
    )
    return with_clicks.select(
        "role",
        "split",
        "impression_id",
        F.xxhash64("split", "impression_id").alias("impression_key"),
        "user",
        F.coalesce("history", F.lit(0)).alias("history"),
        F.col("shown.article").alias("articles"),
        F.transform("shown", lambda candidate: candidate["clicked"].cast("tinyint")).alias("labels"),
    )


def list_sizes(lists: DataFrame, *, max_skips: int) -> DataFrame:
    """What `impression_lists` holds, a row per role.

    Returns:
        role, impressions, candidates, clicks, longest (most skips of an impression with a click),
        clicks_with_skips_left_out (clicks of impressions with more than `max_skips` skips).
    """
    clicks = F.aggregate("labels", F.lit(0), lambda total, label: total + label)
    counted = lists.select("role", F.size("labels").alias("candidates"), clicks.alias("clicks"))
    skips = F.col("candidates") - F.col("clicks")
    return counted.groupBy("role").agg(
        F.count(F.lit(1)).alias("impressions"),
        F.sum("candidates").alias("candidates"),
        F.sum("clicks").alias("clicks"),
        F.max(F.when(F.col("clicks") > 0, skips).otherwise(0)).alias("longest"),
        F.sum(F.when(skips > max_skips, F.col("clicks")).otherwise(0)).alias("clicks_with_skips_left_out"),
    )


def padded_to(widths: Sequence[int]) -> Column:
    """Of `impression_lists`: the first of the widths, in ascending order, that holds all skips of the
    impression; else the last."""
    skips = F.size(F.filter("labels", lambda label: label == 0))
    fits = F.filter(F.array(*map(F.lit, widths)), lambda width: width >= skips)
    return F.coalesce(F.get(fits, F.lit(0)), F.lit(widths[-1]))


def clicks_by(lists: DataFrame, column: str) -> DataFrame:
    """How many clicks the impressions of each value have: column, clicks. Values without a click are left
    out."""
    clicks = F.size(F.filter("labels", lambda label: label == 1))
    return lists.groupBy(column).agg(F.sum(clicks).alias("clicks")).where("clicks > 0")


def clicks_with_skips(lists: DataFrame, *, width: int) -> DataFrame:
    """One row per click with the skips of its impression, padded to one width, as Petastorm needs them.

    An impression with more skips than `width` keeps a fixed random choice of `width` of them (by a hash): no
    click is lost, and each of its skips is as likely to be kept as any other.

    Returns:
        click_id (bigint, a hash), user (int), history (int), clicked (int, the article), skip_count (int),
            skips (array<int> of `width`,
        zeros after skip_count).
    """
    pairs = F.arrays_zip("articles", "labels")
    skips = F.transform(F.filter(pairs, lambda pair: pair["labels"] == 0), lambda pair: pair["articles"])
    by_hash = F.array_sort(
        F.transform(
            "all_skips",
            lambda article, place: F.struct(
                F.xxhash64("impression_key", place).alias("order"), article.alias("article")
            ),
        )
    )
    chosen = F.when(F.size("all_skips") > width, F.slice(by_hash, 1, width)["article"]).otherwise(
        F.col("all_skips")
    )
    padding = F.array_repeat(F.lit(0), width - F.size("chosen"))
    return (
        lists.select(
            "impression_key",
            "user",
            "history",
            skips.alias("all_skips"),
            F.posexplode(pairs).alias("place", "candidate"),
        )
        .where(F.col("candidate.labels") == 1)
        .withColumn("chosen", chosen)
        .select(
            F.xxhash64("impression_key", "place").alias("click_id"),
            "user",
            "history",
            F.col("candidate.articles").alias("clicked"),
            F.size("chosen").alias("skip_count"),
            F.concat("chosen", padding).alias("skips"),
        )
    )


def in_fixed_order(rows: DataFrame, key: str, *, files: int) -> DataFrame:
    """The rows in `files` partitions, which and in which order decided by a hash of the key: the same
    whatever the cluster."""
    spread = rows.withColumn("_order", F.xxhash64(F.lit("order"), key))
    return spread.repartition(files, "_order").sortWithinPartitions("_order", key).drop("_order")

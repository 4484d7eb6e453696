"""build_user_vectors: each tag phrase of a user as a vector that is comparable with article_vectors."""

from collections.abc import Sequence
from functools import reduce
from typing import Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import joined, joined_with_nothing, unit, vector_size, weighted_mean
from newslake.run.jobrun import JobRun
from newslake.run.options import day_of, the_one
from newslake.switches.topic_model import asked_or_active, candidate_topic_model
from newslake.topics.assign import load_model
from newslake.users.days import rows_of_day
from newslake.users.group_topics import group_topics

TABLE = "user_vectors"
TOPICS_OF_USER = 2
_TODAY = "rows for this day"


def build_user_vectors(
    lake: Lakehouse,
    run: JobRun,
    *,
    as_of: str,
    encoder_id: str | None = None,
    topic_model: str | None = None,
    topics_of: Literal["group", "user"] = "user",
) -> None:
    """Join the vector of every tag phrase of a user with that of two topics, into table user_vectors.

    The topics are the user's two heaviest or, with --topics-of group, those of the phrase's tag group: the
    two that the saved topic model finds most relevant, with the group's tags read as one text; where it knows
    no word of them, the user's stand in.

    The parts are scaled as those of article_vectors are, so that the cosine of a user's and an article's
    vector means something. Where a user has no topic either, zeros stand in and the text alone decides. A day
    that is there already is replaced: without --topic-model its vectors are those of the active model, and of
    the candidate where user_topics has it.

    Args:
        as_of: The day, such as 2019-11-15.
        encoder_id: Which phrase vectors to use; needed only where encode_tag_phrases ran for the day with
            several encoders.
        topic_model: Which topics to use, beside what the day has of other models (default: the active model's
            and the candidate's).
        topics_of: Whose two topics a phrase gets: the user's heaviest, the same for all of a user's phrases,
            or its tag group's.
    """
    day = day_of(as_of)
    phrases = rows_of_day(lake, "user_phrases", day)
    matches = rows_of_day(lake, "tag_phrase_matches", day)
    encoder = the_one(
        matches,
        "encoder_id",
        encoder_id,
        table="tag_phrase_matches",
        built_by="encode_tag_phrases",
        things=_TODAY,
    )
    heavy = rows_of_day(lake, "user_topics", day)
    asked = asked_or_active(lake, heavy, topic_model)
    model = the_one(
        heavy, "topic_model", asked, table="user_topics", built_by="build_profiles", things=_TODAY
    )
    models = [model] if topic_model is not None else [*_candidate(lake, heavy), model]
    run.fact("encoder_id", encoder)
    run.fact("topic_model", model)
    stored = lake.read("tag_phrases").where(F.col("encoder_id") == encoder)
    vector_size(stored, "embedding", f"tag_phrases of {encoder}")

    run.rows_in(phrases.count())
    mine = matches.where(F.col("encoder_id") == encoder)
    made = {name: _by_model(lake, name, phrases, mine, stored, heavy, encoder, topics_of) for name in models}
    rows = reduce(DataFrame.unionByName, (rows for rows, _ in made.values()))
    slice_of = {
        "as_of": day.isoformat(),
        "encoder_id": encoder,
        **({"topic_model": model} if topic_model is not None else {}),
    }
    run.wrote(TABLE, lake.replace(TABLE, rows, where=slice_of).rows)
    # One model's vectors are as many as another's.
    _report(run, phrases, mine, made[model][1], run.rows_written[TABLE] // len(models))


def _candidate(lake: Lakehouse, heavy: DataFrame) -> list[str]:
    """The topic model that is to become active, where user_topics has it for the day."""
    candidate = candidate_topic_model(lake)
    return (
        [] if candidate is None or heavy.where(F.col("topic_model") == candidate).isEmpty() else [candidate]
    )


def _by_model(
    lake: Lakehouse,
    model: str,
    phrases: DataFrame,
    matches: DataFrame,
    stored: DataFrame,
    heavy: DataFrame,
    encoder: str,
    topics_of: Literal["group", "user"],
) -> tuple[DataFrame, DataFrame]:
    """The day's rows of user_vectors by one topic model, and what topics add to each user's."""
    topics = lake.read("topics").where(F.col("topic_model") == model)
    size = vector_size(topics, "vector", f"topic model {model}")
    if size is None:
        raise UserError(
            f"table topics has no model {model}, which user_topics has: run fit_topics, then build_profiles"
        )
    parts = topic_parts(heavy.where(F.col("topic_model") == model), topics)
    if topics_of == "group":
        of_groups = topic_parts(
            group_topics(phrases, load_model(lake, model)), topics, of=("user_id", "tag_group")
        )
        phrases = phrases.join(
            of_groups.withColumnRenamed("part", "of_group"), on=["user_id", "tag_group"], how="left"
        )
    return user_vectors(
        phrases, matches, stored, parts, encoder=encoder, topic_model=model, topic_size=size
    ), parts


def topic_parts(weighed: DataFrame, topics: DataFrame, of: Sequence[str] = ("user_id",)) -> DataFrame:
    """What topics add to vectors: the columns `of`, and part: the weighted mean of the unit vectors of the
    two heaviest topics.

    Args:
        weighed: `of`, topic_id and weight, of one model, such as one day's rows of user_topics; ties by
            topic_id.
        topics: the model's rows of topics: few, so that they are sent to every task.
        of: whose topics they are: a user's, or a tag group's.
    """
    order = Window.partitionBy(*of).orderBy(F.desc("weight"), "topic_id")
    ranked = weighed.select(*of, "topic_id", "weight", F.row_number().over(order).alias("place"))
    known = topics.select("topic_id", unit(F.col("vector")).alias("unit")).where(F.col("unit").isNotNull())
    best = ranked.where(F.col("place") <= TOPICS_OF_USER).join(F.broadcast(known), on="topic_id", how="inner")
    both = best.groupBy(*of).agg(
        F.array_sort(F.collect_list(F.struct("place", "weight", "unit"))).alias("best")
    )
    return both.select(*of, weighted_mean(F.col("best.unit"), F.col("best.weight")).alias("part"))


def user_vectors(
    phrases: DataFrame,
    matches: DataFrame,
    stored: DataFrame,
    parts: DataFrame,
    *,
    encoder: str,
    topic_model: str,
    topic_size: int,
) -> DataFrame:
    """Rows of user_vectors; a phrase without a vector, or with one that has no direction, has none.

    Args:
        phrases: one day's rows of user_phrases; where it has a column of_group, that is the topic part of
            those where it is not NULL.
        matches: the day's and the encoder's rows of tag_phrase_matches.
        stored: the encoder's rows of tag_phrases.
        parts: from topic_parts, of users.
        encoder: the encoder_id.
        topic_model: the model's id.
        topic_size: entries of a topic's vector.
    """
    # Vectors are fetched once for each distinct phrase; only then do they meet the users.
    sources = matches.select("phrase_id", "source_id")
    vectors = stored.select(F.col("phrase_id").alias("source_id"), "embedding")
    of_phrase = sources.join(vectors, on="source_id", how="inner").select("phrase_id", "embedding")
    rows = phrases.join(of_phrase, on="phrase_id", how="inner").join(parts, on="user_id", how="left")
    if "of_group" in phrases.columns:
        rows = rows.withColumn("part", F.coalesce("of_group", "part"))
    made = rows.select(
        "as_of",
        "user_id",
        "tag_group",
        "phrase_id",
        F.lit(encoder).alias("encoder_id"),
        F.lit(topic_model).alias("topic_model"),
        "weight",
        _vector(topic_size).alias("vector"),
    )
    return made.where(F.col("vector").isNotNull())


def _vector(topic_size: int) -> Column:
    return F.coalesce(
        joined(F.col("embedding"), F.col("part")), joined_with_nothing(F.col("embedding"), topic_size)
    )


def _report(run: JobRun, phrases: DataFrame, matches: DataFrame, parts: DataFrame, written: int) -> None:
    without_topic = (
        phrases.select("user_id")
        .distinct()
        .join(parts.where("part IS NOT NULL"), on="user_id", how="left_anti")
        .count()
    )
    if without_topic:
        run.fact("users without a topic", without_topic)
    unmatched = phrases.join(matches.select("phrase_id"), on="phrase_id", how="left_anti").count()
    if unmatched:
        run.fact("phrases of users that encode_tag_phrases gave no vector", unmatched)
    if written + unmatched < (run.rows_read or 0):
        run.fact("phrases whose vector has no direction", (run.rows_read or 0) - written - unmatched)

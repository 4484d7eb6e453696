"""activate_topic_model: the switch to a newly fitted topic model, once articles and users have vectors by
it."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.switches.horizon import horizon, served
from newslake.switches.topic_model import (
    activate,
    active_topic_model,
    candidate_topic_model,
    fitted_topic_models,
)

_ARTICLES, _USERS = "article_vectors", "user_vectors"


def activate_topic_model(
    lake: Lakehouse, run: JobRun, *, topic_model: str | None = None, if_ready: bool = False
) -> None:
    """Make a fitted topic model the active one, by which articles and users are given vectors, feeds are made
    and vectors exported.

    The model must have a vector of every article that may be served and of every user of the latest day that
    have one by the active model; else the job refuses. The switch is one row of table active_models, where
    all earlier ones stay. Where the model is the active one already, or no newer one was fitted, nothing is
    done.

    Args:
        topic_model: The fitted version (default: the one fitted last, if it was never active).
        if_ready: Where vectors are lacking, say so and leave the active model as it is, instead of refusing.
    """
    lake.read("topics")  # says what builds it
    active = active_topic_model(lake)
    if active is None:
        raise UserError(f"no topic model in {lake} yet: run fit_topics")
    model = topic_model or candidate_topic_model(lake) or active
    if model not in (known := fitted_topic_models(lake)):
        raise UserError(f"--topic-model {model}: no such model; there are: {', '.join(sorted(known))}")
    run.fact("active topic model", active)
    if model == active:
        run.progress(f"{active} is the active topic model already")
        return
    if missing := lacking(lake, active, model):
        said = f"topic model {model} is not ready: {missing} by {active} have none by it"
        if not if_ready:
            how = "(the daily run does)" if topic_model is None else f"with --topic-model {model}"
            raise UserError(
                f"{said}: run assign_topics, build_article_vectors, build_profiles and build_user_vectors"
                f" {how}"
            )
        run.fact("not activated", said)
        run.progress(said)
        return
    activate(lake, model)
    run.wrote("active_models", 1)
    run.fact("active topic model", model)
    run.fact("active before", active)
    run.progress(f"{model} is the active topic model now, in place of {active}")


def lacking(lake: Lakehouse, active: str, model: str) -> str:
    """What has a vector by the active model and none by the other, in words: "3 of 400 articles' and 2 of 50
    users' vectors"; or nothing.

    Articles are those that may be served, users those of the latest day that has vectors by the active model,
    each with the encoders that this day's vectors are of.
    """
    users, encoders = None, None
    if lake.exists(_USERS):
        rows = lake.read(_USERS).select("as_of", "user_id", "encoder_id", "topic_model")
        latest = rows.where(F.col("topic_model") == active).agg(F.max("as_of")).head()
        users = rows.where(F.col("as_of") == F.lit(None if latest is None else latest[0]))
        encoders = [
            row[0]
            for row in users.where(F.col("topic_model") == active).select("encoder_id").distinct().collect()
        ]
    said = []
    if lake.exists(_ARTICLES):
        articles = served(lake.read(_ARTICLES), "news_date", horizon(lake))
        if encoders:  # vectors of an encoder that no user has any more are not served
            articles = articles.where(F.col("encoder_id").isin(encoders))
        said.append(_lack(articles, "news_id", active, model, "articles'"))
    if users is not None:
        said.append(_lack(users, "user_id", active, model, "users'"))
    found = " and ".join(part for part in said if part)
    return f"{found} vectors" if found else ""


def _lack(rows: DataFrame, key: str, active: str, model: str, things: str) -> str:
    both = rows.where(F.col("topic_model").isin(active, model)).groupBy(key, "encoder_id")
    held = both.agg(
        *(F.max(F.col("topic_model") == name).alias(side) for side, name in (("old", active), ("new", model)))
    )
    counted = (
        held.where("old")
        .agg(F.count_distinct(key), F.count_distinct(F.when(~F.col("new"), F.col(key))))
        .head()
    )
    return f"{counted[1]:,} of {counted[0]:,} {things}" if counted is not None and counted[1] else ""

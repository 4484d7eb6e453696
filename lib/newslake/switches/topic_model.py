"""The active topic model: the one whose vectors are served. A model that is fitted later is a candidate until
both sides have its vectors.

Table active_models keeps every switch; each is one commit. Jobs that make vectors make them by the candidate
first and by the active model second: what has a vector by the active model then has one by the candidate,
whatever arrives while the switch is made.
"""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse

TABLE, TOPICS = "active_models", "topics"
KIND = "topics"
CANDIDATE = "candidate"
"""What --topic-model takes for the candidate, whichever it is."""


def active_topic_model(lake: Lakehouse) -> str | None:
    """The topic model that is served; None where none is fitted yet.

    Where none was made active yet, this makes one so, see `served_topic_model`.
    """
    if switches := _switches(lake):
        return switches[-1][1]
    first = _first(lake)
    if first is not None:
        activate(lake, first)
    return first


def served_topic_model(lake: Lakehouse) -> str | None:
    """The same, for those who only look: nothing is written.

    Where none was made active yet, it is the one that the newest user vectors and the article vectors are of
    (tables that an older version filled), else the one fitted last.
    """
    switches = _switches(lake)
    return switches[-1][1] if switches else _first(lake)


def candidate_topic_model(lake: Lakehouse) -> str | None:
    """The model fitted last, where it was never active; None otherwise. One that was switched away from is no
    candidate again."""
    models = known_topic_models(lake)
    return models[0] if len(models) > 1 else None


def known_topic_models(lake: Lakehouse) -> list[str]:
    """The candidate, where there is one, and the active model; nothing where none is fitted yet."""
    switches = _switches(lake)
    active = switches[-1][1] if switches else active_topic_model(lake)
    if active is None:
        return []
    newest = _newest({active: datetime.min, **fitted_topic_models(lake)})
    return [active] if newest in {active, *(model for _, model in switches)} else [newest, active]


def topic_models(lake: Lakehouse, asked: str | None = None) -> list[str]:
    """The models by which vectors are to be made: the one asked for, or else the candidate, where there is
    one, and the active one.

    Raises:
        UserError: none is fitted yet.
    """
    if asked is not None:
        return [asked]
    models = known_topic_models(lake)
    if not models:
        lake.read(TOPICS)  # says what builds it
        raise UserError(f"no topic model in {lake} yet: run fit_topics")
    return models


def asked_or_active(lake: Lakehouse, rows: DataFrame, asked: str | None) -> str | None:
    """The model asked for, or else the active one where `rows` (with a column topic_model) has it; None where
    it has not."""
    if asked is not None:
        return asked
    active = active_topic_model(lake)
    return active if active is not None and not rows.where(F.col("topic_model") == active).isEmpty() else None


def fitted_topic_models(lake: Lakehouse) -> dict[str, datetime]:
    """Every fitted model, and when it was fitted."""
    if not lake.exists(TOPICS):
        return {}
    return {
        row[0]: row[1] for row in lake.read(TOPICS).groupBy("topic_model").agg(F.max("fitted_at")).collect()
    }


def activate(lake: Lakehouse, model: str) -> None:
    """Make the model the active one, whatever there is by it."""
    now = F.current_timestamp()
    if switches := _switches(lake):
        # A clock that was put back must not make the switch one of the past.
        now = F.greatest(now, F.lit(switches[-1][0]) + F.expr("INTERVAL 1 MICROSECOND"))
    switch = lake.spark.range(1).select(
        F.lit(KIND).alias("kind"), now.alias("activated_at"), F.lit(model).alias("model")
    )
    lake.merge(TABLE, switch)


def _switches(lake: Lakehouse) -> list[tuple[datetime, str]]:
    """When which model became active, the latest last."""
    if not lake.exists(TABLE):
        return []
    rows = lake.read(TABLE).where(F.col("kind") == KIND).select("activated_at", "model").collect()
    return sorted((row[0], row[1]) for row in rows)


def _first(lake: Lakehouse) -> str | None:
    fitted = fitted_topic_models(lake)
    users, articles = _models(lake, "user_vectors", "as_of"), _models(lake, "article_vectors", None)
    for held in (users & articles, users, articles, set(fitted)):
        if usable := {model: at for model, at in fitted.items() if model in held}:
            return _newest(usable)
    return None


def _models(lake: Lakehouse, table: str, day: str | None) -> set[str]:
    """The topic models that a table's rows are of; with `day`, its rows of the latest day."""
    if not lake.exists(table):
        return set()
    rows = lake.read(table)
    if day is not None:
        latest = rows.agg(F.max(day)).head()
        rows = rows.where(F.col(day) == F.lit(None if latest is None else latest[0]))
    return {row[0] for row in rows.select("topic_model").distinct().collect()}


def _newest(fitted: dict[str, datetime]) -> str:
    latest = max(fitted.values())
    return min(model for model, at in fitted.items() if at == latest)

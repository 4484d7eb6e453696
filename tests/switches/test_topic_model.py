"""The active topic model: which one it is where nobody said so, what is a candidate, and that switches are
kept."""

from datetime import datetime
from typing import Any

import pytest
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import frame_of
from newslake.switches.topic_model import (
    TABLE,
    activate,
    active_topic_model,
    asked_or_active,
    candidate_topic_model,
    topic_models,
)
from tests.serving.rows import article_vectors, user_vectors
from tests.tables import put


def fitted(lake: Lakehouse, *models: str) -> None:
    """Topic models, the first fitted first."""
    known = lake.read("topics").count() if lake.exists("topics") else 0
    rows: list[tuple[Any, ...]] = [
        (model, 0, ["goal"], [1.0], [1.0], 0.1, 9, datetime(2019, 11, 1 + known + place))
        for place, model in enumerate(models)
    ]
    put(lake, "topics", frame_of(lake.spark, rows, lake.schema("topics")))


def test_the_first_is_active_the_next_a_candidate_and_one_that_was_left_is_none_again(
    lake: Lakehouse,
) -> None:
    assert active_topic_model(lake) is None
    assert candidate_topic_model(lake) is None
    with pytest.raises(UserError, match=r"topics is not there yet .*: fit_topics"):
        topic_models(lake)
    lake.create("topics")
    with pytest.raises(UserError, match=r"no topic model in .* yet: run fit_topics"):
        topic_models(lake)
    assert not lake.exists(TABLE)
    fitted(lake, "a")
    assert topic_models(lake) == ["a"]
    fitted(lake, "b")
    assert topic_models(lake) == ["b", "a"]
    fitted(lake, "c")
    assert topic_models(lake) == ["c", "a"]  # b was never active, and is past
    activate(lake, "c")
    assert topic_models(lake) == ["c"]
    activate(lake, "a")
    assert topic_models(lake) == ["a"], "who went back does not want it back the next day"
    assert [row["model"] for row in lake.read(TABLE).orderBy("activated_at").collect()] == ["a", "c", "a"]
    assert topic_models(lake, "b") == ["b"]


def test_a_clock_that_was_put_back_makes_no_switch_of_the_past(lake: Lakehouse) -> None:
    fitted(lake, "a", "b")
    later = frame_of(lake.spark, [("topics", datetime(2190, 1, 1), "a")], lake.schema(TABLE))
    put(lake, TABLE, later)
    activate(lake, "b")
    assert active_topic_model(lake) == "b"


@pytest.mark.parametrize(
    ("users", "articles", "active"),
    [
        ({"2019-11-14": ["a"], "2019-11-15": ["b"]}, ["a", "b", "c"], "b"),  # the newest users' vectors
        ({"2019-11-15": ["a", "b"]}, ["a"], "a"),  # of two, that of which there are articles too
        ({"2019-11-15": ["gone"]}, ["b"], "b"),  # a model that is not there cannot be used
        ({}, ["a"], "a"),
        ({}, [], "c"),
    ],
)
def test_tables_that_an_older_version_filled_go_on_with_what_is_served(
    lake: Lakehouse, users: dict[str, list[str]], articles: list[str], active: str
) -> None:
    fitted(lake, "a", "b", "c")
    for day, models in users.items():
        for model in models:
            put(lake, "user_vectors", user_vectors(lake, day, [("U1", 0, "p", 1.0)], topic_model=model))
    for model in articles:
        put(lake, "article_vectors", article_vectors(lake, [("N1", "2019-11-15", "text")], topic_model=model))
    assert active_topic_model(lake) == active
    fitted(lake, "d")
    assert topic_models(lake) == ["d", active]


def test_the_active_model_is_meant_where_rows_have_it(lake: Lakehouse) -> None:
    rows = article_vectors(lake, [("N1", "2019-11-15", "text")], topic_model="a")
    assert asked_or_active(lake, rows, None) is None
    fitted(lake, "a", "b")
    activate(lake, "a")
    assert asked_or_active(lake, rows, None) == "a"
    assert asked_or_active(lake, rows, "b") == "b"
    assert asked_or_active(lake, rows.withColumn("topic_model", F.lit("x")), None) is None

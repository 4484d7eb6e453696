"""activate_topic_model: refused until both sides have vectors, one row a switch, and nothing where there is
nothing to switch to."""

from typing import Any

import pytest

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import day_of
from newslake.switches.horizon import set_horizon
from newslake.switches.topic_model import TABLE, active_topic_model
from newslake.topics.activate import activate_topic_model
from tests.serving.rows import article_vectors, user_vectors
from tests.switches.test_topic_model import fitted
from tests.tables import put

READERS = [("U1", 0, "p1", 1.0), ("U1", 1, "p2", 0.5), ("U2", 0, "p1", 1.0), ("U3", 0, "p3", 1.0)]


def switch(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("activate_topic_model")
    activate_topic_model(lake, run, **options)
    return run


def articles(lake: Lakehouse, model: str, numbers: range, *, encoder_id: str = "e1") -> None:
    """Vectors of articles by a model."""
    texts = [(f"N{n}", f"2019-11-{10 + n}", f"text {n}") for n in numbers]
    put(lake, "article_vectors", article_vectors(lake, texts, topic_model=model, encoder_id=encoder_id))


def test_a_model_becomes_active_once_articles_and_users_have_vectors_by_it(lake: Lakehouse) -> None:
    with pytest.raises(UserError, match="topics is not there yet"):
        switch(lake)
    fitted(lake, "a")
    assert switch(lake).rows_written == {}
    articles(lake, "a", range(5))
    articles(lake, "a", range(2), encoder_id="before")  # whose vectors no user has any more
    put(lake, "user_vectors", user_vectors(lake, "2019-11-14", READERS, topic_model="a"))
    put(lake, "user_vectors", user_vectors(lake, "2019-11-15", READERS[:3], topic_model="a"))
    fitted(lake, "b")
    with pytest.raises(
        UserError,
        match=(
            r"^topic model b is not ready: 5 of 5 articles' and 2 of 2 users' vectors by a have none by"
            r" it: run"
        ),
    ):
        switch(lake)
    articles(lake, "b", range(1, 4))
    put(lake, "user_vectors", user_vectors(lake, "2019-11-14", READERS, topic_model="b"))
    put(lake, "user_vectors", user_vectors(lake, "2019-11-15", READERS[:2], topic_model="b"))
    with pytest.raises(UserError, match=r"not ready: 2 of 5 articles' and 1 of 2 users' vectors by a"):
        switch(lake)
    assert (
        switch(lake, if_ready=True)
        .facts["not activated"]
        .startswith("topic model b is not ready: 2 of 5 articles'")
    )
    put(lake, "user_vectors", user_vectors(lake, "2019-11-15", READERS[2:3], topic_model="b"))
    set_horizon(lake, day_of("2019-11-11"))  # N0 is not served any more
    with pytest.raises(UserError, match=r"not ready: 1 of 4 articles' vectors by a"):
        switch(lake)
    assert active_topic_model(lake) == "a"
    articles(lake, "b", range(4, 5))
    run = switch(lake)
    assert run.rows_written == {TABLE: 1}
    assert (run.facts["active topic model"], run.facts["active before"]) == ("b", "a")
    assert switch(lake).rows_written == {}
    assert switch(lake, topic_model="b").rows_written == {}
    # Back again, by name: the vectors by it are still there, but for one.
    articles(lake, "b", range(5, 6))
    with pytest.raises(UserError, match=r"topic model a is not ready: 1 of 5 articles'"):
        switch(lake, topic_model="a")
    articles(lake, "a", range(5, 6))
    assert switch(lake, topic_model="a").rows_written == {TABLE: 1}
    assert switch(lake).rows_written == {}, "b is no candidate again"
    with pytest.raises(UserError, match="--topic-model x: no such model; there are: a, b"):
        switch(lake, topic_model="x")
    assert [row["model"] for row in lake.read(TABLE).orderBy("activated_at").collect()] == ["a", "b", "a"]

"""Histories of impressions that came without one: what a plain loop over everything that happened before
says, and nothing later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.lake.tablespec import table_spec
from newslake.spark.frames import frame_of
from newslake.training.data.past_clicks import past_clicks
from tests.training.frames import NOON


@dataclass(frozen=True)
class Shown:
    """An impression, what of it was clicked and when (None: no event says), and its history where it came
    with one."""

    split: str
    impression_id: str
    user_id: str
    at: int
    articles: tuple[str, ...]
    clicked: dict[str, int | None]
    history: tuple[str, ...] | None = None


def drawn(seed: int, count: int = 400, users: int = 6) -> list[Shown]:
    """Impressions of few users within 150 minutes, so that moments, articles and histories repeat; every
    fifth has a history."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        articles = tuple(f"N{a}" for a in random.choice(30, 4, replace=False))
        at, user = int(random.integers(150)), f"U{random.integers(users)}"
        clicks = {
            a: None if random.random() < 0.5 else at + int(random.integers(-2, 40))
            for a in articles
            if random.random() < 0.3
        }
        told = (
            [(), ("N1", "N2"), ("N2", "N9", "N1"), ("N30",)][int(random.integers(4))]
            if number % 5 == 0
            else None
        )
        split = "live" if told is None else "train"
        found.append(
            Shown(
                split,
                f"{number}",
                user,
                at,
                articles,
                clicks if split == "live" else dict.fromkeys(clicks),
                told,
            )
        )
    return found


def moment(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def expected(of: Shown, every: Sequence[Shown], length: int) -> list[str]:
    """The history of one impression, worked out click by click."""
    own = [each for each in every if each.user_id == of.user_id and each.at < of.at]
    clicks = []
    for each in own:
        for article, came in each.clicked.items():
            at = max(each.at, each.at if came is None else came)
            if at < of.at:
                clicks.append((at, each.split, each.impression_id, each.articles.index(article), article))
    clicks = sorted(clicks)[-length:]
    told = [each for each in own if each.history is not None]
    before, news, since = [], [], [click[-1] for click in clicks]
    if told:
        last = max(told, key=lambda each: (each.at, each.split, each.impression_id))
        known_at = min(each.at for each in told if each.history == last.history)
        before, news = [click[-1] for click in clicks if click[0] < known_at], list(last.history or ())
        since = [click[-1] for click in clicks if click[0] >= known_at]
    latest_first = list(dict.fromkeys(reversed([*before, *news, *since])))
    return latest_first[:length][::-1]


def found_in(spark: SparkSession, every: Sequence[Shown], length: int) -> dict[str, list[str]]:
    shown = [
        (
            x.split,
            x.impression_id,
            place,
            x.user_id,
            moment(x.at),
            moment(x.at),
            article,
            article in x.clicked,
            None,
            None,
            None,
        )
        for x in every
        for place, article in enumerate(x.articles)
    ]
    told = [
        (x.split, x.impression_id, x.user_id, moment(x.at), list(x.history))
        for x in every
        if x.history is not None
    ]
    came = [
        (
            f"{x.impression_id}-{article}-{twice}",
            x.impression_id,
            x.user_id,
            article,
            moment(at + twice),
            moment(at),
        )
        for x in every
        for article, at in x.clicked.items()
        if at is not None
        for twice in range(2)  # of two events for one click the first counts
    ]
    tables = {
        name: frame_of(spark, rows, table_spec(name).schema()).repartition(3, F.rand(1))
        for name, rows in (("impressions", shown), ("click_history", told), ("clicks", came))
    }
    rows = past_clicks(
        tables["impressions"], tables["impressions"], tables["click_history"], tables["clicks"], length=length
    )
    assert [field.name for field in rows.schema] == table_spec("click_history").schema().names
    found = {}
    for row in rows.collect():
        assert row["impression_id"] not in found
        found[row["impression_id"]] = row["news_ids"]
    return found


@pytest.mark.parametrize("length", [200, 5])
def test_a_history_is_what_the_user_clicked_strictly_before(spark: SparkSession, length: int) -> None:
    every = drawn(length)
    live = [each for each in every if each.history is None]
    wanted = {each.impression_id: expected(each, every, length) for each in live}
    assert any(not history for history in wanted.values())
    assert any(len(history) == min(length, 12) for history in wanted.values())
    assert found_in(spark, every, length) == wanted


def test_whatever_comes_later_changes_no_history(spark: SparkSession) -> None:
    every, cut = drawn(7), 80
    random = np.random.default_rng(0)

    def altered(each: Shown) -> Shown:
        """The same impression, with another user, other clicks and another history where it lies after the
        cut."""
        clicked = {
            a: came if came is None or came < cut else cut + int(random.integers(60))
            for a, came in each.clicked.items()
        }
        if each.at < cut:
            return replace(each, clicked=clicked)
        history = None if each.history is None else (f"N{random.integers(30)}",)
        return replace(
            each, user_id=f"U{random.integers(6)}", clicked=dict.fromkeys(each.articles[:2]), history=history
        )

    before = found_in(spark, every, 200)
    after = found_in(spark, [altered(each) for each in every], 200)
    early = {each.impression_id for each in every if each.history is None and each.at < cut}
    assert {name: after[name] for name in early} == {name: before[name] for name in early}
    assert any(before[name] != after[name] for name in before.keys() - early)

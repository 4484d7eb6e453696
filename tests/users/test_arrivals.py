"""Which events a day of profiles counts: each one once, in whatever order they are committed, and days
skipped, killed and built again."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.lake.bookmarks import NOTHING
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.written import Written
from newslake.run.jobrun import JobRun
from newslake.users.keywords import SHARES
from newslake.users.profiles import build_profiles
from tests.calling import call
from tests.tables import put
from tests.users.test_profiles import EXACT, NEWS, article, at, build, expected_tags, weights

LAST = date(2019, 11, 15)
# user, occurred, arrived, [(article, clicked)], history; of each user the first impression comes first.
FIRST: list[tuple[str, str, str, list[tuple[str, bool]], list[str]]] = [
    ("u1", "10 06:00", "10 06:00", [("N1", True), ("N2", False)], ["N4", "N3"]),
    ("u2", "10 07:00", "10 07:00", [("N2", True)], []),
]
LATER: list[tuple[str, str, str, list[tuple[str, bool]], list[str]]] = [
    ("u1", "11 23:50", "11 23:58", [("N3", True)], ["N4"]),  # a click that takes the place of the history's
    ("u2", "12 10:00", "12 10:00", [("N1", True)], ["N5"]),
    ("u1", "12 23:00", "12 23:30", [("N2", True), ("N5", False)], ["N4", "N1"]),
    ("u3", "13 01:00", "13 01:00", [("N3", False)], ["N1", "N2"]),
]
EVENTS = [*FIRST, *LATER]
QUERY, CLICK = len(EVENTS), len(EVENTS) + 1
"""Two more commits: a search query, and a click on what the fifth impression showed, once that is there."""
CLICKED = EVENTS.index(LATER[2])


def commit(lake: Lakehouse, number: int) -> None:
    """One event, in a commit of its own to each of its tables."""
    if number == QUERY:
        typed = {
            "query_id": "Q1",
            "user_id": "u2",
            "query": "Jazz",
            "searched_at": at("11 12:00"),
            "ingested_at": at("11 12:01"),
        }
        return put(lake, "search_queries", [typed])
    user, occurred, arrived, articles, history = EVENTS[CLICKED if number == CLICK else number]
    common = {
        "split": "live",
        "impression_id": str(CLICKED if number == CLICK else number),
        "user_id": user,
        "occurred_at": at(occurred),
    }
    rows = [
        {**common, "position": position, "ingested_at": at(arrived), "news_id": news_id, "clicked": clicked}
        for position, (news_id, clicked) in enumerate(articles)
    ]
    if number == CLICK:
        rows = [{**rows[1], "clicked": True, "ingested_at": at("13 09:00")}]
    put(lake, "impressions", rows)
    if number != CLICK:
        put(lake, "click_history", [{**common, "news_ids": history}])
    return None


def expected(day: date, numbers: list[int]) -> dict[tuple[str, str], float]:
    """Weights of articles, by hand, once these events are counted: every click, and an article of a history
    where no click is known."""
    end = datetime(day.year, day.month, day.day, tzinfo=UTC)
    found: dict[tuple[str, str], float] = defaultdict(float)
    first: dict[str, datetime] = {}
    for number in sorted(set(numbers) - {QUERY, CLICK}):
        user, occurred, _, articles, _ = EVENTS[number]
        first.setdefault(user, at(occurred))
        clicked = [news_id for news_id, was in articles if was or (number == CLICKED and CLICK in numbers)]
        for news_id in clicked:
            found[user, news_id] += 0.5 ** ((end - at(occurred)).total_seconds() / 86_400 / 7.0)
    read = set(found)
    for number in sorted(set(numbers) - {QUERY, CLICK}):
        user, _, _, _, history = EVENTS[number]
        for news_id in history:
            if (user, news_id) not in read:
                found[user, news_id] = 0.5 ** ((end - first[user]).total_seconds() / 86_400 / 7.0)
    return dict(found)


def check(lake: Lakehouse, day: date, numbers: list[int]) -> None:
    """The day holds just these events, each once."""
    articles = expected(day, numbers)
    assert weights(lake, "user_articles", day, "user_id", "news_id") == pytest.approx(articles, abs=1e-7)
    tags = expected_tags(articles)
    if QUERY in numbers:
        tags["u2", "jazz"] = 0.5 * 0.5 ** ((day - date(2019, 11, 11)).days / 7.0 - 0.5 / 7.0)
    assert weights(lake, "user_tags", day, "user_id", "tag") == pytest.approx(tags, abs=1e-6)


class Killed(Exception):
    """Stands for SIGKILL between two commits; test_profiles sends the real one."""


class Dying(Lakehouse):
    """Tables that take so many writes of a day, and no more."""

    writes = 0

    def replace(self, table: str, rows: DataFrame, **where: Any) -> Written:
        if self.writes == 0:
            raise Killed(table)
        self.writes -= 1
        return super().replace(table, rows, **where)


def die(lake: Lakehouse, day: date, writes: int) -> None:
    """Build a day and die after so many writes: 1 says that the day has begun, 2 are its tags too, 3 its
    articles, none that it is done."""
    dying = Dying(lake.spark, lake.root)
    dying.writes = writes
    with pytest.raises(Killed):
        call(build_profiles, dying, JobRun("build_profiles"), as_of=day.isoformat(), **EXACT)


@pytest.fixture
def begun(lake: Lakehouse) -> Lakehouse:
    """Articles, and the first impressions."""
    put(lake, "news", list(NEWS))
    for number in range(len(FIRST)):
        commit(lake, number)
    return lake


def test_late_commits_skipped_days_and_half_written_days_lose_nothing(begun: Lakehouse) -> None:
    lake = begun
    build(lake, date(2019, 11, 11), **EXACT)
    check(lake, date(2019, 11, 11), [0, 1])
    commit(lake, 3)  # arrives on the 12th
    build(lake, date(2019, 11, 12), **EXACT)
    check(lake, date(2019, 11, 12), [0, 1])
    commit(lake, 2)  # arrived on the 11th, two minutes before midnight, and is committed after the run
    commit(lake, QUERY)
    again = build(lake, date(2019, 11, 12), **EXACT)
    assert again.rows_read == 0
    check(lake, date(2019, 11, 12), [0, 1])  # a day built again comes out the same: from the same versions
    die(lake, date(2019, 11, 13), writes=2)
    commit(lake, 4)
    commit(lake, 5)
    run = build(lake, date(2019, 11, 14), **EXACT)  # nobody built the 13th again
    assert run.rows_read == 5
    check(lake, date(2019, 11, 14), [0, 1, 2, 3, 4, 5, QUERY])
    days = {row["as_of"].day: row for row in lake.read("profile_days").collect()}
    assert days[14]["built_on"] == date(2019, 11, 12)
    assert days[13]["completed_at"] is None
    assert days[11]["counted_to"]["search_queries"] == NOTHING
    die(lake, date(2019, 11, 14), writes=2)  # a complete day that is replaced is complete no more
    commit(lake, CLICK)
    build(lake, LAST, **EXACT)
    check(lake, LAST, [*range(len(EVENTS)), QUERY, CLICK])
    assert {row["as_of"].day: row["built_on"] for row in lake.read("profile_days").collect()}[15] == date(
        2019, 11, 12
    )


@pytest.mark.slow
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6))
def test_any_order_of_commits_skipped_days_kills_and_reruns_comes_to_the_same(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    mixed = random.Random(seed)
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("mixed") / "lakehouse"))
    put(lake, "news", list(NEWS))
    left = [*range(len(FIRST), len(EVENTS)), QUERY, CLICK]
    mixed.shuffle(left)
    if left.index(CLICK) < left.index(CLICKED):
        left.remove(CLICK)
        left.insert(left.index(CLICKED) + mixed.randint(1, len(left) - left.index(CLICKED)), CLICK)
    for number in range(len(FIRST)):
        commit(lake, number)
    for day in (date(2019, 11, 11) + timedelta(days=n) for n in range(4)):
        for _ in range(mixed.randint(0, 2)):
            if left:
                commit(lake, left.pop(0))
        fate = mixed.choice(
            ["done", "skipped", "killed", "killed, then done", "done, then killed", "done twice"]
        )
        print(day, fate)
        if fate in ("killed", "killed, then done"):
            die(lake, day, writes=mixed.randint(1, 3))
        if "done" in fate:
            build(lake, day, **EXACT)
        if fate in ("done twice", "done, then killed") and left:
            commit(lake, left.pop(0))
        if fate == "done, then killed":
            die(lake, day, writes=mixed.randint(1, 3))
        if fate == "done twice":
            build(lake, day, **EXACT)
    for number in left:
        commit(lake, number)
    build(lake, LAST, **EXACT)
    check(lake, LAST, [*range(len(EVENTS)), QUERY, CLICK])


def test_rewritten_replaced_and_purged_rows_are_neither_counted_again_nor_taken_back(
    begun: Lakehouse,
) -> None:
    lake = begun
    for number in (2, 3):
        commit(lake, number)
    build(lake, date(2019, 11, 13), **EXACT)
    lake.spark.sql(f"OPTIMIZE {lake.sql_name('impressions')}")
    for table in ("impressions", "click_history"):  # as parse_behaviors --replace does
        lake.replace(table, lake.read(table).localCheckpoint(), where={"split": "live"})
    lake.delete("impressions", "impression_id = '0'")
    commit(lake, 4)
    run = build(lake, date(2019, 11, 14), **EXACT)
    assert run.rows_read == 2
    check(lake, date(2019, 11, 14), [0, 1, 2, 3, 4])


def test_a_later_click_gives_back_what_the_skip_took(begun: Lakehouse) -> None:
    lake = begun
    commit(lake, 4)
    options = {**EXACT, "skip_weight": 0.1}
    build(lake, date(2019, 11, 13), **options)
    commit(lake, CLICK)
    day = date(2019, 11, 14)
    assert build(lake, day, **options).rows_read == 1
    clicked = expected_tags(expected(day, [0, 1, 4, CLICK]))["u1", "rovers"]
    still_skipped = 0.1 * 0.5 ** (3.75 / 7.0)  # N2 in the first impression
    assert weights(lake, "user_tags", day, "user_id", "tag")["u1", "rovers"] == pytest.approx(
        clicked - still_skipped, abs=1e-7
    )


def test_versions_that_are_gone_leave_the_window_of_time(begun: Lakehouse) -> None:
    lake = begun
    commit(lake, 3)
    build(lake, date(2019, 11, 12), **EXACT)
    commit(lake, 2)  # late: only its version says that it is new
    commit(lake, 4)
    commit(lake, CLICK)  # an update: its rows are in the change feed alone, apart from the table's own files
    gone = list(Path(str(lake.root), "impressions", "_change_data").rglob("*.parquet"))
    assert gone
    for path in gone:  # as vacuum does, days later
        path.unlink()
    run = build(lake, date(2019, 11, 14), **EXACT)
    assert "read by time, 2019-11-14: impressions" in run.facts
    assert run.rows_read == 3
    check(lake, date(2019, 11, 14), [0, 1, 3, 4, CLICK])


def test_days_of_an_older_version_are_built_on(begun: Lakehouse) -> None:
    lake = begun
    build(lake, date(2019, 11, 11), **EXACT)
    lake.delete("profile_days", "true")
    lake.spark.sql(
        f"ALTER TABLE {lake.sql_name('impressions')} SET TBLPROPERTIES ('delta.enableChangeDataFeed' ="
        " 'false')"
    )
    commit(lake, 2)
    build(Lakehouse(lake.spark, lake.root), date(2019, 11, 12), **EXACT)
    check(lake, date(2019, 11, 12), [0, 1, 2])
    commit(lake, 3)
    build(lake, date(2019, 11, 13), **EXACT)
    check(lake, date(2019, 11, 13), [0, 1, 2, 3])


def test_a_history_counts_once_however_little_of_it_is_left(lake: Lakehouse) -> None:
    """At 7 days of half-life a weight is below 0.01 from day 47 on; the user reads on, and each impression
    brings the history again."""
    many = [f"A{number}" for number in range(40)]
    put(lake, "news", [article(news_id, "sports") for news_id in many])
    start = datetime(2019, 11, 1, tzinfo=UTC)
    shown, told = [], []
    for number in range(52):
        common = {
            "split": "live",
            "impression_id": str(number),
            "user_id": "u1",
            "occurred_at": start + timedelta(days=number),
        }
        told.append({**common, "news_ids": many})
        shown.append(
            {**common, "position": 0, "ingested_at": common["occurred_at"], "news_id": "A0", "clicked": False}
        )
    put(lake, "impressions", shown)
    put(lake, "click_history", told)
    build(lake, start.date() + timedelta(days=46), keywords=0)
    build(
        lake,
        start.date() + timedelta(days=48),
        through=(start.date() + timedelta(days=52)).isoformat(),
        keywords=0,
    )
    for days in (46, 48, 49, 50, 51, 52):
        day = start.date() + timedelta(days=days)
        counted = weights(lake, "user_tags", day, "user_id", "tag")["u1", "sports"] / (
            40 * SHARES["category"] * 0.5 ** (days / 7.0)
        )
        assert counted == pytest.approx(1.0, abs=1e-5), f"times that the history counts on day {days}"
    assert lake.read("user_articles").where(F.col("as_of") == F.lit(day)).count() == 1, (
        "the heaviest keeps the user's first impression"
    )

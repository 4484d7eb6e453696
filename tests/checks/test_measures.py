"""What each kind of check measures, against values worked out in plain Python; frames in memory where no
table is meant."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from pyspark.sql import SparkSession

from newslake.checks.measures import covered, measured, row_ratio
from newslake.checks.rules import KINDS, Check
from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import frame_of
from tests.checks.common import job_run
from tests.reports.lakes import put_runs
from tests.tables import put

NOW = datetime(2019, 11, 15, 12, 30)


def of(lake: Lakehouse, kind: str, at: datetime = NOW, **settings: object) -> tuple[float | None, str]:
    """Value and words of one check."""
    found = measured(lake, Check("c", kind, {**KINDS[kind].takes, **settings}, at_most=1.0), at)
    return found.value, found.told


@pytest.mark.parametrize("days", [2, 5, 8, 12])
def test_rows_of_the_last_day_are_set_against_the_days_before(spark: SparkSession, days: int) -> None:
    rng = random.Random(days)
    times = [NOW - timedelta(hours=rng.uniform(0, 24 * days)) for _ in range(400)]
    counted = Counter(time.date() for time in times)
    last, week = date(2019, 11, 14), [date(2019, 11, 14) - timedelta(days=n) for n in range(1, 8)]
    since = min((day for day in week if counted[day]), default=None)
    found = row_ratio(frame_of(spark, [(time,) for time in times], "at timestamp"), "at", NOW).head()
    assert found is not None
    first = min((day for day in [last, *week] if counted[day]), default=None)
    assert tuple(found) == (
        counted[last],
        sum(counted[day] for day in week),
        first if since is None else since,
    )


def test_a_reader_counts_who_clicked_lately_and_is_covered_by_a_feed_of_the_last_hours(
    spark: SparkSession,
) -> None:
    ago = [
        ("both", 1, True),
        ("none", 1, True),
        ("old feed", 2, True),
        ("old click", 200, True),
        ("no click", 1, False),
        ("later", -1, True),
    ]
    shown = [(user, NOW - timedelta(hours=hours), clicked) for user, hours, clicked in ago]
    # Twice the same reader: a share of readers, not of clicks.
    impressions = frame_of(
        spark, [*shown, shown[0]], "user_id string, occurred_at timestamp, clicked boolean"
    )
    feeds = [
        ("both", NOW.replace(minute=0)),
        ("both", NOW.replace(minute=0)),
        ("old feed", NOW.replace(hour=10, minute=0)),
    ]
    feeds += [("old click", NOW.replace(minute=0)), ("no click", NOW.replace(minute=0))]
    newsfeed = frame_of(spark, feeds, "user_id string, hour timestamp")
    found = {hours: covered(impressions, newsfeed, NOW, days=7, hours=hours).head() for hours in (1, 2)}
    assert {hours: tuple(row or ()) for hours, row in found.items()} == {1: (3, 1), 2: (3, 2)}


def test_age_of_the_newest_row(lake: Lakehouse) -> None:
    times = [NOW - timedelta(hours=30), NOW - timedelta(hours=3), NOW + timedelta(hours=1)]
    put(
        lake,
        "clicks",
        [
            {n: str(k) for n in ("click_id", "impression_id", "user_id", "news_id")}
            | {"clicked_at": t, "ingested_at": t}
            for k, t in enumerate(times)
        ],
    )
    assert of(lake, "freshness", table="clicks", column="clicked_at")[0] == pytest.approx(3.0), (
        "what is later does not count"
    )
    value, told = of(lake, "freshness", table="clicks", column="clicked_at", at=NOW - timedelta(hours=40))
    assert (value, told) == (None, "clicks has no row with a clicked_at")
    # By commits it was written now, and not again when rows were deleted or files vacuumed.
    before = datetime.now(UTC).replace(tzinfo=None)
    lake.delete("clicks", "click_id = '0'")
    lake.vacuum("clicks", hours=200)
    value, _ = of(lake, "freshness", table="clicks", at=before + timedelta(hours=5))
    assert value is not None
    assert 5.0 <= value < 5.5
    written = lake.written_at("clicks")
    assert written is not None
    assert written < before


def test_a_day_is_as_old_as_its_start(lake: Lakehouse) -> None:
    put(
        lake,
        "user_tags",
        [{"as_of": date(2019, 11, day), "user_id": "U", "tag": "t", "weight": 1.0} for day in (12, 14)],
    )
    assert of(lake, "freshness", table="user_tags", column="as_of")[0] == pytest.approx(36.5)


def test_the_share_of_rejected_inputs_is_that_of_the_last_runs_also_of_one_that_failed(
    lake: Lakehouse,
) -> None:
    counts = [(100, 1, "done"), (50, 10, "done"), (None, 0, "running"), (10, 10, "failed"), (1000, 0, "done")]
    runs = [
        job_run(
            f"r{n}",
            "import_labels",
            started_at=NOW - timedelta(hours=10 - n),
            rows_in=read,
            rows_quarantined=bad,
            outcome=outcome,
        )
        for n, (read, bad, outcome) in enumerate(counts)
    ]
    put_runs(
        lake, [*runs, job_run("other", "parse_behaviors", started_at=NOW, rows_in=7, rows_quarantined=7)]
    )
    for many, at, wanted in (
        (1, NOW, 0.0),
        (1, NOW - timedelta(hours=6.5), 1.0),
        (2, NOW - timedelta(hours=6.5), 20 / 60),
        (9, NOW, 21 / 1160),
    ):
        assert of(lake, "quarantine_share", job="import_labels", runs=many, at=at)[0] == pytest.approx(wanted)
    assert of(lake, "quarantine_share", job="stream_articles") == (
        None,
        "no run of stream_articles has read anything yet",
    )


def test_a_stream_is_as_far_behind_as_its_messages_wait_or_it_is_silent(lake: Lakehouse) -> None:
    def stream(name: str, minutes: float, **columns: object) -> dict[str, object]:
        settings = {"topic": name}
        return job_run(
            name,
            "stream_articles",
            **{"started_at": NOW - timedelta(minutes=minutes), "settings": settings, **columns},
        )

    def sign(minutes: float, lag_s: float) -> dict[str, str]:
        return {
            "last sign of life": (NOW - timedelta(minutes=minutes)).isoformat(timespec="seconds"),
            "lag in seconds": str(lag_s),
        }

    rows = [
        stream("starts", 2, outcome="running"),
        stream("keeps up", 900, outcome="running", facts=sign(3, 5.0)),
        stream("is slow", 900, outcome="running", facts=sign(3, 1200.0)),
        stream("was killed", 900, outcome="running", facts=sign(240, 5.0)),
        stream("drains", 60, outcome="done", ended_at=NOW - timedelta(minutes=50), facts=sign(50, 0.0)),
        # However often it is started, it takes no message.
        stream("crashes", 1, outcome="failed", ended_at=NOW),
        stream("broke", 500, outcome="failed", ended_at=NOW - timedelta(minutes=100), facts=sign(100, 1.0)),
    ]
    put_runs(lake, rows)
    found = {
        str(row["run_id"]): of(lake, "stream_lag", job="stream_articles", topic=row["run_id"])[0]
        for row in rows
    }
    wanted = {
        "starts": 2,
        "keeps up": 3,
        "is slow": 20,
        "was killed": 240,
        "drains": 50,
        "crashes": None,
        "broke": 100,
    }
    assert found == {name: value if value is None else pytest.approx(value) for name, value in wanted.items()}
    assert of(lake, "stream_lag", job="stream_articles")[0] == pytest.approx(2), (
        "without a topic, the stream that was alive last"
    )


def test_the_smallest_feeds_but_one_in_twenty(lake: Lakehouse) -> None:
    def feed(user: int, rows: int, hour: datetime) -> list[dict[str, object]]:
        about = {"hour": hour, "user_id": f"U{user}", "ctr": 0.1, "score": 0.0, "reason": "vectors"}
        return [{**about, "rank": rank, "news_id": f"N{rank}"} for rank in range(1, rows + 1)]

    sizes = [1, 1, *range(3, 41)]
    hour = NOW.replace(minute=0)
    put(
        lake,
        "newsfeed",
        [row for user, rows in enumerate(sizes) for row in feed(user, rows, hour)]
        + feed(99, 1, NOW - timedelta(hours=9)),
    )
    value, _ = of(lake, "feed_rows")
    assert value is not None
    assert sum(rows >= value for rows in sizes) / len(sizes) >= 0.95
    assert sum(rows >= value + 1 for rows in sizes) / len(sizes) <= 0.95
    assert of(lake, "feed_rows", at=NOW + timedelta(hours=5)) == (
        0.0,
        "there is no newsfeed of the last 1 hours",
    )


def test_estimates_are_set_against_clicks_on_what_was_shown_out_of_feeds(lake: Lakehouse) -> None:
    rng, hour = random.Random(3), NOW.replace(minute=0)
    ctr = {f"N{n}": rng.uniform(0.05, 0.5) for n in range(20)}
    feed = [
        {
            "hour": hour,
            "user_id": "U",
            "rank": rank,
            "news_id": news_id,
            "ctr": rate,
            "score": 0.0,
            "reason": "vectors",
        }
        for rank, (news_id, rate) in enumerate(ctr.items(), start=1)
    ]
    put(lake, "newsfeed", feed)
    shown = [(f"N{rng.randrange(24)}", rng.random() < 0.3) for _ in range(200)]
    about = {"split": "live", "user_id": "U", "occurred_at": hour, "ingested_at": hour, "feed_hour": hour}
    put(
        lake,
        "impressions",
        [
            {**about, "impression_id": str(n), "position": 0, "news_id": i, "clicked": c}
            for n, (i, c) in enumerate(shown)
        ],
    )
    known = [(ctr[news_id], clicked) for news_id, clicked in shown if news_id in ctr]
    wanted = sum(rate for rate, _ in known) / sum(clicked for _, clicked in known)
    assert of(lake, "calibration", least_shown=100)[0] == pytest.approx(wanted)
    value, told = of(lake, "calibration")
    assert value is None
    assert f"{len(known):,} articles were shown" in told

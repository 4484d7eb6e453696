"""The chart of what ran when: bars stand where their times are."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newslake.lake.lakehouse import Lakehouse
from newslake.reports.gantt import gantt, gather_gantt, time_ticks
from newslake.reports.report import write_report
from newslake.run.jobrun import JobRun
from tests.reports.lakes import put_runs
from tests.reports.test_report import Page

DAY = datetime(2019, 11, 15)
MOMENTS = st.datetimes(datetime(2019, 11, 1), datetime(2019, 12, 1))


def at(hour: float, seconds: float = 0.0) -> datetime:
    return DAY + timedelta(hours=hour, seconds=seconds)


def run(
    run_id: str, job: str, began: datetime, ended: datetime | None, outcome: str = "done", **more: object
) -> dict[str, object]:
    about = {
        "run_id": run_id,
        "job": job,
        "settings": {},
        "facts": {},
        "rows_out": {},
        "rows_quarantined": 0,
        "outcome": outcome,
    }
    return {**about, "started_at": began, "ended_at": ended, **more}


@given(MOMENTS, st.floats(1, 90_000))
def test_marks_are_round_times_in_their_places(since: datetime, seconds: float) -> None:
    until = since + timedelta(seconds=seconds)
    ticks = time_ticks(since, until)
    assert len(ticks) <= 7
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)
    for tick in ticks:
        assert 0 <= tick.at <= 100
        when = since + tick.at / 100 * (until - since)
        # As exact as two digits of a per cent are.
        slack = timedelta(seconds=seconds * 0.0001 + 0.001)
        formats = ("%H:%M:%S", "%H:%M") if ":" in tick.label else ("%d %b",)
        near = {
            f"{moment:{form}}".lstrip("0") if form == "%d %b" else f"{moment:{form}}"
            for moment in (when - slack, when + slack)
            for form in formats
        }
        assert tick.label in near


def test_bars_stand_where_their_times_are() -> None:
    chart = gantt(
        [
            ("b", "", "failed", at(2), at(4)),
            ("a", "mf", "done", at(0), at(1)),
            ("a", "mf", "running", at(3), at(3)),
        ]
    )
    assert chart is not None
    assert [(lane.name, lane.variant, lane.seconds) for lane in chart.lanes] == [
        ("a", "mf", 3600.0),
        ("b", "", 7200.0),
    ]
    bars = [[(bar.left, bar.width, bar.state) for bar in lane.bars] for lane in chart.lanes]
    assert bars == [[(0.0, 25.0, "done"), (75.0, 0.0, "running")], [(50.0, 50.0, "failed")]]
    assert [(tick.at, tick.label) for tick in chart.ticks][:2] == [(0.0, "15 Nov"), (25.0, "01:00")]
    assert gantt([]) is None


def test_the_runs_are_those_of_the_last_day(lake: Lakehouse) -> None:
    sign = {"last sign of life": at(9).isoformat()}
    rows = [
        run("old", "parse_behaviors", at(-30), at(-29)),
        run("across", "fit_topics", at(-16), at(-13)),
        run("stream", "stream_articles", at(-100), None, "running", facts=sign),
        run("killed", "encode_articles", at(5), None, "running"),
        run("mistake", "promote", at(6), at(6), "mistake"),
        run("last", "encode_articles", at(10), at(10, 90)),
        run("runner", "run_pipeline", at(1), at(11)),
        run("own", "check_lakehouse", at(12), None, "running"),
    ]
    put_runs(lake, rows)
    chart = gather_gantt(lake, "own")
    assert chart is not None
    assert (chart.since, chart.until) == (at(-14), at(10, 90))
    found = {lane.name: [(bar.began, bar.seconds, bar.state) for bar in lane.bars] for lane in chart.lanes}
    assert found == {
        "fit_topics": [(at(-14), 3600.0, "done")],
        "stream_articles": [(at(-14), 23 * 3600.0, "running")],
        "encode_articles": [(at(5), 0.0, "running"), (at(10), 90.0, "done")],
    }


@pytest.mark.parametrize("hours", [1, 0])
def test_the_page_draws_a_bar_for_each_run(lake: Lakehouse, hours: int) -> None:
    put_runs(
        lake,
        [
            run(f"r{n}", "<b>job</b>", at(n * hours), at(n * hours, 30), ("done", "failed")[n % 2])
            for n in range(5)
        ],
    )
    write_report(lake, JobRun("write_report"))
    page = Page(Path(f"{lake.root}/_report/report.html").read_text())
    assert page.open == []
    bars = [
        attributes
        for tag, attributes in page.tags
        if tag == "rect" and (attributes.get("class") or "").startswith("ran")
    ]
    assert [bar["class"] for bar in bars].count("ran failed") == 2
    assert len(bars) == 5
    assert "<b>job</b> 2 min 30 s in 5 runs" in page.text.replace("\u00a0", " ")

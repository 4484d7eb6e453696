"""check_lakehouse as its users run it: what it prints, keeps and ends with."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from newslake.intake.sources.labels.load import import_labels
from newslake.lake.lakehouse import Lakehouse
from tests.checks.common import check, job_run, lines, results
from tests.tables import put

FRESH = {"name": "texts_arrive", "check": "freshness", "table": "news", "at_most": 1}
NO_FEED = {"name": "feeds", "check": "feed_rows", "at_least": 5}


def now() -> datetime:
    """Not the moment at which this module was imported: a run of all tests gets here later."""
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def filled(lake: Lakehouse) -> Lakehouse:
    """An article that was written now, by a run of a job."""
    put(lake, "news", [{"news_id": "N1", "title": "t", "content_hash": "h"}])
    put(
        lake,
        "job_runs",
        [job_run("r", import_labels.__name__, started_at=now(), rows_in=10, rows_quarantined=2)],
    )
    return lake


def test_what_is_kept_or_cannot_be_judged_is_no_breach(
    filled: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert check(filled, tmp_path, FRESH, NO_FEED) == 0
    found = results(filled)
    assert found["feeds"] == (None, None)
    assert found["texts_arrive"][1] is True
    assert lines(capsys)[0] == []
    assert "feeds: not judged: table newsfeed is not there yet; it is built by: rank_newsfeed" in caplog.text
    assert "checks: 2, breaches: 0, not judged: 1" in caplog.text


def test_a_breach_is_a_line_a_row_and_status_1_beside_what_is_kept(
    filled: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = f"{now() + timedelta(hours=30):%Y-%m-%dT%H:%M}"
    share = {"name": "texts_can_be_read", "check": "quarantine_share", "job": "import_labels", "at_most": 0.3}
    assert check(filled, tmp_path, FRESH, share, {**NO_FEED, "required": True}, at=later) == 1
    found = results(filled)
    assert found["texts_can_be_read"] == (0.2, True)
    assert found["feeds"] == (None, False)
    assert found["texts_arrive"][1] is False
    out, err = lines(capsys)
    assert re.fullmatch(
        r"texts_arrive: news was last written [-\d]+ [\d:]+ UTC, (29\.9|30\.0) hours ago; wanted at most 1"
        r" hours",
        out[0],
    )
    assert (
        out[1]
        == "feeds: table newsfeed is not there yet; it is built by: rank_newsfeed; wanted at least 5 articles"
    )
    assert len(out) == 2
    assert err.splitlines()[-1] == "check_lakehouse: failed: 2 of 3 checks failed: texts_arrive, feeds"
    [run] = filled.read("job_runs").where("job = 'check_lakehouse'").collect()
    assert (run["outcome"], run["rows_out"], run["facts"]["breaches"]) == (
        "failed",
        {"check_results": 3},
        "2",
    )


@pytest.mark.parametrize(
    ("checks", "options", "said"),
    [
        (
            [{**FRESH, "table": "newz"}],
            {},
            r"\S+checks\.yaml, line 2, check texts_arrive: no table 'newz': did you mean news\?",
        ),
        ([FRESH], {"at": "noon"}, r"--at takes a moment such as 2019-11-15T12:00, not 'noon'"),
        (
            [FRESH],
            {"webhook": "chat.example/secret"},
            "--webhook takes an address that begins with http:// or https://",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    filled: Lakehouse,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    checks: list[dict[str, object]],
    options: dict[str, str],
    said: str,
) -> None:
    assert check(filled, tmp_path, *checks, **options) == 2
    out, err = lines(capsys)
    assert re.fullmatch(f"check_lakehouse: {said}", err.splitlines()[-1])
    assert not out
    assert not filled.exists("check_results")


def test_a_lakehouse_that_is_none_does_not_pass(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(lake, tmp_path, FRESH) == 2
    assert "there is no lakehouse in" in lines(capsys)[1]
    assert not Path(lake.root or "").exists()

"""What operators want to hear of: a jump of bad lines, empty feeds; and a webhook that does not answer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from newslake.intake.sources.labels.load import import_labels
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import run_job
from tests.checks.common import check, lines, results, server
from tests.faults.common import texts
from tests.ports import free_port
from tests.tables import put


def test_a_jump_of_bad_lines_is_told_of_once_by_all_means(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    share = {"name": "texts_can_be_read", "check": "quarantine_share", "job": "import_labels", "at_most": 0.1}
    arrive = {"name": "texts_arrive", "check": "freshness", "table": "news", "at_most": 24}
    file = texts(tmp_path / "texts.jsonl", 19)
    with file.open("a") as out:
        out.write("no JSON\n")
    run_job(import_labels, lake, {"texts": (str(file),)})
    with server() as heard:
        assert check(lake, tmp_path, share, arrive, webhook=heard.url) == 0
        assert not heard.bodies, "nothing is wrong"
        with file.open("a") as out:
            out.writelines(f"no JSON either {n}\n" for n in range(5))
        run_job(import_labels, lake, {"texts": (str(file),)})
        capsys.readouterr()
        assert (
            check(
                lake, tmp_path, share, {**arrive, "at_most": 0}, arrive | {"name": "kept"}, webhook=heard.url
            )
            == 1
        )
    [body] = heard.bodies
    assert [breach["check_name"] for breach in body["breaches"]] == ["texts_can_be_read", "texts_arrive"]
    assert body["breaches"][0]["value"] == pytest.approx(6 / 25)
    assert body["lakehouse"] == lake.root
    assert body["text"].splitlines()[1:] == lines(capsys)[0]
    told = lake.read("job_runs").where("job = 'check_lakehouse' AND outcome = 'failed'").collect()
    assert [(row["facts"]["webhook"], row["settings"]["webhook"]) for row in told] == [("told", "***")]


def test_empty_feeds_are_told_of(lake: Lakehouse, tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    hour = now.replace(minute=0, second=0, microsecond=0)
    about = {
        "split": "live",
        "position": 0,
        "news_id": "N1",
        "clicked": True,
        "occurred_at": now - timedelta(days=1),
        "ingested_at": now,
    }
    put(lake, "impressions", [{**about, "impression_id": str(n), "user_id": f"U{n}"} for n in range(4)])
    row = {"rank": 1, "news_id": "N1", "ctr": 0.1, "score": 0.0, "reason": "popular", "hour": hour}
    put(lake, "newsfeed", [{**row, "user_id": f"U{n}"} for n in range(4)])
    run_job(import_labels, lake, {"texts": (str(texts(tmp_path / "texts.jsonl", 1)),)})
    checks = [
        {"name": "readers_have_feeds", "check": "feed_coverage", "at_least": 0.9},
        {"name": "feeds_are_full", "check": "feed_rows", "at_least": 1},
    ]
    assert check(lake, tmp_path, *checks) == 0
    lake.delete("newsfeed", "user_id <> 'U1'")
    assert check(lake, tmp_path, *checks) == 1
    assert results(lake) == {"readers_have_feeds": (0.25, False), "feeds_are_full": (1.0, True)}
    lake.delete("newsfeed", "true")
    assert check(lake, tmp_path, *checks) == 1
    assert results(lake) == {"readers_have_feeds": (0.0, False), "feeds_are_full": (0.0, False)}


@pytest.mark.parametrize("answers", [False, True])
def test_a_dead_webhook_hides_no_breach(
    lake: Lakehouse,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    answers: bool,
) -> None:
    run_job(import_labels, lake, {"texts": (str(texts(tmp_path / "texts.jsonl", 1)),)})
    stale = {"name": "texts_arrive", "check": "freshness", "table": "news", "at_most": 0}
    capsys.readouterr()
    with server() as heard:
        heard.status = 500
        url = heard.url if answers else f"http://127.0.0.1:{free_port()}/secret"
        assert check(lake, tmp_path, stale, webhook=url) == 1
    out, err = lines(capsys)
    assert [line.split(":")[0] for line in out] == ["texts_arrive"]
    why = "127.0.0.1 answered 500" if answers else "127.0.0.1 cannot be reached"
    assert f"check_lakehouse: the webhook was not told of the breaches: {why}" in caplog.text
    assert err.splitlines()[-1] == "check_lakehouse: failed: 1 of 1 checks failed: texts_arrive"
    assert "/secret" not in err + caplog.text

"""A stream that is looked at from outside: how far behind it is, and that it is told of when it stops."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from newslake.intake.sources.labels.load import import_labels
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import run_job
from newslake.run.jobrun import every_run
from newslake.streaming import watch
from newslake.streaming.behaviors import stream_behaviors
from tests.checks.common import check, lines, results
from tests.faults.common import texts

LAG = {"name": "events_keep_up", "check": "stream_lag", "job": "stream_behaviors", "at_most": 30}
ARRIVE = {
    "name": "events_arrive",
    "check": "freshness",
    "table": "impressions",
    "column": "ingested_at",
    "at_most": 1,
}


def event(number: int) -> dict[str, Any]:
    """One impression, as a message."""
    about = {
        "type": "impression",
        "event_id": f"I{number}",
        "user_id": f"U{number}",
        "occurred_at": "2019-11-14T06:00:00Z",
    }
    return {**about, "news_ids": ["N1", "N2"]}


def drop(folder: Path, name: str, messages: list[Any]) -> None:
    """A file of messages that arrives now."""
    folder.mkdir(exist_ok=True)
    (folder / f".{name}").write_text("".join(f"{json.dumps(message)}\n" for message in messages))
    os.rename(folder / f".{name}", folder / name)


def test_a_stopped_stream_is_told_of(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(tmp_path / "in", "a.jsonl", [event(n) for n in range(3)])
    run_job(stream_behaviors, lake, {"files": str(tmp_path / "in"), "once": True})
    assert check(lake, tmp_path, LAG, ARRIVE) == 0
    later = datetime.now(UTC) + timedelta(hours=2)
    capsys.readouterr()
    assert check(lake, tmp_path, LAG, ARRIVE, at=f"{later:%Y-%m-%dT%H:%M}") == 1
    value, passed = results(lake)["events_keep_up"]
    assert (value, passed) == (pytest.approx(120, abs=3), False)
    assert [line.split(":")[0] for line in lines(capsys)[0]] == ["events_keep_up", "events_arrive"]


def test_a_running_stream_says_how_far_it_is(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SIGN_S", 0.5)
    folder = tmp_path / "in"
    drop(folder, "a.jsonl", [event(1), {"type": "nonsense"}])
    os.utime(folder / "a.jsonl", (time.time() - 3600,) * 2)  # it has waited for an hour
    # The first run of a lakehouse has no row before its end.
    run_job(import_labels, lake, {"texts": (str(texts(tmp_path / "texts.jsonl", 1)),)})
    own = Lakehouse(lake.spark.newSession(), lake.root)
    stream = Thread(
        target=run_job, args=(stream_behaviors, own, {"files": str(folder), "every_seconds": 0.5})
    )
    stream.start()
    try:
        facts: dict[str, str] = {}
        row = None
        deadline = time.monotonic() + 300
        # Once it has nothing to do, nothing waits.
        while time.monotonic() < deadline and (
            facts.get("batches") != "1" or facts.get("lag in seconds") != "0.0"
        ):
            time.sleep(0.5)
            row = every_run(lake).where("job = 'stream_behaviors'").head()
            facts = row["facts"] if row is not None else {}
    finally:
        for query in own.spark.streams.active:
            query.stop()
        stream.join()
    assert row is not None
    assert (row["outcome"], row["rows_in"], row["rows_quarantined"]) == ("running", 2, 1)
    assert facts["lag in seconds"] == "0.0"
    share = {"name": "bad", "check": "quarantine_share", "job": "stream_behaviors", "at_most": 0.1}
    assert check(lake, tmp_path, LAG, share) == 1
    assert results(lake)["bad"] == (0.5, False)
    assert results(lake)["events_keep_up"][1] is True


def test_a_message_that_waited_is_lag(lake: Lakehouse, tmp_path: Path) -> None:
    seen: list[float] = []
    drained = watch.Watch.drained

    def looked(self: watch.Watch) -> None:
        seen.append(self.seen.lag_s)
        drained(self)

    drop(tmp_path / "in", "a.jsonl", [event(1)])
    drop(tmp_path / "in", "b.jsonl", [event(2)])
    os.utime(tmp_path / "in" / "a.jsonl", (time.time() - 3600,) * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch.Watch, "drained", looked)
        run = run_job(stream_behaviors, lake, {"files": str(tmp_path / "in"), "once": True})
    assert 3600 <= seen[0] < 4200
    assert run.facts["lag in seconds"] == "0.0"

"""The file for Prometheus: what its own parser reads from it, while a stream runs and when it is done."""

import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.streaming.behaviors import stream_behaviors
from newslake.streaming.metrics import MetricsFile, Seen
from newslake.streaming.watch import Watch
from tests.calling import call
from tests.streaming import made
from tests.streaming.test_files import put

AT = 1_700_000_000


def parsed(path: Path) -> dict[str, float]:
    """Each sample by its name, and its table where it has one, by Prometheus's own parser."""
    samples = [
        sample for family in text_string_to_metric_families(path.read_text()) for sample in family.samples
    ]
    return {
        " ".join(
            [sample.name.removeprefix("newslake_stream_"), *filter(None, [sample.labels.get("table")])]
        ): sample.value
        for sample in samples
    }


def test_a_stream_writes_what_its_run_counts(lake: Lakehouse, tmp_path: Path) -> None:
    messages = made.events(100)
    put(tmp_path / "in", "a.jsonl", messages[:50], at=AT)
    put(tmp_path / "in", "b.jsonl", messages[50:], at=AT + 60)
    file = tmp_path / "events.prom"
    run = JobRun("stream_behaviors")
    before = datetime.now(UTC).timestamp()
    call(
        stream_behaviors,
        lake,
        run,
        files=str(tmp_path / "in"),
        once=True,
        max_per_batch=1,
        metrics_file=str(file),
    )
    found = parsed(file)
    looked = found.pop("last_look_timestamp_seconds")
    assert before <= looked <= datetime.now(UTC).timestamp()
    assert found == {
        "messages_total": 100,
        "quarantined_total": run.rows_rejected,
        "batches_total": 2,
        "lag_seconds": 0.0,
        "newest_message_timestamp_seconds": AT + 60,
        **{f"rows_total {table}": rows for table, rows in run.rows_written.items()},
    }
    assert run.rows_rejected > 0
    labels = {
        tuple(sorted(s.labels.items()))[:2]
        for f in text_string_to_metric_families(file.read_text())
        for s in f.samples
    }
    assert labels == {(("job", "stream_behaviors"), ("source", str(tmp_path / "in")))}
    assert stat.S_IMODE(file.stat().st_mode) & 0o444 == 0o444 & ~_umask()
    assert sorted(os.listdir(tmp_path))[:2] == ["events.prom", "in"], "nothing is left beside it"


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_what_waits_while_a_batch_is_under_way_is_lag(tmp_path: Path) -> None:
    run = JobRun("stream_articles")
    watch = Watch(run, str(tmp_path / "a.prom"), "articles")
    with watch.batch():
        run.rows_in(3)
        arrived = datetime.now(UTC).replace(tzinfo=None)
        run.arrived(arrived.replace(year=arrived.year - 1), arrived)
    found = parsed(tmp_path / "a.prom")
    assert (found["messages_total"], found["batches_total"]) == (3, 1)
    assert found["lag_seconds"] == pytest.approx(365 * 86400, rel=0.01)
    watch.drained()
    assert parsed(tmp_path / "a.prom")["lag_seconds"] == 0.0


def test_readers_find_a_whole_file_however_often_it_is_written(tmp_path: Path) -> None:
    file, run, seen = tmp_path / "a.prom", JobRun("stream_articles"), Seen()
    metrics = MetricsFile(str(file), run, "articles", seen)
    metrics.write()
    whole = len(parsed(file))
    stopping = threading.Event()

    def writing() -> None:
        while not stopping.is_set():
            seen.batches += 1
            metrics.write()

    writers = [threading.Thread(target=writing) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        counts = {len(parsed(file)) for _ in range(200)}
    finally:
        stopping.set()
        for writer in writers:
            writer.join()
    assert counts == {whole}
    assert seen.batches > 2


@pytest.mark.parametrize("name", ["metrics.txt", "no/such/folder.prom"])
def test_a_file_that_cannot_be_is_a_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"^--metrics-file \S+: give a file that ends in \.prom"):
        Watch(JobRun("stream_articles"), str(tmp_path / name), "articles")


def test_a_folder_that_goes_away_is_told_of_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "newslake")
    (tmp_path / "folder").mkdir()
    watch = Watch(JobRun("stream_articles"), str(tmp_path / "folder" / "a.prom"), "articles")
    (tmp_path / "folder").rmdir()
    for _ in range(3):
        with watch.batch():
            pass
    assert (
        len(
            [record for record in caplog.records if "the metrics could not be written" in record.getMessage()]
        )
        == 1
    )
    (tmp_path / "folder").mkdir()
    watch.drained()
    assert parsed(tmp_path / "folder" / "a.prom")["batches_total"] == 3

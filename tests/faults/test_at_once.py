"""Two runs of one job at once, in two sessions of one driver: both end well, and nothing is there twice."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from newslake.intake.sources.labels.load import import_labels
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import run_job
from tests.faults.common import news, texts


@pytest.mark.slow
def test_two_runs_at_once_are_as_one(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = texts(tmp_path / "texts.jsonl", 200)
    with file.open("a") as lines:
        lines.write("no JSON\n")
    alone = Lakehouse(lake.spark, str(tmp_path / "alone"))
    run_job(import_labels, alone, {"texts": (str(file),)})
    start = Barrier(2)

    def one(_: int) -> None:
        own = Lakehouse(lake.spark.newSession(), lake.root)
        start.wait()
        run_job(import_labels, own, {"texts": (str(file),)})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(2)))
    assert news(lake) == news(alone)
    assert lake.read("quarantine").count() == 1
    assert [row["outcome"] for row in lake.read("job_runs").collect()] == ["done", "done"]
    assert sum(row["rows_out"]["news"] for row in lake.read("job_runs").collect()) == 200

"""A run of several jobs: in order, taken up where it failed, and leaving out what has not changed."""

from pathlib import Path

import pytest

from newslake.errors import JobFailed
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.pipeline.steps import Step, run_steps

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls_yet() -> None:
    CALLS.clear()


def reading_job(lake: Lakehouse, run: JobRun, *, folder: str, scale: int = 1) -> None:
    """Reads files."""
    CALLS.append(f"read {scale}")
    lake.create("news")
    run.wrote("news", 2)
    run.quarantined(1)


def failing_job(lake: Lakehouse, run: JobRun, *, fail: bool = True) -> None:
    """Fails."""
    CALLS.append("fail")
    if fail:
        raise JobFailed("broken")


def last_job(lake: Lakehouse, run: JobRun) -> None:
    """Comes last."""
    CALLS.append("last")


def folder_with_a_file(tmp_path: Path) -> str:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "news.tsv").write_text("N1")
    return str(tmp_path / "input")


def test_jobs_run_in_order_and_their_counts_add_up(lake: Lakehouse, run: JobRun, tmp_path: Path) -> None:
    folder = folder_with_a_file(tmp_path)
    run_steps(lake, run, [Step(reading_job, {"folder": folder}), Step(last_job), Step(reading_job, {"folder": folder, "scale": 2})])
    assert CALLS == ["read 1", "last", "read 2"]
    assert run.rows_written == {"news": 4}
    assert run.rows_rejected == 2


def test_a_failed_job_stops_the_run_and_a_rerun_takes_up_there(lake: Lakehouse, run: JobRun, tmp_path: Path) -> None:
    folder = folder_with_a_file(tmp_path)
    read = Step(reading_job, {"folder": folder}, inputs=[folder])
    with pytest.raises(JobFailed, match="broken"):
        run_steps(lake, run, [read, Step(failing_job), Step(last_job)])
    assert CALLS == ["read 1", "fail"]
    run_steps(lake, run, [read, Step(failing_job, {"fail": False}), Step(last_job)])
    assert CALLS == ["read 1", "fail", "fail", "last"]


def test_a_job_reads_its_files_again_when_anything_about_them_changed(lake: Lakehouse, run: JobRun, tmp_path: Path) -> None:
    folder = folder_with_a_file(tmp_path)

    def again(**options: int) -> int:
        run_steps(lake, run, [Step(reading_job, {"folder": folder, **options}, inputs=[folder])])
        return len(CALLS)

    assert [again(), again()] == [1, 1]
    (Path(folder) / "news.tsv").write_text("N1 and more")
    assert [again(), again()] == [2, 2]
    (Path(folder) / "news-2.tsv").write_text("N2")
    assert [again(), again()] == [3, 3]
    assert [again(scale=2), again(scale=2)] == [4, 4]
    assert lake.root is not None
    (Path(lake.root) / "news" / "_delta_log").rename(tmp_path / "gone")
    assert again(scale=2) == 5, "the table that the job wrote is gone"

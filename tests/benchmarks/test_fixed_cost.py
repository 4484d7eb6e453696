"""What benchmarks/fixed_cost.py counts, and that no job has come to cost more queries than its counts say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fixed_cost
from fixed_cost import KEPT, Window, counted


def start(execution: int, at: int) -> dict[str, Any]:
    return {"Event": fixed_cost._SQL, "executionId": execution, "time": at}


def test_events_count_for_the_innermost_run() -> None:
    windows = [Window("run_pipeline", 0, 100), Window("parse_behaviors", 10, 50), Window("encode_articles", 60, 90)]
    events: list[dict[str, Any]] = [
        start(0, 5),
        start(1, 10),
        start(2, 50),
        {"Event": "SparkListenerJobStart", "Submission Time": 20},
        {"Event": "SparkListenerTaskEnd", "Task Info": {"Launch Time": 70}},
        {"Event": "SparkListenerTaskEnd", "Task Info": {"Launch Time": 71}},
        start(3, 101),  # outside of all runs
        {"Event": "SparkListenerStageCompleted"},
    ]
    assert counted(iter(events), windows) == {
        "encode_articles": {"executions": 0, "jobs": 0, "tasks": 2},
        "parse_behaviors": {"executions": 2, "jobs": 1, "tasks": 0},
        "run_pipeline": {"executions": 1, "jobs": 0, "tasks": 0},
    }


@pytest.mark.slow
def test_no_job_costs_more_than_is_written_down(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    command = [sys.executable, fixed_cost.__file__, "--folder", str(tmp_path / "run"), "--json", str(tmp_path / "counts.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found, kept = (json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "counts.json", KEPT))
    assert found.keys() == kept.keys()
    dearer = {job: (counts["executions"], kept[job]["executions"]) for job, counts in found.items()}
    # Adaptive execution and Delta's checkpoints, one in ten commits, move a count by a few.
    assert not {job: pair for job, pair in dearer.items() if pair[0] > pair[1] * 1.05 + 2}

"""No job has come to cost more queries than benchmarks/fixed_cost.json says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fixed_cost
from fixed_cost import KEPT


@pytest.mark.slow
def test_no_job_costs_more_than_is_written_down(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    command = [
        sys.executable,
        fixed_cost.__file__,
        "--folder",
        str(tmp_path / "run"),
        "--json",
        str(tmp_path / "counts.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found, kept = (json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "counts.json", KEPT))
    assert found.keys() == kept.keys()
    dearer = {job: (counts["executions"], kept[job]["executions"]) for job, counts in found.items()}
    # Adaptive execution and Delta's checkpoints, one in ten commits, move a count by a few.
    assert not {job: pair for job, pair in dearer.items() if pair[0] > pair[1] * 1.05 + 2}

"""What benchmarks/event_log.py reads from a log of Spark's."""

from typing import Any

import event_log
from event_log import Cost, Window, costs


def start(execution: int, at: int) -> dict[str, Any]:
    return {"Event": event_log._SQL, "executionId": execution, "time": at}


def task(at: int, shuffled: int = 0, spilled: int = 0, ran_ms: int = 0) -> dict[str, Any]:
    did = {
        "Executor Run Time": ran_ms,
        "Memory Bytes Spilled": spilled,
        "Shuffle Write Metrics": {"Shuffle Bytes Written": shuffled},
    }
    return {"Event": "SparkListenerTaskEnd", "Task Info": {"Launch Time": at}, "Task Metrics": did}


def test_events_count_for_the_innermost_run() -> None:
    windows = [
        Window("run_pipeline", 0, 100),
        Window("parse_behaviors", 10, 50),
        Window("encode_articles", 60, 90),
    ]
    log: list[dict[str, Any]] = [
        start(0, 5),
        start(1, 10),
        start(2, 50),
        {"Event": "SparkListenerJobStart", "Submission Time": 20},
        task(70, shuffled=10, ran_ms=1_500),
        task(71, shuffled=5, spilled=7),
        {"Event": "SparkListenerTaskEnd", "Task Info": {"Launch Time": 72}},  # one that failed has no metrics
        start(3, 101),  # outside of all runs
        {"Event": "SparkListenerStageCompleted"},
    ]
    assert costs(log, windows) == {
        "encode_articles": Cost(tasks=3, task_seconds=1.5, shuffled=15, spilled=7),
        "parse_behaviors": Cost(executions=2, jobs=1),
        "run_pipeline": Cost(executions=1),
    }

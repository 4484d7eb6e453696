"""train_text_classifier killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from newslake.lakehouse import Lakehouse
from tests.killing import arguments_of, commits, data_files, kill_job, moments
from tests.training.test_classifier import OPTIONS, fill, results, train

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "staging half built": lambda root: any((root / "_staging").glob("*.tmp-*/classes/_SUCCESS")),
    "staged, not trained": lambda root: any((root / "_staging").glob("*/manifest.json")),
    "scores written, not committed": lambda root: data_files(root / "article_class_scores") > 0,
    "scores committed, the run not": lambda root: commits(root / "article_class_scores") >= 2,
}


def check(lake: Lakehouse, tmp_path: Path, moment: Callable[[Path], bool]) -> None:
    """Kill a run at the moment; a rerun completes it to what an undisturbed run makes."""
    undisturbed = Lakehouse(lake.spark, str(tmp_path / "undisturbed"))
    for each in (lake, undisturbed):
        fill(each)
    train(undisturbed)
    root, log = Path(str(lake.root)), tmp_path / "log"
    killed = kill_job("train_text_classifier", "--lakehouse", str(root), *arguments_of(OPTIONS), when=lambda: moment(root), log=log)
    assert killed, f"ended undisturbed: {log.read_text()[-2000:]}"
    assert not lake.exists("text_classifiers") or lake.read("text_classifiers").isEmpty()
    train(lake)
    assert results(lake) == results(undisturbed)
    assert lake.read("text_classifiers").count() == 1


@pytest.mark.parametrize("moment", moments(MOMENTS, quick="scores committed, the run not"))
def test_killed_at_any_moment(lake: Lakehouse, tmp_path: Path, moment: str) -> None:
    check(lake, tmp_path, MOMENTS[moment])

"""train_text_classifier killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.lakehouse import Lakehouse
from tests.killing import Undisturbed, arguments_of, commits, data_files, kill_job, moments, undisturbed_run
from tests.training.test_classifier import OPTIONS, fill, results, train

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "staging half built": lambda root: any((root / "_staging").glob("*.tmp-*/classes/_SUCCESS")),
    "staged, not trained": lambda root: any((root / "_staging").glob("*/manifest.json")),
    "scores written, not committed": lambda root: data_files(root / "article_class_scores") > 0,
    "scores committed, the run not": lambda root: commits(root / "article_class_scores") >= 2,
}


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nobody kills."""
    return undisturbed_run(spark, tmp_path_factory.mktemp("undisturbed"), fill, train)


@pytest.mark.parametrize("moment", moments(MOMENTS, quick="scores committed, the run not"))
def test_killed_at_any_moment(lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path, moment: str) -> None:
    """Kill a run at the moment; a rerun completes it to what an undisturbed run makes."""
    root, log = undisturbed.begin(lake), tmp_path / "log"
    options = ("--lakehouse", str(root), *arguments_of(OPTIONS))
    killed = kill_job("train_text_classifier", *options, when=lambda: MOMENTS[moment](root), log=log)
    assert killed, f"ended undisturbed: {log.read_text()[-2000:]}"
    assert not lake.exists("text_classifiers") or lake.read("text_classifiers").isEmpty()
    train(lake)
    assert results(lake) == results(undisturbed.lake)
    assert lake.read("text_classifiers").count() == 1

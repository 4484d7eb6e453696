"""train_text_classifier killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from tests.killing import arguments_of, commits, data_files
from tests.training.classifier.test_train import OPTIONS, fill, results, train
from tests.undisturbed import Moment, Undisturbed, kill_and_rerun, undisturbed_run

MOMENTS: dict[str, Moment] = {
    "staging half built": lambda root: any((root / "_staging").glob("*.tmp-*/classes/_SUCCESS")),
    "staged, not trained": lambda root: any((root / "_staging").glob("*/manifest.json")),
    "scores written, not committed": lambda root: data_files(root / "article_class_scores") > 0,
    "scores committed, the run not": lambda root: commits(root / "article_class_scores") >= 2,
}


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nobody kills."""
    return undisturbed_run(spark, tmp_path_factory.mktemp("undisturbed"), fill, train, results)


def left(lake: Lakehouse) -> None:
    """A run that was killed is not listed yet."""
    assert not lake.exists("text_classifiers") or lake.read("text_classifiers").isEmpty()


@pytest.mark.slow
def test_killed(lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path) -> None:
    command = ("train_text_classifier", arguments_of(OPTIONS))
    kill_and_rerun(undisturbed, lake, MOMENTS, command, tmp_path, left=left)
    assert lake.read("text_classifiers").count() == 1

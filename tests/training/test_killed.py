"""train_recommender killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.training.recommender import train_recommender
from tests.calling import call
from tests.killing import arguments_of, commits, data_files
from tests.training import frames
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run

BEHAVIORS = frames.drawn_behaviors(5)
OPTIONS: dict[str, Any] = {"model": "content", "epochs": 2, "dim": 8}
TABLES = ("user_embeddings", "news_embeddings", "model_metrics")


MOMENTS: dict[str, Moment] = {
    "staging half built": lambda root: any((root / "_staging").glob("*.tmp-*/articles/_SUCCESS")),
    "staged, not trained": lambda root: any((root / "_staging").glob("*/manifest.json")),
    "an epoch trained, others not": lambda root: any((root / "_staging" / "checkpoints").glob("*.pt")),
    "model kept, vectors not": lambda root: any((root / "_models").glob("*/model.json")),
    "user vectors written, not committed": lambda root: data_files(root / "user_embeddings") > 0,
    "user vectors committed, article vectors not": lambda root: commits(root / "user_embeddings") >= 2,
    "vectors committed, metrics not": lambda root: commits(root / "news_embeddings") >= 2,
}


def fill(lake: Lakehouse) -> None:
    """The tables that the job reads."""
    frames.fill(lake, BEHAVIORS, frames.drawn_vectors(5))


def train(lake: Lakehouse) -> None:
    """A run that nobody kills."""
    call(train_recommender, lake, JobRun("train_recommender"), **OPTIONS)


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return undisturbed_run(spark, folder, fill, train, content_of(*TABLES, without=("trained_at",)))


def left(lake: Lakehouse) -> None:
    """A run that was killed has no metrics yet."""
    assert not lake.exists("model_metrics") or lake.read("model_metrics").isEmpty()


@pytest.mark.slow
def test_a_run_killed_at_each_moment_in_turn_is_completed(
    lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    kill_and_rerun(
        undisturbed, lake, MOMENTS, ("train_recommender", arguments_of(OPTIONS)), tmp_path, left=left
    )

"""train_recommender killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.training.recommender import train_recommender
from tests.killing import Undisturbed, arguments_of, commits, content, data_files, kill_job, undisturbed_run
from tests.training import frames

BEHAVIORS = frames.drawn_behaviors(5)
OPTIONS: dict[str, Any] = {"model": "content", "epochs": 2, "dim": 8}
TABLES = ("user_embeddings", "news_embeddings", "model_metrics")


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "staging half built": lambda root: any((root / "_staging").glob("*.tmp-*/articles/_SUCCESS")),
    "staged, not trained": lambda root: any((root / "_staging").glob("*/manifest.json")),
    "an epoch trained, others not": lambda root: any((root / "_staging" / "checkpoints").glob("*.pt")),
    "model kept, vectors not": lambda root: any((root / "_models").glob("*/model.json")),
    "user vectors written, not committed": lambda root: data_files(root / "user_embeddings") > 0,
    "user vectors committed, article vectors not": lambda root: commits(root / "user_embeddings") >= 2,
    "vectors committed, metrics not": lambda root: commits(root / "news_embeddings") >= 2,
}


def train(lake: Lakehouse) -> None:
    """A run that nobody kills."""
    train_recommender(lake, JobRun("train_recommender"), **OPTIONS)


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return undisturbed_run(spark, folder, lambda lake: frames.fill(lake, BEHAVIORS, frames.drawn_vectors(5)), train)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_completed_by_its_rerun(lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path, moment: str) -> None:
    root, log = undisturbed.begin(lake), tmp_path / "log"
    options = ("--lakehouse", str(root), *arguments_of(OPTIONS))
    assert kill_job("train_recommender", *options, when=lambda: MOMENTS[moment](root), log=log), log.read_text()[-2000:]
    assert not lake.exists("model_metrics") or lake.read("model_metrics").isEmpty()
    train(lake)
    for table in TABLES:
        assert content(lake.read(table)) == content(undisturbed.lake.read(table))

"""train_recommender in two processes of Spark's TorchDistributor: the same job, the same tables."""

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.training.data import staging
from newslake.training.data.staging import Staged
from newslake.training.loop.distributed import train_together
from newslake.training.models.settings import settings_for
from newslake.training.recommender import train_recommender
from tests.calling import call
from tests.training import frames


@pytest.mark.slow
def test_two_processes_write_what_one_writes(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "CLICKS_PER_ROW_GROUP", 32)
    frames.fill(lake, frames.drawn_behaviors(3, with_history=True), frames.drawn_vectors(3))
    runs = {}
    for processes in (1, 2):
        run = JobRun("train_recommender")
        call(
            train_recommender,
            lake,
            run,
            model="dssm",
            epochs=3,
            dim=8,
            batch_size=16,
            learning_rate=0.01,
            processes=processes,
        )
        runs[processes] = run
    assert runs[1].facts["training run"] != runs[2].facts["training run"]
    assert runs[1].rows_written == runs[2].rows_written
    best = {
        row["run_id"]: row["auc"]
        for row in lake.read("model_metrics").where("best AND split = 'valid'").collect()
    }
    assert all(auc > 0.7 for auc in best.values())
    again = JobRun("train_recommender")
    call(
        train_recommender,
        lake,
        again,
        model="dssm",
        epochs=3,
        dim=8,
        batch_size=16,
        learning_rate=0.01,
        processes=2,
        force=True,
    )
    vectors = lake.read("user_embeddings").where(F.col("run_id") == runs[2].facts["training run"])
    assert vectors.count() == again.rows_written["user_embeddings"]


def test_a_device_by_number_cannot_be_shared(lake: Lakehouse) -> None:
    root = Path(str(lake.root))
    with pytest.raises(UserError, match="several processes take auto, cpu or cuda"):
        train_together(
            lake.spark,
            Staged(root, "x", {}),
            None,
            settings_for("nrms", seed=0, skips=4, processes=2),
            device="cuda:1",
            checkpoint=root,
        )

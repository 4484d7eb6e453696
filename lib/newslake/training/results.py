"""Writes a trained model's vectors and metrics to their tables."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.files.folders import read
from newslake.files.remote import Place, writing
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import utc_now
from newslake.spark.frames import frame_of
from newslake.training.data.loading import Catalogue
from newslake.training.loop.checkpoint import EpochMetrics
from newslake.training.loop.trainer import Trained

_ROWS_PER_BATCH = 250_000


def is_complete(lake: Lakehouse, run_id: str) -> bool:
    """Whether a run's metrics, which are written last, and its vectors are all there."""
    tables = ("model_metrics", "user_embeddings", "news_embeddings")
    return all(
        lake.exists(table) and not lake.read(table).where(F.col("run_id") == run_id).isEmpty()
        for table in tables
    )


def report(run: JobRun, trained: Trained) -> None:
    """Note how training went."""
    run.fact("epochs", max(of_epoch.epoch for of_epoch in trained.metrics))
    run.fact("best epoch", trained.best_epoch)
    for of_epoch in trained.metrics:
        if of_epoch.epoch == trained.best_epoch and of_epoch.ranking.auc is not None:
            run.fact(f"{of_epoch.split} AUC", f"{of_epoch.ranking.auc:.4f}")
    run.fact("seconds of training", f"{trained.seconds:.1f}")
    run.fact("examples per second", int(trained.examples / trained.seconds))
    run.fact("waiting for data", f"{100 * trained.waited / trained.seconds:.1f} %")


def save(
    lake: Lakehouse,
    run: JobRun,
    trained: Trained,
    catalogue: Catalogue,
    *,
    model: str,
    run_id: str,
    scratch: Place,
) -> None:
    """Write the best epoch's vectors, then every epoch's metrics.

    Each write replaces the run's own rows, and the metrics come last: a run killed in between has none, is
    trained again by its rerun to the same vectors, and ends in the same tables.

    Args:
        lake, run: as given to the job.
        trained: what training left.
        catalogue: the ids of the vectors.
        model: the model's name.
        run_id: of the training run.
        scratch: a new folder, on its way between this process and Spark.
    """
    where = {"model": model, "run_id": run_id}
    scratch.mkdir(parents=True)
    for table, key, ids, vectors in (
        ("user_embeddings", "user_id", catalogue.user_ids, trained.vectors.of_users(catalogue)),
        ("news_embeddings", "news_id", catalogue.article_ids, trained.vectors.articles),
    ):
        rows = through_parquet(lake.spark, scratch / f"{table}.parquet", key, ids, vectors.cpu().numpy())
        rows = rows.select(key, F.lit(model).alias("model"), F.lit(run_id).alias("run_id"), "embedding")
        run.wrote(table, lake.replace(table, rows, where=where).rows)
    metrics = metric_rows(lake, trained.metrics, best_epoch=trained.best_epoch, model=model, run_id=run_id)
    run.wrote("model_metrics", lake.replace("model_metrics", metrics, where=where).rows)


def metric_rows(
    lake: Lakehouse, metrics: list[EpochMetrics], *, best_epoch: int, model: str, run_id: str
) -> DataFrame:
    """Rows of the table model_metrics: one per epoch and split."""
    contract, now = lake.schema("model_metrics"), utc_now()
    rows = [
        (
            run_id,
            model,
            of_epoch.epoch,
            of_epoch.split,
            of_epoch.epoch == best_epoch,
            of_epoch.loss,
            of_epoch.ranking.auc,
            of_epoch.ranking.mrr,
            of_epoch.ranking.ndcg_at_5,
            of_epoch.ranking.ndcg_at_10,
            of_epoch.ranking.impressions,
            of_epoch.ranking.impressions_left_out,
            now,
        )
        for of_epoch in metrics
    ]
    return frame_of(lake.spark, rows, contract).coalesce(1)


def through_parquet(
    spark: SparkSession, file: Place, key: str, ids: pa.Array, vectors: npt.NDArray[np.float32]
) -> DataFrame:
    """Ids and their vectors as a frame, by way of a file: from Python's memory, Spark would take them row by
    row."""
    schema = pa.schema(
        [
            pa.field(key, pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32()), nullable=False),
        ]
    )
    dim = vectors.shape[1]
    with writing(file) as sink, pq.ParquetWriter(sink, schema) as writer:
        for start in range(0, len(ids), _ROWS_PER_BATCH):
            part = np.ascontiguousarray(vectors[start : start + _ROWS_PER_BATCH])
            offsets = pa.array(np.arange(0, part.size + 1, dim, dtype=np.int32))
            lists = pa.ListArray.from_arrays(offsets, pa.array(part.ravel()))
            writer.write_table(
                pa.Table.from_arrays(
                    [ids[start : start + _ROWS_PER_BATCH].cast(pa.string()), lists], schema=schema
                )
            )
    return read(spark, file)

"""Each model's latest training run: what stands for the model where none of its runs was brought into use."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def latest_runs(metrics: DataFrame) -> DataFrame:
    """model, run_id, trained_at of each model's latest training run.

    Rows of older releases, whose trained_at is NULL, come before all others; runs of one moment go by run_id.

    Args:
        metrics: rows of model_metrics.
    """
    latest = F.max(F.struct("trained_at", "run_id")).alias("latest")
    return metrics.groupBy("model").agg(latest).select("model", "latest.run_id", "latest.trained_at")

"""What a run of the pipeline shows at its end."""

from collections.abc import Sequence

from pyspark.sql import Row, Window
from pyspark.sql import functions as F

from newslake.lakehouse import Lakehouse
from newslake.tablespec import table_names

_METRICS = {"auc": "AUC", "mrr": "MRR", "ndcg_at_5": "nDCG@5", "ndcg_at_10": "nDCG@10"}


def metrics_table(lake: Lakehouse, models: Sequence[str]) -> str:
    """Each model's latest run, the models beside each other: valid at the epoch that was kept, train at the last one."""
    runs = lake.read("job_runs").where((F.col("job") == "train_recommender") & (F.col("outcome") == "done"))
    latest = Window.partitionBy("model").orderBy(F.col("started_at").desc())
    runs = (
        runs.select(F.col("settings")["model"].alias("model"), F.col("facts")["training run"].alias("run_id"), "started_at")
        .withColumn("place", F.row_number().over(latest))
        .where("place = 1")
        .select("run_id")
    )
    metrics = lake.read("model_metrics").join(runs, on="run_id", how="left_semi").where(F.col("model").isin(*models))
    last = F.col("epoch") == F.max("epoch").over(Window.partitionBy("run_id"))
    # A row or two a model and split: small by construction.
    rows = metrics.withColumn("last", last).where("best OR last").collect()
    lines = []
    for title, split, kind in (("valid, best epoch", "valid", "best"), ("train, last epoch", "train", "last")):
        chosen = {row.model: row for row in rows if row.split == split and row[kind]}
        lines.append(f"{title:20}" + "".join(f"{model:>12}" for model in models))
        for name, label in {**_METRICS, "epoch": "epoch"}.items():
            lines.append(f"  {label:18}" + "".join(_cell(chosen.get(model), name) for model in models))
        lines.append("")
    return "\n".join(["", *lines]).rstrip()


def tables_built(lake: Lakehouse) -> str:
    """The tables that are there, with their rows."""
    there = [table for table in table_names() if lake.exists(table)]
    return "\n".join(f"  {table:20} {lake.read(table).count():>10,} rows" for table in there)


def _cell(row: Row | None, name: str) -> str:
    value = None if row is None else row[name]
    if value is None:
        return f"{'-':>12}"
    return f"{value:>12.4f}" if isinstance(value, float) else f"{value:>12}"

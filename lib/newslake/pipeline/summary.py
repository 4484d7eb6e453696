"""What a run of the pipeline shows at its end."""

from collections.abc import Sequence

from pyspark.sql import Row, Window
from pyspark.sql import functions as F

from newslake.lakehouse import Lakehouse
from newslake.tablespec import table_names

_METRICS = {"auc": "AUC", "mrr": "MRR", "ndcg_at_5": "nDCG@5", "ndcg_at_10": "nDCG@10"}


def metrics_table(lake: Lakehouse, models: Sequence[str]) -> str:
    """The best epoch of each model's latest run, valid and train, the models beside each other."""
    runs = lake.read("job_runs").where((F.col("job") == "train_recommender") & (F.col("outcome") == "done"))
    latest = Window.partitionBy("model").orderBy(F.col("started_at").desc())
    runs = (
        runs.select(F.col("settings")["model"].alias("model"), F.col("facts")["training run"].alias("run_id"), "started_at")
        .withColumn("place", F.row_number().over(latest))
        .where("place = 1")
        .select("run_id")
    )
    best = lake.read("model_metrics").join(runs, on="run_id", how="left_semi").where("best")
    # Two rows a model: small by construction.
    rows = {(row.model, row.split): row for row in best.where(F.col("model").isin(*models)).collect()}
    header = f"{'':10}" + "".join(f"{model:>12}" for model in models)
    lines = []
    for split in ("valid", "train"):
        lines += [f"{split} (best epoch on valid)", header]
        lines += [f"{label:10}" + "".join(_cell(rows.get((model, split)), name) for model in models) for name, label in _METRICS.items()]
        lines += [f"{'epoch':10}" + "".join(_cell(rows.get((model, split)), "epoch") for model in models), ""]
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

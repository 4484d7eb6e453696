"""What a run of a pipeline shows at its end."""

from collections.abc import Sequence

from pyspark.sql import Row, Window
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.steps import Step
from newslake.reports.decisions import Verdict, gather_decisions
from newslake.reports.intake import gather_tables
from newslake.reports.models import latest_of_each_model

_METRICS = {"auc": "AUC", "mrr": "MRR", "ndcg_at_5": "nDCG@5", "ndcg_at_10": "nDCG@10"}


def steps_table(steps: Sequence[Step], seconds: float) -> str:
    """Every step with its state, rows and seconds, and how to go on where one failed."""
    width = max((len(step.task.key) for step in steps), default=4)
    lines = [
        "",
        f"{'job':{width}}  {'':11} {'rows in':>10} {'rows out':>10} {'quarantine':>10} {'seconds':>8}",
    ]
    for step in steps:
        counts = [
            "-" if n is None else f"{n:,}"
            for n in (step.rows_in, sum(step.rows_out.values()), step.quarantined)
        ]
        if step.state in ("failed", "not run"):
            counts = ["-"] * 3
        took = "-" if step.state == "not run" else f"{step.seconds:.1f}"
        lines.append(
            f"{step.task.key:{width}}  {step.state:11} "
            + " ".join(f"{count:>10}" for count in counts)
            + f" {took:>8}"
        )
    number = {
        state: sum(step.state == state for step in steps)
        for state in ("done", "done before", "failed", "not run")
    }
    lines += ["", f"{', '.join(f'{n} {state}' for state, n in number.items() if n)}; {seconds:.0f} seconds"]
    for step in steps:
        if step.state == "failed":
            lines.append(f"Stopped at {step.task.key}: {step.message}\nThe same command goes on from there.")
    return "\n".join(lines)


def findings(lake: Lakehouse) -> str:
    """The figures that say what came of it: the recommenders' metrics, reused phrases, corrected classes,
    newsfeed."""
    parts = [
        metrics_table(lake),
        promoted(gather_decisions(lake) or []),
        _reuse(lake),
        _votes(lake),
        _feed(lake),
    ]
    return "\n\n".join(part for part in parts if part)


def metrics_table(lake: Lakehouse) -> str:
    """Each model's latest run, the models beside each other: test where there is one, else valid, at the
    epoch kept; train at the last."""
    if not lake.exists("model_metrics"):
        return ""
    metrics = latest_of_each_model(lake.read("model_metrics"))
    last = F.col("epoch") == F.max("epoch").over(Window.partitionBy("run_id"))
    # A row or two a model and split: small by construction.
    rows = metrics.withColumn("last", last).where("best OR last").collect()
    models = sorted({row.model for row in rows}, key=lambda model: (model != "mf", model))
    lines = [""]
    judged = [split for split in ("test", "valid") if any(row.split == split for row in rows)]
    # Valid stands alone only for models that have no test: it chose the epoch, and flatters.
    tested = {row.model for row in rows if row.split == "test"}
    judged = [split for split in judged if split == "test" or tested != set(models)]
    for title, split, kind in (
        *((f"{split}, best epoch", split, "best") for split in judged),
        ("train, last epoch", "train", "last"),
    ):
        chosen = {row.model: row for row in rows if row.split == split and row[kind]}
        lines.append(f"{title:20}" + "".join(f"{model:>12}" for model in models))
        for name, label in {**_METRICS, "epoch": "epoch"}.items():
            lines.append(f"  {label:18}" + "".join(_cell(chosen.get(model), name) for model in models))
        lines.append("")
    return "\n".join(lines).rstrip()


def promoted(verdicts: Sequence[Verdict]) -> str:
    """Decisions on rankers and recommenders: what each was judged against, with both figures, and what came
    of it."""
    lines = []
    for one in verdicts:
        told, now = "promoted" if one.decision.promoted else "not promoted", ", in use" * one.is_in_use
        if one.comparison is None:
            lines.append(f"  {one.kind:11} {one.name} {told}: {one.decision.reason}{now}")
            continue
        own, other = (
            f"{one.name} {one.comparison.value:.4f}",
            f"{one.against} {one.comparison.in_use_value:.4f}",
        )
        interval = f"{one.comparison.difference:+.4f} [{one.comparison.low:+.4f}, {one.comparison.high:+.4f}]"
        why = "" if one.decision.promoted else " (worse, or too few impressions to tell)"
        lines.append(
            f"  {one.kind:11} {one.metric:8} {own:16} against {other:17} {interval}: {told}{why}{now}"
        )
    return "\n".join(["On test, against what was in use", *lines]) if lines else ""


def _reuse(lake: Lakehouse) -> str:
    if not lake.exists("tag_phrase_matches"):
        return ""
    days = (
        lake.read("tag_phrase_matches")
        .groupBy("as_of")
        .agg(F.count("*").alias("n"), F.count_if(F.col("decision") == "reused").alias("r"))
    )
    rows = days.orderBy(F.col("as_of").desc()).limit(7).collect()
    lines = [
        f"  {row.as_of}: {row.n:,} tag phrases, {row.r / max(row.n, 1):.0%} of them reused"
        for row in reversed(rows)
    ]
    return "\n".join(["Vectors of users", *lines])


def _votes(lake: Lakehouse) -> str:
    if not lake.exists("short_text_votes"):
        return ""
    votes = lake.read("short_text_votes")
    last = votes.agg(F.max("as_of")).head()
    rows = (
        votes.where(F.col("as_of") == F.lit(last[0] if last else None))
        .groupBy("decision")
        .count()
        .orderBy("decision")
        .collect()
    )
    return "Short texts: " + ", ".join(f"{row['count']:,} {row.decision}" for row in rows)


def _feed(lake: Lakehouse) -> str:
    if not lake.exists("newsfeed"):
        return ""
    feed = lake.read("newsfeed")
    last = feed.agg(F.max("hour")).head()
    rows = feed.where(F.col("hour") == F.lit(last[0] if last else None))
    found = rows.agg(F.count_distinct("user_id"), F.count("*")).head()
    return (
        f"Newsfeed of {last[0]:%Y-%m-%d %H:%M}: {found[1]:,} articles for {found[0]:,} users"
        if last and last[0] and found
        else ""
    )


def tables_built(lake: Lakehouse) -> str:
    """The tables that are there, with their rows."""
    return "\n".join(f"  {table.name:24} {table.rows:>10,} rows" for table in gather_tables(lake))


def last_report(lake: Lakehouse) -> str | None:
    """The file of the last report that was written."""
    runs = lake.read("job_runs").where((F.col("job") == "write_report") & (F.col("outcome") == "done"))
    row = runs.agg(F.max_by(F.col("facts")["report"], "started_at")).head()
    return None if row is None else row[0]


def _cell(row: Row | None, name: str) -> str:
    value = None if row is None else row[name]
    if value is None:
        return f"{'-':>12}"
    return f"{value:>12.4f}" if isinstance(value, float) else f"{value:>12}"

"""What recommenders are worth on generated news: content, dssm and nrms on users and articles that training
never saw.

Half of dev's users are new, and dev is later than train. The peer is the true latent taste, which no model
can know: ranking by it is what a perfect reading of histories would reach; popularity and chance decide the
rest of the clicks.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from common import Measures, bench_arguments, bench_session
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import run_job
from newslake.sample import GeneratorSpec, generate
from newslake.text.articles import encode_articles
from newslake.training.judging.compare import WITH_CONTEXT, compare_models
from newslake.training.metrics import impression_metrics

MODELS = ("mf", "content", "dssm", "nrms")


def taste_auc(spark: SparkSession, data: Path, lake: Lakehouse) -> dict[str, float]:
    """AUC of ranking dev by the true taste, by group of users as in model_comparison."""
    truth = spark.read.parquet(str(data / "truth" / "impressions_dev*.parquet")).select(
        "impression_id", "affinity"
    )
    dev = lake.read("impressions").where("split = 'dev'").groupBy("impression_id")
    shown = dev.agg(
        F.array_sort(F.collect_list(F.struct("position", F.col("clicked").cast("int").alias("label"))))[
            "label"
        ].alias("labels")
    )
    clicks = (
        lake.read("click_history")
        .where("split = 'dev'")
        .select("impression_id", F.size("news_ids").alias("clicks_before"))
    )
    rows = (
        shown.join(truth, on="impression_id", how="inner")
        .join(clicks, on="impression_id", how="inner")
        .toArrow()
    )
    labels, affinity = (rows[name].combine_chunks() for name in ("labels", "affinity"))
    offsets = np.concatenate(([0], np.cumsum(pc.list_value_length(labels).to_numpy())))
    found = impression_metrics(affinity.flatten().to_numpy(), labels.flatten().to_numpy(), offsets)
    many = rows["clicks_before"].to_numpy()[found.impression] >= 5
    return {"all": float(found.auc.mean()), "at_least_5_clicks": float(found.auc[many].mean())}


def main() -> None:
    """Generate, parse, encode, train, compare."""
    arguments = bench_arguments(
        "Recommenders: AUC on new users and articles, against the true taste.",
        impressions=200_000,
        models=MODELS,
    )
    size = 6_000 if arguments.small else arguments.impressions
    models = ("zero-shot", *arguments.models)
    spec = GeneratorSpec(
        articles=max(1_200, size // 10),
        users=size // 7,
        impressions=size,
        new_users=0.5,
        body_share=0.0,
        short_texts=0,
        seed=2,
    )
    spark = bench_session("recommenders")
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "mind"
        generate(spark, str(data), spec)
        lake = Lakehouse(spark, f"{name}/lakehouse")
        for job, options in (
            (parse_behaviors, {"train": [str(data / "train")], "dev": [str(data / "dev")]}),
            (encode_articles, {"fields": ("title", "abstract")}),
            (compare_models, {"models": models, "context": True}),
        ):
            run = run_job(job, lake, options)
            print(f"{job.__name__}: {run.seconds:.0f} s: {run.summary()}", flush=True)
        truth = taste_auc(spark, data, lake)
        auc = {
            (row["model"], row["users"]): row["value"]
            for row in lake.read("model_comparison").where("metric = 'auc'").collect()
        }
    spark.stop()
    print(
        f"ranking by the true taste: AUC {truth['all']:.4f}, users with five or more earlier clicks"
        f" {truth['at_least_5_clicks']:.4f}"
    )
    measures = Measures(f"Recommenders, {size:,} impressions", arguments.json)
    add = partial(measures.add, unit="AUC", better="higher")
    # mf knows users and articles by id alone: without context it is at chance on what training never saw, as
    # the tutorial's is.
    for model in (*arguments.models, *(f"{model}{WITH_CONTEXT}" for model in models)):
        add(f"AUC of {model}", auc[model, "all"], auc["zero-shot", "all"], peer_name="zero-shot")
    for model in [model for model in models if model in ("dssm", "nrms")]:
        if "content" in models:
            add(f"AUC of {model}", auc[model, "all"], auc["content", "all"], peer_name="content")
        # With context: popularity and age of the candidates, known at the moment of showing. The true taste
        # knows neither.
        for shown in (model, f"{model}{WITH_CONTEXT}"):
            share, whole = auc[shown, "at_least_5_clicks"] - 0.5, truth["at_least_5_clicks"] - 0.5
            add(f"AUC - 0.5 of {shown}, 5 clicks and more", share, whole, peer_name="true taste")
    measures.finish()


if __name__ == "__main__":
    main()

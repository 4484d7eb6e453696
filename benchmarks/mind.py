"""MINDsmall or MINDlarge from its files to figures: every recommender and the ranker on dev, beside published
figures.

    python benchmarks/mind.py PATH

PATH holds the folders of the downloads, unpacked: train and dev, or MINDsmall_train and MINDsmall_dev (or
MINDlarge's). Models learn from train but for its last day, which chooses epochs and rounds; dev, the day
after train, is the test, by which nothing is chosen. All of it goes through the project's own jobs and their
defaults. MIND comes from https://msnews.github.io; its licence forbids passing it on.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from common import CORES, Measures, add_trainings, bench_parser, bench_session
from mind_ranker import KINDS, Judged, judged, rankers
from newslake.errors import UserError
from newslake.intake.sources.mind.files import KINDS as FILES
from newslake.intake.sources.mind.files import find_sources
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.hours import next_hour
from newslake.ranking.judge import FORMULA
from newslake.run.cli import run_job
from newslake.run.jobrun import JobRun
from newslake.text.articles import encode_articles
from newslake.training.data.preparation import Inputs, models_folder, prepare, staging_folder
from newslake.training.data.time_splits import TimeSplits, roles_of
from newslake.training.judging.compare import ZERO_SHOT, compare_models
from newslake.training.judging.spark_evaluate import METRICS
from newslake.training.models.saved import load_saved

MODELS = (ZERO_SHOT, "mf", "content", "dssm", "nrms")
SMALL = 1_500
GROUPS = {"all": "all users", "with_clicks": "users with a history", "no_clicks": "users without a history"}
PUBLISHED = (
    ("NRMS", "one seed", (0.6614, 0.3135, 0.3469, 0.4096), "NRMS-JAX-MIND-small-bert-random"),
    ("NAML", "three seeds, +- 0.0024", (0.6661, 0.3149, 0.3478, 0.4119), "NAML-JAX-MIND-small-bert-random"),
    ("CROWN", "three seeds, +- 0.0030", (0.6778, 0.3246, 0.3619, 0.4233), "CROWN-JAX-MIND-small"),
)
"""AUC, MRR, nDCG@5 and nDCG@10 on MINDsmall of the NewsReX library (Azevedo et al., 2025, arXiv 2508.21572),
on the model cards named, of huggingface.co/newsrex: trained on train, "evaluated on the standard MIND test
split"; dev is the only other part of MINDsmall. Word vectors were trained along. Evaluators differ in what
they do with ties and histories, so compare within one."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = bench_parser(__doc__.splitlines()[0])
    parser.add_argument(
        "path", type=Path, help="folder with train and dev, or MINDsmall_train and MINDsmall_dev"
    )
    add_trainings(parser, MODELS, "of trainings")
    parser.add_argument(
        "--impressions",
        type=int,
        metavar="N",
        help="of train, and of dev, at most, for a trial; drawn by a hash",
    )
    parser.add_argument(
        "--valid-hours",
        type=int,
        default=24,
        metavar="N",
        help="of train, its last, that choose epochs (default: 24)",
    )
    parser.add_argument("--epochs", type=int, help="at most (default: each model's own)")
    parser.add_argument("--encoder", help="a model folder (default: the model that comes with newslake)")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="keep tables and models there, and go on from what is there",
    )
    given = parser.parse_args()
    if given.small:
        given.impressions, given.seeds, given.epochs = (
            given.impressions or SMALL,
            given.seeds[:1],
            given.epochs or 2,
        )
    return given


def folders(path: Path) -> dict[str, Path]:
    """The folders of train and dev.

    Raises:
        UserError: one is not there, is still packed, or there are several.
    """
    found = {}
    for split in ("train", "dev"):
        named = [folder for folder in (path / split, *sorted(path.glob(f"MIND*_{split}"))) if folder.is_dir()]
        if len(named) > 1:
            raise UserError(
                f"{path} has {' and '.join(folder.name for folder in named)}: give a folder with one {split}"
            )
        if not named:
            packed = sorted(file.name for file in path.glob(f"*{split}*.zip"))
            mend = (
                f"unpack {packed[0]} into a folder of its name"
                if packed
                else "it holds the downloads, unpacked"
            )
            raise UserError(f"{path} has no folder {split}, MINDsmall_{split} or MINDlarge_{split}: {mend}")
        found[split] = named[0]
    return found


def cut(spark: SparkSession, found: dict[str, Path], most: int, into: Path) -> dict[str, list[str]]:
    """Paths for parse_behaviors of at most so many impressions of each split and of the articles that these
    name.

    Which ones a hash of their lines decides. They are written to a folder, in files that must go nowhere
    else: MIND's licence.
    """
    paths: dict[str, list[str]] = {}
    for split, folder in found.items():
        files = {source.kind: list(source.files) for source in find_sources(spark, {split: [str(folder)]})}
        if lacking := [kind for kind in FILES if kind not in files]:
            raise UserError(f"{folder}: no {lacking[0]}.tsv there")
        drawn = spark.read.text(files["behaviors"], lineSep="\n").orderBy(F.xxhash64("value")).limit(most)
        _write(drawn, into / split / "behaviors.tsv")
        drawn = spark.read.text(str(into / split / "behaviors.tsv"), lineSep="\n")
        ids = F.split(
            F.regexp_replace(F.concat_ws(" ", F.slice(F.split("value", "\t"), 4, 2)), "-[01]( |\r?$)", " "),
            " +",
        )
        ids_of = drawn.select(F.explode(ids).alias("news_id")).distinct()
        news = spark.read.text(files["news"], lineSep="\n").withColumn(
            "news_id", F.substring_index("value", "\t", 1)
        )
        _write(news.join(ids_of, on="news_id", how="left_semi").select("value"), into / split / "news.tsv")
        paths[split] = [str(into / split / f"{kind}.tsv") for kind in FILES]
    return paths


def _write(lines: DataFrame, folder: Path) -> None:
    lines.coalesce(1).write.mode("overwrite").text(str(folder), lineSep="\n")


def windows(lake: Lakehouse, valid_hours: int) -> TimeSplits:
    """Dev as the test, and the last hours of train as valid, by time.

    Raises:
        UserError: dev begins before train ends, or train is no longer than valid.
    """
    edges = (
        lake.read("impressions")
        .groupBy("split")
        .agg(F.min("occurred_at").alias("first"), F.max("occurred_at").alias("last"))
    )
    of = {row["split"]: row for row in edges.collect()}
    start = next_hour(of["dev"]["first"]) - timedelta(hours=1)
    if of["train"]["last"] >= start:
        raise UserError(
            f"dev begins in the hour of {start}, and train ends at {of['train']['last']}: dev must be later,"
            " as MIND's is"
        )
    end, before = next_hour(of["dev"]["last"]), start - timedelta(hours=valid_hours)
    days = -((of["train"]["first"] - before) // timedelta(days=1))
    if days < 1:
        raise UserError(
            f"--valid-hours {valid_hours}: train begins at {of['train']['first']}, so there is nothing left"
            " to learn from"
        )
    hours = (end - start) // timedelta(hours=1)
    return TimeSplits(f"{end:%Y-%m-%dT%H}", days, valid_hours, hours, ("train", "dev"))


def measured(spark: SparkSession, given: argparse.Namespace, folder: Path) -> list[Judged]:
    """Every model and ranker with every seed, judged on dev."""
    found = folders(given.path)
    paths = {split: [str(place)] for split, place in found.items()}
    if given.impressions is not None:
        paths = cut(spark, found, given.impressions, folder / "cut")
    lake = Lakehouse(spark, str(folder / "lakehouse"))
    _run(lake, parse_behaviors, paths)
    when = windows(lake, given.valid_hours)
    _run(lake, encode_articles, {} if given.encoder is None else {"encoder": given.encoder})
    run = _run(
        lake,
        compare_models,
        {
            "models": tuple(given.models),
            "seeds": tuple(given.seeds),
            "epochs": given.epochs,
            "by_time": when,
            "threads": CORES,
        },
    )
    models = of_models(lake, run.facts["comparison"])
    prepared = prepare(
        lake,
        JobRun("mind"),
        staging_folder(lake, None),
        Inputs(roles_of(when, None, None)),
        with_vectors=True,
    )
    return models + judged(lake, prepared, rankers(lake, when, given.seeds))


def _run(lake: Lakehouse, job: Any, options: dict[str, Any]) -> JobRun:
    run = run_job(job, lake, options)
    print(f"{job.__name__}: {run.seconds:.0f} s: {run.summary()}", flush=True)
    return run


def of_models(lake: Lakehouse, comparison_id: str) -> list[Judged]:
    """What compare_models wrote: of all users, of those without a click before, and, out of these two, of
    those with one."""
    means: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in lake.read("model_comparison").where(F.col("comparison_id") == comparison_id).collect():
        run = (row["model"], row["run_id"])
        means.setdefault(run, {}).setdefault(row["users"], {})[row["metric"]] = row["value"]
        counts.setdefault(run, {})[row["users"]] = row["impressions"]
    found = []
    for (model, run_id), of_group in means.items():
        seed = 0 if model == ZERO_SHOT else load_saved(models_folder(lake, None, None), run_id).settings.seed
        many, few = counts[model, run_id]["all"], counts[model, run_id].get("no_clicks", 0)
        none = of_group.get("no_clicks", dict.fromkeys(METRICS, 0.0))
        groups = {"all": (many, of_group["all"])} | ({"no_clicks": (few, none)} if few else {})
        if many > few:
            rest = {
                name: (many * of_group["all"][name] - few * none[name]) / (many - few) for name in METRICS
            }
            groups["with_clicks"] = (many - few, rest)
        found += [
            Judged(model, seed, users, impressions, metrics)
            for users, (impressions, metrics) in groups.items()
        ]
    return found


def table(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """A row for each way to rank and group of users: the mean and the standard deviation over seeds of each
    metric."""
    rows: list[dict[str, Any]] = []
    for users in GROUPS:
        for way in (*MODELS, FORMULA, *KINDS):
            mine = [one for one in found if (one.way, one.users) == (way, users)]
            if mine:
                values = {name: [one.metrics[name] for one in mine] for name in METRICS}
                over_seeds = {
                    name: {"mean": float(np.mean(of)), "deviation": float(np.std(of))}
                    for name, of in values.items()
                }
                rows.append(
                    {
                        "way": way,
                        "users": users,
                        "impressions": mine[0].impressions,
                        "seeds": len(mine),
                        **over_seeds,
                    }
                )
    return rows


def report(rows: Sequence[dict[str, Any]], file: Path | None) -> None:
    """Print the table, what was published, and what is gained; write the rows to a file where one is asked
    for."""
    for users, told in GROUPS.items():
        mine = [row for row in rows if row["users"] == users]
        if mine:
            print(
                f"\n{told}: {mine[0]['impressions']:,} impressions of dev with a click and a skip; mean over"
                " seeds +- standard deviation"
            )
            print(_line("", ("AUC", "MRR", "nDCG@5", "nDCG@10"), "seeds"))
        for row in mine:
            cells = [f"{row[name]['mean']:.4f} +- {row[name]['deviation']:.4f}" for name in METRICS]
            print(_line(row["way"], cells, str(row["seeds"])))
    print(
        "\npublished, on MINDsmall (NewsReX, arXiv 2508.21572; huggingface.co/newsrex; no other evaluator"
        " gives quite the same):"
    )
    for name, how, values, card in PUBLISHED:
        print(_line(name, [f"{value:.4f}" for value in values], f"{how}; {card}"))
    measures = Measures("MIND", None)
    auc = {row["way"]: row["auc"]["mean"] for row in rows if row["users"] == "all"}
    for peer, ways in ((ZERO_SHOT, MODELS), (FORMULA, KINDS)):
        for way in (way for way in ways if way in auc and peer in auc and way != peer):
            measures.add(f"AUC of {way}", auc[way], auc[peer], unit="AUC", better="higher", peer_name=peer)
    measures.finish()
    if file is not None:
        file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _line(first: str, cells: Sequence[str], last: str) -> str:
    return f"{first:<10}" + "".join(f"{cell:>18}" for cell in cells) + f"  {last}"


def main() -> None:
    """Run it all; a user's mistake is one line and exit status 2."""
    given = arguments()
    os.environ["TZ"] = "UTC"  # Python turns Spark's timestamps into the process's local time
    time.tzset()
    try:
        folders(given.path)
        spark = bench_session("MIND")
        with tempfile.TemporaryDirectory() as folder:
            rows = table(measured(spark, given, given.work or Path(folder)))
        spark.stop()
    except UserError as error:
        print(f"mind.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    report(rows, given.json)


if __name__ == "__main__":
    main()

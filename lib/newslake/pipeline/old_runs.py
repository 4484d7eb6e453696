"""What training and fitting leave run by run: the latest runs of each model stay, and whatever something
still uses."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.files.remote import Place, RemotePath, matching, modified, remove
from newslake.lake.lakehouse import Lakehouse, literal, quoted
from newslake.lake.tablespec import table_names
from newslake.pipeline.retention import report_deleted
from newslake.ranking.ranker import ABOUT, saved_rankers
from newslake.run.jobrun import JobRun
from newslake.switches.promotions import kept

# In the order of deletion: who reads a run finds it whole or finds no metrics of it; the last table says
# which runs there are.
_TRAINED = ("user_embeddings", "news_embeddings", "model_metrics")
_FITTED = ("article_topics", "topic_terms", "topics")
_CLASSIFIERS = ("article_class_scores", "text_classifier_classes", "text_classifiers")
BY_RUN = (*_TRAINED, *_FITTED, *_CLASSIFIERS)
"""The tables whose rows go with the run that made them."""
_READ_TOPICS = ("article_vectors", "user_vectors", "user_topics")
_ACTIVE = "active_models"
"""Says of each kind of model which is served, where a lakehouse has it: the one of the latest row."""


@dataclass(frozen=True)
class Made:
    """One run of a model, or one fitted topic model.

    Attributes:
        run_id: which.
        kind: what it is counted with: runs of one model.
        at: when it was made; None where that is not known, which counts as the earliest.
    """

    run_id: str
    kind: str
    at: datetime | None


def superseded(made: Iterable[Made], keep: int, used: Iterable[str] = ()) -> list[str]:
    """The runs that have `keep` later ones of their kind, less those in use, sorted. Ties in time go by
    id."""
    found: list[str] = []
    latest_first = sorted(
        made, key=lambda one: (one.kind, one.at is not None, one.at or datetime.min, one.run_id), reverse=True
    )
    for _, of_kind in groupby(latest_first, key=lambda one: one.kind):
        found += [one.run_id for one in list(of_kind)[keep:]]
    return sorted(set(found) - set(used))


def retain_runs(lake: Lakehouse, run: JobRun, keep: int, models: Place | None) -> None:
    """Delete old training runs and rankers with their models' folders, old topic models with what they
    assigned, and old text classifiers.

    What table promotions has in use stays, and what was in use before it: `promote --previous` goes back to
    that. A run killed in between leaves what the next one finds and deletes: the table that lists the runs
    comes last, then the folders.

    Args:
        lake, run: as given to the job.
        keep: how many of each model stay.
        models: the folder with trained models; None where none can be reached.
    """
    used = active(lake.read(_ACTIVE)) if _ACTIVE in table_names() and lake.exists(_ACTIVE) else set()
    trained = _trained(lake, models)
    undated = {one.run_id for one in trained if one.at is None}
    rankers = [] if models is None else superseded(_rankers(models), keep, kept(lake, "ranker"))
    needed = set() if models is None else _learnt_with(models, set(saved_rankers(models)) - set(rankers))
    # A run without any record may be one that is at work: it stays.
    dated = (one for one in trained if one.run_id not in undated)
    old = superseded(dated, keep, used | kept(lake, "recommender") | needed)
    _delete(lake, run, _TRAINED, "run_id", old)
    if models is not None:
        old += rankers
        if removed := sum(_remove_folder(models / run_id) for run_id in old):
            run.fact("folders of trained models removed", removed)
    if undated:
        run.fact("training runs of unknown age, kept", len(undated))
    _delete(lake, run, _FITTED, "topic_model", superseded(_fitted(lake), keep, used | _read_topics(lake)))
    _delete(lake, run, _CLASSIFIERS, "model_run", superseded(_classifiers(lake), keep, used))


def _trained(lake: Lakehouse, models: Place | None) -> list[Made]:
    """Every training run that has rows or a folder. A run is as old as its last training or comparison, or as
    its folder."""
    kinds: dict[str, str] = {}
    for table in _TRAINED:
        if lake.exists(table):
            kinds |= {
                row["run_id"]: row["model"]
                for row in lake.read(table).select("run_id", "model").distinct().collect()
            }
    at: dict[str, datetime] = {}
    for file in matching(models, "*/model.json") if models is not None else ():
        if ".tmp-" in file.parent.name:  # of a killed run
            continue
        about = json.loads(file.read_text(encoding="utf-8"))
        if kind := about.get("settings", {}).get("model"):  # else it is no recommender's
            kinds.setdefault(file.parent.name, kind)
            at[file.parent.name] = modified(file)
    recorded: dict[str, datetime] = {}
    if lake.exists("job_runs"):
        rows = lake.read("job_runs").select(
            F.col("facts")["training run"].alias("run_id"), F.col("started_at").alias("at")
        )
        recorded |= dict(rows.where("run_id IS NOT NULL").groupBy("run_id").agg(F.max("at")).collect())
    if lake.exists("model_comparison"):
        rows = lake.read("model_comparison").groupBy("run_id").agg(F.max("compared_at"))
        for run_id, compared in rows.collect():
            recorded[run_id] = max(compared, recorded.get(run_id, compared))
    return [Made(run_id, kind, recorded.get(run_id, at.get(run_id))) for run_id, kind in kinds.items()]


def _rankers(models: Place) -> list[Made]:
    """Every ranker in the folder; table promotions, which is small, keeps what was decided on each."""
    folders = [models / run_id for run_id in saved_rankers(models)]
    at = {folder.name: modified(folder) for folder in folders}
    return [Made(run_id, "ranker", made) for run_id, made in at.items()]


def _learnt_with(models: Place, rankers: Iterable[str]) -> set[str]:
    """The recommenders whose scores these rankers read: a ranker is of no use without its own."""
    about = (json.loads((models / run_id / ABOUT).read_text(encoding="utf-8")) for run_id in rankers)
    return {found for one in about if (found := one.get("recommender")) is not None}


def _fitted(lake: Lakehouse) -> list[Made]:
    """Every topic model."""
    if not lake.exists("topics"):
        return []
    rows = lake.read("topics").groupBy("topic_model").agg(F.max("fitted_at").alias("at")).collect()
    return [Made(row["topic_model"], "topics", row["at"]) for row in rows]


def _classifiers(lake: Lakehouse) -> list[Made]:
    """Every text classifier; scores that were brought have none, and stay."""
    if not lake.exists("text_classifiers"):
        return []
    rows = lake.read("text_classifiers").select("model_run", "trained_on", "network", "trained_at").collect()
    return [
        Made(row["model_run"], f"{row['trained_on']} {row['network']}", row["trained_at"]) for row in rows
    ]


def active(switches: DataFrame) -> set[str]:
    """The models that are served: of each kind, the one that was switched to last.

    Args:
        switches: kind, activated_at, model; as few as there are switches.
    """
    return {
        row["model"]
        for row in switches.groupBy("kind").agg(F.max_by("model", "activated_at").alias("model")).collect()
    }


def _read_topics(lake: Lakehouse) -> set[str]:
    """Topic models that vectors or profiles are of."""
    there = [table for table in _READ_TOPICS if lake.exists(table)]
    return {
        row["topic_model"]
        for table in there
        for row in lake.read(table).select("topic_model").distinct().collect()
    }


def _delete(lake: Lakehouse, run: JobRun, tables: Sequence[str], column: str, old: Sequence[str]) -> None:
    if not old:
        return
    condition = f"{quoted(column)} IN ({', '.join(map(literal, old))})"
    for table in tables:
        if lake.exists(table):
            report_deleted(run, table, lake.delete(table, condition))


def _remove_folder(folder: Place) -> bool:
    """Remove a model whole: what a kill leaves of it has a name that is no run's (see leftovers)."""
    if not folder.exists():
        return False
    # What says that it is complete goes first: without it there is no model.
    if isinstance(folder, RemotePath):
        for about in ("model.json", "ranker.json"):
            (folder / about).unlink(missing_ok=True)
        remove(folder)
        return True
    going = folder.with_name(f"{folder.name}.tmp-purged")
    shutil.rmtree(going, ignore_errors=True)
    folder.rename(going)
    shutil.rmtree(going)
    return True

"""train_ranker: learns from past impressions to rank candidates, is judged on later ones, and comes into use
unless it is worse."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.folders import parquet_files, read, write
from newslake.files.remote import Place
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking import ctr, examples, ranker
from newslake.ranking.decision import JOB, judge_and_decide
from newslake.ranking.examples import LABEL, PART, PASSING
from newslake.ranking.features import FEATURES
from newslake.ranking.gather import USERS, Moments, gathered, impressions_of, vector_folder
from newslake.ranking.hours import hours_of, windows_of
from newslake.ranking.options import CANDIDATES, FIT, FORMULA, CandidateOptions, FormulaOptions
from newslake.ranking.queries import queries_of
from newslake.ranking.ranker import Judged, Ranker, RankerSettings
from newslake.ranking.recommended import latest_usable, recommender_of
from newslake.ranking.scoring import with_features
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one
from newslake.spark.frames import Frames
from newslake.switches.classes import classed_news
from newslake.switches.promotions import decided
from newslake.switches.topic_model import asked_or_active
from newslake.training.data.fingerprint import combined
from newslake.training.data.preparation import chosen_encoder, models_folder
from newslake.training.data.time_splits import NOT_BY_TIME, TEST, TRAIN, VALID, TimeSplits, Windows

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.models.saved import SavedModel

_LAYOUT = 3
"""Part of a run's id: raise it when the same tables and settings would give another ranker."""
_READ = (
    "impressions",
    "click_history",
    "clicks",
    "news",
    "article_embeddings",
    "article_vectors",
    "user_vectors",
)


def train_ranker(
    lake: Lakehouse,
    run: JobRun,
    *,
    fit: RankerSettings = FIT,
    by_time: TimeSplits = NOT_BY_TIME,
    candidates: CandidateOptions = CANDIDATES,
    formula: FormulaOptions = FORMULA,
    tolerance: float = 0.01,
    resamples: int = 1000,
    encoder_id: str | None = None,
    topic_model: str | None = None,
    model_folder: str | None = None,
    scratch_folder: str | None = None,
    force: bool = False,
) -> None:
    """Train a ranker for the newsfeed on past impressions, and bring it into use unless it is worse than what
    is in use.

    Each impression is seen as the feed of its hour would have seen it: features are what was known at the
    start of the hour in which it was shown (lib/newslake/ranking/features.py), by the function that
    rank_newsfeed uses. Candidates are the articles shown, and a sample of recent ones that were not, since a
    feed chooses among all. The last --test-hours are judged by, once; the --valid-hours before them choose
    the number of rounds; the --train-days before those are learnt from. Users' vectors are those of the
    latest day up to each hour.

    The ranker is kept in the models folder. It comes into use where nDCG@10 on the test hours is at most
    --tolerance below that of what is in use (the ranker promoted last, else the formula), with 97.5 %
    certainty by a paired bootstrap; table promotions has both figures. A run with the same tables and
    settings is found again, and nothing is done.

    Args:
        tolerance: By how much nDCG@10 may be lower than that of what is in use.
        resamples: Resamples of the bootstrap.
        encoder_id: Whose vectors to use, where the tables hold several encoders'.
        topic_model: Whose user vectors to use (default: the active topic model's).
        model_folder: Folder for trained models (default: _models in the work folder).
        scratch_folder: Folder for vectors and features that driver and executors share (default: _scratch in
            the work folder).
        force: Train again though the run is there.
    """
    if tolerance < 0 or resamples < 1:
        raise UserError("--tolerance must be 0 or more, --resamples at least 1")
    windows = windows_of(lake, by_time)
    encoder_id = chosen_encoder(lake, encoder_id)
    topic_model = _topic_model(lake, encoder_id, topic_model)
    models = models_folder(lake, model_folder, None)
    tables = {table: lake.bookmark(table) for table in _READ}
    recommender = latest_usable(lake, models, encoder_id, windows)
    run.fact("recommender whose score is a feature", "none" if recommender is None else recommender.run_id)
    parts = {
        "layout": _LAYOUT,
        "features": FEATURES,
        "tables": tables,
        "topics": topic_model,
        "half_life": formula.ctr_half_life_hours,
        "recommender": None if recommender is None else recommender.run_id,
    }
    run_id = combined(
        {**parts, **asdict(fit), **asdict(candidates), **windows.as_dict(), "encoder": encoder_id}
    )
    run.fact("training run", run_id)
    there = run_id in ranker.saved_rankers(models)
    if there and not force and (decision := decided(lake, "ranker", run_id, JOB)):
        run.progress(
            f"ranker {run_id} is there already, {'promoted' if decision.promoted else 'not promoted'}"
            " (--force trains it again)"
        )
        return
    moments = Moments(hours_of(windows), candidates.days, encoder_id, topic_model)
    what = Staging(moments, windows, candidates, formula.ctr_half_life_hours, fit.seed)
    with vector_folder(lake, scratch_folder) as folder:
        features, count = staged(lake, run, folder / "own", what, recommender)
        run.rows_in(count)
        train, valid = (loaded(features / part) for part in (TRAIN, VALID))
        by = None if recommender is None else recommender.run_id
        fitted = ranker.fit(train, valid, fit, run_id=run_id, encoder_id=encoder_id, recommender=by)
        run.fact("rounds", fitted.about["rounds"])
        chosen_by = f"valid nDCG@10 {fitted.about['valid_ndcg_at_10']:.4f}"
        run.progress(
            f"trained {fitted.about['rounds']} rounds on {len(train.labels):,} candidates, {chosen_by}"
        )
        ranker.save(models, fitted)

        def test(of: Ranker) -> DataFrame:
            """The test candidates with the score of the recommender that a ranker has learnt with."""
            if of.recommender == fitted.recommender:
                return read(lake.spark, features / TEST)
            own = recommender_of(models, of)
            again, _ = staged(lake, run, folder / of.run_id, what, own, parts=(TEST,))
            return read(lake.spark, again / TEST)

        judge_and_decide(lake, run, test, fitted, models, formula, tolerance=tolerance, resamples=resamples)


@dataclass(frozen=True)
class Staging:
    """What candidates are staged for.

    Attributes:
        moments: hours, encoder and topic model.
        windows: the parts.
        candidates: which of them.
        half_life: hours after which an event counts half in rates.
        seed: of the draws.
    """

    moments: Moments
    windows: Windows
    candidates: CandidateOptions
    half_life: float
    seed: int


def staged(
    lake: Lakehouse,
    run: JobRun,
    folder: Place,
    what: Staging,
    recommender: "SavedModel | None",
    *,
    parts: Sequence[str] = (TRAIN, VALID, TEST),
) -> tuple[Place, int]:
    """Write the features of the windows' candidates, a folder of Parquet for each part; returns the folder of
    these, and how many candidates there are.

    Args:
        lake, run: as given to the job.
        folder: a new one that all workers see.
        what: to stage.
        recommender: whose score is a feature.
        parts: to write.

    Raises:
        UserError: a part has no impression with a click.
    """
    moments, windows, candidates, seed = what.moments, what.windows, what.candidates, what.seed
    news = classed_news(lake)
    impressions = impressions_of(lake).where(F.col("occurred_at") < F.lit(windows.end))
    with Frames() as frames:
        rows = examples.shown(impressions, windows)
        counted = {
            row[0]: int(row[1])
            for row in rows.where(F.col(LABEL) == 1).groupBy(PART).agg(F.count_distinct("query")).collect()
        }
        for part in windows.roles:
            if not counted.get(part):
                raise UserError(
                    f"no impression with a click in {windows.named(part)} of {lake}: {windows.mended_by()}"
                )
            run.fact(f"{part} impressions with a click", counted[part])
        rows = rows.where(F.col(PART).isin(*parts))
        rows = frames.keep(examples.sampled(rows, candidates.max_impressions, counted, seed))
        recent = frames.keep(examples.recent_at(news, moments.hours, moments.days))
        found = frames.keep(ctr.counts_at(impressions, moments.hours, what.half_life))
        rates = ctr.estimated_at(recent, found, news)
        known, paths = gathered(
            lake, frames, folder, moments, news=news, rates=rates, recommender=recommender
        )
        pairs = examples.examples(rows, recent, known.read, unshown=candidates.unshown, seed=seed)
        features = with_features(queries_of(pairs, known, (*PASSING, PART)), paths, (*PASSING, PART))
        features = frames.keep(features)
        count = features.count()
        for part in parts:
            write(features.where(F.col(PART) == part).drop(PART), folder / "features" / part)
    return folder / "features", count


def loaded(folder: Place) -> Judged:
    """The candidates that lie in a folder, in the order of their queries and ids.

    Raises:
        UserError: there is none.
    """
    table = (
        pq.read_table(parquet_files(folder), columns=["query", "news_id", LABEL, *FEATURES])
        if parquet_files(folder)
        else None
    )
    if table is None or not table.num_rows:
        raise UserError(
            "no article of these impressions had been published before their hours, so there is nothing to"
            " learn from"
        )
    table = table.sort_by([("query", "ascending"), ("news_id", "ascending")])
    codes = (
        table["query"]
        .combine_chunks()
        .dictionary_encode()
        .indices.to_numpy(zero_copy_only=False)
        .astype(np.int64)
    )
    features = np.empty((table.num_rows, len(FEATURES)), np.float32)
    for place, name in enumerate(FEATURES):
        features[:, place] = table[name].to_numpy()
    return Judged(features, table[LABEL].to_numpy().astype(np.int8), codes)


def _topic_model(lake: Lakehouse, encoder_id: str, asked: str | None) -> str | None:
    """Whose user vectors to take: as rank_newsfeed does; None where there are none by the encoder."""
    if not lake.exists(USERS):
        return None
    rows = lake.read(USERS).where(F.col("encoder_id") == encoder_id)
    if rows.isEmpty():
        return None
    told = {"table": USERS, "built_by": "build_user_vectors", "things": "vectors"}
    return the_one(rows, "topic_model", asked_or_active(lake, rows, asked), **told)

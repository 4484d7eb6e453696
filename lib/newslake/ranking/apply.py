"""The learnt ranker in the feed: which one, and its scores of an hour's candidates."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.remote import Place
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.features import RATES
from newslake.ranking.gather import Moments, gathered
from newslake.ranking.queries import queries_of
from newslake.ranking.ranker import Ranker, load
from newslake.ranking.recommended import recommender_of
from newslake.ranking.scoring import SCORE, with_scores
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames
from newslake.switches.promotions import in_use
from newslake.training.data.preparation import models_folder

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.models.saved import SavedModel

AUTO, FORMULA = "auto", "formula"


@dataclass(frozen=True)
class Chosen:
    """A ranker, and the recommender that it has learnt with, if any."""

    ranker: Ranker
    recommender: "SavedModel | None"


def chosen(
    lake: Lakehouse, run: JobRun, asked: str, model_folder: str | None, encoder_id: str
) -> Chosen | None:
    """The ranker to use; None for the formula.

    Args:
        lake, run: as given to the job.
        asked: auto (the one in use; the formula where there is none or, saying so, where it cannot be
            loaded), formula, or a run.
        model_folder: where rankers lie, as the job was told.
        encoder_id: of the user vectors that the feed searches by.

    Raises:
        UserError: there is no ranker of the run asked for, or it reads vectors of another encoder.
    """
    run_id = in_use(lake, "ranker") if asked == AUTO else asked
    if run_id is None or run_id == FORMULA:
        return None
    try:
        models = models_folder(lake, model_folder, None)
        ranker = load(models, run_id)
        if ranker.encoder_id != encoder_id:
            raise UserError(
                f"ranker {run_id} reads vectors of {ranker.encoder_id}, but the users' are of {encoder_id}:"
                " train it again"
            )
        return Chosen(ranker, recommender_of(models, ranker))
    except UserError as error:
        if asked != AUTO:
            raise
        # An hour without a feed would be worse than one ranked as before.
        run.fact("ranker in use, not usable", error)
        run.progress(f"ranked by the formula: {error}")
        return None


def scored(
    lake: Lakehouse,
    frames: Frames,
    folder: Place,
    by: Chosen,
    candidates: DataFrame,
    moments: Moments,
    *,
    news: DataFrame,
    rates: DataFrame,
) -> DataFrame:
    """The candidates with the ranker's score.

    Args:
        lake, frames: as in the job.
        folder: a new one for vectors, which driver and executors see.
        by: the ranker.
        candidates: user_id, news_id and others.
        moments: the feed's hour; features are what was known strictly before it.
        news: news_id, category, subcategory, published_at.
        rates: rows of article_ctr of the hour.
    """
    pairs = frames.keep(candidates)
    at_hour = rates.select(F.col("as_of").alias("hour"), "news_id", *RATES)
    known, paths = gathered(
        lake, frames, folder, moments, news=news, rates=at_hour, recommender=by.recommender
    )
    asked = pairs.select(
        F.col("user_id").alias("query"), "user_id", F.lit(moments.hours[0]).alias("hour"), "news_id"
    )
    found = with_scores(queries_of(asked, known, ["news_id"]), paths, ["news_id"], by.ranker.scorer())
    scores = found.select("user_id", "news_id", F.col(SCORE).alias("score"))
    return pairs.join(scores, on=["user_id", "news_id"], how="inner")

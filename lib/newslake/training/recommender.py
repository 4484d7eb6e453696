"""The job train_recommender: stages the tables' examples, trains a model on them, and writes its vectors and
metrics."""

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.connect import refuse_processes
from newslake.text.spec import DEFAULT_MODEL
from newslake.training.data.preparation import prepare
from newslake.training.data.texts import DEFAULT_TOKENS
from newslake.training.data.time_splits import NOT_BY_TIME, TimeSplits
from newslake.training.judging.promotion import BY_DEFAULT, Promotion, decide_on
from newslake.training.options import DATA, LEARNING, PLACE, DataOptions, LearningOptions, PlaceOptions


def train_recommender(
    lake: Lakehouse,
    run: JobRun,
    *,
    learning: LearningOptions = LEARNING,
    encoder: str = DEFAULT_MODEL,
    text_tokens: int = DEFAULT_TOKENS,
    data: DataOptions = DATA,
    by_time: TimeSplits = NOT_BY_TIME,
    where: PlaceOptions = PLACE,
    promotion: Promotion = BY_DEFAULT,
    force: bool = False,
) -> None:
    """Train a recommender on clicks, choose its epoch on other impressions (valid), report on later ones
    (test), and keep its vectors.

    Which impressions are which is decided by time, counted back from --as-of, or else by split: train and
    dev, and no test. Where an impression came without a history, as from a stream, the history is what the
    user had clicked before it.

    Reads impressions, click_history, clicks, news and, for all models but mf, article_embeddings. Writes
    user_embeddings, news_embeddings (the best epoch's vectors), model_metrics (every epoch, 0 being the
    untrained model; of test the one that was kept) and the model itself (a folder). The same data, settings
    and seed are the same run: where its results are there already, nothing is done; a killed run goes on
    after its last epoch.

    Where there is a test, nrms and dssm are compared there with the recommender in use (zero-shot where there
    is none), by AUC on the same impressions. The new one comes into use where its AUC is at most --tolerance
    lower, with 97.5 % certainty by a paired bootstrap; table promotions has both figures. encode_users and
    export_vectors take what is in use.

    Args:
        encoder: The encoder whose layers are tuned, as encode_articles takes it; it made the article
            embeddings.
        text_tokens: Tokens of an article that the tuned encoder reads, special tokens counted.
        force: Train again even where the results are there.
    """
    # torch takes seconds to import: --help does without.
    from newslake.training.models import model_class
    from newslake.training.runs import trained_run

    settings, place = learning.settings(), where.place(lake)
    refuse_processes(lake.spark, settings.processes)
    inputs = data.inputs(
        by_time,
        history=learning.history,
        tune_layers=learning.tune_layers,
        encoder=encoder,
        text_tokens=text_tokens,
    )
    prepared = prepare(
        lake, run, place.staging, inputs, with_vectors=model_class(learning.model).needs_vectors
    )
    run_id = trained_run(lake, run, prepared, settings, place, force=force)
    run.fact("training run", run_id)
    decide_on(lake, run, prepared, run_id, place, promotion, again=force)

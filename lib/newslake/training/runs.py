"""One training run: found where it was done before, else trained, kept, and written to the tables."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from newslake.files.remote import Place as Folder
from newslake.files.remote import remove
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.training import results
from newslake.training.data.fingerprint import combined
from newslake.training.data.loading import load_impressions, load_training_data
from newslake.training.data.preparation import Prepared
from newslake.training.data.time_splits import TEST
from newslake.training.loop.checkpoint import EpochMetrics
from newslake.training.loop.distributed import train_together
from newslake.training.loop.evaluate import evaluate
from newslake.training.loop.trainer import Trained, train
from newslake.training.models.saved import is_saved, save_model
from newslake.training.models.settings import TrainSettings


@dataclass(frozen=True)
class Place:
    """Where a run works: folders of staged examples and of models, device and threads."""

    staging: Folder
    models: Folder
    device: str = "auto"
    threads: int = 1


def run_id_of(prepared: Prepared, settings: TrainSettings) -> str:
    """The id of a run: the same data, settings and seed are the same run."""
    vectors = prepared.vectors
    texts = {} if prepared.texts is None else {"texts": prepared.texts.fingerprint}
    return combined(
        {
            **settings.as_dict(),
            "data": prepared.staged.fingerprint,
            "vectors": vectors and vectors.fingerprint,
            **texts,
        }
    )


def trained_run(
    lake: Lakehouse,
    run: JobRun,
    prepared: Prepared,
    settings: TrainSettings,
    place: Place,
    *,
    force: bool = False,
) -> str:
    """Train a model and write its vectors and metrics, unless that has been done; returns the run's id.

    Where training stands is kept after each epoch: after a kill it goes on from there.
    """
    run_id = run_id_of(prepared, settings)
    model = settings.model
    if not force and results.is_complete(lake, run_id) and is_saved(place.models, run_id):
        run.progress(
            f"training run {run_id} of model {model} is there already: nothing to do (--force trains it"
            " again)"
        )
        return run_id
    checkpoint = place.staging / "checkpoints" / f"{run_id}.pt"
    if force:
        checkpoint.unlink(missing_ok=True)

    def tell(text: str) -> None:
        run.progress(f"{model}: {text}")

    if settings.processes > 1:
        staged, vectors, texts = prepared.staged, prepared.vectors, prepared.texts
        train_together(
            lake.spark, staged, vectors, settings, device=place.device, checkpoint=checkpoint, texts=texts
        )
    data = load_training_data(prepared.staged, prepared.vectors, prepared.texts)
    trained = train(
        data, settings, device=place.device, threads=place.threads, progress=tell, checkpoint=checkpoint
    )
    trained = _with_test(trained, prepared, settings, tell)
    results.report(run, trained)
    save_model(
        place.models,
        trained.model,
        data.catalogue,
        settings,
        run_id=run_id,
        encoder_id=prepared.encoder_id,
        known_until=prepared.known_until,
    )
    scratch = place.staging / f"results.tmp-{secrets.token_hex(4)}"
    try:
        results.save(lake, run, trained, data.catalogue, model=model, run_id=run_id, scratch=scratch)
    finally:
        remove(scratch)
    checkpoint.unlink(missing_ok=True)
    return run_id


def _with_test(
    trained: Trained, prepared: Prepared, settings: TrainSettings, tell: Callable[[str], None]
) -> Trained:
    """The metrics of test beside the others, where there is one: read here for the first time, when nothing
    is left to be chosen by it."""
    if TEST not in prepared.staged.sizes:
        return trained
    ranking, loss = evaluate(trained.vectors, load_impressions(prepared.staged, TEST), settings.loss)
    tell(f"epoch {trained.best_epoch}: AUC test {'none' if ranking.auc is None else f'{ranking.auc:.4f}'}")
    return replace(trained, metrics=[*trained.metrics, EpochMetrics(trained.best_epoch, TEST, loss, ranking)])

"""The job train_recommender: stages the tables' examples, trains a model on them, and writes its vectors and metrics."""

import secrets
import shutil
from pathlib import Path

from newslake.errors import UserError
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.training.fingerprint import combined
from newslake.training.staging import Staged, stage, stage_vectors


def train_recommender(
    lake: Lakehouse,
    run: JobRun,
    *,
    model: str = "content",
    epochs: int | None = None,
    patience: int | None = None,
    seed: int = 0,
    dim: int = 50,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-5,
    skips: int = 4,
    max_skips: int = 300,
    encoder_id: str | None = None,
    staging: str | None = None,
    device: str = "auto",
    threads: int = 1,
    force: bool = False,
) -> None:
    """Train a recommender on the clicks of split train, judge it on split dev after each epoch, and keep its vectors.

    Reads impressions, click_history, news and, for the content model, article_embeddings. Writes user_embeddings,
    news_embeddings (the best epoch's vectors) and model_metrics (every epoch). The same data, settings and seed are the same
    run: where its results are there already, nothing is done.

    Args:
        model: Which model: mf (matrix factorization) or content (the article's text, category and entity).
        epochs: Passes over the clicks at most (default: 30).
        patience: Stop after so many epochs without a better valid AUC (default: 5 for content; mf goes through all epochs).
        seed: Of the first weights, the order of examples and the skips drawn.
        dim: Size of the vectors.
        batch_size: Examples per step, an example being a user, a candidate and a label.
        learning_rate: Adam's.
        weight_decay: Adam's, added to the gradient (L2).
        skips: Skipped candidates drawn per click, afresh each epoch.
        max_skips: Skips staged per click; an impression with more (none in MIND) keeps a fixed random choice of so many.
        encoder_id: Which article embeddings to use; needed only where the table holds several encoders'.
        staging: Folder for staged examples that driver and executors see at the same path (default: _staging beside the tables).
        device: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one.
        threads: Threads for training on the CPU.
        force: Train again even where the results are there.
    """
    # torch takes seconds to import: --help does without.
    from newslake.training import results
    from newslake.training.data import load_training_data
    from newslake.training.models import model_class
    from newslake.training.trainer import TrainSettings, settings_dict, torch_device, train

    kind = model_class(model)
    settings = TrainSettings(
        model=model,
        epochs=kind.defaults.epochs if epochs is None else epochs,
        patience=kind.defaults.patience if patience is None else patience,
        seed=seed,
        dim=dim,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        skips=skips,
    )
    if max_skips < 1 or threads < 1:
        raise UserError("--max-skips and --threads must be at least 1")
    torch_device(device)
    folder = staging_folder(lake, staging)
    staged, vectors = _staged(lake, run, folder, max_skips=max_skips, encoder_id=encoder_id, with_vectors=kind.needs_vectors)
    run_id = combined({**settings_dict(settings), "data": staged.fingerprint, "vectors": vectors and vectors.fingerprint})
    run.fact("training run", run_id)
    if not force and results.is_complete(lake, run_id):
        run.progress(f"training run {run_id} of model {model} is there already: nothing to do (--force trains it again)")
        return

    data = load_training_data(staged, vectors)
    trained = train(data, settings, device=device, threads=threads, progress=lambda text: run.progress(f"{model}: {text}"))
    results.report(run, trained)
    scratch = folder / f"results.tmp-{secrets.token_hex(4)}"
    try:
        results.save(lake, run, trained, data.catalogue, model=model, run_id=run_id, scratch=scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def staging_folder(lake: Lakehouse, staging: str | None) -> Path:
    """Where to stage: the folder given, else _staging beside the tables.

    Raises:
        UserError: neither is a folder that a process can open as it stands.
    """
    if staging is None and lake.root is None:
        raise UserError("tables named by --schema have no folder beside them: give --staging FOLDER that driver and executors share")
    place = staging if staging is not None else f"{lake.root}/_staging"
    place = place.removeprefix("file://") if place.startswith("file:///") else place.removeprefix("file:")
    if ":/" in place:
        raise UserError(f"cannot stage in {place}: give --staging FOLDER on a disk or mounted volume that driver and executors share")
    return Path(place).absolute()


def _staged(
    lake: Lakehouse, run: JobRun, folder: Path, *, max_skips: int, encoder_id: str | None, with_vectors: bool
) -> tuple[Staged, Staged | None]:
    """The staged examples, and the staged vectors where the model needs them."""
    tables = {name: lake.read(name) for name in ("impressions", "click_history", "news")}
    encoder = chosen_encoder(lake, encoder_id) if with_vectors else None
    staged = stage(folder, **tables, train="train", valid="dev", max_skips=max_skips)
    _report_staged(run, staged)
    if encoder is None:
        return staged, None
    vectors = stage_vectors(staged, lake.spark, lake.read("article_embeddings"), encoder_id=encoder)
    run.fact("articles without a vector", staged.sizes["articles"] - vectors.sizes["vectors"])
    return staged, vectors


def chosen_encoder(lake: Lakehouse, encoder_id: str | None) -> str:
    """The encoder to use: the one asked for, or the only one that there is."""
    found = sorted(row["encoder_id"] for row in lake.read("article_embeddings").select("encoder_id").distinct().collect())
    if not found:
        raise UserError("article_embeddings is empty: run jobs/encode_articles.py first")
    if encoder_id is None and len(found) > 1:
        raise UserError(f"article_embeddings holds several encoders' vectors: choose with --encoder-id {' or '.join(found)}")
    if encoder_id is not None and encoder_id not in found:
        raise UserError(f"--encoder-id {encoder_id}: article_embeddings has no such vectors; it has {', '.join(found)}")
    return encoder_id or found[0]


def _report_staged(run: JobRun, staged: Staged) -> None:
    sizes = staged.sizes
    run.rows_in(sizes["candidates"])
    run.fact("clicks", sizes["clicks"])
    run.fact("train impressions", sizes["train"])
    run.fact("valid impressions", sizes["valid"])
    run.fact("users", sizes["users"])
    run.fact("articles", sizes["articles"])
    run.fact("articles without a news row", sizes["articles_without_news"])
    run.fact("clicks with skips left out", sizes["clicks_with_skips_left_out"])
    run.progress(f"staged {sizes['clicks']:,} clicks, {sizes['train']:,} train and {sizes['valid']:,} valid impressions: {staged.folder}")

"""train_text_classifier: classes and out-of-fold scores of texts, by a small network on their frozen
vectors."""

import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.folders import read
from newslake.files.remote import Place, remove, writing
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.text.lengths import SHORT_CHARS, is_long
from newslake.training.classifier.settings import CLASSIFIER, ClassifierSettings
from newslake.training.data.fingerprint import combined

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.classifier.model import FoldedClassifier
    from newslake.training.classifier.quality import Quality
    from newslake.training.data.staging import Staged

TrainedOn = Literal["long", "short", "short-as-labelled"]
SCORES, RUNS, CLASSES, EMBEDDINGS = (
    "article_class_scores",
    "text_classifiers",
    "text_classifier_classes",
    "article_embeddings",
)


def train_text_classifier(
    lake: Lakehouse,
    run: JobRun,
    *,
    trained_on: TrainedOn = "long",
    settings: ClassifierSettings = CLASSIFIER,
    least: int = 10,
    short_chars: int = SHORT_CHARS,
    encoder_id: str | None = None,
    threads: int = 1,
    device: str = "auto",
    staging: str | None = None,
    force: bool = False,
) -> None:
    """Train a classifier of texts on their frozen vectors, and score every text with a model that did not
    train on it.

    long trains on the articles in table news with more than --short-chars characters, whose class is
    news.category: its scores say which long articles may vote in jobs/reclassify_short_text.py. short trains
    on table short_text_corpus, that job's corrected texts; short-as-labelled on the same texts with the
    classes that they came with, for comparison.

    The texts are split into --folds parts, equal texts in one part; each part is scored by a model trained on
    the others. Table article_class_scores gets these scores; table text_classifiers accuracy, log loss,
    calibration and the model trained on all texts; table text_classifier_classes the quality by class.
    Training the same again does nothing.

    Args:
        trained_on: Which texts, with which classes.
        least: A class with fewer texts is left out.
        short_chars: An article with more characters in title, abstract and body is long.
        encoder_id: Whose vectors to use, where table article_embeddings holds several encoders'.
        threads: Threads of PyTorch on a CPU.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        staging: Folder for what training reads (default: _staging in the work folder); driver and executors
            must share it.
        force: Train again what has been trained.
    """
    from newslake.training.classifier.data import stage_texts, with_vectors
    from newslake.training.classifier.model import RECIPE
    from newslake.training.data.preparation import chosen_encoder, staging_folder
    from newslake.training.loop.trainer import torch_device

    if least < 1 or threads < 1 or short_chars < 1:
        raise UserError("--least, --threads and --short-chars must be at least 1")
    place, folder = torch_device(device), staging_folder(lake, staging)
    texts = labelled_texts(lake, trained_on, short_chars)
    encoder = chosen_encoder(lake, encoder_id)
    vectors = lake.read(EMBEDDINGS).where(F.col("encoder_id") == encoder)
    staged = stage_texts(
        folder,
        with_vectors(texts, vectors),
        encoder_id=encoder,
        folds=settings.folds,
        least=least,
        seed=settings.seed,
    )
    run.rows_in(staged.sizes["texts"])
    run.fact("texts whose vector has no direction or an odd size", staged.sizes["without_vector"])
    run.fact("texts of classes too small", staged.sizes["of_small_classes"])
    made_of = combined({**asdict(settings), "data": staged.fingerprint, "recipe": RECIPE})
    model_run = f"{trained_on}-{settings.network}-{made_of}"
    run.fact("model_run", model_run)
    if (
        not force
        and lake.exists(RUNS)
        and not lake.read(RUNS).where(F.col("model_run") == model_run).isEmpty()
    ):
        run.progress(f"{model_run} is there already: nothing to do (--force trains it again)")
        return
    model = _trained(run, staged, settings, threads, place)
    scratch = folder / f"scores.tmp-{secrets.token_hex(4)}"
    try:
        quality = _scored(staged, model, place, scratch)
        _save(
            lake,
            run,
            staged,
            model,
            quality,
            scratch,
            model_run,
            {"trained_on": trained_on, "network": settings.network, "encoder_id": encoder},
        )
    finally:
        remove(scratch)


def labelled_texts(lake: Lakehouse, trained_on: TrainedOn, short_chars: int) -> DataFrame:
    """news_id, content_hash, class of the texts to train on.

    Raises:
        UserError: there is no such set of texts.
    """
    if trained_on == "long":
        rows = (
            lake.read("news")
            .where(is_long(short_chars))
            .select("news_id", "content_hash", F.col("category").alias("class"))
        )
    elif trained_on in ("short", "short-as-labelled"):
        column = "class" if trained_on == "short" else "old_class"
        rows = lake.read("short_text_corpus").select("news_id", "content_hash", F.col(column).alias("class"))
    else:
        raise UserError(f"--trained-on {trained_on}: choose long, short or short-as-labelled")
    return rows.where(F.col("class").isNotNull())


def _trained(
    run: JobRun, staged: "Staged", settings: ClassifierSettings, threads: int, place: object
) -> "FoldedClassifier":
    import torch

    from newslake.training.classifier.data import TextFeed
    from newslake.training.classifier.model import FoldedClassifier, train_classifier

    assert isinstance(place, torch.device)
    sizes = staged.sizes
    run.progress(f"{sizes['texts']:,} texts of {sizes['classes']} classes, vectors of {sizes['dimension']}")
    model = FoldedClassifier(sizes["dimension"], sizes["classes"], settings).to(place)
    feed = TextFeed(staged, seed=settings.seed, batch_size=settings.batch_size)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        steps = -(-sizes["texts"] // settings.batch_size)
        train_classifier(feed, model, settings, steps=steps, device=place, progress=run.progress)
    finally:
        torch.set_num_threads(before)
    return model


def _scored(staged: "Staged", model: "FoldedClassifier", place: object, folder: Place) -> "Quality":
    """Score every text by the model that did not see it, into a Parquet file; the quality on the way."""
    import torch

    from newslake.training.classifier.data import classes_of, scoring_batches
    from newslake.training.classifier.quality import Quality

    assert isinstance(place, torch.device)
    names = pa.array(classes_of(staged), pa.string())
    quality = Quality.of(len(names))
    schema = pa.schema(
        [
            ("news_id", pa.string()),
            ("content_hash", pa.string()),
            ("class", pa.string()),
            ("score", pa.float64()),
        ]
    )
    folder.mkdir(parents=True)
    with writing(folder / "scores.parquet") as sink, pq.ParquetWriter(sink, schema) as writer:
        for batch in scoring_batches(staged):
            found = (
                model.held_out(
                    torch.from_numpy(batch.vectors).to(place), torch.from_numpy(batch.folds).to(place)
                )
                .cpu()
                .numpy()
            )
            quality.add(found, batch.labels)
            given = names.take(pa.array(found.argmax(axis=1)))
            score = pa.array(found.max(axis=1).astype("float64").clip(0.0, 1.0))
            writer.write_table(
                pa.Table.from_arrays([batch.news_ids, batch.content_hashes, given, score], schema=schema)
            )
    return quality


def _save(
    lake: Lakehouse,
    run: JobRun,
    staged: "Staged",
    model: "FoldedClassifier",
    quality: "Quality",
    folder: Place,
    model_run: str,
    about: dict[str, str],
) -> None:
    """Scores and classes first, the run itself last: without it a rerun trains again, to the same rows."""
    from newslake.training.classifier.data import classes_of

    names, where = classes_of(staged), {"model_run": model_run}
    scores = read(lake.spark, folder / "scores.parquet").withColumn("model_run", F.lit(model_run))
    run.wrote(SCORES, lake.replace(SCORES, scores, where=where).rows)
    by_class = [
        (model_run, name, *row[:6], None if row[6] is None else names[row[6]])
        for name, row in zip(names, quality.by_class(), strict=True)
    ]
    rows = frame_of(lake.spark, by_class, lake.schema(CLASSES)).coalesce(1)
    run.wrote(CLASSES, lake.replace(CLASSES, rows, where=where).rows)
    layers = [(weights.tolist(), bias.tolist()) for weights, bias in model.layers()]
    one = {
        "model_run": model_run,
        **about,
        "classes": names,
        "texts": quality.texts,
        "folds": model.models - 1,
        "accuracy": quality.accuracy,
        "log_loss": quality.log_loss,
        "calibration_error": quality.calibration_error,
        "calibration": quality.calibration(),
        "layers": layers,
        "trained_at": datetime.now(UTC),
    }
    schema = lake.schema(RUNS)
    summary = frame_of(lake.spark, [tuple(one[name] for name in schema.names)], schema).coalesce(1)
    run.wrote(RUNS, lake.replace(RUNS, summary, where=where).rows)
    run.fact("held-out accuracy", f"{quality.accuracy:.4f}")
    run.fact("calibration error", f"{quality.calibration_error:.4f}")

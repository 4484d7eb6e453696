"""classify_articles: the class of each new article by a text classifier that is trained already."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import unit
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames
from newslake.switches.classes import current_classifiers
from newslake.text.lengths import SHORT_CHARS, is_long, is_short

SCORES, RUNS, EMBEDDINGS = "article_class_scores", "text_classifiers", "article_embeddings"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SavedClassifier:
    """A classifier as its row in text_classifiers has it.

    Attributes:
        model_run, trained_on, encoder_id: of the row.
        classes: in the order of the outputs.
        layers: weights (outputs, inputs) and bias (outputs,) of each.
    """

    model_run: str
    trained_on: str
    encoder_id: str
    classes: tuple[str, ...]
    layers: tuple[tuple[Floats, Floats], ...]

    @property
    def dimension(self) -> int:
        """Size of the vectors that it reads."""
        return int(self.layers[0][0].shape[1])

    def probabilities(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """(n, dimension) vectors of length 1 -> (n, classes)."""
        x = vectors
        for place, (weights, bias) in enumerate(self.layers):
            x = (np.maximum(x, 0.0) if place else x) @ weights.T + bias
        logits = x.astype(np.float64)
        found: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
        return found / found.sum(axis=1, keepdims=True)


def classify_articles(
    lake: Lakehouse, run: JobRun, *, model_run: str | None = None, short_chars: int = SHORT_CHARS
) -> None:
    """Give each article that a saved text classifier has not scored yet its class and score, in table
    article_class_scores.

    Of the classifiers that jobs/train_text_classifier.py made, the last that was trained on long articles
    scores the long ones, and the last that was trained on the corrected corpus (--trained-on short) the short
    ones. Articles that they trained on have their scores already, of a model that had not seen them, and keep
    them. An article whose text changed is scored anew.

    A long article that is classified so may vote in jobs/reclassify_short_text.py; an article that came
    without a class is counted in the found one, by profiles, rates and training, where its score is above
    0.9. Articles need vectors by the classifier's encoder: run jobs/encode_articles.py first. Run again, the
    job scores what is new.

    Args:
        model_run: One classifier to use, of those in table text_classifiers, on the texts of its kind
            (default: the last of either kind).
        short_chars: An article with more characters in title, abstract and body is long.
    """
    if short_chars < 1:
        raise UserError("--short-chars must be at least 1")
    classifiers = saved_classifiers(lake.read(RUNS), model_run)
    news, embeddings = lake.read("news"), lake.read(EMBEDDINGS)
    for classifier in classifiers:
        _check_encoder(embeddings, classifier)
    lake.create(SCORES)
    total = 0
    for classifier in classifiers:
        kind = is_long(short_chars) if classifier.trained_on == "long" else is_short(short_chars)
        total += _classify(
            lake,
            run,
            classifier,
            news.where(kind),
            embeddings.where(F.col("encoder_id") == classifier.encoder_id),
        )
    run.rows_in(total)


def _classify(
    lake: Lakehouse, run: JobRun, classifier: SavedClassifier, texts: DataFrame, vectors: DataFrame
) -> int:
    """Score what one classifier has not scored yet, in one commit; returns how many articles there were to
    score."""
    scores = lake.read(SCORES).where(F.col("model_run") == classifier.model_run)
    with Frames() as frames:
        new = frames.keep(pending(texts, scores))
        waiting = new.count()
        made = new.join(vectors, on=["news_id", "content_hash"], how="inner").select(
            "news_id", "content_hash", unit(F.col("embedding")).alias("vector")
        )
        usable = F.col("vector").isNotNull() & (F.size("vector") == classifier.dimension)
        counted = made.agg(F.count("*").alias("ready"), F.count_if(usable).alias("usable")).head()
        assert counted is not None  # an aggregate without groups has one row
        if waiting and not counted["ready"]:
            _check_new(lake, new, classifier)
        if counted["usable"]:
            rows = scored(made.where(usable), classifier).withColumn("model_run", F.lit(classifier.model_run))
            run.wrote(SCORES, lake.merge(SCORES, rows).rows)
    name = classifier.model_run
    run.fact(f"classified by {name}", counted["usable"])
    run.fact(f"without a vector for {name}", waiting - counted["ready"])
    run.fact(f"whose vector has no direction or an odd size, {name}", counted["ready"] - counted["usable"])
    run.progress(f"{name}: {counted['usable']:,} of {waiting:,} new articles classified")
    return waiting


def pending(texts: DataFrame, scores: DataFrame) -> DataFrame:
    """The texts whose present version has no score: news_id, content_hash.

    Args:
        texts: rows of news.
        scores: rows of article_class_scores of one model_run.
    """
    return texts.select("news_id", "content_hash").join(
        scores.select("news_id", "content_hash"), on=["news_id", "content_hash"], how="left_anti"
    )


def scored(rows: DataFrame, classifier: SavedClassifier) -> DataFrame:
    """The most probable class of each text, and its probability: news_id, content_hash, class, score.

    Args:
        rows: news_id, content_hash, vector (array<float> of length 1, of the classifier's dimension).
        classifier: goes to the executors with the task.
    """

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        names = pa.array(classifier.classes, pa.string())
        for batch in batches:
            flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
            found = classifier.probabilities(flat.astype(np.float32).reshape(-1, classifier.dimension))
            given = names.take(pa.array(found.argmax(axis=1)))
            best = pa.array(found.max(axis=1).clip(0.0, 1.0))
            columns = [batch.column("news_id"), batch.column("content_hash"), given, best]
            yield pa.RecordBatch.from_arrays(columns, names=["news_id", "content_hash", "class", "score"])

    return rows.mapInArrow(score, "news_id string, content_hash string, class string, score double")


def saved_classifiers(runs: DataFrame, model_run: str | None) -> list[SavedClassifier]:
    """The classifier that was asked for, or the last that was trained on long articles and on the corrected
    corpus.

    Args:
        runs: rows of text_classifiers.
        model_run: as the option.

    Raises:
        UserError: there is none, or not the one asked for.
    """
    if model_run is not None:
        chosen = runs.where(F.col("model_run") == model_run)
    else:
        current = current_classifiers(runs).where(F.col("trained_on").isin("long", "short"))
        chosen = runs.join(F.broadcast(current.select("model_run")), on="model_run", how="left_semi")
    # Two rows at most: the weights of a classifier are as many as classes times the vector's size.
    rows = (
        chosen.orderBy("trained_on")
        .select("model_run", "trained_on", "encoder_id", "classes", "layers")
        .limit(2)
        .collect()
    )
    if not rows and model_run is not None:
        known = ", ".join(
            sorted(
                row[0] for row in runs.select("model_run").orderBy(F.desc("trained_at")).limit(10).collect()
            )
        )
        raise UserError(
            f"--model-run {model_run}: table text_classifiers has no such classifier; it has"
            f" {known or 'none'}"
        )
    if not rows:
        raise UserError(
            "text_classifiers has no classifier of long articles or of the corrected corpus: run"
            " jobs/train_text_classifier.py"
        )
    return [_classifier(row) for row in rows]


def _classifier(row: Row) -> SavedClassifier:
    layers = tuple(
        (np.array(each["weights"], np.float32), np.array(each["bias"], np.float32)) for each in row["layers"]
    )
    return SavedClassifier(
        row["model_run"], row["trained_on"], row["encoder_id"], tuple(row["classes"]), layers
    )


def _check_encoder(embeddings: DataFrame, classifier: SavedClassifier) -> None:
    """Refuse a classifier whose encoder's vectors are not there at all."""
    if embeddings.where(F.col("encoder_id") == classifier.encoder_id).isEmpty():
        _refuse(embeddings, classifier)


def _check_new(lake: Lakehouse, new: DataFrame, classifier: SavedClassifier) -> None:
    """Refuse where the new articles have vectors, and all of them by other encoders: the encoder was changed,
    the classifier was not."""
    others = lake.read(EMBEDDINGS).join(new, on=["news_id", "content_hash"], how="left_semi")
    if not others.isEmpty():
        _refuse(others, classifier)


def _refuse(vectors: DataFrame, classifier: SavedClassifier) -> None:
    found = sorted(row[0] for row in vectors.select("encoder_id").distinct().collect())
    raise UserError(
        f"classifier {classifier.model_run} reads vectors by {classifier.encoder_id}, but the articles have"
        f" only those by {', '.join(found) or 'none'}: run jobs/encode_articles.py with that encoder, or"
        " jobs/train_text_classifier.py on these vectors"
    )

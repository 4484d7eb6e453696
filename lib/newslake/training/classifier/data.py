"""Stages labelled vectors for the text classifier, and reads them back: shuffled through Petastorm, or in
order through pyarrow.

    <staging>/<fingerprint>/rows        news_id, content_hash, label, fold, vector: one text each
                            classes     label and class
                            manifest.json
Equal texts are in one fold: else a model would be judged on what it was trained on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.files.folders import built_once, parquet_files, row_count, write, written
from newslake.files.remote import Place, remove
from newslake.lake.vector_columns import unit
from newslake.training.data.examples import in_fixed_order
from newslake.training.data.feed import read_row_groups
from newslake.training.data.fingerprint import combined, content_fingerprint
from newslake.training.data.sampling import mixed
from newslake.training.data.staging import Staged

LAYOUT = 1
ROWS_PER_GROUP = 4096
ROWS_PER_FILE = 64 * ROWS_PER_GROUP
_COLUMNS = ("label", "fold", "vector")


@dataclass(frozen=True)
class Batch:
    """Texts to train on: labels and folds (int64), vectors (float32, (n, d)); all of one length."""

    labels: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ScoringBatch(Batch):
    """The same with what names the texts."""

    news_ids: pa.Array
    content_hashes: pa.Array


def with_vectors(texts: DataFrame, vectors: DataFrame) -> DataFrame:
    """Texts with the vector of their present version, at length 1; NULL where it has no direction.

    Args:
        texts: news_id, content_hash, class.
        vectors: rows of article_embeddings of one encoder.
    """
    made = vectors.select("news_id", "content_hash", unit(F.col("embedding")).alias("vector"))
    return texts.join(made, on=["news_id", "content_hash"], how="inner")


def stage_texts(
    folder: Place, rows: DataFrame, *, encoder_id: str, folds: int, least: int, seed: int
) -> Staged:
    """Stage texts with their vectors, unless that has been done for the same ones.

    Args:
        folder: the staging folder.
        rows: news_id, content_hash, class, vector (NULL, or of an odd size: left out and counted).
        encoder_id: of the vectors.
        folds: parts to hold out in turn.
        least: a class with fewer texts is left out and counted.
        seed: decides which text is in which fold.

    Raises:
        UserError: fewer than two classes have enough texts.
    """
    named = rows.select("news_id", "content_hash", "class")
    parts = {
        "layout": LAYOUT,
        "rows": content_fingerprint(named),
        "encoder": encoder_id,
        "folds": folds,
        "least": least,
        "seed": seed,
    }
    fingerprint = combined(parts)

    def build(temporary: Place) -> dict[str, int]:
        return _build(temporary, rows, folds, least, seed)

    final, sizes = built_once(folder / fingerprint, build)
    return Staged(final, fingerprint, sizes)


def _build(temporary: Place, rows: DataFrame, folds: int, least: int, seed: int) -> dict[str, int]:
    given = written(rows, temporary / "tmp" / "rows")
    sizes = given.where(F.col("vector").isNotNull()).groupBy(F.size("vector").alias("size")).count()
    common = sizes.orderBy(F.col("count").desc(), F.col("size").desc()).head()
    if common is None:
        raise UserError("no text to train on has a vector: run jobs/encode_articles.py")
    usable = given.where(F.size("vector") == common["size"])
    counted = usable.groupBy("class").agg(F.count("*").alias("texts")).where(F.col("texts") >= least)
    classes = written(
        counted.select("class", (F.row_number().over(Window.orderBy("class")) - 1).alias("label")),
        temporary / "classes",
    )
    fold = F.pmod(F.xxhash64(F.lit(seed), "content_hash"), F.lit(folds)).cast("int")
    kept = usable.join(classes, on="class", how="inner").select(
        "news_id", "content_hash", "label", fold.alias("fold"), "vector"
    )
    texts = kept.count()
    if (found := classes.count()) < 2:
        raise UserError(
            f"{found} classes have {least} texts with a vector or more: a classifier needs two; see --least"
        )
    group_bytes = ROWS_PER_GROUP * (4 * common["size"] + 120)
    options = {
        "parquet.block.size": str(group_bytes),
        "parquet.page.row.count.limit": str(2 * ROWS_PER_GROUP),
        "parquet.page.size.row.check.min": str(ROWS_PER_GROUP // 8),
        "parquet.enable.dictionary": "false",
        "compression": "zstd",
    }
    write(in_fixed_order(kept, "news_id", files=-(-texts // ROWS_PER_FILE)), temporary / "rows", **options)
    if (staged := row_count(parquet_files(temporary / "rows"))) != texts:
        raise JobFailed(f"staged {staged:,} of {texts:,} texts")
    total, all_usable = given.count(), usable.count()
    remove(temporary / "tmp")
    return {
        "texts": texts,
        "classes": found,
        "dimension": common["size"],
        "without_vector": total - all_usable,
        "of_small_classes": all_usable - texts,
    }


def classes_of(staged: Staged) -> list[str]:
    """The classes in the order of their labels."""
    table = pq.read_table(staged.files("classes"), columns=["class", "label"]).sort_by("label")
    return [str(name) for name in table["class"].to_pylist()]


class TextFeed:
    """One process's shuffled texts, epoch by epoch. The order depends on seed and epoch alone.

    Args:
        staged: what stage_texts made.
        seed: with the epoch, decides the order.
        batch_size: texts of a step; only an epoch's last batch is shorter.
        buffer_rows: texts that are shuffled together.
    """

    def __init__(self, staged: Staged, *, seed: int, batch_size: int, buffer_rows: int = 65_536) -> None:
        self._files = staged.files("rows")
        self._rows, self._seed = staged.sizes["texts"], seed
        self._batch_size, self._buffer_rows = batch_size, buffer_rows

    def batches(self, epoch: int) -> Iterator[Batch]:
        """One epoch.

        Raises:
            JobFailed: Petastorm gave another number of texts than were staged.
        """
        random = np.random.default_rng([self._seed & 0xFFFFFFFF, epoch])
        seen = 0
        left: list[npt.NDArray[np.generic]] = []
        for buffer in self._buffers(epoch):
            seen += len(buffer[0])
            order = random.permutation(len(buffer[0]))
            shuffled = [column[order] for column in buffer]
            columns = (
                [np.concatenate(pair) for pair in zip(left, shuffled, strict=True)] if left else shuffled
            )
            whole = len(columns[0]) - len(columns[0]) % self._batch_size
            for start in range(0, whole, self._batch_size):
                yield _batch([column[start : start + self._batch_size] for column in columns])
            left = [column[whole:] for column in columns]
        if seen != self._rows:
            raise JobFailed(f"Petastorm gave {seen:,} of {self._rows:,} texts in epoch {epoch}")
        if left and len(left[0]):
            yield _batch(left)

    def _buffers(self, epoch: int) -> Iterator[list[npt.NDArray[np.generic]]]:
        held: list[list[npt.NDArray[np.generic]]] = []
        rows = 0
        for group in read_row_groups(self._files, _COLUMNS, mixed(self._seed, epoch)):
            held.append([group[name] for name in _COLUMNS])
            rows += len(group["label"])
            if rows >= self._buffer_rows:
                yield [np.concatenate(parts) for parts in zip(*held, strict=True)]
                held, rows = [], 0
        if held:
            yield [np.concatenate(parts) for parts in zip(*held, strict=True)]


def _batch(columns: list[npt.NDArray[np.generic]]) -> Batch:
    labels, folds, vectors = columns
    return Batch(labels.astype(np.int64), folds.astype(np.int64), np.ascontiguousarray(vectors, np.float32))


def scoring_batches(staged: Staged, rows: int = 16_384) -> Iterator[ScoringBatch]:
    """Every text once, in the order of the files."""
    dimension, seen = staged.sizes["dimension"], 0
    for file in staged.files("rows"):
        for batch in pq.ParquetFile(file).iter_batches(
            rows, columns=["news_id", "content_hash", "label", "fold", "vector"]
        ):
            vectors = (
                pc.list_flatten(batch.column(4)).to_numpy(zero_copy_only=False).astype(np.float32)
            )  # a copy: torch wants to be able to write
            labels, folds = (batch.column(i).to_numpy().astype(np.int64) for i in (2, 3))
            seen += batch.num_rows
            yield ScoringBatch(
                labels, folds, vectors.reshape(-1, dimension), batch.column(0), batch.column(1)
            )
    if seen != staged.sizes["texts"]:
        raise JobFailed(f"read {seen:,} of {staged.sizes['texts']:,} texts")

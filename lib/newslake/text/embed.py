"""The encoder inside Spark: a column of vectors, by an iterator over Arrow batches that loads the model once
per Python worker."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.errors import JobFailed, UserError
from newslake.spark.python_workers import map_with_torch
from newslake.spark.versions import arrow_schema
from newslake.text.spec import Kind, ResolvedEncoder

if TYPE_CHECKING:  # torch is for the workers
    from newslake.text.encoder import Encoded, Encoder
    from newslake.text.long_text import Pieces

In = TypeVar("In")
Out = TypeVar("Out")
Device = Literal["auto", "cpu", "cuda"]

EMBEDDED = T.StructType(
    [
        T.StructField("vector", T.ArrayType(T.FloatType(), containsNull=False)),
        T.StructField("token_count", T.IntegerType()),
        T.StructField("error", T.StringType()),
    ]
)
NO_TEXT = "no text to encode"
_FIRST, _SECOND = "__first_segment", "__second_segment"


@dataclass(frozen=True)
class EmbedSettings:
    """How a worker runs the encoder. Nothing here changes a vector.

    Attributes:
        device: `auto` takes the GPU that Spark gave the task, else one that the worker sees, else the CPU;
            `cuda` fails where there is none.
        batch_tokens: tokens in a batch; None: what suits the device.
        chunk_rows, chunk_bytes: texts, and bytes of input, that a worker sorts by length at once: what bounds
            its memory.
        max_chars: a text with more characters in one segment gets an error instead of a vector.
    """

    device: Device = "auto"
    batch_tokens: int | None = None
    chunk_rows: int = 10_000
    chunk_bytes: int = 16_000_000
    max_chars: int = 4_000_000

    def __post_init__(self) -> None:
        if self.device not in get_args(Device):
            raise UserError(f"--device {self.device}: choose one of {', '.join(get_args(Device))}")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise UserError(f"--batch-tokens {self.batch_tokens}: take 1 or more")


def embed_column(
    rows: DataFrame,
    first: str,
    second: str | None,
    encoder: ResolvedEncoder,
    kind: Kind = "article",
    *,
    output: str = "embedded",
    settings: EmbedSettings | None = None,
) -> DataFrame:
    """Encode a text column, or a pair of them, of every row.

    The encoder is a step of the plan and not an expression, so that it runs once per row however its output
    is used. It works on whole partitions: repartition before it so that each task has its share.

    Args:
        rows: any columns besides the text.
        first: name of the text column (string; NULL gets an error).
        second: name of the column with the second segment of a pair, or None; NULL and empty: a single text.
        encoder: from `resolve`.
        kind: of the texts; each has its prompt.
        output: name of the new column.
        settings: how the workers run it.

    Returns:
        The columns of `rows` but the text, in their order, rows in theirs, and `output`: struct<vector:
            array<float>,
        token_count: int, error: string>. Where error is not NULL it says why there is no vector: nothing to
            encode, too
        long, or what the tokenizer or the model raised.
    """
    settings = settings or EmbedSettings()
    others = [name for name in rows.columns if name not in (first, second)]
    texts = [_bounded(first, settings).alias(_FIRST)]
    if second is not None:
        texts.append(_bounded(F.coalesce(second, F.lit("")), settings).alias(_SECOND))
    given = rows.select(*(F.col(_quoted(name)) for name in others), *texts)
    schema = T.StructType([*(given.schema[name] for name in others), T.StructField(output, EMBEDDED)])
    return map_with_torch(given, partial(_embed, encoder, settings, schema, kind=kind), schema)


def _bounded(text: "str | F.Column", settings: EmbedSettings) -> "F.Column":
    """NULL where too long; bytes that are no UTF-8 replaced, which Python could not even read."""
    valid = F.make_valid_utf8(F.col(_quoted(text)) if isinstance(text, str) else text)
    return F.when(F.length(valid) <= settings.max_chars, valid)


def _embed(
    resolved: ResolvedEncoder,
    settings: EmbedSettings,
    schema: T.StructType,
    batches: Iterator[pa.RecordBatch],
    kind: Kind = "article",
) -> Iterator[pa.RecordBatch]:
    """What runs in the worker: rows in, the same rows out, in order, with the last column added."""
    schema_in_arrow = arrow_schema(schema)
    device, threads = _place(settings)
    encoder = _encoder(resolved, kind, device, threads, settings.batch_tokens)

    def prepared(chunk: pa.Table) -> "tuple[pa.Table, list[int], Pieces]":
        first = chunk.column(_FIRST).to_pylist()
        second = chunk.column(_SECOND).to_pylist() if _SECOND in chunk.schema.names else [""] * len(first)
        readable = [
            i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a is not None and b is not None
        ]
        return chunk, readable, encoder.prepare([first[i] for i in readable], [second[i] for i in readable])

    # A GPU would wait while the CPU tokenises; where the model runs on the CPU, both want the same cores.
    work = (
        map(prepared, _chunks(batches, settings))
        if device == "cpu"
        else ahead(prepared, _chunks(batches, settings))
    )
    for chunk, readable, pieces in work:
        column = _as_arrow(encoder.encode_pieces(pieces), readable, chunk.num_rows, settings)
        others = [
            chunk.column(name).combine_chunks()
            for name in chunk.schema.names
            if name not in (_FIRST, _SECOND)
        ]
        table = pa.Table.from_arrays([*others, column], names=schema.names).cast(schema_in_arrow)
        yield from table.to_batches()


def ahead(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """`map(work, items)`, with the next result being made in another thread while the last one is used.

    The items are taken in the caller's thread, between two results: Spark's input is not for two threads.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Out] | None = None
        for item in items:
            last, waiting = waiting, pool.submit(work, item)
            if last is not None:
                yield last.result()
        if waiting is not None:
            yield waiting.result()


def _chunks(batches: Iterator[pa.RecordBatch], settings: EmbedSettings) -> Iterator[pa.Table]:
    """Join Arrow batches until there is enough to sort by length, or no more memory to spend."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        held.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= settings.chunk_rows or size >= settings.chunk_bytes:
            yield pa.Table.from_batches(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held)


def _as_arrow(encoded: "Encoded", readable: list[int], rows: int, settings: EmbedSettings) -> pa.StructArray:
    errors: list[str | None] = [f"NULL, or a segment over {settings.max_chars:,} characters"] * rows
    counts = np.zeros(rows, dtype=np.int32)
    for at, row in enumerate(readable):
        errors[row] = encoded.errors[at] or (NO_TEXT if encoded.is_empty[at] else None)
        counts[row] = encoded.token_counts[at]
    good = np.array([error is None for error in errors], dtype=bool)
    at_of = {row: at for at, row in enumerate(readable)}
    kept = encoded.vectors[[at_of[row] for row in np.flatnonzero(good).tolist()]]
    ends = np.concatenate([[0], np.cumsum(good)]).astype(np.int32) * encoded.vectors.shape[1]
    # A list starts at its offset; a NULL offset makes it NULL.
    offsets = pa.array(ends, mask=np.concatenate([~good, [False]]))
    vectors = pa.ListArray.from_arrays(offsets, pa.array(kept.reshape(-1), type=pa.float32()))
    return pa.StructArray.from_arrays(
        [vectors, pa.array(counts), pa.array(errors, type=pa.string())], names=EMBEDDED.names
    )


@lru_cache(maxsize=1)
def _encoder(
    resolved: ResolvedEncoder, kind: Kind, device: str, threads: int, batch_tokens: int | None
) -> "Encoder":
    """The model of this Python worker: Spark keeps workers for later tasks, and the model with them."""
    # Tokenising may use as many threads as encoding does.
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    from newslake.text.encoder import Encoder

    return Encoder(resolved, kind, device=device, threads=threads, batch_tokens=batch_tokens)


def _place(settings: EmbedSettings) -> tuple[str, int]:
    """Device and threads of this task: the GPU and the cores (spark.task.cpus) that Spark gave it."""
    task = TaskContext.get()
    gpus = {name: list(found.addresses) for name, found in task.resources().items()} if task else {}
    return device_of(settings.device, gpus), task.cpus() if task else 1


def device_of(wanted: Device, resources: Mapping[str, list[str]]) -> str:
    """Name the device for torch: the first GPU address among the task's resources, where one is wanted and
    there.

    Raises:
        JobFailed: `cuda` was asked for and this worker has none.
    """
    import torch

    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return f"cuda:{_index(resources['gpu'][0])}" if resources.get("gpu") else "cuda:0"
    if wanted == "cuda":
        raise JobFailed(
            "--device cuda, but torch sees no GPU on this worker: use --device auto to fall back to the CPU"
        )
    return "cpu"


def _index(address: str) -> int:
    """The number by which torch knows a GPU: it counts those in CUDA_VISIBLE_DEVICES only, where that is
    set."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    if address in visible:
        return visible.index(address)
    if address.isdecimal():
        return int(address)
    raise JobFailed(
        f"Spark gave this task the GPU {address!r}: the discovery script must print device numbers, or names"
        " in CUDA_VISIBLE_DEVICES"
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"

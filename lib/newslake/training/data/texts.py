"""Articles' texts as tokens, for models that tune the encoder: staged by Spark beside the vectors, loaded as
flat arrays.

What is read of an article is what its frozen vector was made from, cut to fewer tokens: the fields, the
pooling and the length of the vectors come from their encoder_id, their prompt from the encoder's folder.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.errors import JobFailed, UserError
from newslake.files.folders import built_once, parquet_files, read, row_count, write
from newslake.files.remote import Place
from newslake.spark.python_workers import map_with_torch
from newslake.text.folder import Pooling
from newslake.text.rows import segments
from newslake.text.spec import DEFAULT_MODEL, EncoderSpec, Precision, ResolvedEncoder, resolve
from newslake.text.weights import token_limit
from newslake.training.data.fingerprint import combined, content_fingerprint
from newslake.training.data.staging import Staged

if TYPE_CHECKING:  # transformers is for the workers
    from newslake.text.tokens import Tokenizer

DEFAULT_TOKENS = 100  # as in the tutorial
# Special tokens of a pair, and at least some text.
_FEWEST_TOKENS = 8
# Part of the fingerprint: raise it when other tokens are staged from the same texts.
_LAYOUT = 2
_TOKENS = T.StructType(
    [
        T.StructField("article", T.IntegerType()),
        T.StructField("tokens", T.ArrayType(T.IntegerType())),
        T.StructField("segments", T.ArrayType(T.ByteType())),
    ]
)


@dataclass(frozen=True)
class Texts:
    """Texts of articles, flat. Article i's tokens are those from offsets[i] to offsets[i + 1]; none where it
    has no text.

    Attributes:
        tokens: (tokens,) ids, special tokens among them.
        segments: (tokens,) the segment that each belongs to.
        offsets: (articles + 1,).
        encoder: whose tokens they are; `max_tokens` is what they were cut to.
    """

    tokens: npt.NDArray[np.int32]
    segments: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]
    encoder: ResolvedEncoder


@dataclass(frozen=True)
class StagedTexts(Staged):
    """A staged folder of texts, and the encoder whose tokens they are."""

    encoder: ResolvedEncoder


def tuned_encoder(model: str, encoder_id: str, *, layers: int, max_tokens: int) -> ResolvedEncoder:
    """The encoder that made the vectors of `encoder_id`, for tuning its last layers on shorter texts.

    Args:
        model: as the option --encoder names it.
        encoder_id: of the frozen vectors.
        layers: how many are to be tuned.
        max_tokens: tokens to read of a text.

    Raises:
        UserError: there is no such model, it did not make those vectors, or not with the prompts of its
            folder, or it has fewer layers, or takes fewer tokens.
    """
    asked: Any = re.search(rf"\.({'|'.join(get_args(Pooling))})\.[0-9]+\.", encoder_id)
    found = resolve(EncoderSpec(model, asked and asked[1]))
    # Pooling, tokens, fields, long text, and others.
    made = encoder_id.removeprefix(f"{found.model_id}.").split(".")
    if not encoder_id.startswith(f"{found.model_id}.") or len(made) < 4:
        raise UserError(
            f"--encoder {model} is {found.model_id}, but the articles' vectors are by {encoder_id}: name the"
            " encoder that made them, or run jobs/encode_articles.py with this one"
        )
    limit = token_limit(found.model_folder)
    if max_tokens < _FEWEST_TOKENS or (limit is not None and max_tokens > limit):
        raise UserError(
            f"--text-tokens {max_tokens}: {found.name} takes {_FEWEST_TOKENS} to"
            f" {limit if limit is not None else 'any number'}"
        )
    if layers > (there := _layers(found.model_folder)):
        raise UserError(f"--tune-layers {layers}: {found.name} has {there} layers")
    # A model id or the built-in name finds the files again anywhere; a folder is kept in full, wherever the
    # next job is started.
    name = model if found.hub_id is not None or model == DEFAULT_MODEL else found.folder
    fields: Any = tuple(made[2].split("-"))
    cut = [int(part[:-1]) for part in made[4:] if re.fullmatch("[0-9]+d", part)]
    recipe = replace(found.recipe, unit="unit" in made[4:], dimensions=cut[0] if cut else None)
    if set(recipe.extras) != set(made[4:]) - set(get_args(Precision)):
        raise UserError(
            f"the articles' vectors by {encoder_id} have other prompts than the folder of --encoder {model}"
            " says"
        )
    spec = EncoderSpec(name, recipe.pooling, max_tokens, fields=fields, long_text="truncate")
    return replace(found, spec=spec, max_tokens=max_tokens, recipe=recipe)


def tokenizer_of(encoder: ResolvedEncoder) -> "Tokenizer":
    """The encoder's tokenizer, for articles."""
    from newslake.text.tokens import Tokenizer

    folder = encoder.local_folder() / encoder.settings.transformer
    return Tokenizer(
        folder, encoder.max_tokens, prompt=encoder.recipe.prompt, lower_case=encoder.settings.lower_case
    )


def stage_texts(staged: Staged, vectors: Staged, news: DataFrame, encoder: ResolvedEncoder) -> StagedTexts:
    """Stage the texts of the staged articles that have a vector, beside the vectors: article, tokens,
    segments.

    Args:
        staged: the articles.
        vectors: those of them with a vector. The others have no text that can be encoded.
        news: the table.
        encoder: see `tuned_encoder`.

    Raises:
        JobFailed: rows written do not equal the texts that there are.
    """
    texts = texts_of(news, encoder)
    parts = {"digest": encoder.digest, "max_tokens": encoder.max_tokens, "vectors": vectors.fingerprint}
    fingerprint = combined({"layout": _LAYOUT, "texts": content_fingerprint(texts), **parts})

    def build(temporary: Place) -> dict[str, int]:
        spark = news.sparkSession
        with_vector = read(spark, vectors.folder / "embeddings").select("article")
        index = (
            read(spark, staged.folder / "articles")
            .select("news_id", "article")
            .join(with_vector, on="article", how="left_semi")
        )
        write(tokenised(index.join(texts, on="news_id", how="inner"), encoder), temporary / "tokens")
        return {"texts": row_count(parquet_files(temporary / "tokens"))}

    final, sizes = built_once(staged.folder / f"texts-{fingerprint}", build)
    return StagedTexts(final, fingerprint, sizes, encoder)


def texts_of(news: DataFrame, encoder: ResolvedEncoder) -> DataFrame:
    """news_id, and the text as the encoder's pair of segments: first, second."""
    first, second = segments(encoder.spec.fields)
    return news.select("news_id", first.alias("first"), second.alias("second"))


def tokenised(texts: DataFrame, encoder: ResolvedEncoder) -> DataFrame:
    """article (int), tokens (array<int>), segments (array<tinyint>) of `texts`: article, first, second.

    A text without a token of its own, or at which the tokenizer raises, is left out: it has no vector either.
    """
    columns = [F.make_valid_utf8(F.col(name)).alias(name) for name in ("first", "second")]
    given = texts.select(F.col("article").cast("int").alias("article"), *columns)
    return map_with_torch(given, partial(_tokenise, encoder), _TOKENS)


def load_texts(files: list[str], articles: int, encoder: ResolvedEncoder) -> Texts:
    """The texts in files that `tokenised` was written to, of `articles` articles."""
    table = pq.read_table(files, columns=_TOKENS.names).sort_by("article")
    tokens, parts = table["tokens"].combine_chunks(), table["segments"].combine_chunks()
    lengths = np.zeros(articles, dtype=np.int64)
    lengths[table["article"].to_numpy()] = pc.list_value_length(tokens).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    flat = [pc.list_flatten(column).to_numpy(zero_copy_only=False) for column in (tokens, parts)]
    if offsets[-1] != len(flat[0]):
        raise JobFailed("an article has two texts: remove the staging folder and run again")
    return Texts(flat[0].astype(np.int32), flat[1].astype(np.int8), offsets, encoder)


def _tokenise(encoder: ResolvedEncoder, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from newslake.text.tokens import TokenisedText

    tokenizer = tokenizer_of(encoder)
    for batch in batches:
        first, second = (batch.column(name).to_pylist() for name in ("first", "second"))
        found = tokenizer.many(first, second)
        empty = tokenizer.are_empty(
            [len(text.ids) if isinstance(text, TokenisedText) else 0 for text in found], first, second
        )
        good = [i for i, text in enumerate(found) if isinstance(text, TokenisedText) and not empty[i]]
        texts = [text for text in (found[i] for i in good) if isinstance(text, TokenisedText)]
        offsets = pa.array(
            np.concatenate(([0], np.cumsum([len(text.ids) for text in texts]))).astype(np.int32)
        )
        tokens = np.concatenate([np.empty(0, np.int32), *(text.ids for text in texts)]).astype(np.int32)
        parts = np.concatenate([np.empty(0, np.int8), *(text.segments for text in texts)]).astype(np.int8)
        lists = [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (tokens, parts)]
        articles = batch.column("article").take(pa.array(good, pa.int64()))
        yield pa.RecordBatch.from_arrays([articles, *lists], names=_TOKENS.names)


def _layers(folder: Path) -> int:
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(str(folder), trust_remote_code=False).num_hidden_layers)

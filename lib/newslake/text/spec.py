"""What an encoder is: which weights, and every setting that changes its vectors. No torch here: the driver resolves, workers load."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from newslake.errors import UserError
from newslake.text.weights import find_model, local_copy, model_digest, token_limit

Pooling = Literal["mean", "cls"]
Precision = Literal["fp32", "fp16", "bf16"]
Field = Literal["title", "abstract", "body"]
LongText = Literal["summarize", "truncate", "mean-of-chunks"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_MAX_TOKENS = 512
# Room for the special tokens of a pair (BERT: 3) and at least some text.
_FEWEST_TOKENS = 8


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder as its user names it.

    Attributes:
        model: `all-MiniLM-L6-v2` (comes with newslake), a folder that holds a Hugging Face model, or a model id on a hub.
        pooling: `mean` over all tokens of the last hidden layer, or the vector of its first (`cls`).
        max_tokens: tokens that the model sees of a text, special tokens counted; None: 512, or the model's limit where that
            is lower.
        precision: of weights and activations. Vectors come out in single precision whichever it is.
        unit: scale vectors to length 1.
        fields: what of an article is encoded: the first is the first segment, the others joined are the second.
        long_text: what happens to a text over max_tokens: `summarize` keeps the first segment and the most central sentences of
            the second, `truncate` drops tokens from the end of the longer segment, `mean-of-chunks` takes the mean of as many
            vectors as it takes to read it all.

    Raises:
        UserError: a setting is none of its choices.
    """

    model: str = DEFAULT_MODEL
    pooling: Pooling = "mean"
    max_tokens: int | None = None
    precision: Precision = "fp32"
    unit: bool = False
    fields: tuple[Field, ...] = ("title", "abstract", "body")
    long_text: LongText = "summarize"

    def __post_init__(self) -> None:
        for name, choices in (("pooling", Pooling), ("precision", Precision), ("long_text", LongText)):
            if getattr(self, name) not in get_args(choices):
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: choose one of {', '.join(get_args(choices))}")
        if not self.fields or len(set(self.fields)) < len(self.fields) or not set(self.fields) <= set(get_args(Field)):
            raise UserError(f"--fields {' '.join(self.fields)}: name each of {', '.join(get_args(Field))} at most once, and at least one")


@dataclass(frozen=True)
class ResolvedEncoder:
    """An encoder whose files have been found: the same on every machine that has the same files.

    Attributes:
        spec: what was asked for.
        name: the model's name, for people.
        folder: where the files lie on the machine that resolved it.
        hub_id: the model's id where it came from a hub, for a worker that has no copy yet; else None.
        revision: the hub's revision of it; else None.
        digest: SHA-256 over configuration, vocabulary and weights.
        max_tokens: tokens that the model sees of a text.
    """

    spec: EncoderSpec
    name: str
    folder: str
    hub_id: str | None
    revision: str | None
    digest: str
    max_tokens: int

    @property
    def model_id(self) -> str:
        """Names the weights alone, and is how encoder_id begins: such as `all-MiniLM-L6-v2.1a2b3c4d`."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip(".-")[:80] or "encoder"
        return f"{name}.{self.digest[:8]}"

    @property
    def encoder_id(self) -> str:
        """Names weights, pooling, length, fields and long-text setting; letters, digits, dots and dashes only.

        Such as `all-MiniLM-L6-v2.1a2b3c4d.mean.512.title-abstract-body.summarize`; `.unit`, `.fp16` and `.bf16` follow where set.
        """
        spec = self.spec
        parts = [self.model_id, spec.pooling, str(self.max_tokens), "-".join(spec.fields), spec.long_text]
        parts += ["unit"] if spec.unit else []
        parts += [spec.precision] if spec.precision != "fp32" else []
        return ".".join(parts)

    def local_folder(self) -> Path:
        """The same files on the machine that calls this, fetched or checked there.

        Raises:
            JobFailed: they are not there, or differ.
        """
        return local_copy(self.spec.model, self.folder, self.hub_id, self.revision, self.digest)


def resolve(spec: EncoderSpec) -> ResolvedEncoder:
    """Find the encoder's files, once, on the driver.

    Raises:
        UserError: there is no such model, no hub to ask for it, or the model cannot take max_tokens.
    """
    found = find_model(spec.model)
    limit = token_limit(found.folder)
    wanted = spec.max_tokens if spec.max_tokens is not None else min(limit or DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS)
    if limit is not None and wanted > limit:
        raise UserError(f"--max-tokens {wanted}: {found.name} takes {limit} at most")
    if wanted < _FEWEST_TOKENS:
        raise UserError(f"--max-tokens {wanted}: take {_FEWEST_TOKENS} or more, special tokens count too")
    digest = model_digest(found.folder)
    return ResolvedEncoder(spec, found.name, str(found.folder), found.hub_id, found.revision, digest, wanted)

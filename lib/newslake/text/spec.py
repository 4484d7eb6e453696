"""What an encoder is: which weights, and every setting that changes its vectors. No torch here: the driver
resolves, workers load."""

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from newslake.errors import UserError
from newslake.run.options import flag, option_group
from newslake.text.folder import PLAIN, UNIT_STEP, FolderSettings, Pooling
from newslake.text.weights import (
    find_model,
    local_copy,
    model_digest,
    model_limit,
    token_limit,
    tokens_of,
    vector_length,
)

Precision = Literal["fp32", "fp16", "bf16"]
Field = Literal["title", "abstract", "body"]
LongText = Literal["summarize", "truncate", "mean-of-chunks"]
Kind = Literal["article", "tag"]
"""What is encoded: an article, which is searched, or a tag, a set of tags or a query, which searches. Each
has its prompt."""

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_MAX_TOKENS = 512
# Room for the special tokens of a pair (BERT: 3) and at least some text.
_FEWEST_TOKENS = 8
log = logging.getLogger("newslake")


@option_group
class EncoderSpec:
    """An encoder as its user names it: options of every job that encodes. They make the encoder_id: give all
    these jobs the same.

    Attributes:
        encoder: The model that comes with newslake (the default), a folder with a Hugging Face or
            sentence-transformers model, or a model id on a hub.
        pooling: How a text's token vectors become one: their mean, that of the first token (cls) or the last,
            the greatest of each number (max), or a mean in which the n-th token counts n times
            (weightedmean). Default: what the folder says, else mean.
        max_tokens: Tokens that the model sees of a text, special tokens and the prompt counted. Default: what
            the folder says, else 512, or the model's limit.
        precision: Of weights and activations.
        unit: Scale vectors to length 1, or not. Default: what the folder says, else not.
        fields: What of an article is encoded; the first is the first segment, the others make the second.
        long_text: What happens to a text over max-tokens: its most central sentences are kept (summarize),
            its end is dropped (truncate), or it is read in chunks (mean-of-chunks).
        prompt: Text put before each article. Default: the folder's prompt for documents, else its default
            one, else none.
        prompt_name: Name of the folder's prompt to put before each article.
        tag_prompt: Text put before each tag, tag phrase and query. Default: the folder's prompt for queries,
            else its default one, else none.
        tag_prompt_name: Name of the folder's prompt to put before each tag, tag phrase and query.
        dimensions: Keep the first so many numbers of a vector, and scale it to length 1 (of models trained
            for that, called Matryoshka).

    Raises:
        UserError: a setting has a value that is not among its choices.
    """

    encoder: str = DEFAULT_MODEL
    pooling: Pooling | None = None
    max_tokens: int | None = None
    precision: Precision = "fp32"
    unit: bool | None = None
    fields: tuple[Field, ...] = ("title", "abstract", "body")
    long_text: LongText = "summarize"
    prompt: str | None = None
    prompt_name: str | None = None
    tag_prompt: str | None = None
    tag_prompt_name: str | None = None
    dimensions: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (("pooling", Pooling), ("precision", Precision), ("long_text", LongText)):
            if getattr(self, name) not in (*get_args(choices), *([None] if name == "pooling" else [])):
                raise UserError(
                    f"{flag(name)} {getattr(self, name)}: choose one of {', '.join(get_args(choices))}"
                )
        if (
            not self.fields
            or len(set(self.fields)) < len(self.fields)
            or not set(self.fields) <= set(get_args(Field))
        ):
            raise UserError(
                f"--fields {' '.join(self.fields)}: name each of {', '.join(get_args(Field))} at most once,"
                " and at least one"
            )
        prompts = (
            ("prompt", self.prompt, self.prompt_name),
            ("tag-prompt", self.tag_prompt, self.tag_prompt_name),
        )
        for option, text, named in prompts:
            if text is not None and named is not None:
                raise UserError(f"--{option} and --{option}-name: give one of them")
        if self.dimensions is not None and self.dimensions < 1:
            raise UserError(f"--dimensions {self.dimensions}: take 1 or more")
        if self.dimensions is not None and self.unit is False:
            raise UserError("--dimensions with --no-unit: what is cut is scaled to length 1")


ENCODER = EncoderSpec()
"""The encoder where no option is given."""


@dataclass(frozen=True)
class Recipe:
    """How the last hidden layer becomes a vector: what was asked for, else what the folder says, else the
    default.

    Attributes:
        pooling: see EncoderSpec.
        unit: likewise.
        dimensions: likewise.
        prompt: before each article; empty: none.
        tag_prompt: before each tag, set of tags and query.
        include_prompt: the prompt's tokens count in pooling.
    """

    pooling: Pooling = "mean"
    unit: bool = False
    dimensions: int | None = None
    prompt: str = ""
    tag_prompt: str = ""
    include_prompt: bool = True

    def prompt_of(self, kind: Kind) -> str:
        """What stands before each text of this kind."""
        return self.prompt if kind == "article" else self.tag_prompt

    @property
    def extras(self) -> list[str]:
        """What encoder_id says of it at its end."""
        parts = ["unit"] if self.unit else []
        parts += [f"{self.dimensions}d"] if self.dimensions is not None else []
        if self.prompt or self.tag_prompt:
            text = json.dumps([self.prompt, self.tag_prompt, self.include_prompt])
            parts.append(f"prompt-{hashlib.sha256(text.encode()).hexdigest()[:8]}")
        return parts


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
        recipe: how its last hidden layer becomes a vector.
        settings: what the folder says: where the transformer lies, and what a vector goes through after
            pooling.
    """

    spec: EncoderSpec
    name: str
    folder: str
    hub_id: str | None
    revision: str | None
    digest: str
    max_tokens: int
    recipe: Recipe = Recipe()
    settings: FolderSettings = PLAIN

    @property
    def model_id(self) -> str:
        """Names the weights alone, and is how encoder_id begins: such as `all-MiniLM-L6-v2.1a2b3c4d`."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip(".-")[:80] or "encoder"
        return f"{name}.{self.digest[:8]}"

    @property
    def encoder_id(self) -> str:
        """Names weights, pooling, length, fields and long-text setting; letters, digits, dots and dashes
        only.

        Such as `all-MiniLM-L6-v2.1a2b3c4d.mean.512.title-abstract-body.summarize`; where set, `.unit`,
        `.256d` (dimensions), `.prompt-1a2b3c4d` (both prompts, hashed), `.fp16` and `.bf16` follow.
        """
        spec = self.spec
        parts = [
            self.model_id,
            self.recipe.pooling,
            str(self.max_tokens),
            "-".join(spec.fields),
            spec.long_text,
            *self.recipe.extras,
        ]
        parts += [spec.precision] if spec.precision != "fp32" else []
        return ".".join(parts)

    def local_folder(self) -> Path:
        """The same files on the machine that calls this, fetched or checked there.

        Raises:
            JobFailed: they are not there, or differ.
        """
        return local_copy(
            self.spec.encoder, self.folder, self.hub_id, self.revision, self.digest, self.settings
        )

    @property
    def model_folder(self) -> Path:
        """Where the transformer and its tokenizer lie on the machine that resolved it."""
        return Path(self.folder) / self.settings.transformer


def resolve(spec: EncoderSpec) -> ResolvedEncoder:
    """Find the encoder's files, once, on the driver.

    Raises:
        UserError: there is no such model, no hub to ask for it, its folder asks for what newslake does not
            do, or the model cannot do what the options say.
    """
    found = find_model(spec.encoder)
    settings = found.settings
    folder = found.folder / settings.transformer
    wanted = _max_tokens(spec, settings, folder, found.name)
    recipe = _recipe(spec, settings)
    for option, prompt in (("prompt", recipe.prompt), ("tag-prompt", recipe.tag_prompt)):
        if prompt and ((length := tokens_of(folder, prompt)) or 0) + _FEWEST_TOKENS > wanted:
            raise UserError(
                f"--{option}: its {length} tokens leave no room for a text in the {wanted} of --max-tokens"
            )
    size = vector_length(found.folder, settings)
    if recipe.dimensions is not None and size is not None and recipe.dimensions > size:
        raise UserError(f"--dimensions {recipe.dimensions}: {found.name} gives {size}")
    digest = model_digest(found.folder, settings)
    return ResolvedEncoder(
        spec, found.name, str(found.folder), found.hub_id, found.revision, digest, wanted, recipe, settings
    )


def _max_tokens(spec: EncoderSpec, settings: FolderSettings, folder: Path, name: str) -> int:
    """What was asked for; else all that the model takes, where it is of sentence-transformers, as there; else
    up to 512."""
    limit, positions = token_limit(folder), model_limit(folder)
    says = (settings.max_tokens or limit) if settings.modules else None
    most = (positions or says) if settings.modules else limit
    default = says or DEFAULT_MAX_TOKENS
    wanted = spec.max_tokens if spec.max_tokens is not None else min(default, most or default)
    if most is not None and wanted > most:
        raise UserError(f"--max-tokens {wanted}: {name} takes {most} at most")
    if wanted < _FEWEST_TOKENS:
        raise UserError(f"--max-tokens {wanted}: take {_FEWEST_TOKENS} or more, special tokens count too")
    if says is not None and spec.max_tokens not in (None, says):
        log.info("max_seq_length says %s: you asked for %s", says, wanted)
    return wanted


def _recipe(spec: EncoderSpec, settings: FolderSettings) -> Recipe:
    """What was asked for, else what the folder says, else the default; where the first two differ, a line
    says so."""
    if spec.pooling is None and settings.pooling_problem is not None:
        raise UserError(
            f"--encoder {spec.encoder}: {settings.pooling_problem}: choose with --pooling"
            f" {' or '.join(get_args(Pooling))}"
        )
    if settings.modules and spec.pooling not in (None, settings.pooling):
        log.info(
            "%s: you asked for %s",
            settings.pooling_problem or f"{settings.pooling_folder} says {settings.pooling}",
            spec.pooling,
        )
    says_unit = settings.steps[-1:] == (UNIT_STEP,)
    if spec.unit is False and says_unit:
        log.info("modules.json ends with Normalize: you asked for --no-unit")
    return Recipe(
        pooling=spec.pooling or settings.pooling or "mean",
        unit=bool(spec.unit if spec.unit is not None else says_unit) or spec.dimensions is not None,
        dimensions=spec.dimensions,
        prompt=_prompt("prompt", spec.prompt, spec.prompt_name, settings.article_prompt, settings),
        tag_prompt=_prompt(
            "tag-prompt", spec.tag_prompt, spec.tag_prompt_name, settings.tag_prompt, settings
        ),
        include_prompt=settings.include_prompt,
    )


def _prompt(option: str, text: str | None, name: str | None, default: str, settings: FolderSettings) -> str:
    prompts = dict(settings.prompts)
    if name is not None and name not in prompts:
        raise UserError(
            f"--{option}-name {name}: the encoder's folder has {', '.join(sorted(prompts)) or 'no prompts'}"
        )
    return prompts[name] if name is not None else default if text is None else text

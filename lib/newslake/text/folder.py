"""What a sentence-transformers folder says of its model: modules, pooling, prompts and length. No torch here.

Such a folder lists its modules in modules.json, in the order in which they work: the transformer, the pooling
of its token vectors into one, and what that vector goes through (Reimers and Gurevych, EMNLP 2019, and the
library of that name). A folder without modules.json is a plain transformer: all here are defaults then.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from newslake.errors import UserError

Pooling = Literal["mean", "cls", "last", "max", "weightedmean"]
UNIT_STEP = "unit"
"""Among the steps after pooling: scale to length 1. The other steps are names of Dense modules' folders."""

_POOLINGS: Mapping[str, str] = {
    "lasttoken": "last",
    **{name: name for name in get_args(Pooling) if name != "last"},
}
# How pooling was written before it was one word, with the word.
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU", "LeakyReLU", "ELU", "Softplus")
"""Classes of torch.nn that may follow a Dense module."""
_ARTICLE_PROMPTS = ("document", "passage", "corpus")
_QUERY_PROMPTS = ("query",)
# What a transformer's settings may say, and what is no other way of reading texts than ours.
_HARMLESS = (
    "max_seq_length",
    "do_lower_case",
    "modality_config",
    "module_output_name",
    "unpad_inputs",
    "transformer_task",
)
# How weights are kept and run is ours to say; code that a folder brings is never run.
_OURS_TO_SAY = ("trust_remote_code", "torch_dtype", "dtype", "attn_implementation")
_SETTINGS_FILES = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
ROOT_FILES = ("modules.json", "config_sentence_transformers.json", *_SETTINGS_FILES)


@dataclass(frozen=True)
class FolderSettings:
    """What a folder says of its model.

    Attributes:
        modules: the folder lists modules.
        transformer: sub-folder of the transformer and its tokenizer; empty: the folder itself.
        pooling: how token vectors become one; None: it does not say.
        pooling_folder: where it says so.
        pooling_problem: why it cannot be pooled as it says; None: it can.
        include_prompt: the prompt's tokens count in pooling.
        steps: what the pooled vector goes through: UNIT_STEP, or the sub-folder of a Dense module.
        max_tokens: as it says, or None.
        lower_case: texts are brought to lower case, whatever the tokenizer does.
        prompts: names with their texts.
        default_prompt: the name of one of them, or None.
    """

    modules: bool = False
    transformer: str = ""
    pooling: Pooling | None = None
    pooling_folder: str = ""
    pooling_problem: str | None = None
    include_prompt: bool = True
    steps: tuple[str, ...] = ()
    max_tokens: int | None = None
    lower_case: bool = False
    prompts: tuple[tuple[str, str], ...] = ()
    default_prompt: str | None = None

    @property
    def article_prompt(self) -> str:
        """The prompt of what is searched: that named document, passage or corpus, else the default one."""
        return self._prompt(_ARTICLE_PROMPTS)

    @property
    def tag_prompt(self) -> str:
        """The prompt of what searches: that named query, else the default one."""
        return self._prompt(_QUERY_PROMPTS)

    def _prompt(self, names: tuple[str, ...]) -> str:
        prompts = dict(self.prompts)
        return next((prompts[name] for name in (*names, self.default_prompt) if name in prompts), "")


PLAIN = FolderSettings()
"""A folder that says nothing."""


def read_settings(folder: Path) -> FolderSettings:
    """The settings of the model in `folder`.

    Raises:
        UserError: they ask for what newslake does not do, or cannot be read.
    """
    if not (folder / "modules.json").is_file():
        return PLAIN
    modules = _json(folder / "modules.json")
    if not isinstance(modules, list) or not modules or not all(isinstance(one, dict) for one in modules):
        raise UserError(f"modules.json in {folder} is not a list of modules")
    kinds = [str(one.get("type", "")).rsplit(".", 1)[-1] for one in modules]
    paths = [str(one.get("path", "")) for one in modules]
    if any(Path(path).is_absolute() or ".." in Path(path).parts for path in paths):
        raise UserError(f"modules.json in {folder} names a path outside the folder")
    strange = [
        str(one.get("type"))
        for one, kind in zip(modules, kinds, strict=True)
        if not _is_known(str(one.get("type", "")), kind)
    ]
    if strange:
        raise UserError(
            f"modules.json in {folder} names {', '.join(strange)}, which newslake does not know: {_KNOWN}"
        )
    if kinds[0] != "Transformer" or kinds[1:2] != ["Pooling"] or {"Transformer", "Pooling"} & set(kinds[2:]):
        raise UserError(
            f"modules.json in {folder} lists {', '.join(kinds)}: newslake takes a Transformer, a Pooling,"
            f" then {_AFTER}"
        )
    pooling, problem, include_prompt = _pooling(folder / paths[1])
    steps = [
        _step(folder, kind, path)
        for kind, path in zip(kinds[2:], paths[2:], strict=True)
        if kind != "Dropout"
    ]
    about = _transformer_settings(folder / paths[0])
    prompts, default = _prompts(folder)
    length = about.get("max_seq_length")
    return FolderSettings(
        modules=True,
        transformer=paths[0],
        pooling=pooling,
        pooling_folder=paths[1],
        pooling_problem=problem,
        include_prompt=include_prompt,
        steps=tuple(steps),
        max_tokens=int(length) if isinstance(length, int | float) and length > 0 else None,
        lower_case=bool(about.get("do_lower_case")),
        prompts=tuple(prompts.items()),
        default_prompt=default,
    )


def module_paths(folder: Path) -> list[str]:
    """The sub-folders that modules.json names, if there is one: what a hub has to be asked for, too."""
    if not (folder / "modules.json").is_file():
        return []
    modules = _json(folder / "modules.json")
    return (
        [one["path"] for one in modules if isinstance(one, dict) and one.get("path")]
        if isinstance(modules, list)
        else []
    )


_AFTER = "Dense, Normalize or Dropout"
_KNOWN = f"it takes Transformer, Pooling, {_AFTER} of sentence-transformers"


def _is_known(name: str, kind: str) -> bool:
    return name.startswith("sentence_transformers.") and kind in (
        "Transformer",
        "Pooling",
        "Dense",
        "Normalize",
        "Dropout",
    )


def _pooling(folder: Path) -> tuple[Pooling | None, str | None, bool]:
    """How token vectors become one, what is wrong with that, and whether the prompt's count."""
    config = _settings(folder / "config.json")
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [word for name, word in _OLD_POOLINGS.items() if config.get(name)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else [str(mode) for mode in modes]
    include_prompt = bool(config.get("include_prompt", True))
    if len(modes) == 1 and modes[0] in _POOLINGS:
        pooling: Any = _POOLINGS[modes[0]]
        return pooling, None, include_prompt
    return None, f"{folder.name} says {' and '.join(modes)}, which newslake does not do", include_prompt


def _step(folder: Path, kind: str, path: str) -> str:
    config = _settings(folder / path / "config.json", needed=kind == "Dense")
    names = {config.get(name) or "sentence_embedding" for name in ("module_input_name", "module_output_name")}
    if names != {"sentence_embedding"} or config.get("use_residual"):
        raise UserError(
            f"{path}/config.json in {folder}: newslake takes a {kind} from one vector of a text to the next,"
            " nothing beside it"
        )
    if kind == "Normalize":
        return UNIT_STEP
    module, _, activation = str(
        config.get("activation_function", "torch.nn.modules.activation.Tanh")
    ).rpartition(".")
    if not module.startswith("torch.nn") or activation not in ACTIVATIONS:
        raise UserError(
            f"{path}/config.json in {folder}: activation_function {config['activation_function']}: newslake"
            f" does {', '.join(ACTIVATIONS)}"
        )
    if not (folder / path / "model.safetensors").is_file():
        raise UserError(
            f"{path} in {folder} holds no model.safetensors; a pytorch_model.bin is a pickle, which is never"
            " loaded here"
        )
    return path


def _transformer_settings(folder: Path) -> dict[str, Any]:
    found = next((folder / name for name in _SETTINGS_FILES if (folder / name).is_file()), None)
    about = _settings(found) if found is not None else {}
    task = about.get("transformer_task", "feature-extraction")
    strange = [name for name, value in about.items() if name not in _HARMLESS and _asks(value)]
    if found is not None and (strange or task != "feature-extraction"):
        raise UserError(
            f"{found.name} in {folder}: newslake does not do"
            f" {', '.join(strange) or f'transformer_task {task}'}"
        )
    if found is not None and about.get("module_output_name", "token_embeddings") != "token_embeddings":
        raise UserError(
            f"{found.name} in {folder}: newslake reads a transformer's token_embeddings, not"
            f" {about['module_output_name']}"
        )
    return about


def _asks(value: Any) -> bool:
    return any(name not in _OURS_TO_SAY for name in value) if isinstance(value, dict) else bool(value)


def _prompts(folder: Path) -> tuple[dict[str, str], str | None]:
    about = _settings(folder / "config_sentence_transformers.json", needed=False)
    prompts = {str(name): str(text or "") for name, text in (about.get("prompts") or {}).items()}
    default = about.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise UserError(
            f"config_sentence_transformers.json in {folder}: default_prompt_name {default} is not among its"
            " prompts"
        )
    return prompts, default


def _settings(path: Path, *, needed: bool = True) -> dict[str, Any]:
    if not needed and not path.is_file():
        return {}
    found = _json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path.name} in {path.parent} is not a JSON object")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} holds no {path.name}, which modules.json asks for") from None
    except ValueError:
        raise UserError(f"{path.name} in {path.parent} is not valid JSON") from None

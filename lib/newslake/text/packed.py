"""Models that take texts laid end to end, loaded from their folder without transformers."""

from pathlib import Path

import torch
from torch import Tensor

from newslake.text.bert import PackedBert
from newslake.text.modernbert import PackedModernBert
from newslake.text.weights import model_config, weight_files

PackedModel = PackedBert | PackedModernBert
# By family: the settings that decide the architecture, with the values that are ours; the first is what a missing one means.
_BERT = {
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
}
_FAMILIES = {"bert": _BERT, "roberta": _BERT, "xlm-roberta": _BERT, "modernbert": {"hidden_activation": ("gelu",)}}
# Parts of a checkpoint that play no role in the last hidden layer.
_UNUSED = ("pooler.", "cls.", "lm_head.", "classifier.", "head.", "decoder.", "embeddings.position_ids", "embeddings.token_type_ids")


def load_packed(folder: Path, dtype: torch.dtype, device: torch.device) -> PackedModel | None:
    """The model in `folder`, or None where it is not exactly one of these architectures, down to the last weight."""
    config = model_config(folder)
    family = str(config.get("model_type"))
    if any(config.get(name, values[0]) not in values for name, values in _FAMILIES.get(family, {"model_type": (None,)}).items()):
        return None
    prefix = {"xlm-roberta": "roberta", "modernbert": "model"}.get(family, family) + "."
    weights = {}
    for name, weight in _load_weights(folder).items():
        # Checkpoints made from TensorFlow's call the two parts of a layer norm gamma and beta.
        name = name.removeprefix(prefix).replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if not name.startswith(_UNUSED):
            weights[name] = weight
    try:
        return (PackedModernBert if family == "modernbert" else PackedBert)(config, weights, dtype, device)
    except KeyError:
        return None


def _load_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        found.update(load_file(path))
    return found

"""Small sentence-transformers folders with random weights, of several architectures, made and saved by the
libraries themselves."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

SYLLABLES = (
    "har",
    "bour",
    "fer",
    "ry",
    "coun",
    "cil",
    "mar",
    "ket",
    "storm",
    "goal",
    "may",
    "or",
    "vo",
    "te",
    "天",
    "é",
)
LONGEST = 24
"""Tokens that each folder says its model takes; its positions go further."""


def texts(count: int = 25, seed: int = 0) -> list[str]:
    """Of 1 to 60 words, in no order of length: some end far beyond LONGEST."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 3))) for _ in range(60)]
    found = [
        " ".join(draw.choices(words, k=draw.choice((1, 2, 4, 8, 9, 15, 60)))) + draw.choice((".", "", "!"))
        for _ in range(count)
    ]
    return [text.capitalize() for text in found]


def _word_pieces() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        texts(200, seed=9),
        trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def _byte_pairs(special: Sequence[str], single: str, pair: str) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=350, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts(200, seed=9), trainer)
    used = [(token, made.token_to_id(token)) for token in special if token in single]
    made.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)
    return made


def _sentence_pieces() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(texts(200, seed=9), trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return made


BERT_NAMES = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ROBERTA_NAMES = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
IDS, WITH_SEGMENTS = ["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
# Wide enough that different texts get clearly different vectors.
WIDE: dict[str, Any] = {"initializer_range": 0.3}


def _parts(family: str) -> tuple[Tokenizer, dict[str, Any], type[PreTrainedModel], Any]:
    if family in ("bert", "distilbert", "mpnet"):
        made, names = (
            _word_pieces(),
            {**BERT_NAMES, "model_input_names": WITH_SEGMENTS if family == "bert" else IDS},
        )
        sizes = {"vocab_size": made.get_vocab_size(), "pad_token_id": 0, **WIDE}
        if family == "distilbert":
            config: Any = DistilBertConfig(
                **sizes, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=64
            )
            return made, names, DistilBertModel, config
        if family == "mpnet":
            return made, names, MPNetModel, MPNetConfig(**sizes, **SHAPE, max_position_embeddings=66)
        return made, names, BertModel, BertConfig(**sizes, **SHAPE, max_position_embeddings=64)
    if family == "xlmr":
        made = _sentence_pieces()
        sizes = {
            "vocab_size": made.get_vocab_size(),
            "pad_token_id": 1,
            "type_vocab_size": 1,
            "max_position_embeddings": 66,
        }
        return (
            made,
            {**ROBERTA_NAMES, "unk_token": "<unk>", "model_input_names": IDS},
            XLMRobertaModel,
            XLMRobertaConfig(**sizes, **SHAPE, **WIDE),
        )
    if family == "roberta":
        made = _byte_pairs(["<s>", "<pad>", "</s>", "<mask>"], "<s> $A </s>", "<s> $A </s> </s> $B </s>")
        sizes = {
            "vocab_size": made.get_vocab_size(),
            "pad_token_id": 1,
            "type_vocab_size": 1,
            "max_position_embeddings": 66,
        }
        return (
            made,
            {**ROBERTA_NAMES, "model_input_names": IDS},
            RobertaModel,
            RobertaConfig(**sizes, **SHAPE, **WIDE),
        )
    if family == "modernbert":
        made = _byte_pairs(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
        )
        sizes = {"vocab_size": made.get_vocab_size(), "max_position_embeddings": 64}
        special: dict[str, Any] = {"local_attention": 8, "global_attn_every_n_layers": 2}
        special |= {
            "pad_token_id": 0,
            "cls_token_id": 2,
            "sep_token_id": 3,
            "bos_token_id": 2,
            "eos_token_id": 3,
        }
        return (
            made,
            {**BERT_NAMES, "model_input_names": IDS},
            ModernBertModel,
            ModernBertConfig(**sizes, **special, **SHAPE, **WIDE),
        )
    assert family == "qwen3"
    made = _byte_pairs(["<|endoftext|>"], "$A <|endoftext|>", "$A $B:1 <|endoftext|>:1")
    names = {
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "model_input_names": IDS,
    }
    sizes = {
        "vocab_size": made.get_vocab_size(),
        "max_position_embeddings": 64,
        "head_dim": 8,
        "num_key_value_heads": 2,
    }
    return made, names, Qwen3Model, Qwen3Config(**sizes, **SHAPE, **WIDE)


FAMILIES = ("bert", "roberta", "xlmr", "mpnet", "distilbert", "modernbert", "qwen3")


def save_plain(folder: Path, family: str, *, seed: int = 0, **tokenizer: Any) -> Path:
    """A transformer and its tokenizer, as transformers saves them."""
    made, names, model, config = _parts(family)
    torch.manual_seed(seed)
    model(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=64, **{**names, **tokenizer}
    ).save_pretrained(folder)
    return folder


def save_folder(
    folder: Path,
    family: str,
    *,
    pooling: str | list[str] = "mean",
    include_prompt: bool = True,
    dense: Sequence[tuple[int, Any]] = (),
    unit: bool = False,
    prompts: dict[str, str] | None = None,
    default_prompt: str | None = None,
    max_tokens: int = LONGEST,
) -> Path:
    """The same as a sentence-transformers folder, saved by that library."""
    plain = save_plain(folder.with_name(f"{folder.name}-plain"), family)
    transformer = Transformer(str(plain), max_seq_length=max_tokens)
    modules: list[Any] = [transformer, Pooling(32, pooling_mode=pooling, include_prompt=include_prompt)]
    size = 32
    torch.manual_seed(7)
    for out, activation in dense:
        modules.append(Dense(size, out, activation_function=activation))
        size = out
    modules += [Normalize()] if unit else []
    SentenceTransformer(
        modules=modules, prompts=prompts, default_prompt_name=default_prompt, device="cpu"
    ).save(str(folder))
    return folder


def theirs(folder: Path) -> SentenceTransformer:
    """The oracle."""
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)

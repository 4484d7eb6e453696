"""ModernBERT, which goes the way with padding, against sentence-transformers, and what laying texts end to
end could save, in one run.

The model has the layers of ModernBERT-base (768 wide, 12 heads, 1152 inside the feed-forward, every third
layer sees all), but few of them, and random weights: what a layer takes does not depend on its weights. Texts
are random tokens, of lengths as news have them: short ones (a title and an abstract) around 45 tokens, one in
five with a body up to 512. Few words: looking them up takes no time.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

from common import CORES, Measures, bench_arguments
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, resolve
from newslake.text.tokens import TokenisedText

WORDS = 2_000
LONGEST = 512


def save_model(folder: Path, layers: int) -> None:
    """The model and a tokenizer of words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = Tokenizer(
        models.WordLevel(
            {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(WORDS))])},
            unk_token="[UNK]",
        )
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    inputs = ["input_ids", "attention_mask"]
    ids: dict[str, Any] = {
        "pad_token_id": 0,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    torch.manual_seed(0)
    ModernBertModel(
        ModernBertConfig(vocab_size=WORDS + len(special), num_hidden_layers=layers, **ids)
    ).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=words, model_max_length=8192, model_input_names=inputs, **names
    ).save_pretrained(folder)


def texts(count: int) -> list[str]:
    """Random words, in no order of length."""
    draw = random.Random(0)
    lengths = [
        draw.randint(150, LONGEST - 2) if draw.random() < 0.2 else max(5, int(draw.gauss(45, 15)))
        for _ in range(count)
    ]
    return [" ".join(f"w{draw.randrange(WORDS)}" for _ in range(length)) for length in lengths]


def padded_tokens(encoder: Encoder, given: list[str]) -> int:
    """What the encoder's batches of these texts hold, padding counted."""
    tokens = {
        i: text for i, text in enumerate(encoder.tokenizer.many(given)) if isinstance(text, TokenisedText)
    }
    order = sorted(tokens, key=lambda i: -len(tokens[i].ids))
    return sum(len(batch) * len(tokens[batch[0]].ids) for batch in encoder._batches(order, tokens))


def main() -> None:
    """Run it."""
    arguments = bench_arguments("ModernBERT: ours against sentence-transformers, and what padding costs.")
    count, layers, rounds = (80, 3, 2) if arguments.small else (400, 6, 3)
    measures = Measures("Encoding with ModernBERT", arguments.json)
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "modernbert"
        save_model(folder, layers)
        encoder = Encoder(
            resolve(EncoderSpec(str(folder), max_tokens=LONGEST, long_text="truncate")), threads=CORES
        )
        assert not encoder.is_packed
        given = texts(count)
        peer = SentenceTransformer(
            modules=[Transformer(str(folder), max_seq_length=LONGEST), Pooling(768)], device="cpu"
        )
        ways: dict[str, Callable[[], np.ndarray]] = {"ours": lambda: encoder.encode(given).vectors}
        for size in (4, 8, 16):
            ways[f"sentence-transformers, batch {size}"] = lambda size=size: np.asarray(
                peer.encode(given, batch_size=size)
            )  # type: ignore[misc]
        tokens = int(encoder.encode(given).token_counts.sum())
        taken: dict[str, float] = {}
        vectors = {}
        for _ in range(rounds):  # all take turns, and the best of each counts
            for name, way in ways.items():
                began = time.perf_counter()
                vectors[name] = way()
                taken[name] = min(taken.get(name, 1e9), time.perf_counter() - began)
        with_padding = padded_tokens(encoder, given)
    best = min((name for name in taken if name != "ours"), key=lambda name: taken[name])
    cosine = (
        (vectors["ours"] * vectors[best]).sum(1)
        / np.linalg.norm(vectors["ours"], axis=1)
        / np.linalg.norm(vectors[best], axis=1)
    )
    print(f"{count} texts, {tokens:,} tokens; {layers} layers; least cosine to {best}: {cosine.min():.7f}")
    measures.add(
        "tokens/s",
        tokens / taken["ours"],
        tokens / taken[best],
        unit="tokens/s",
        better="higher",
        peer_name=best,
    )
    measures.add(
        "tokens in its batches",
        with_padding,
        tokens,
        unit="tokens",
        better="lower",
        peer_name="without padding",
    )
    measures.finish()


if __name__ == "__main__":
    main()

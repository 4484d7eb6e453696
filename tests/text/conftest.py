"""Models for the tests of newslake.text: the built-in one, and small ones with random weights, saved as users
save theirs."""

import os
import string
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, ResolvedEncoder, resolve

# Forked Python workers and the tokenizer's own threads do not go together.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Torch's parallel loops crawl on a busy machine, and these models are small.
torch.set_num_threads(1)

WORDS: tuple[str, ...] = (
    "the",
    "a",
    "of",
    "news",
    "city",
    "team",
    "wins",
    "storm",
    "rain",
    "goal",
    "mayor",
    "market",
    "stock",
    "film",
)
WORDS += ("star", "law", "court", "vote", "school", "dog", "cat")
# What the tokenizer of the "gaps" model knows and the model has no embedding for.
UNEMBEDDED = "poison"

Peer = Callable[[str, str | None], torch.Tensor]


def save_bert(
    folder: Path, *, layers: int, width: int, heads: int, seed: int, known_to_model: bool = True
) -> Path:
    """A BERT with random weights and a small WordPiece vocabulary; the vocabulary's last word is
    UNEMBEDDED."""
    pieces = [
        *string.ascii_lowercase,
        *string.digits,
        *(f"##{c}" for c in string.ascii_lowercase + string.digits),
        ".",
        ",",
        "!",
        "天",
    ]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *WORDS, UNEMBEDDED]
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary) - (not known_to_model),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        # Wide enough that different texts get clearly different vectors.
        initializer_range=0.2,
    )
    folder.mkdir(parents=True)
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(folder)
    return folder


def peer(folder: str | Path, pooling: str, max_tokens: int) -> Peer:
    """transformers itself, one text at a time, as the tutorial does it."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModel.from_pretrained(str(folder), use_safetensors=True).eval()

    def encode(first: str, second: str | None) -> torch.Tensor:
        inputs = tokenizer(first, second, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state[0]
        return hidden[0] if pooling == "cls" else hidden.mean(0)

    return encode


def least_cosine(encoder: Encoder, encode: Peer, pairs: Sequence[tuple[str, str]]) -> float:
    """The lowest cosine between ours, in one call, and the peer's, one at a time."""
    found = encoder.encode([first for first, _ in pairs], [second for _, second in pairs])
    assert found.errors == [None] * len(pairs)
    ours = torch.from_numpy(found.vectors)
    theirs = torch.stack([encode(first, second) for first, second in pairs])
    return float(torch.nn.functional.cosine_similarity(ours.double(), theirs.double()).min())


@pytest.fixture(scope="session")
def built_in() -> ResolvedEncoder:
    """The encoder that comes with newslake."""
    return resolve(EncoderSpec(long_text="truncate"))


@pytest.fixture(scope="session")
def minilm(built_in: ResolvedEncoder) -> Encoder:
    """The same, loaded: two batches at a time."""
    return Encoder(built_in, threads=2)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, 32 wide: for what is about Spark and tables."""
    return save_bert(tmp_path_factory.mktemp("models") / "small-bert", layers=2, width=32, heads=4, seed=1)


@pytest.fixture(scope="session")
def gaps_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model, but it raises at a text with the word UNEMBEDDED."""
    return save_bert(
        tmp_path_factory.mktemp("models") / "gaps-bert",
        layers=2,
        width=32,
        heads=4,
        seed=1,
        known_to_model=False,
    )


@pytest.fixture(scope="session")
def tutorial_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shape of google/bert_uncased_L-8_H-512_A-8, which the tutorial uses: 8 layers, 512 wide, 8
    heads."""
    return save_bert(
        tmp_path_factory.mktemp("models") / "bert_uncased_L-8_H-512_A-8", layers=8, width=512, heads=8, seed=2
    )

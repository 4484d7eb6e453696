"""The encoder's vectors are those of transformers, one text at a time; one bad text costs no other its
vector."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from newslake.errors import UserError
from newslake.text.encoder import Encoder
from newslake.text.padded import PaddedModel
from newslake.text.spec import EncoderSpec, ResolvedEncoder, resolve
from newslake.text.tokens import Tokenizer
from tests.text.conftest import UNEMBEDDED, WORDS, least_cosine, peer, save_bert

LONG = " ".join(f"word{i % 97} of the {i}th sentence." for i in range(1250))  # 5,000 words

PAIRS = [
    ("", ""),
    ("Only a title", ""),
    ("", "Only an abstract"),
    ("Storm closes schools", "Snow and wind kept children at home on Monday."),
    ("Team wins", "The " + "very " * 60 + "long season ended."),
    ("Five thousand words", LONG),
    (LONG, "A title of five thousand words"),
    (LONG, LONG),
    (LONG[:1600], LONG),
    ("😀🎉 emoji 👩‍👩‍👧‍👦", "🚀" * 40),
    ("天气预报 明天有雨", "北京市气象台今天下午发布暴雨预警请市民注意安全。" * 5),
    ("新闻 " * 400, "mixed 混合 текст عربى"),
    ("tab\tand\nnewline", "nul\x00 bell\x07 escape\x1b end"),
    ("\x00\x01\x02", " \t\n"),
    ("x" * 10_000, "a word of ten thousand characters"),
    ("many spaces", "   ".join(["gap"] * 3000)),
]
# transformers keeps every combination of what it cut off from both segments: for low limits, no pair of two
# long ones.
SHORTER = [(first[:9000], second[:9000]) for first, second in PAIRS]


@pytest.mark.parametrize("max_tokens", [512, 100, 33])
def test_vectors_equal_transformers_one_at_a_time(built_in: ResolvedEncoder, max_tokens: int) -> None:
    resolved = resolve(EncoderSpec(max_tokens=max_tokens, long_text="truncate"))
    encoder = Encoder(resolved, threads=2)
    assert encoder.is_packed
    pairs = PAIRS if max_tokens == 512 else SHORTER
    assert least_cosine(encoder, peer(built_in.folder, "mean", max_tokens), pairs) >= 0.99999


@pytest.mark.parametrize("max_tokens", [512, 101, 100, 17])
def test_tokens_equal_transformers_to_the_last(built_in: ResolvedEncoder, max_tokens: int) -> None:
    long = LONG if max_tokens == 512 else " ".join(LONG.split()[: 20 * max_tokens])
    texts = [text.replace(LONG, long) for pair in PAIRS for text in pair]
    texts += [
        " ".join(["word"] * count)
        for count in (max_tokens // 2 - 2, max_tokens // 2 - 1, max_tokens // 2, 3 * max_tokens)
    ]
    tokenizer = Tokenizer(Path(built_in.folder), max_tokens)
    for shift in (1, 3, 7):
        seconds = texts[shift:] + texts[:shift]
        for first, second, ours in zip(texts, seconds, tokenizer.many(texts, seconds), strict=True):
            theirs = tokenizer.one(first, second)
            assert not isinstance(ours, Exception)
            np.testing.assert_array_equal(ours.ids, theirs.ids)
            np.testing.assert_array_equal(ours.segments, theirs.segments)


def test_single_texts(minilm: Encoder, built_in: ResolvedEncoder) -> None:
    encode = peer(built_in.folder, "mean", 512)
    texts = ["sports, ski, snow", "", "tag"]
    ours = torch.from_numpy(minilm.encode(texts).vectors)
    theirs = torch.stack([encode(text, None) for text in texts])
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() >= 0.99999


def test_tutorial_shape(tutorial_model: Path) -> None:
    resolved = resolve(EncoderSpec(str(tutorial_model), pooling="cls", max_tokens=100, long_text="truncate"))
    encoder = Encoder(resolved)
    assert encoder.is_packed
    assert encoder.dimension == 512
    found = encoder.encode(["team wins"], ["the city"])
    assert found.vectors.shape == (1, 512)
    assert least_cosine(encoder, peer(tutorial_model, "cls", 100), SHORTER) >= 0.99999


def test_other_architectures(tmp_path: Path) -> None:
    """RoBERTa's positions start after the padding token; DistilBERT goes the general way, with padding."""
    from transformers import AutoTokenizer

    base = save_bert(tmp_path / "base", layers=1, width=16, heads=2, seed=3)
    words = AutoTokenizer.from_pretrained(str(base))
    torch.manual_seed(4)
    sizes: dict[str, Any] = {"vocab_size": len(words), "pad_token_id": 0, "initializer_range": 0.2}
    roberta = RobertaModel(
        RobertaConfig(
            **sizes,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            type_vocab_size=2,
        )
    )
    distil = DistilBertModel(DistilBertConfig(**sizes, dim=32, n_layers=2, n_heads=4, hidden_dim=64))
    for name, model, packed in (("roberta", roberta, True), ("distil", distil, False)):
        folder = tmp_path / name
        model.save_pretrained(folder)
        words.save_pretrained(folder)
        for pooling in ("mean", "cls"):
            encoder = Encoder(
                resolve(EncoderSpec(str(folder), pooling=pooling, max_tokens=64, long_text="truncate")),
                batch_tokens=256,
            )
            assert encoder.is_packed == packed
            assert least_cosine(encoder, peer(folder, pooling, 64), SHORTER) >= 0.99999


def test_a_weight_without_a_place_goes_the_general_way(small_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "other"
    folder.mkdir()
    for file in small_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.adapter.weight"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = Encoder(resolve(EncoderSpec(str(folder), long_text="truncate")))
    assert not encoder.is_packed
    assert least_cosine(encoder, peer(small_model, "mean", 512), PAIRS) >= 0.99999


def test_weights_under_older_names(small_model: Path, tmp_path: Path) -> None:
    """As checkpoints made from TensorFlow's have them, google/bert_uncased_* among them, once they are
    safetensors."""
    from safetensors.torch import load_file, save_file

    folder = without_weights(small_model, tmp_path)
    old_names = {
        f"bert.{k}".replace("LayerNorm.weight", "LayerNorm.gamma"): v
        for k, v in load_file(small_model / "model.safetensors").items()
    }
    save_file(
        old_names | {"cls.predictions.bias": torch.zeros(3)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    encoder = Encoder(resolve(EncoderSpec(str(folder), long_text="truncate")))
    assert encoder.is_packed
    assert least_cosine(encoder, peer(small_model, "mean", 512), PAIRS) >= 0.99999


def test_pickled_weights_are_refused_unread(small_model: Path, tmp_path: Path) -> None:
    folder = without_weights(small_model, tmp_path)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Opened(str(tmp_path / "opened"))))
    with pytest.raises(
        UserError, match=r"no weights as \*\.safetensors; a pytorch_model\.bin is a pickle, .* convert it"
    ):
        resolve(EncoderSpec(str(folder)))
    with pytest.raises(OSError, match="safetensors"):  # nor where the check were left out
        PaddedModel(folder, torch.float32, torch.device("cpu"), Tokenizer(folder, 16))
    assert not (tmp_path / "opened").exists()


class Opened:
    """Leaves a file behind where its pickle is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def without_weights(model: Path, tmp_path: Path) -> Path:
    """A copy of the model's folder that lacks its weights."""
    folder = tmp_path / "older"
    folder.mkdir()
    for file in model.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_unit_vectors(minilm: Encoder) -> None:
    found = Encoder(resolve(EncoderSpec(unit=True))).encode(["one text", "another text"])
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-6)
    raw = minilm.encode(["one text", "another text"]).vectors
    np.testing.assert_allclose(
        found.vectors, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999), ("fp16", 0.9999)])
def test_lower_precision_stays_close(minilm: Encoder, precision: str, least: float) -> None:
    encoder = Encoder(resolve(EncoderSpec(precision=precision)))  # type: ignore[arg-type]
    first, second = zip(*PAIRS[1:5], strict=True)
    ours, full = encoder.encode(first, second).vectors, minilm.encode(first, second).vectors
    assert ours.dtype == np.float32
    cosine = (ours * full).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(full, axis=1)
    assert cosine.min() >= least


def test_batches_and_threads_change_no_bit(built_in: ResolvedEncoder, minilm: Encoder) -> None:
    """So that a rerun after a kill, which slices and batches differently, writes the very same vectors."""
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, size=size)) for size in generator.integers(1, 120, size=80)]
    whole = minilm.encode(texts, texts[::-1]).vectors
    small = Encoder(built_in, batch_tokens=150).encode(texts, texts[::-1]).vectors
    order = generator.permutation(len(texts))
    shuffled = minilm.encode([texts[i] for i in order], [texts[::-1][i] for i in order]).vectors
    np.testing.assert_array_equal(whole, small)
    np.testing.assert_array_equal(whole[order], shuffled)


def test_a_text_at_which_the_model_raises_loses_no_other(gaps_model: Path, small_model: Path) -> None:
    texts = ["team wins", f"the {UNEMBEDDED} cat", "storm rain", UNEMBEDDED, "law court vote"]
    found = Encoder(resolve(EncoderSpec(str(gaps_model)))).encode(texts)
    failed = [error is not None for error in found.errors]
    assert failed == [False, True, False, True, False]
    assert "token id" in str(found.errors[1])
    assert np.isnan(found.vectors[failed]).all()
    alone = Encoder(resolve(EncoderSpec(str(gaps_model))))
    for i in (0, 2, 4):
        np.testing.assert_array_equal(found.vectors[i], alone.encode([texts[i]]).vectors[0])


def test_a_text_at_which_the_tokenizer_raises_loses_no_other(small_model: Path, tmp_path: Path) -> None:
    """A word tokenizer without an unknown token raises at every word that it does not know."""
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path / "words"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((small_model / name).read_bytes())
    raw = FastTokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="the").save_pretrained(folder)
    found = Encoder(resolve(EncoderSpec(str(folder)))).encode(["storm rain", "unheard of", "team wins"])
    assert [error is None for error in found.errors] == [True, False, True]
    assert str(found.errors[1]).startswith("tokenizer: ")
    assert found.token_counts.tolist() == [2, 0, 2]
    assert np.isfinite(found.vectors[[0, 2]]).all()


def test_a_vector_that_is_not_finite_is_an_error(small_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    folder.mkdir()
    for file in small_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    dog = Tokenizer(folder, 32).one("dog").ids[1]
    weights["embeddings.word_embeddings.weight"][dog] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = Encoder(resolve(EncoderSpec(str(folder)))).encode(["cat", "dog", "rain"])
    assert [error is None for error in found.errors] == [True, False, True]


def test_token_counts_and_empty_texts(minilm: Encoder) -> None:
    found = minilm.encode(["", "\x00\x01", "one two", ""], ["", "  ", "", "three"])
    assert found.token_counts.tolist() == [2, 3, 4, 4]
    assert found.is_empty.tolist() == [True, True, False, False]
    assert minilm.encode([]).vectors.shape == (0, 384)


def test_one_megabyte_of_text(minilm: Encoder, built_in: ResolvedEncoder) -> None:
    text = LONG * (1_000_000 // len(LONG) + 1)
    assert (
        least_cosine(minilm, peer(built_in.folder, "mean", 512), [("A megabyte", text), ("Short", "text")])
        >= 0.99999
    )

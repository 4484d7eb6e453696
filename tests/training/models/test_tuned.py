"""Models that tune their encoder: which weights learn, what goes through the encoder, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from newslake.errors import UserError
from newslake.text.spec import EncoderSpec, Pooling, resolve
from newslake.training.data.batches import Clicks
from newslake.training.data.loading import TrainingData
from newslake.training.data.texts import tuned_encoder
from newslake.training.loop.epoch import batch_loss
from newslake.training.loop.optimizer import optimizer_for
from newslake.training.models import build_model
from newslake.training.models.tuned import TunedText
from tests.text.folders import save_folder
from tests.training.tuned_worlds import frozen_of, make_model, settings, small_world, texts_of, with_texts


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def data(place: Path) -> TrainingData:
    return small_world(place)


def a_batch() -> Clicks:
    histories = torch.arange(1, 13)
    articles = torch.arange(36).view(12, 3) % 20
    return Clicks(histories - 1, histories, articles, torch.ones(12, 3, dtype=torch.bool))


@pytest.mark.parametrize(("pooling", "unit"), [("mean", False), ("cls", False), ("mean", True)])
def test_before_the_first_step_vectors_are_the_frozen_ones(
    data: TrainingData, place: Path, tmp_path: Path, pooling: Pooling, unit: bool
) -> None:
    catalogue = with_texts(data.catalogue, place / "bert", tmp_path, pooling=pooling, unit=unit)
    tuned = TunedText(texts_of(catalogue), 2).train()
    articles = torch.from_numpy(np.random.default_rng(0).permutation(np.tile(np.arange(120), 2)))
    nothing = torch.full((32,), 3.0)
    vectors = tuned(articles, nothing)
    expected = frozen_of(catalogue).clone()
    expected[7] = nothing
    cosines = torch.nn.functional.cosine_similarity(vectors, expected[articles])
    assert cosines.min() >= 0.9999
    assert torch.allclose(vectors, expected[articles], atol=1e-4)
    assert tuned(articles[:0], nothing).shape == (0, 32)


@pytest.mark.parametrize("pooling", ["lasttoken", "max", "weightedmean"])
@pytest.mark.parametrize("include_prompt", [True, False])
def test_a_folder_of_sentence_transformers_is_tuned_as_it_encodes(
    data: TrainingData, tmp_path: Path, pooling: str, include_prompt: bool
) -> None:
    """Its prompt, pooling and Dense module; only the transformer's layers learn."""
    prompts = {"document": "goal: "}
    how: dict[str, Any] = {
        "pooling": pooling,
        "include_prompt": include_prompt,
        "dense": [(24, torch.nn.Tanh())],
        "unit": True,
    }
    folder = save_folder(tmp_path / "st", "bert", prompts=prompts, max_tokens=64, **how)
    catalogue = with_texts(data.catalogue, folder, tmp_path / "texts", pooling=None, unit=None, max_tokens=64)
    tuned = TunedText(texts_of(catalogue), 1)
    vectors = tuned(torch.arange(100), frozen_of(catalogue)[7])
    assert vectors.shape == (100, 24)
    assert torch.nn.functional.cosine_similarity(vectors, frozen_of(catalogue)[:100]).min() >= 0.9999
    assert {name.split(".")[0] for name in tuned.state_dict()} == {"model"}
    assert {name.split(".")[0] for name, _ in tuned.named_parameters()} == {"model"}
    frozen = resolve(
        EncoderSpec(str(folder), prompt="other: ", fields=("title", "abstract"), long_text="truncate")
    )
    with pytest.raises(UserError, match="have other prompts than the folder of --encoder"):
        tuned_encoder(str(folder), frozen.encoder_id, layers=1, max_tokens=20)


def test_long_texts_are_cut_and_batches_bounded(
    data: TrainingData, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = np.diff(texts_of(with_texts(data.catalogue, place / "bert", tmp_path, max_tokens=12)).offsets)
    whole_lengths = np.diff(texts_of(data.catalogue).offsets)
    assert whole_lengths.max() > 20
    np.testing.assert_array_equal(cut, np.minimum(whole_lengths, 12))
    tuned = TunedText(texts_of(data.catalogue), 1)
    sizes: list[torch.Size] = []
    tuned.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    whole = tuned(torch.arange(120), torch.zeros(32))
    monkeypatch.setattr("newslake.training.models.tuned._BATCH_TOKENS", {"cpu": 100, "cuda": 100})
    sizes.clear()
    parts = tuned(torch.arange(120), torch.zeros(32))
    assert max(rows * longest for rows, longest in sizes) <= 100
    assert sum(rows for rows, _ in sizes) == 119
    assert torch.allclose(whole, parts, atol=1e-5)


@pytest.mark.parametrize("model", ["nrms", "dssm"])
def test_each_distinct_article_of_a_batch_is_encoded_once(data: TrainingData, model: str) -> None:
    chosen = settings(model)
    made, batch = make_model(data, chosen), a_batch()
    assert made.news.tuned is not None
    rows: list[int] = []
    made.news.tuned.model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    batch_loss(made, batch, chosen).backward()
    assert data.catalogue.histories is not None
    # What ends a short history is looked up as article 0; article 7 has no text.
    distinct = set(np.maximum(data.catalogue.histories[batch.histories.numpy()], 0).ravel()) | set(
        batch.articles.ravel().tolist()
    )
    named = data.catalogue.histories[batch.histories.numpy()].size + batch.articles.numel()
    assert sum(rows) == len(distinct - {7})
    assert len(distinct) < named / 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["nrms", "dssm"])
def test_a_step_changes_the_last_layers_alone_and_the_rest_of_the_model(
    data: TrainingData, model: str, precision: str
) -> None:
    chosen = settings(model, tune_layers=2, weight_decay=0.1)
    made = make_model(data, chosen)
    optimizer = optimizer_for(made, chosen)
    tuned = made.news.tuned
    assert tuned is not None
    before = {
        name: weight.clone()
        for name, weight in (*tuned.model.named_parameters(), *tuned.model.named_buffers())
    }
    others = {name: weight.clone() for name, weight in made.named_parameters() if ".tuned." not in name}
    # The gate of the learnt part begins at 0, so that the first step moves nothing behind it.
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = batch_loss(made, a_batch(), chosen)
        loss.backward()
        optimizer.step()
    after = dict((*tuned.model.named_parameters(), *tuned.model.named_buffers()))
    assert before.keys() == after.keys()
    weights = {name for name in before if name.endswith(("weight", "bias"))}
    learning = {name for name in weights if name.startswith(("encoder.layer.1.", "encoder.layer.2."))}
    assert len(learning) == 2 * 16
    assert "embeddings.word_embeddings.weight" in weights - learning
    changed = {name for name in weights if not torch.equal(before[name], after[name])}
    # A bias of keys adds the same to all of a query's scores, which a softmax does not see: only decay moves
    # it, and it begins as 0.
    assert learning - changed <= {f"encoder.layer.{n}.attention.self.key.bias" for n in (1, 2)}
    assert changed <= learning
    now = dict(made.named_parameters())
    assert [
        name
        for name, weight in others.items()
        if torch.equal(weight, now[name]) and "bias" not in name and weight.any()
    ] == []
    assert {name for name in made.state_dict() if ".tuned." in name} == {
        f"news.tuned.model.{name}" for name in learning
    }


def test_the_encoder_has_a_learning_rate_of_its_own(data: TrainingData) -> None:
    chosen = settings(tune_learning_rate=1e-5)
    made = make_model(data, chosen)
    others, tuned = optimizer_for(made, chosen).param_groups
    assert chosen.learning_rate * tuned["share"] == pytest.approx(1e-5)
    assert "share" not in others
    assert len(others["params"]) + len(tuned["params"]) == len(list(made.parameters()))
    plain = settings(tune_layers=0)
    assert len(optimizer_for(make_model(data, plain), plain).param_groups) == 1
    assert not any(name.startswith("tune") for name in plain.as_dict())
    assert {"tune_layers", "tune_learning_rate"} <= chosen.as_dict().keys()


def test_what_cannot_be_tuned_is_refused_with_one_line(place: Path, data: TrainingData) -> None:
    folder = str(place / "bert")
    own = resolve(EncoderSpec(folder)).encoder_id
    for model in ("mf", "content"):
        with pytest.raises(
            UserError,
            match=f"--tune-layers 1: {model} does not read texts while it trains: take --model nrms or dssm",
        ):
            settings(model)
    with pytest.raises(UserError, match="--tune-layers -1: must be 0 or more"):
        settings(tune_layers=-1)
    with pytest.raises(UserError, match="--tune-learning-rate 0: must be above 0"):
        settings(tune_learning_rate=0)
    for encoder_id in (
        "another.12345678.mean.512.title.truncate",
        "E",
        own.split(".")[0] + ".00000000.mean.512.title.truncate",
    ):
        with pytest.raises(
            UserError,
            match=(
                r"--encoder .*bert is bert\.\w+, but the articles' vectors are by .*: name the encoder that"
                r" made"
            ),
        ):
            tuned_encoder(folder, encoder_id, layers=1, max_tokens=50)
    with pytest.raises(UserError, match="--tune-layers 4: bert has 3 layers"):
        tuned_encoder(folder, own, layers=4, max_tokens=50)
    for tokens in (4, 513):
        with pytest.raises(UserError, match=f"--text-tokens {tokens}: bert takes 8 to 512"):
            tuned_encoder(folder, own, layers=3, max_tokens=tokens)
    with pytest.raises(ValueError, match="takes the articles' texts"):
        build_model("nrms", replace(data.catalogue, texts=None), settings().shape, seed=0)


def test_an_architecture_whose_layers_are_no_list_is_refused(
    place: Path, data: TrainingData, tmp_path: Path
) -> None:
    from transformers import AlbertConfig, AlbertModel

    shutil.copytree(place / "bert", tmp_path / "albert")
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 32,
    }
    AlbertModel(AlbertConfig(vocab_size=150, embedding_size=16, **shape)).save_pretrained(tmp_path / "albert")
    found = resolve(EncoderSpec(str(tmp_path / "albert")))
    encoder = tuned_encoder(str(tmp_path / "albert"), found.encoder_id, layers=1, max_tokens=50)
    with pytest.raises(UserError, match="albert does not hold its layers as a list"):
        TunedText(replace(texts_of(data.catalogue), encoder=encoder), 1)


@pytest.mark.parametrize("family", ["distilbert", "roberta", "mpnet"])
def test_other_architectures_are_tuned_too(
    place: Path, tmp_path: Path, data: TrainingData, family: str
) -> None:
    from transformers import (
        DistilBertConfig,
        DistilBertModel,
        MPNetConfig,
        MPNetModel,
        PreTrainedModel,
        RobertaConfig,
        RobertaModel,
    )

    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    sizes: dict[str, Any] = {"vocab_size": 150, "initializer_range": 0.2}
    models: dict[str, PreTrainedModel] = {
        "distilbert": DistilBertModel(
            DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=64, **sizes)
        ),
        "roberta": RobertaModel(RobertaConfig(max_position_embeddings=200, pad_token_id=0, **shape, **sizes)),
        "mpnet": MPNetModel(MPNetConfig(max_position_embeddings=200, pad_token_id=0, **shape, **sizes)),
    }
    shutil.copytree(place / "bert", tmp_path / family)
    models[family].save_pretrained(tmp_path / family)
    tokenizer = json.loads((tmp_path / family / "tokenizer_config.json").read_text())
    tokenizer["model_input_names"] = ["input_ids", "attention_mask"]
    (tmp_path / family / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    catalogue = with_texts(data.catalogue, tmp_path / family, tmp_path / "texts")
    tuned = TunedText(texts_of(catalogue), 1)
    vectors = tuned(torch.arange(100), frozen_of(catalogue)[7])
    assert torch.nn.functional.cosine_similarity(vectors, frozen_of(catalogue)[:100]).min() >= 0.9999
    vectors.sum().backward()
    assert {name.split(".layer.")[1].split(".")[0] for name, weight in tuned.named_parameters()} == {"2"}
    assert all(weight.grad is not None for weight in tuned.parameters())

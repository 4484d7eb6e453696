"""Encoders by name: what is found, what an encoder_id says, and what a user reads who got it wrong."""

import re
import shutil
import time
from pathlib import Path

import pytest

from newslake.errors import JobFailed, UserError
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, ResolvedEncoder, resolve


def test_encoder_id_names_every_setting_that_changes_vectors(
    built_in: ResolvedEncoder, small_model: Path
) -> None:
    assert re.fullmatch(
        r"all-MiniLM-L6-v2\.[0-9a-f]{8}\.mean\.512\.title-abstract-body\.truncate", built_in.encoder_id
    )
    specs = [
        EncoderSpec(),
        EncoderSpec(pooling="cls"),
        EncoderSpec(max_tokens=100),
        EncoderSpec(precision="bf16"),
        EncoderSpec(unit=True),
        EncoderSpec(fields=("title", "abstract")),
        EncoderSpec(long_text="truncate"),
        EncoderSpec(long_text="mean-of-chunks"),
        EncoderSpec(str(small_model)),
    ]
    ids = {resolve(spec).encoder_id for spec in specs}
    assert len(ids) == len(specs)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", found) for found in ids)


def test_encoder_id_follows_the_files_not_where_they_lie(small_model: Path, tmp_path: Path) -> None:
    here = resolve(EncoderSpec(str(small_model)))
    copy = tmp_path / small_model.name
    shutil.copytree(small_model, copy)
    assert resolve(EncoderSpec(str(copy))).encoder_id == here.encoder_id
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert resolve(EncoderSpec(str(copy))).encoder_id != here.encoder_id


def test_a_worker_refuses_other_files_than_the_driver_saw(small_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(small_model, copy)
    resolved = resolve(EncoderSpec(str(copy)))
    assert resolved.local_folder() == copy
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    with pytest.raises(JobFailed, match="not those that the driver saw"):
        resolved.local_folder()
    shutil.rmtree(copy)
    with pytest.raises(JobFailed, match="not there on this worker"):
        resolved.local_folder()


def test_length_comes_from_the_model(small_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "short"
    shutil.copytree(small_model, copy)
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(
        config.replace('"max_position_embeddings": 512', '"max_position_embeddings": 128')
    )
    assert resolve(EncoderSpec(str(copy))).max_tokens == 128
    assert resolve(EncoderSpec(str(copy), max_tokens=100)).max_tokens == 100
    with pytest.raises(UserError, match="takes 128 at most"):
        resolve(EncoderSpec(str(copy), max_tokens=129))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "/no/such/folder"}, "no such folder"),
        ({"encoder": "./no such folder"}, "no such folder"),
        ({"encoder": "nobody/no-such-model"}, "no model hub can be reached"),
        ({"pooling": "sum"}, "choose one of mean, cls, last, max, weightedmean"),
        ({"dimensions": 0}, "take 1 or more"),
        ({"dimensions": 385}, "gives 384"),
        ({"prompt_name": "query"}, "--prompt-name query: the encoder's folder has no prompts"),
        ({"precision": "int8"}, "choose one of fp32, fp16, bf16"),
        ({"long_text": "whole"}, "choose one of summarize, truncate, mean-of-chunks"),
        ({"fields": ()}, "at least one"),
        ({"fields": ("title", "title")}, "at most once"),
        ({"max_tokens": 3}, "take 8 or more"),
        ({"max_tokens": 513}, "takes 512 at most"),
    ],
)
def test_mistakes_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(EncoderSpec(**settings))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_does_not_keep_anyone_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    began = time.monotonic()
    with pytest.raises(UserError, match="no model hub can be reached"):
        resolve(EncoderSpec("google/bert_uncased_L-8_H-512_A-8"))
    assert time.monotonic() - began < 30


def test_a_folder_asks_no_hub(monkeypatch: pytest.MonkeyPatch, small_model: Path, tmp_path: Path) -> None:
    import socket

    import huggingface_hub.constants
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    general = tmp_path / "distil"
    words = AutoTokenizer.from_pretrained(str(small_model))
    DistilBertModel(
        DistilBertConfig(vocab_size=len(words), dim=32, n_layers=1, n_heads=4, hidden_dim=64)
    ).save_pretrained(general)
    words.save_pretrained(general)
    asked: list[object] = []

    def refuse(host: object, *_: object, **__: object) -> None:
        asked.append(host)
        raise OSError("no network in this test")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: refuse(address))
    for folder in (small_model, general):
        assert Encoder(resolve(EncoderSpec(str(folder)))).encode(["news"]).errors == [None]
    assert asked == []


def test_folders_that_hold_no_model(tmp_path: Path, small_model: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve(EncoderSpec(str(tmp_path)))
    shutil.copy(small_model / "config.json", tmp_path)
    with pytest.raises(UserError, match="no weights"):
        resolve(EncoderSpec(str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        resolve(EncoderSpec(str(tmp_path)))

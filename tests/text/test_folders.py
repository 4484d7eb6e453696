"""sentence-transformers folders encode as that library encodes them, and what cannot be honoured is refused
with one line."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from newslake.errors import UserError
from newslake.text.encoder import Encoder
from newslake.text.folder import Pooling
from newslake.text.spec import EncoderSpec, resolve
from tests.text.folders import FAMILIES, LONGEST, save_folder, save_plain, texts, theirs

PROMPTS = {"query": "find the market: ", "document": "goal: "}


def cosines(ours: np.ndarray, other: np.ndarray) -> np.ndarray:
    found: np.ndarray = (ours * other).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(other, axis=1)
    return found


def encoder_of(folder: Path, kind: Any = "article", **options: Any) -> Encoder:
    return Encoder(resolve(EncoderSpec(str(folder), long_text="truncate", **options)), kind)


def assert_same(ours: np.ndarray, other: np.ndarray) -> None:
    """The same vectors, length and all, of texts that are not all alike."""
    assert cosines(ours, other).min() >= 0.9999
    np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-4)
    assert cosines(ours[:-1], ours[1:]).min() < 0.99


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_encodes_as_sentence_transformers(tmp_path: Path, family: str) -> None:
    """Of Qwen3 with its last token and a prompt for queries; each in one batch with padding, some texts over
    the longest."""
    more: dict[str, Any] = (
        {"pooling": "lasttoken", "prompts": PROMPTS, "unit": True, "max_tokens": 40}
        if family == "qwen3"
        else {}
    )
    folder = save_folder(tmp_path / family, family, **more)
    encoder, peer, given = encoder_of(folder), theirs(folder), texts()
    found = encoder.encode(given)
    assert found.errors == [None] * len(given)
    assert len(set(found.token_counts)) > 5
    assert (found.token_counts == more.get("max_tokens", LONGEST)).sum() > 2
    assert_same(found.vectors, peer.encode_document(given, batch_size=len(given)))
    assert_same(
        encoder_of(folder, "tag").encode(given).vectors, peer.encode_query(given, batch_size=len(given))
    )
    pairs = [(a, b) for a, b in zip(given, given[::-1], strict=True)]
    if family != "qwen3":  # which has nothing between the texts of a pair
        assert_same(
            encoder.encode(*zip(*pairs, strict=True)).vectors, peer.encode(pairs, batch_size=len(pairs))
        )


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken", "max", "weightedmean"])
def test_every_pooling_on_both_paths(tmp_path: Path, pooling: str, include_prompt: bool) -> None:
    for family in ("bert", "distilbert"):
        folder = save_folder(
            tmp_path / family, family, pooling=pooling, include_prompt=include_prompt, prompts=PROMPTS
        )
        given = texts()
        assert_same(encoder_of(folder).encode(given).vectors, theirs(folder).encode_document(given))
        assert_same(encoder_of(folder, "tag").encode(given).vectors, theirs(folder).encode_query(given))


def test_dense_modules_and_unit_length(tmp_path: Path) -> None:
    dense = [(24, nn.Tanh()), (16, nn.Identity())]
    folder = save_folder(tmp_path / "dense", "bert", dense=dense, unit=True)
    given, encoder = texts(), encoder_of(folder)
    assert encoder.dimension == 16
    assert_same(encoder.encode(given).vectors, theirs(folder).encode(given))
    free = encoder_of(folder, unit=False).encode(given).vectors
    assert np.linalg.norm(free, axis=1).std() > 0.01
    assert cosines(free, encoder.encode(given).vectors).min() >= 0.9999
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"2_Dense in .* holds no model\.safetensors"):
        resolve(EncoderSpec(str(folder)))


def test_fewer_dimensions(tmp_path: Path) -> None:
    folder, given = save_folder(tmp_path / "cut", "bert"), texts()
    found = encoder_of(folder, dimensions=8).encode(given).vectors
    assert found.shape == (len(given), 8)
    assert_same(found, theirs(folder).encode(given, truncate_dim=8, normalize_embeddings=True))
    with pytest.raises(UserError, match="--dimensions 33: cut gives 32"):
        resolve(EncoderSpec(str(folder), dimensions=33))
    with pytest.raises(UserError, match="--no-unit"):
        EncoderSpec(str(folder), dimensions=8, unit=False)


@pytest.mark.parametrize(
    ("prompts", "default", "options", "article", "tag"),
    [
        ({}, None, {}, "", ""),
        ({"document": "goal: ", "query": "find: "}, None, {}, "goal: ", "find: "),
        ({"passage": "goal: ", "query": "find: "}, "query", {}, "goal: ", "find: "),
        ({"any": "goal: "}, "any", {}, "goal: ", "goal: "),
        ({"document": "", "query": "find: ", "any": "goal: "}, "any", {}, "", "find: "),
        ({"any": "goal: "}, None, {}, "", ""),
        ({"any": "goal: "}, None, {"prompt_name": "any"}, "goal: ", ""),
        ({"any": "goal: "}, "any", {"prompt": "", "tag_prompt": "find: "}, "", "find: "),
        (
            {"any": "goal: ", "query": "find: "},
            None,
            {"tag_prompt_name": "any", "prompt": "mayor "},
            "mayor ",
            "goal: ",
        ),
    ],
)
def test_which_prompt(
    tmp_path: Path,
    prompts: dict[str, str],
    default: str | None,
    options: dict[str, str],
    article: str,
    tag: str,
) -> None:
    folder = save_plain(tmp_path / "plain", "bert")
    as_older_versions_save(folder)
    write(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": default})
    found = resolve(EncoderSpec(str(folder), **options))  # type: ignore[arg-type]
    assert (found.recipe.prompt, found.recipe.tag_prompt) == (article, tag)
    given = texts()
    assert_same(
        encoder_of(folder, **options).encode(given).vectors, theirs(folder).encode(given, prompt=article)
    )
    assert_same(
        encoder_of(folder, "tag", **options).encode(given).vectors, theirs(folder).encode(given, prompt=tag)
    )


def test_prompts_that_are_not_there_or_too_long(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "prompts", "bert", prompts=PROMPTS)
    with pytest.raises(UserError, match="--prompt-name other: the encoder's folder has document, query"):
        resolve(EncoderSpec(str(folder), prompt_name="other"))
    with pytest.raises(UserError, match="--tag-prompt and --tag-prompt-name: give one"):
        EncoderSpec(str(folder), tag_prompt_name="query", tag_prompt="x")
    with pytest.raises(
        UserError, match=r"--prompt: its \d+ tokens leave no room for a text in the 24 of --max-tokens"
    ):
        resolve(EncoderSpec(str(folder), prompt="market " * 20))


def test_a_text_of_nothing_but_its_prompt_is_empty(tmp_path: Path) -> None:
    """Also where the prompt's last token becomes one with the text's first, as in many tokenizers."""
    for family in ("bert", "xlmr", "qwen3"):
        folder = save_folder(tmp_path / family, family, prompts={"document": "query: "}, max_tokens=40)
        found = encoder_of(folder).encode(["", "a", "market", ""], ["", "", "", "goal"])
        assert found.is_empty.tolist() == [True, False, False, False]


@pytest.mark.parametrize("how", ["summarize", "mean-of-chunks", "truncate"])
def test_long_texts_keep_their_prompt(tmp_path: Path, how: Any) -> None:
    folder = save_folder(tmp_path / "long", "bert", prompts=PROMPTS, pooling="cls")
    encoder = Encoder(resolve(EncoderSpec(str(folder), long_text=how)))
    body = " ".join(texts(40))
    given = encoder.prepare(["goal market", body], [body, ""])
    start = encoder.tokenizer.one("").ids[:-1]
    for piece in given.tokens:
        assert not isinstance(piece, Exception)
        np.testing.assert_array_equal(piece.ids[: len(start)], start)
        assert len(piece.ids) <= LONGEST
    assert encoder.encode_pieces(given).errors == [None, None]
    assert (len(given.tokens) > 10) == (how == "mean-of-chunks")


def test_as_older_versions_of_the_library_save(tmp_path: Path) -> None:
    """The transformer in a folder of its own, pooling in words for each kind, the length in a file by family,
    lower case."""
    folder = tmp_path / "old"
    save_plain(folder / "0_Transformer", "roberta")
    as_older_versions_save(folder, transformer="0_Transformer", pooling="pooling_mode_max_tokens")
    write(
        folder / "0_Transformer" / "sentence_roberta_config.json",
        {"max_seq_length": 16, "do_lower_case": True},
    )
    encoder, given = encoder_of(folder), texts()
    assert encoder.is_packed
    assert encoder.encode(given).token_counts.max() == 16
    assert_same(encoder.encode(given).vectors, theirs(folder).encode(given))
    lower = encoder_of(folder).encode([text.lower() for text in given]).vectors
    np.testing.assert_array_equal(lower, encoder.encode(given).vectors)
    before = resolve(EncoderSpec(str(folder))).encoder_id
    write(folder / "0_Transformer" / "sentence_roberta_config.json", {"max_seq_length": 16})
    assert resolve(EncoderSpec(str(folder))).encoder_id != before


def test_length_of_a_folder(tmp_path: Path) -> None:
    plain = save_plain(tmp_path / "plain", "bert")
    assert resolve(EncoderSpec(str(plain))).max_tokens == 64
    as_older_versions_save(plain)
    assert resolve(EncoderSpec(str(plain))).max_tokens == theirs(plain).max_seq_length == 64
    write(plain / "sentence_bert_config.json", {"max_seq_length": 16})
    assert resolve(EncoderSpec(str(plain))).max_tokens == theirs(plain).max_seq_length == 16
    assert resolve(EncoderSpec(str(plain), max_tokens=30)).max_tokens == 30
    with pytest.raises(UserError, match="takes 64 at most"):
        resolve(EncoderSpec(str(plain), max_tokens=65))


def test_an_option_against_the_folder_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = save_folder(tmp_path / "cls", "bert", pooling="cls", unit=True)
    with caplog.at_level(logging.INFO, logger="newslake"):
        resolve(EncoderSpec(str(folder)))
        resolve(EncoderSpec(str(folder), pooling="cls", max_tokens=LONGEST, unit=True))
        assert caplog.messages == []
        found = resolve(EncoderSpec(str(folder), pooling="mean", max_tokens=30, unit=False))
    assert caplog.messages == [
        "max_seq_length says 24: you asked for 30",
        "1_Pooling says cls: you asked for mean",
        "modules.json ends with Normalize: you asked for --no-unit",
    ]
    assert found.encoder_id.split(".", 2)[2] == "mean.30.title-abstract-body.summarize"
    several = save_folder(tmp_path / "several", "bert", pooling=["mean", "max"])
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="newslake"):
        assert_same(
            encoder_of(several, pooling="max").encode(texts()).vectors,
            theirs(several).encode(texts())[:, 32:],
        )
    assert caplog.messages == ["1_Pooling says mean and max, which newslake does not do: you asked for max"]


def test_all_of_it_is_in_the_encoder_id(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "ids", "bert", prompts=PROMPTS, dense=[(16, nn.Tanh())])
    poolings: tuple[Pooling, ...] = ("mean", "cls", "last", "max", "weightedmean")
    specs = [EncoderSpec(str(folder), pooling=pooling) for pooling in poolings]
    specs += [
        EncoderSpec(str(folder), dimensions=8),
        EncoderSpec(str(folder), dimensions=9),
        EncoderSpec(str(folder), unit=True),
    ]
    specs += [
        EncoderSpec(str(folder), prompt="x"),
        EncoderSpec(str(folder), tag_prompt="x"),
        EncoderSpec(str(folder), prompt="", tag_prompt=""),
    ]
    ids = [resolve(spec).encoder_id for spec in specs]
    assert len(set(ids)) == len(ids)
    assert ids[0] == resolve(EncoderSpec(str(folder))).encoder_id
    pooling = folder / "1_Pooling" / "config.json"
    write(pooling, {**json.loads(pooling.read_text()), "include_prompt": False})
    assert resolve(EncoderSpec(str(folder))).encoder_id not in ids
    dense = folder / "2_Dense" / "config.json"
    write(dense, {**json.loads(dense.read_text()), "activation_function": "torch.nn.modules.activation.ReLU"})
    assert resolve(EncoderSpec(str(folder), prompt="", tag_prompt="")).encoder_id not in ids


def test_the_default_encoder_is_the_same_as_ever() -> None:
    """Tables filled before there were such settings stay valid."""
    assert (
        resolve(EncoderSpec()).encoder_id
        == "all-MiniLM-L6-v2.eadd4b20.mean.512.title-abstract-body.summarize"
    )


def test_folders_whose_pairs_were_read_wrongly_have_another_id(tmp_path: Path) -> None:
    """So that their vectors do not mix with what older versions made: it is in the digest, and nothing else's
    digest changes."""
    from newslake.text import weights

    for family in FAMILIES:
        folder = save_plain(tmp_path / family, family)
        assert weights._pairs_were_wrong(folder) == (family == "qwen3")
        content = json.loads((folder / "tokenizer_config.json").read_text())
        write(folder / "tokenizer_config.json", {**content, "model_input_names": ["input_ids"]})
        assert weights._pairs_were_wrong(folder) == (family in ("bert", "qwen3"))
    assert not weights._pairs_were_wrong(Path(resolve(EncoderSpec()).folder))


def test_plain_folders_are_the_same_as_ever(small_model: Path) -> None:
    assert (
        resolve(EncoderSpec(str(small_model))).encoder_id.split(".", 2)[2]
        == "mean.512.title-abstract-body.summarize"
    )


Change = Callable[[Path], object]
MODULES = "modules.json"


def in_json(name: str, **values: Any) -> Change:
    return lambda folder: write(folder / name, {**json.loads((folder / name).read_text()), **values})


def module(number: int, kind: str) -> Change:
    def change(folder: Path) -> None:
        modules = json.loads((folder / MODULES).read_text())
        modules[number]["type"] = kind
        write(folder / MODULES, modules)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            module(2, "sentence_transformers.models.WeightedLayerPooling"),
            "names sentence_transformers.models.WeightedLayerPooling, which",
        ),
        (module(0, "custom.Transformer"), r"names custom\.Transformer, which newslake does not know"),
        (
            module(1, "sentence_transformers.models.Normalize"),
            "lists Transformer, Normalize, Dense: newslake takes a Transformer, a Pooling",
        ),
        (lambda folder: (folder / MODULES).write_text("{"), r"modules\.json in .* is not valid JSON"),
        (lambda folder: (folder / MODULES).write_text("[]"), "is not a list of modules"),
        (
            in_json("1_Pooling/config.json", pooling_mode=["mean", "max"]),
            "1_Pooling says mean and max, .* choose with --pooling",
        ),
        (
            in_json("1_Pooling/config.json", pooling_mode="mean_sqrt_len_tokens"),
            "1_Pooling says mean_sqrt_len_tokens",
        ),
        (
            lambda folder: shutil.rmtree(folder / "1_Pooling"),
            r"holds no config\.json, which modules\.json asks for",
        ),
        (
            in_json("2_Dense/config.json", activation_function="custom.Swish"),
            r"activation_function custom\.Swish",
        ),
        (
            in_json("2_Dense/config.json", module_input_name="token_embeddings"),
            "takes a Dense from one vector",
        ),
        (in_json("sentence_bert_config.json", query_expansion={"length": 32}), "does not do query_expansion"),
        (
            in_json("sentence_bert_config.json", transformer_task="fill-mask"),
            "does not do transformer_task fill-mask",
        ),
        (
            in_json("config_sentence_transformers.json", default_prompt_name="none"),
            "default_prompt_name none is not among",
        ),
        (lambda folder: write(folder / "adapter_config.json", {}), "holds an adapter"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer in"),
    ],
)
def test_what_cannot_be_honoured_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    folder = save_folder(tmp_path / "strange", "bert", dense=[(16, nn.Tanh())])
    assert resolve(EncoderSpec(str(folder)))
    change(folder)
    with pytest.raises(UserError, match=message) as caught:
        resolve(EncoderSpec(str(folder)))
    assert str(caught.value).startswith(f"--encoder {folder}: ")
    assert "\n" not in str(caught.value)


def as_older_versions_save(
    folder: Path, *, transformer: str = "", pooling: str = "pooling_mode_mean_tokens"
) -> None:
    """modules.json and 1_Pooling as sentence-transformers 2 wrote them."""
    kinds = [("Transformer", transformer), ("Pooling", "1_Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds)
    ]
    (folder / "1_Pooling").mkdir()
    write(folder / MODULES, modules)
    words = dict.fromkeys(
        ("pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens"), False
    )
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **words, pooling: True})


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def test_weights_of_another_file_are_left_alone(tmp_path: Path) -> None:
    folder, other = save_plain(tmp_path / "two", "bert"), save_plain(tmp_path / "other", "bert", seed=1)
    alone = resolve(EncoderSpec(str(folder))).encoder_id
    wanted = encoder_of(folder).encode(texts()).vectors
    shutil.copy(other / "model.safetensors", folder / "model_old.safetensors")
    shutil.copy(other / "model.safetensors", folder / "zz.safetensors")
    write(
        folder / "model.safetensors.index.json",
        {"weight_map": {"embeddings.LayerNorm.bias": "zz.safetensors"}},
    )
    assert resolve(EncoderSpec(str(folder))).encoder_id == alone
    np.testing.assert_array_equal(encoder_of(folder).encode(texts()).vectors, wanted)
    assert cosines(encoder_of(other).encode(texts()).vectors, wanted).max() < 0.99


def test_weights_in_several_files(tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = save_plain(tmp_path / "whole", "bert")
    wanted = encoder_of(folder).encode(texts()).vectors
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 1
    shutil.copy(
        save_plain(tmp_path / "other", "bert", seed=1) / "model.safetensors", folder / "zz.safetensors"
    )
    encoder = encoder_of(folder)
    assert encoder.is_packed
    np.testing.assert_array_equal(encoder.encode(texts()).vectors, wanted)
    parts[0].unlink()
    with pytest.raises(
        UserError, match=r"index\.json in .* names model-00001-of-.* which the folder does not hold"
    ):
        resolve(EncoderSpec(str(folder)))


def as_transformers(folder: Path, first: str, second: str, **inputs: Any) -> np.ndarray:
    from transformers import AutoModel, AutoTokenizer

    given = AutoTokenizer.from_pretrained(folder)(first, second, return_tensors="pt", **inputs)
    with torch.inference_mode():
        found: np.ndarray = (
            AutoModel.from_pretrained(folder).eval()(**given).last_hidden_state[0].mean(0).numpy()
        )
    return found


@pytest.mark.parametrize("family", ["bert", "xlmr", "roberta", "distilbert"])
def test_segments_are_those_that_the_tokenizer_gives(tmp_path: Path, family: str) -> None:
    """Its template may number the second text 1, and yet it gives no token_type_ids."""
    names = ["input_ids", "attention_mask"]
    folder = save_plain(tmp_path / family, family, model_input_names=names)
    content = json.loads((folder / "tokenizer.json").read_text())
    for part in content["post_processor"]["pair"][-2:]:
        next(iter(part.values()))["type_id"] = 1
    write(folder / "tokenizer.json", content)
    found = encoder_of(folder).encode(["Market goal"], ["Storm vote"])
    assert found.errors == [None]
    assert cosines(found.vectors, as_transformers(folder, "Market goal", "Storm vote")[None])[0] >= 0.99999


def test_a_segment_that_the_model_lacks_is_an_error(tmp_path: Path) -> None:
    """As with a token that it lacks: on a GPU the look-up would end the process."""
    from safetensors.torch import load_file, save_file

    folder = save_plain(tmp_path / "one", "bert")
    write(folder / "config.json", {**json.loads((folder / "config.json").read_text()), "type_vocab_size": 1})
    weights = load_file(folder / "model.safetensors")
    table = "embeddings.token_type_embeddings.weight"
    for extra in ({}, {"encoder.layer.0.adapter.weight": torch.zeros(2)}):  # which goes the way with padding
        save_file(
            {**weights, table: weights[table][:1].clone(), **extra},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        encoder = encoder_of(folder)
        assert encoder.is_packed != bool(extra)
        found = encoder.encode(["Market goal", "Market"], ["Storm vote", ""])
        assert (
            found.errors[0] == "model: IndexError: segment id 1, but the model has 1 embeddings of segments"
        )
        assert found.errors[1] is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_texts_of_a_pair_are_two_words(tmp_path: Path, family: str) -> None:
    """A blank stands between them where the tokenizer's pair has nothing; elsewhere all is as transformers
    has it."""
    folder = save_plain(tmp_path / family, family)
    encoder = encoder_of(folder)
    for first, second in (("Council votes", "Market grows"), ("Council", "a" * 500)):
        pair = encoder.tokenizer.many([first], [second])[0]
        assert not isinstance(pair, Exception)
        np.testing.assert_array_equal(pair.ids, encoder.tokenizer.one(first, second).ids)
        own = encoder.tokenizer._own
        expected = own(first, (" " if family == "qwen3" else "") + second, truncation=True, max_length=64)[
            "input_ids"
        ]
        np.testing.assert_array_equal(pair.ids, expected)
        if family == "qwen3":
            assert str(own.decode(pair.ids)).startswith(f"{first} {second[:4]}")


def test_a_tokenizer_of_special_tokens_alone_is_refused_where_it_is_loaded(tmp_path: Path) -> None:
    """A vocabulary by another family's name: transformers would make one where every word is unknown."""
    from newslake.errors import JobFailed

    folder = save_plain(tmp_path / "other", "bert")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (folder / "vocab.json").write_text("{}")
    with pytest.raises(JobFailed, match=r"no tokenizer in .*: it knows no word but its special tokens"):
        encoder_of(folder)

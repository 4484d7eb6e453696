"""Texts over the limit: sentences, summaries, chunks, and what each is worth where the subject comes late."""

from pathlib import Path

import numpy as np
import pytest

from newslake.sample import GeneratorSpec
from newslake.sample.articles import article_truth, messages
from newslake.text.encoder import Encoder
from newslake.text.long_text import pieces
from newslake.text.spec import EncoderSpec, LongText, resolve
from newslake.text.summary import MAX_SENTENCE, centrality, chosen, sentences
from newslake.text.tokens import TokenisedText
from tests.text.conftest import UNEMBEDDED

WAYS: tuple[LongText, ...] = ("summarize", "truncate", "mean-of-chunks")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there! Three? Four", ["One here.", "Two there!", "Three?", "Four"]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("Mr. Smith of the U.S. Senate met J. Doe. It cost 3.5 dollars... Really?!", None),
        ("今天下雨了。明天呢？后天！", ["今天下雨了。", "明天呢？", "后天！"]),  # noqa: RUF001
        ("他说：“好。”然后走了。 Then English.", ["他说：“好。”", "然后走了。", "Then English."]),  # noqa: RUF001
        ("a line\nanother line\n\nlast", ["a line", "another line", "last"]),
        (" \n\t ", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str] | None) -> None:
    if expected is None:
        expected = ["Mr. Smith of the U.S. Senate met J. Doe.", "It cost 3.5 dollars...", "Really?!"]
    assert sentences(text) == expected


def test_what_has_no_sentence_end_is_cut() -> None:
    words = "the law of the market " * 100
    parts = sentences(words)
    assert len(parts) > 4
    assert max(map(len, parts)) <= MAX_SENTENCE
    assert " ".join(parts).split() == words.split()
    assert "".join(sentences("y" * 10_000)) == "y" * 10_000
    assert "".join(sentences("天" * 1_000)) == "天" * 1_000


# Tokens 1-9 are an opening's, 20-29 those of the subject; 0 is in every sentence.
OPENING = [[0, 1, 2], [0, 3, 4], [0, 5, 6], [0, 7, 8]]
SUBJECT = [[0, 20, 21, 22], [0, 20, 22, 23], [0, 21, 23, 24], [0, 22, 24, 20], [0, 21, 24, 23]]


def test_the_largest_group_that_speaks_of_one_thing_is_central() -> None:
    scores = centrality(OPENING + SUBJECT, np.zeros(9, dtype=int))
    assert scores[:4].max() < 0.2 < scores[4:].min()
    assert scores.max() == 1.0


def test_a_texts_sentences_are_judged_by_themselves() -> None:
    both = [*OPENING, *SUBJECT, *SUBJECT[::-1], [9], [9]]
    text = np.array([0] * 9 + [2] * 5 + [5] * 2)
    together = centrality(both, text)
    for one in (0, 2, 5):
        mine = np.flatnonzero(text == one)
        np.testing.assert_allclose(
            centrality([both[i] for i in mine], text[mine]), together[mine], rtol=1e-12
        )
    assert centrality([[], []], np.zeros(2, dtype=int)).tolist() == [1.0, 1.0]


def test_the_most_central_sentences_that_fit_are_chosen_once_each() -> None:
    tokens = [*OPENING, *SUBJECT, SUBJECT[0], [30] * 50]
    text = np.array([0] * 10 + [1])
    kept = chosen(tokens, text, np.array([9, 5]))
    assert kept[:4].sum() == 0
    assert kept[4:9].sum() == 2  # two sentences of four tokens in room for nine
    assert not kept[9]
    assert kept[10]  # does not fit, and is all there is


def texts_of(encoder: Encoder, how: LongText, first: list[str], second: list[str]) -> list[str]:
    """What the model reads, as text again: pieces joined by a bar."""
    made = pieces(encoder.tokenizer, how, first, second)
    read = [
        str(encoder.tokenizer._own.decode(one.ids)) for one in made.tokens if isinstance(one, TokenisedText)
    ]
    return [" | ".join(read[i] for i in np.flatnonzero(made.text == n)) for n in range(len(first))]


@pytest.fixture
def short(small_model: Path) -> Encoder:
    """Takes 24 tokens."""
    return Encoder(resolve(EncoderSpec(str(small_model), max_tokens=24)))


def test_a_summary_keeps_the_title_and_the_order(short: Encoder) -> None:
    opening = "a dog. the cat. of film star. school court. "
    subject = "city vote wins. mayor vote city. city mayor wins. vote mayor wins. wins city vote mayor. "
    (read,) = texts_of(short, "summarize", ["storm rain"], [opening + subject])
    assert read.startswith("[CLS] storm rain [SEP] ")
    body = read.split("[SEP]")[1]
    assert not any(word in body for word in ("dog", "cat", "film", "school"))
    places = [subject.find(sentence.strip() + ".") for sentence in body.split(".") if sentence.strip()]
    assert len(places) >= 3
    assert places == sorted(places)
    assert -1 not in places


@pytest.mark.parametrize("how", WAYS)
def test_a_text_within_the_limit_is_left_alone(short: Encoder, how: LongText) -> None:
    assert texts_of(short, how, ["storm", "rain", ""], ["the city", "", "dog"]) == texts_of(
        short, "truncate", ["storm", "rain", ""], ["the city", "", "dog"]
    )


def test_a_long_first_segment_is_summarised_too(short: Encoder) -> None:
    long = (
        "city vote wins. mayor vote city. " * 4
        + "the dog. city mayor wins. vote mayor wins. vote wins mayor."
    )
    for first, second in ((long, ""), (long, "rain. storm."), (long, long)):
        made = pieces(short.tokenizer, "summarize", [first], [second])
        (tokens,) = made.tokens
        assert isinstance(tokens, TokenisedText)
        assert not tokens.is_cut
        assert len(tokens.ids) <= 24
    assert "rain. storm." in texts_of(short, "summarize", [long], ["rain. storm."])[0]


def test_the_mean_of_chunks_reads_all_of_a_text(small_model: Path, short: Encoder) -> None:
    body = " ".join(
        f"{word} city vote." for word in ("dog", "cat", "film", "star", "law", "court", "school", "team")
    )
    (read,) = texts_of(short, "mean-of-chunks", ["storm rain"], [body])
    chunks = read.split(" | ")
    assert len(chunks) == 2
    assert all(chunk.startswith("[CLS] storm rain [SEP]") for chunk in chunks)
    assert " ".join(chunk.split("[SEP]")[1] for chunk in chunks).split() == body.split()
    for unit in (False, True):
        encoder = Encoder(
            resolve(EncoderSpec(str(small_model), max_tokens=24, long_text="mean-of-chunks", unit=unit))
        )
        found = encoder.encode(["team", "storm rain", "", "rain"], ["", body, "", "dog"])
        parts = [chunk.split("[SEP]")[1] for chunk in chunks]
        alone = encoder.encode(["storm rain"] * 2, parts)
        expected = np.average(alone.vectors, axis=0, weights=alone.token_counts)
        expected /= np.linalg.norm(expected) if unit else 1.0
        np.testing.assert_allclose(found.vectors[1], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found.vectors[0], encoder.encode(["team"]).vectors[0])
        assert found.token_counts.tolist()[1] == alone.token_counts.sum()
        assert found.is_empty.tolist() == [False, False, True, False]


@pytest.mark.parametrize("how", WAYS)
def test_bad_texts_cost_no_other_its_vector(gaps_model: Path, how: LongText) -> None:
    encoder = Encoder(resolve(EncoderSpec(str(gaps_model), max_tokens=64, long_text=how)))
    long = "the city wins. a storm of rain! " * 20
    texts = [
        ("news", long),
        ("news " * 200_000, "a megabyte"),
        ("y" * 10_000, ""),
        ("one word", "y" * 10_000),
        ("天 news", "天。news\x1b[0m \x00 天！" * 50),  # noqa: RUF001
        (f"{UNEMBEDDED} in the title", long),
        ("", long),
        ("...", "!!! ??? " * 100),
    ]
    found = encoder.encode([first for first, _ in texts], [second for _, second in texts])
    assert [i for i, error in enumerate(found.errors) if error] == [5]
    assert "token id" in str(found.errors[5])
    assert np.isfinite(np.delete(found.vectors, 5, axis=0)).all()
    alone = encoder.encode(["news"], [long])
    np.testing.assert_array_equal(found.vectors[0], alone.vectors[0])


def test_a_tokenizer_that_raises_in_the_middle_of_a_long_text_loses_no_other(
    short: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = short.tokenizer.own_tokens

    def raising(texts: list[str]) -> list[list[int]]:
        if any("cat" in text for text in texts):
            raise ValueError("no cats")
        return own(texts)

    monkeypatch.setattr(short.tokenizer, "own_tokens", raising)
    long = "city vote wins. mayor vote city. " * 5
    for how in ("summarize", "mean-of-chunks"):
        made = pieces(short.tokenizer, how, ["a", "b", "c"], [long, long + "the cat. " + long, long])
        failed = {int(made.text[i]) for i, one in enumerate(made.tokens) if isinstance(one, ValueError)}
        assert failed == {1}
        assert set(made.text.tolist()) == {0, 1, 2}


def test_batches_in_flight_give_the_same_vectors(gaps_model: Path) -> None:
    """What runs on a device, run on the CPU: one batch ahead of the other, a failing one among them."""
    encoder = Encoder(resolve(EncoderSpec(str(gaps_model))), batch_tokens=16)
    texts = ["the city wins", "storm", UNEMBEDDED, "rain rain rain rain", "dog", "a cat of the law"]
    plain = encoder.encode(texts)
    tokens = {i: one for i, one in enumerate(encoder.tokenizer.many(texts)) if isinstance(one, TokenisedText)}
    vectors, errors = np.full_like(plain.vectors, np.nan), [None] * len(texts)
    encoder._fill_ahead(list(encoder._batches(sorted(tokens), tokens)), tokens, vectors, errors)  # type: ignore[arg-type]
    np.testing.assert_allclose(vectors, plain.vectors, rtol=1e-5, atol=1e-6)
    assert [bool(error) for error in errors] == [bool(error) for error in plain.errors]


def late_articles(spec: GeneratorSpec) -> tuple[list[str], list[str], np.ndarray]:
    """First and second segments, and the topic, of generated articles whose subject comes late."""
    truth = article_truth(spec, 0, spec.articles).to_pandas().set_index("news_id")
    made = messages(spec, 0, spec.articles).to_pandas().set_index("news_id")
    late = made.join(truth[["body", "subcategory"]].add_prefix("true_")).query("true_body == 'late'")
    return (
        late["title"].tolist(),
        (late["abstract"] + " " + late["body"]).tolist(),
        late["true_subcategory"].to_numpy(),
    )


def nearest_agrees(vectors: np.ndarray, topics: np.ndarray) -> float:
    """Share of the articles whose nearest other one by cosine has their topic."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2.0)
    return float(np.mean(topics[cosines.argmax(axis=1)] == topics))


def test_summaries_find_the_subject_where_it_comes_late() -> None:
    first, second, topics = late_articles(GeneratorSpec(articles=500))
    kept = np.flatnonzero(
        np.isin(
            topics, [topic for topic, n in zip(*np.unique(topics, return_counts=True), strict=True) if n > 1]
        )
    )[:70]
    share = {}
    for how in ("summarize", "truncate"):
        encoder = Encoder(resolve(EncoderSpec(max_tokens=128, long_text=how)), threads=2)
        made = encoder.encode([first[i] for i in kept], [second[i] for i in kept])
        share[how] = nearest_agrees(made.vectors, topics[kept])
    print(share)
    assert share["summarize"] > share["truncate"] + 0.2

"""What the generated data looks like: MIND's format and quirks, time, bodies, labels, and the truth that goes
with them."""

import itertools
import json
import re
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from newslake.sample import GeneratorSpec, labels, wishes
from newslake.sample import articles as article_files
from newslake.sample import impressions as impression_files
from newslake.sample.draws import Draws, scatter, unscatter
from newslake.sample.impressions import impressions
from newslake.sample.vocabulary import vocabulary
from newslake.sample.world import catalogue

SAMPLE = GeneratorSpec()


def lines(split: str, name: str) -> list[list[str]]:
    if name == "news":
        batch = article_files.news_lines(SAMPLE, split, 0, SAMPLE.articles)
    else:
        batch = impression_files.behavior_lines(SAMPLE, split, 0, SAMPLE.impressions_of[split])
    return [line.split("\t") for line in batch.column(0).to_pylist()]


@pytest.fixture(scope="module")
def news() -> dict[str, list[list[str]]]:
    return {split: lines(split, "news") for split in ("train", "dev")}


@pytest.fixture(scope="module")
def behaviors() -> dict[str, list[list[str]]]:
    return {split: lines(split, "behaviors") for split in ("train", "dev")}


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return article_files.article_truth(SAMPLE, 0, SAMPLE.articles).to_pandas().set_index("news_id")


@pytest.fixture(scope="module")
def messages() -> pd.DataFrame:
    return article_files.messages(SAMPLE, 0, SAMPLE.articles).to_pandas().set_index("news_id")


@pytest.mark.parametrize("split", ["train", "dev"])
def test_behaviors_have_minds_format(
    split: str, news: dict[str, list[list[str]]], behaviors: dict[str, list[list[str]]]
) -> None:
    known = {row[0] for row in news[split]}
    assert [int(row[0]) for row in behaviors[split]] == list(range(1, SAMPLE.impressions_of[split] + 1))
    for number, user, time, history, candidates in behaviors[split]:
        assert re.fullmatch(r"[1-9]\d*", number)
        assert re.fullmatch(r"U[1-9]\d*", user)
        assert re.fullmatch(r"[1-9]\d?/[1-9]\d?/\d{4} [1-9]\d?:\d\d:\d\d [AP]M", time)
        shown = re.findall(r"(N[1-9]\d*)-([01])(?: |$)", candidates)
        assert " ".join(f"{item}-{label}" for item, label in shown) == candidates
        articles, clicked = [item for item, _ in shown], [label for _, label in shown]
        assert {"0", "1"} <= set(clicked)
        assert len(set(articles)) == len(articles)
        assert known >= set(articles) | set(history.split())


@pytest.mark.parametrize("split", ["train", "dev"])
def test_news_have_minds_format(split: str, news: dict[str, list[list[str]]]) -> None:
    assert len({row[0] for row in news[split]}) == len(news[split])
    kinds = {"P", "O", "G"}
    for news_id, category, subcategory, title, abstract, url, in_title, in_abstract in news[split]:
        assert re.fullmatch(r"N[1-9]\d*", news_id)
        assert re.fullmatch(r"[a-z]+", category)
        assert re.fullmatch(r"[a-z]+", subcategory)
        assert title
        assert url.startswith("https://")
        for text, entities in ((title, json.loads(in_title)), (abstract, json.loads(in_abstract))):
            assert len({entity["WikidataId"] for entity in entities}) == len(entities)
            for entity in entities:
                assert entity["Type"] in kinds
                assert re.fullmatch(r"Q\d+", entity["WikidataId"])
                assert 0.6 < entity["Confidence"] <= 1.0
                (form,) = entity["SurfaceForms"]
                assert entity["OccurrenceOffsets"]
                assert {text[start : start + len(form)] for start in entity["OccurrenceOffsets"]} == {form}


def test_minds_quirks_are_there(
    news: dict[str, list[list[str]]], behaviors: dict[str, list[list[str]]]
) -> None:
    train = news["train"]
    assert 0.01 < np.mean([row[4] == "" for row in train]) < 0.12
    assert any(row[3].startswith('"') for row in train)
    assert any(row[3].count('"') == 1 for row in train)
    assert any(not row[4].isascii() for row in train)
    assert any(row[6] == "[]" for row in train)
    assert any(row[3] == "" for row in behaviors["train"])
    repeated = {tuple(row) for row in train} & {tuple(row) for row in news["dev"]}
    assert {row[0] for row in repeated} == {row[0] for row in train} & {row[0] for row in news["dev"]}
    assert len(repeated) > 100
    histories = {(row[1], row[3]) for split in behaviors for row in behaviors[split]}
    assert len({user for user, _ in histories}) == len(histories)  # a user's history is one, as in MIND


def test_categories_and_words_are_many(news: dict[str, list[list[str]]]) -> None:
    assert len({row[1] for row in news["train"]}) == 17
    assert len({row[2] for row in news["train"]}) == 85
    assert len({row[3] for row in news["train"]}) > 0.9 * len(news["train"])
    assert len({row[4] for row in news["train"]}) > 0.85 * len(news["train"])
    largest = Counter(row[1] for row in news["train"]).most_common(1)[0][1]
    assert largest < 0.2 * len(news["train"])


def test_dev_is_later_and_most_of_it_is_new(behaviors: dict[str, list[list[str]]]) -> None:
    shown, users, times = {}, {}, {}
    for split, rows in behaviors.items():
        times[split] = [datetime.strptime(row[2], "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC) for row in rows]
        users[split] = {row[1] for row in rows}
        shown[split] = [item[:-2] for row in rows for item in row[4].split()]
    assert max(times["train"]) < min(times["dev"])
    assert len({time.date() for time in times["train"]}) == 6
    assert len({time.date() for time in times["dev"]}) == 1
    old = set(shown["train"])
    assert np.mean([item not in old for item in shown["dev"]]) > 0.85
    assert len(set(shown["dev"]) - old) > 0.7 * len(set(shown["dev"]))
    new_users = len(users["dev"] - users["train"]) / len(users["dev"])
    assert 0.03 < new_users < 0.25


def test_articles_are_out_before_they_are_shown_and_candidates_are_fresh() -> None:
    for split in ("train", "dev"):
        shown = impressions(SAMPLE, split, 0, SAMPLE.impressions_of[split])
        age = np.repeat(shown.time, shown.counts) - catalogue(SAMPLE).published[shown.article]
        assert age.min() >= 0
        assert np.median(age) < 12 * 3600
        past = catalogue(SAMPLE).published[shown.history]
        assert past.max() < SAMPLE.start


def test_numbers_of_candidates_clicks_and_history_follow_the_settings() -> None:
    spec = GeneratorSpec(
        articles=20_000, users=5_000, impressions=6_000, candidates=37.0, clicks=1.5, history=32.0
    )
    shown = impressions(spec, "train", 0, 5_000)
    assert shown.counts.mean() == pytest.approx(37.0, rel=0.06)
    assert np.median(shown.counts) == pytest.approx(24.0, rel=0.1)
    assert shown.clicked.sum() / 5_000 == pytest.approx(1.5, rel=0.04)
    assert shown.history_counts.mean() == pytest.approx(32.0, rel=0.15)
    order = np.diff(shown.history)[np.diff(np.repeat(np.arange(5_000), shown.history_counts)) == 0]
    assert order.min() > 0  # oldest first, none twice


@pytest.mark.parametrize("cuts", [[0, 1, 777, 2_550], [0, 1_000, 2_000, 2_550]])
def test_a_row_is_the_same_in_whatever_range_it_is_made(
    cuts: list[int], behaviors: dict[str, list[list[str]]]
) -> None:
    parts = [
        impression_files.behavior_lines(SAMPLE, "train", *cut).column(0).to_pylist()
        for cut in itertools.pairwise(cuts)
    ]
    assert [line.split("\t") for part in parts for line in part] == behaviors["train"]


def test_bodies_are_long_and_late_ones_hide_their_subject_from_the_start(
    messages: pd.DataFrame, truth: pd.DataFrame
) -> None:
    kind = truth.loc[messages.index, "body"]
    assert set(messages.index) == set(truth.index[truth["body"] != "none"])
    assert len(messages) / SAMPLE.articles == pytest.approx(SAMPLE.body_share, abs=0.04)
    assert (kind == "late").mean() == pytest.approx(SAMPLE.late_share, abs=0.05)
    words = messages["body"].str.split().str.len()
    assert words[kind == "plain"].between(50, 420).all()
    assert words[kind == "late"].between(800, 3_000).all()
    assert words[kind == "late"].max() > 2_500
    vocab = vocabulary()
    slots = [vocab.first[3], vocab.number[3]]
    things = {
        sub: [str(vocab.pool[first + i]) for i in range(many)]
        for sub, first, many in zip(vocab.subcategories, *slots, strict=True)
    }
    for news_id in messages.index[kind == "late"][:100]:
        body = messages.loc[news_id, "body"].lower()
        opening = " ".join(body.split()[:400])
        own = things[truth.loc[news_id, "subcategory"]]
        assert sum(opening.count(thing) for thing in own) <= sum(body.count(thing) for thing in own) / 4
        assert sum(body.count(thing) for thing in own) >= 10


def test_messages_agree_with_news(
    news: dict[str, list[list[str]]], messages: pd.DataFrame, truth: pd.DataFrame
) -> None:
    rows = {row[0]: row for split in news for row in news[split]}
    assert rows.keys() == set(truth.index)
    for news_id, message in messages.iterrows():
        _, category, subcategory, title, abstract, url, _, _ = rows[news_id]
        assert [category, subcategory, title, abstract, url] == list(
            message[["category", "subcategory", "title", "abstract", "url"]]
        )
    assert (messages["updated_at"] >= messages["published_at"]).all()
    assert 0.1 < (messages["updated_at"] > messages["published_at"]).mean() < 0.3
    assert (truth.loc[list(rows), "category"] == [row[1] for row in rows.values()]).all()
    published = truth.loc[messages.index, "published_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (published == messages["published_at"]).all()


def test_scores_tell_how_often_the_class_is_right(messages: pd.DataFrame, truth: pd.DataFrame) -> None:
    scores = labels.class_score_rows(SAMPLE, 0, SAMPLE.articles).to_pandas().set_index("news_id")
    assert set(scores.index) == set(messages.index)
    right = scores["class"] == truth.loc[scores.index, "category"]
    assert (right == truth.loc[scores.index, "classified_right"].astype(bool)).all()
    sure = scores["score"] > 0.9
    assert 0.3 < sure.mean() < 0.7
    assert 0.93 < right[sure].mean() < 1.0
    for low in (0.3, 0.5, 0.7):
        within = scores["score"].between(low, low + 0.2)
        assert right[within].mean() == pytest.approx(scores["score"][within].mean(), abs=0.1)


@pytest.mark.parametrize("share", [0.15, 0.0, 0.4])
def test_the_share_of_wrong_labels_is_as_set(share: float) -> None:
    spec = GeneratorSpec(short_texts=5_000, mislabelled=share)
    rows = labels.short_text_rows(spec, 0, 5_000).to_pandas()
    short_truth = labels.short_text_truth(spec, 0, 5_000).to_pandas()
    assert (rows["news_id"] == short_truth["news_id"]).all()
    assert (rows["class"] == short_truth["labelled_class"]).all()
    assert (short_truth["true_class"] != short_truth["labelled_class"]).mean() == pytest.approx(
        share, abs=0.015
    )
    assert rows["title"].str.split().str.len().between(3, 60).all()
    assert (rows["title"] == labels.short_text_rows(SAMPLE, 0, 5_000).to_pandas()["title"]).all()


def test_truth_has_the_affinity_of_every_candidate(
    behaviors: dict[str, list[list[str]]], truth: pd.DataFrame
) -> None:
    known = impression_files.impression_truth(SAMPLE, "dev", 0, SAMPLE.impressions_of["dev"]).to_pandas()
    users = article_files.user_truth(SAMPLE, 0, SAMPLE.users).to_pandas().set_index("user_id")
    topics = article_files.topic_truth(SAMPLE, 0, vocabulary().topics).to_pandas()
    number = {(row.category, row.subcategory): row.topic for row in topics.itertuples()}
    assert list(known["impression_id"]) == [row[0] for row in behaviors["dev"]]
    assert list(known["user_id"]) == [row[1] for row in behaviors["dev"]]
    for row, affinity in zip(behaviors["dev"][:50], known["affinity"][:50], strict=True):
        taste, articles = users.loc[row[1], "taste"], truth.loc[[item[:-2] for item in row[4].split()]]
        first = [
            taste[number[pair]] for pair in zip(articles["category"], articles["subcategory"], strict=True)
        ]
        second = [
            taste[number[pair]]
            for pair in zip(articles["second_category"], articles["second_subcategory"], strict=True)
        ]
        expected = articles["weight"] * first + (1 - articles["weight"]) * second
        np.testing.assert_allclose(affinity, expected, rtol=1e-5)


def test_what_users_say_follows_their_taste() -> None:
    topics = article_files.topic_truth(SAMPLE, 0, vocabulary().topics).to_pandas()
    users = article_files.user_truth(SAMPLE, 0, SAMPLE.users).to_pandas().set_index("user_id")
    best = np.stack(users["taste"].to_list()).max(axis=1)
    said = wishes.interest_rows(SAMPLE, 0, SAMPLE.users).to_pandas()
    assert not said.duplicated(["user_id", "interest"]).any()
    fit = []
    for row in said.itertuples():
        named = (topics["category"] == row.interest) | (topics["subcategory"] == row.interest)
        fit.append(users.loc[row.user_id, "taste"][named].max() / best[users.index.get_loc(row.user_id)])
    assert np.mean(np.array(fit) > 0.5) > 0.8
    queries = wishes.query_rows(SAMPLE, 0, SAMPLE.users).to_pandas()
    assert queries["query_id"].is_unique
    assert len(queries) / SAMPLE.users == pytest.approx(2.0, abs=0.4)
    assert not queries["query"].str.match(r"(the|a|an) ").any()
    new = queries["user_id"].isin(users.index[users["only_in_dev"]])
    assert new.any()
    assert (queries["searched_at"][new] >= "2019-11-15").all()


def test_draws_are_uniform_and_independent_of_what_else_is_drawn() -> None:
    draws = Draws(3)
    values = draws.uniform("test", np.arange(100_000))
    assert 0.0 < values.min() < values.max() < 1.0
    counts = np.histogram(values, bins=100, range=(0.0, 1.0))[0]
    # Chi-square with 99 degrees: 135 is its 99th percentile.
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 150.0
    np.testing.assert_array_equal(draws.uniform("test", np.array([77])), values[77:78])
    for other in (
        draws.uniform("tset", np.arange(100_000)),
        Draws(4).uniform("test", np.arange(100_000)),
        np.roll(values, 1),
    ):
        assert abs(np.corrcoef(values, other)[0, 1]) < 0.015


@pytest.mark.parametrize("size", [1, 2, 10, 2_000, 99_991])
def test_scatter_is_a_permutation(size: int) -> None:
    index = np.arange(size)
    np.testing.assert_array_equal(np.sort(scatter(index, size)), index)
    np.testing.assert_array_equal(unscatter(scatter(index, size), size), index)

"""Near-copies of articles: that they are what the truth says, and that without them nothing changes."""

import json

import numpy as np
import pandas as pd
import pytest

from newslake.sample import GeneratorSpec
from newslake.sample.articles import article_truth, copy_truth, messages, news_lines
from newslake.sample.generate import plan
from newslake.sample.world import catalogue

SPEC = GeneratorSpec(articles=2_000, copies=0.2, seed=3)
COLUMNS = ["news_id", "category", "subcategory", "title", "abstract", "url", "in_title", "in_abstract"]


@pytest.fixture(scope="module")
def news() -> pd.DataFrame:
    lines = [news_lines(SPEC, split, 0, SPEC.articles).column(0).to_pylist() for split in ("train", "dev")]
    rows = {line.split("\t")[0]: line.split("\t") for part in lines for line in part}
    return pd.DataFrame(list(rows.values()), columns=COLUMNS).set_index("news_id")


@pytest.fixture(scope="module")
def copies() -> pd.DataFrame:
    return copy_truth(SPEC, 0, SPEC.articles).to_pandas().set_index("news_id")


def test_a_share_of_the_articles_are_later_copies_of_one_that_is_none(copies: pd.DataFrame) -> None:
    assert len(copies) / SPEC.articles == pytest.approx(SPEC.copies, abs=0.03)
    assert not set(copies["original_id"]) & set(copies.index)
    published = article_truth(SPEC, 0, SPEC.articles).to_pandas().set_index("news_id")["published_at"]
    later = published[copies.index].to_numpy() - published[copies["original_id"]].to_numpy()
    assert later.min() >= pd.Timedelta(0)
    assert later.max() <= pd.Timedelta(days=2)


def test_a_copy_says_nearly_the_same_elsewhere(news: pd.DataFrame, copies: pd.DataFrame) -> None:
    of_copy, of_original = news.loc[copies.index], news.loc[copies["original_id"]]
    assert (of_copy["category"].to_numpy() == of_original["category"].to_numpy()).all()
    assert (of_copy["subcategory"].to_numpy() != of_original["subcategory"].to_numpy()).mean() > 0.9
    assert of_copy["url"].str.startswith("https://wire.example/").all()
    shared = []
    for (_, copy), (_, original) in zip(of_copy.iterrows(), of_original.iterrows(), strict=True):
        one, other = (set(f"{row['title']} {row['abstract']}".split()) for row in (copy, original))
        shared.append(len(one & other) / len(one | other))
    assert np.mean(shared) > 0.75
    assert np.mean(np.array(shared) == 1.0) < 0.6, "most have some words of their own"
    random = news.sample(400, random_state=0)
    alike = [
        set(a.split()) & set(b.split())
        for a, b in zip(random["abstract"][:200], random["abstract"][200:], strict=True)
    ]
    assert np.mean([len(one) for one in alike]) < 10


def test_entities_of_a_copy_stand_where_its_own_text_has_them(
    news: pd.DataFrame, copies: pd.DataFrame
) -> None:
    for _, row in news.loc[copies.index].iterrows():
        for text, entities in ((row["title"], row["in_title"]), (row["abstract"], row["in_abstract"])):
            for entity in json.loads(entities):
                assert all(text[at:].startswith(entity["Label"]) for at in entity["OccurrenceOffsets"])


def test_bodies_are_copied_too(copies: pd.DataFrame) -> None:
    bodies = messages(SPEC, 0, SPEC.articles).to_pandas().set_index("news_id")["body"]
    pairs = [(name, original) for name, original in copies["original_id"].items() if name in bodies.index]
    assert pairs
    assert all(original in bodies.index for _, original in pairs)
    words = [(set(bodies[name].split()), set(bodies[original].split())) for name, original in pairs]
    assert min(len(one & other) / len(one | other) for one, other in words) > 0.4


def test_without_copies_there_is_no_truth_of_them_and_every_article_is_its_own() -> None:
    plain = GeneratorSpec(articles=2_000, seed=3)
    assert (catalogue(plain).original == np.arange(2_000)).all()
    assert not any("copies" in files.name for files in plan(plain))
    assert any(files.name == "truth/copies" for files in plan(SPEC))

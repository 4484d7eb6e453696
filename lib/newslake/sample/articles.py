"""Articles as files: lines of news.tsv, messages of the article stream with their bodies, and the truth about
both."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from newslake.sample.draws import Ints
from newslake.sample.ids import (
    articles_in_id_order,
    iso_time,
    news_ids,
    timestamps,
    user_ids,
    users_in_id_order,
)
from newslake.sample.labels import classified
from newslake.sample.ragged import glued
from newslake.sample.spec import GeneratorSpec
from newslake.sample.texts import abstracts, bodies, entities_json, is_vague, titles
from newslake.sample.world import DAY, LATE_BODY, Catalogue, catalogue, tastes


def of_split(world: Catalogue, split: str, article: Ints) -> Ints:
    """Those that a split's news.tsv lists: all that it may show, and the earlier weeks' (its histories name
    them)."""
    if split == "train":
        return article[article < world.before_dev]
    return article[(article < world.earlier) | (article >= world.first_of_dev)]


def news_lines(spec: GeneratorSpec, split: str, start: int, stop: int) -> pa.RecordBatch:
    """One column, `value`: lines of news.tsv, for the articles of the split among the ids start + 1 ..
    stop."""
    world = catalogue(spec)
    article = of_split(world, split, articles_in_id_order(spec, start, stop))
    title, abstract = titles(world, article), abstracts(world, article)
    columns = [
        news_ids(spec, article),
        *_filed(world, article),
        title.render(world.words),
        abstract.render(world.words),
        _urls(world, article),
        entities_json(world, "title/confidence", article, title),
        entities_json(world, "abstract/confidence", article, abstract),
    ]
    return pa.RecordBatch.from_arrays([pc.binary_join_element_wise(*columns, "\t")], ["value"])


MESSAGE_SCHEMA = (
    "news_id string, category string, subcategory string, title string, abstract string, body string, url"
    " string, published_at string, updated_at string"
)


def messages(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """Messages of the article stream, for the articles with a body among the ids start + 1 .. stop. Times are
    ISO 8601."""
    world = catalogue(spec)
    article = articles_in_id_order(spec, start, stop)
    article = article[world.body[article] > 0]
    category, subcategory = _filed(world, article)
    published = world.published[article]
    edited = world.draws.uniform("article/edited", article) < 0.2
    updated = published + edited * world.draws.below("article/edited after", DAY // 4, article)
    columns = {
        "news_id": news_ids(spec, article),
        "category": category,
        "subcategory": subcategory,
        "title": titles(world, article).render(world.words),
        "abstract": abstracts(world, article).render(world.words),
        "body": bodies(world, article)[0].render(world.words),
        "url": _urls(world, article),
        "published_at": iso_time(published),
        "updated_at": iso_time(updated),
    }
    return pa.RecordBatch.from_pydict(columns)


_BODIES = ["none", "plain", "late"]


def article_truth(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """Topics with the weight of the first, popularity, and what kind of body: none, plain, or late in its
    subject."""
    world = catalogue(spec)
    article = articles_in_id_order(spec, start, stop)
    category, subcategory = _classes(world, article)
    second, second_sub = _classes(world, article, second=True)
    result = classified(world, article)
    right = pa.array([*(result.true == result.given).tolist(), None], pa.bool_())
    place = np.full(len(article), len(result.article))
    place[world.body[article] > 0] = np.arange(len(result.article))
    opening = bodies(world, article)[1]
    columns = {
        "news_id": news_ids(spec, article),
        "category": category,
        "subcategory": subcategory,
        "second_category": second,
        "second_subcategory": second_sub,
        "weight": pa.array(world.weight[article]),
        "popularity": pa.array(world.popularity[article]),
        "published_at": timestamps(world.published[article]),
        "body": pa.array(_BODIES, pa.string()).take(pa.array(world.body[article])),
        "opening_sentences": pa.array(np.where(world.body[article] == LATE_BODY, opening, 0), pa.int32()),
        "vague": pa.array(is_vague(world, article)),
        "classified_right": right.take(pa.array(place)),
    }
    return pa.RecordBatch.from_pydict(columns)


def copy_truth(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """The near-copies among the ids start + 1 .. stop, and the article that each was made from."""
    world = catalogue(spec)
    article = articles_in_id_order(spec, start, stop)
    article = article[world.original[article] != article]
    return pa.RecordBatch.from_pydict(
        {"news_id": news_ids(spec, article), "original_id": news_ids(spec, world.original[article])}
    )


def user_truth(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """Each user's taste for each topic, by the topic's number in truth/topics."""
    world = catalogue(spec)
    user = users_in_id_order(spec, start, stop)
    taste = tastes(world, user)
    ends = pa.array(np.arange(len(user) + 1) * world.words.topics, pa.int32())
    columns = {
        "user_id": user_ids(spec, user),
        "only_in_dev": pa.array(user >= spec.known_users),
        "taste": pa.ListArray.from_arrays(ends, pa.array(taste.ravel(), pa.float32())),
    }
    return pa.RecordBatch.from_pydict(columns)


def topic_truth(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """The topics: category and subcategory by number."""
    words = catalogue(spec).words
    topic = np.arange(start, stop)
    names = [words.categories[place] for place in words.category_of[topic]]
    subs = [words.subcategories[place] for place in topic]
    return pa.RecordBatch.from_pydict(
        {"topic": pa.array(topic, pa.int32()), "category": names, "subcategory": subs}
    )


def _classes(world: Catalogue, article: Ints, second: bool = False) -> tuple[pa.Array, pa.Array]:
    topic = (world.second_topic if second else world.first_topic)[article]
    categories = pa.array(world.words.categories, pa.string()).take(pa.array(world.words.category_of[topic]))
    return categories, pa.array(world.words.subcategories, pa.string()).take(pa.array(topic))


def _filed(world: Catalogue, article: Ints) -> tuple[pa.Array, pa.Array]:
    """Category and subcategory that an article is published under: a copy under another subcategory of the
    same category."""
    category, _ = _classes(world, article)
    words, topic = world.words, world.first_topic[article]
    # The topics of a category are one run.
    start = np.searchsorted(words.category_of, words.category_of[topic])
    count = np.bincount(words.category_of)[words.category_of[topic]]
    step = 1 + world.draws.below("copy/filed", np.maximum(count - 1, 1), article)
    other = np.where(world.original[article] != article, start + (topic - start + step) % count, topic)
    return category, pa.array(words.subcategories, pa.string()).take(pa.array(other))


def _urls(world: Catalogue, article: Ints) -> pa.Array:
    host = pa.array(["https://news.example/articles/", "https://wire.example/"], pa.string())
    return glued(
        [
            host.take(pa.array(np.int64(world.original[article] != article))),
            news_ids(world.spec, article),
            ".html",
        ]
    )

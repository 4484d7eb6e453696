"""MIND's lines as a recommender's training data, in memory: what parsing and staging make of them by way of
tables, without Spark.

For benchmarks that train on many cuts of one world. Attributes, indices, histories and candidates are as
`training.staging` has them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from newslake.sample.files import Files
from newslake.training.data.loading import Catalogue, Impressions, TrainingData, codes_of
from newslake.training.data.staging import CLICK_WIDTHS, CLICKS_PER_ROW_GROUP

MAX_HISTORY = 50


@dataclass(frozen=True)
class Article:
    """A line of news.tsv: what is read of it."""

    news_id: str
    category: str | None
    subcategory: str | None
    entity: str | None
    title: str
    abstract: str


@dataclass(frozen=True)
class Shown:
    """A line of behaviors.tsv: the user, the earlier clicks, latest first, and the candidates that are not
    among them."""

    user: str
    history: tuple[str, ...]
    candidates: tuple[str, ...]
    labels: tuple[int, ...]


def lines_of(file: Files) -> Iterator[str]:
    """The lines that the generator would write to a file."""
    for start in range(0, file.rows, file.block):
        yield from file.make(start, min(start + file.block, file.rows))["value"].to_pylist()


def articles_of(lines: Iterable[str]) -> list[Article]:
    """The articles of news.tsv, each once, by id."""
    found: dict[str, Article] = {}
    for line in lines:
        news_id, category, subcategory, title, abstract, _, of_title, of_abstract = line.rstrip("\n").split(
            "\t"
        )
        entities = [
            entity for column in (of_title, of_abstract) for entity in (json.loads(column) if column else [])
        ]
        entity = entities[0]["WikidataId"] if entities else None
        found[news_id] = Article(news_id, category or None, subcategory or None, entity, title, abstract)
    return [found[news_id] for news_id in sorted(found)]


def shown_of(lines: Iterable[str], articles: Iterable[Article]) -> list[Shown]:
    """The impressions of behaviors.tsv whose candidates are labelled; what is no known article is left
    out."""
    # One string for each id and one tuple for each history, however often they are read.
    known = {article.news_id: article.news_id for article in articles}
    histories: dict[str, tuple[str, ...]] = {}
    found = []
    for line in lines:
        _, user, _, history, shown = line.rstrip("\n").split("\t")
        before = history.split()
        clicked = set(before)
        pairs = [candidate.rsplit("-", 1) for candidate in shown.split()]
        kept = [
            (known[news_id], int(label))
            for news_id, label in pairs
            if news_id not in clicked and news_id in known
        ]
        if history not in histories:
            histories[history] = tuple(
                known[news_id] for news_id in before[::-1][:MAX_HISTORY] if news_id in known
            )
        if kept:
            found.append(Shown(user, histories[history], *zip(*kept, strict=True)))
    return found


def training_data(
    articles: Sequence[Article],
    vectors: npt.NDArray[np.float32],
    roles: Sequence[Sequence[Shown]],
    folder: Path,
) -> tuple[TrainingData, Impressions]:
    """What a trainer takes, and the impressions of the test.

    Args:
        articles: all of them.
        vectors: (articles, size) by the encoder.
        roles: impressions of train, valid and test.
        folder: for the files of clicks, a new one.
    """
    train = roles[0]
    met = {news_id for shown in train if any(shown.labels) for news_id in shown.candidates}
    order = sorted(range(len(articles)), key=lambda i: (articles[i].news_id not in met, articles[i].news_id))
    place = {articles[i].news_id: number for number, i in enumerate(order)}
    known = {shown.user for shown in train if any(shown.labels)}
    users = sorted(
        {shown.user for role in roles for shown in role}, key=lambda user: (user not in known, user)
    )
    user_place = {user: number for number, user in enumerate(users)}
    lists: dict[tuple[str, ...], int] = {(): 0}
    latest = np.zeros(len(users), np.int32)
    for role in roles:
        for shown in role:
            latest[user_place[shown.user]] = lists.setdefault(shown.history, len(lists))
    histories = np.full((len(lists), MAX_HISTORY), -1, np.int32)
    for clicks, number in lists.items():
        histories[number, : len(clicks)] = [place[news_id] for news_id in clicks]
    codes = {
        name: codes_of(pa.chunked_array([pa.array([getattr(articles[i], name) for i in order], pa.string())]))
        for name in ("category", "subcategory", "entity")
    }
    catalogue = Catalogue(
        user_ids=pa.array(users),
        users_in_training=len(known),
        article_ids=pa.array([articles[i].news_id for i in order]),
        articles_in_training=len(met),
        category=codes["category"],
        subcategory=codes["subcategory"],
        entity=codes["entity"],
        vectors=vectors[order],
        histories=histories,
        latest_history=latest,
        first_history=latest,  # a user's history is the same in all impressions of MIND's files
    )
    of_train, of_valid, of_test = (_impressions(role, user_place, lists, place) for role in roles)
    return TrainingData(catalogue, _click_files(of_train, folder), of_train, of_valid), of_test


def _impressions(
    role: Sequence[Shown], users: dict[str, int], lists: dict[tuple[str, ...], int], place: dict[str, int]
) -> Impressions:
    return Impressions(
        users=np.array([users[shown.user] for shown in role], np.int32),
        articles=np.array([place[news_id] for shown in role for news_id in shown.candidates], np.int32),
        labels=np.array([label for shown in role for label in shown.labels], np.int8),
        offsets=np.concatenate(([0], np.cumsum([len(shown.labels) for shown in role], dtype=np.int64))),
        histories=np.array([lists[shown.history] for shown in role], np.int32),
    )


def _click_files(impressions: Impressions, folder: Path) -> list[str]:
    """One file for each width of padding, as staging writes them."""
    folder.mkdir(parents=True)
    owner = np.repeat(np.arange(len(impressions.users)), np.diff(impressions.offsets))
    skips = np.bincount(owner[impressions.labels == 0], minlength=len(impressions.users))
    clicks = np.flatnonzero(impressions.labels == 1)
    files = []
    for low, width in zip(
        (-1, *CLICK_WIDTHS), (*CLICK_WIDTHS, max(CLICK_WIDTHS[-1], int(skips.max()))), strict=True
    ):
        mine = clicks[(skips[owner[clicks]] > low) & (skips[owner[clicks]] <= width)]
        if not len(mine):
            continue
        table = np.zeros((len(mine), width), np.int32)
        for row, click in enumerate(mine):
            part = slice(impressions.offsets[owner[click]], impressions.offsets[owner[click] + 1])
            table[row, : skips[owner[click]]] = impressions.articles[part][impressions.labels[part] == 0]
        assert impressions.histories is not None
        columns = {
            "click_id": mine.astype(np.int64),
            "user": impressions.users[owner[mine]],
            "history": impressions.histories[owner[mine]],
            "clicked": impressions.articles[mine],
            "skip_count": skips[owner[mine]].astype(np.int32),
            "skips": pa.ListArray.from_arrays(
                np.arange(0, table.size + 1, width, dtype=np.int32), table.ravel()
            ),
        }
        files.append(str(folder / f"clicks-{width:05}.parquet"))
        pq.write_table(pa.table(columns), files[-1], row_group_size=CLICKS_PER_ROW_GROUP)
    return files

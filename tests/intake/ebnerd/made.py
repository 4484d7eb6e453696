"""A small data set of EB-NeRD's shape, made up, and what the tables should hold of it, worked out in plain
Python."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

_TIME = pa.timestamp("us")
ARTICLES = pa.schema(
    {
        "article_id": pa.int32(),
        "title": pa.string(),
        "subtitle": pa.string(),
        "last_modified_time": _TIME,
        "premium": pa.bool_(),
        "body": pa.string(),
        "published_time": _TIME,
        "image_ids": pa.large_list(pa.int64()),
        "article_type": pa.string(),
        "url": pa.string(),
        "ner_clusters": pa.large_list(pa.string()),
        "entity_groups": pa.large_list(pa.string()),
        "topics": pa.large_list(pa.string()),
        "category": pa.int16(),
        "subcategory": pa.large_list(pa.int16()),
        "category_str": pa.string(),
        "total_inviews": pa.int32(),
        "total_pageviews": pa.int32(),
        "total_read_time": pa.float32(),
        "sentiment_score": pa.float32(),
        "sentiment_label": pa.string(),
    }
)
BEHAVIORS = pa.schema(
    {
        "impression_id": pa.uint32(),
        "article_id": pa.int32(),
        "impression_time": _TIME,
        "read_time": pa.float32(),
        "scroll_percentage": pa.float32(),
        "device_type": pa.int8(),
        "article_ids_inview": pa.large_list(pa.int32()),
        "article_ids_clicked": pa.large_list(pa.int32()),
        "user_id": pa.uint32(),
        "is_sso_user": pa.bool_(),
        "gender": pa.int8(),
        "postcode": pa.int8(),
        "age": pa.int8(),
        "is_subscriber": pa.bool_(),
        "session_id": pa.uint32(),
        "next_read_time": pa.float32(),
        "next_scroll_percentage": pa.float32(),
    }
)
HISTORY = pa.schema(
    {
        "user_id": pa.uint32(),
        "impression_time_fixed": pa.large_list(_TIME),
        "scroll_percentage_fixed": pa.large_list(pa.float32()),
        "article_id_fixed": pa.large_list(pa.int32()),
        "read_time_fixed": pa.large_list(pa.float32()),
    }
)
SCHEMAS = {"articles": ARTICLES, "behaviors": BEHAVIORS, "history": HISTORY}
_BEGINS = {"train": datetime(2023, 5, 18, 7), "validation": datetime(2023, 5, 25, 7)}
_WORDS = ("storm", "match", "mayor", "goal", "film", "court", "school", "market")


@dataclass
class Split:
    """The rows of a split's two files."""

    behaviors: list[Row] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)


@dataclass
class World:
    """The rows of all files."""

    articles: list[Row]
    splits: dict[str, Split]

    def write(self, folder: Path) -> dict[str, list[str]]:
        """Write the files as EB-NeRD lays them out; returns the job's options."""
        written(folder / "articles.parquet", self.articles, "articles")
        for name, split in self.splits.items():
            written(folder / name / "behaviors.parquet", split.behaviors, "behaviors")
            written(folder / name / "history.parquet", split.history, "history")
        return {"articles": [str(folder)], **{name: [str(folder / name)] for name in self.splits}}


def written(
    path: Path,
    rows: Sequence[Row],
    kind: str,
    *,
    without: Sequence[str] = (),
    types: Mapping[str, pa.DataType] | None = None,
) -> str:
    """Write one file; columns can be left out, or have other types."""
    schema = pa.schema(
        [
            (one.name, (types or {}).get(one.name, one.type))
            for one in SCHEMAS[kind]
            if one.name not in without
        ]
    )
    extra = [name for name in (types or {}) if name not in schema.names]
    for name in extra:
        schema = schema.append(pa.field(name, (types or {})[name]))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema),
        path,
    )
    return str(path)


def article(number: int, **said: Any) -> Row:
    """A row of articles.parquet."""
    word = _WORDS[number % len(_WORDS)]
    published = datetime(2023, 5, 1) + timedelta(hours=number % 500)
    row: Row = {
        "article_id": number,
        "title": f"{word} {number}",
        "subtitle": f"the {word} of the city",
        "last_modified_time": published + timedelta(days=40),
        "premium": number % 7 == 0,
        "body": f"{word} " * 20,
        "published_time": published,
        "image_ids": [number * 10],
        "article_type": "article_default",
        "url": f"https://news.example/{number}",
        "ner_clusters": ["Ann Lee", "Oslo"][: number % 3],
        "entity_groups": ["PER", "LOC"][: number % 3],
        "topics": ["Weather"],
        "category": 100 + number % 4,
        "subcategory": [200 + number % 5, 300][: number % 3],
        "category_str": ("sport", "crime", "music", "weather")[number % 4],
        "total_inviews": None,
        "sentiment_score": 0.5,
        "sentiment_label": "Neutral",
    }
    return {**row, **said}


def impression(
    number: int, user: int, at: datetime, in_view: Sequence[int], clicked: Sequence[int], **said: Any
) -> Row:
    """A row of behaviors.parquet, shown on the front page unless it says article_id."""
    row: Row = {
        "impression_id": number,
        "impression_time": at,
        "read_time": 12.0,
        "device_type": 2,
        "article_ids_inview": list(in_view),
        "article_ids_clicked": list(clicked),
        "user_id": user,
        "is_sso_user": False,
        "is_subscriber": False,
        "session_id": number,
        "next_read_time": 30.0,
        "next_scroll_percentage": 75.0,
    }
    return {**row, **said}


def past(user: int, *entries: tuple[datetime, int, float | None, float | None]) -> Row:
    """A row of history.parquet, of (time, article, seconds, scrolled)."""
    times, articles, seconds, scrolled = ([entry[i] for entry in entries] for i in range(4))
    return {
        "user_id": user,
        "impression_time_fixed": times,
        "scroll_percentage_fixed": scrolled,
        "article_id_fixed": articles,
        "read_time_fixed": seconds,
    }


def world(seed: int = 1, *, users: int = 12, articles: int = 24, impressions: int = 40) -> World:
    """A world without mistakes; some users have no history, some impressions are on an article's page, some
    have two clicks."""
    rng = random.Random(seed)
    ids = [9_000_000 + i for i in range(articles)]
    made = World([article(number) for number in ids], {})
    number = 0
    for name, begins in _BEGINS.items():
        split = made.splits[name] = Split()
        for user in range(1, users + 1):
            if user % 5 == 0:
                continue
            times = sorted(
                begins - timedelta(seconds=rng.randrange(21 * 86400)) for _ in range(rng.randrange(0, 9))
            )
            entries = [
                (at, rng.choice(ids), float(rng.randrange(90)), rng.choice([None, float(rng.randrange(101))]))
                for at in times
            ]
            split.history.append(past(user, *entries))
        for _ in range(impressions):
            number += 1
            in_view = rng.sample(ids, rng.randrange(5, 12))
            on_page = rng.random() < 0.4
            split.behaviors.append(
                impression(
                    number,
                    rng.randrange(1, users + 1),
                    begins + timedelta(seconds=rng.randrange(7 * 86400)),
                    in_view,
                    rng.sample(in_view, 2 if rng.random() < 0.1 else 1),
                    article_id=rng.choice(ids) if on_page else None,
                    read_time=float(rng.randrange(60)),
                    scroll_percentage=float(rng.randrange(101)) if on_page else None,
                    next_read_time=None if rng.random() < 0.2 else float(rng.randrange(300)),
                    next_scroll_percentage=None if rng.random() < 0.4 else float(rng.randrange(101)),
                )
            )
    return made


_SPLIT = {"train": "train", "validation": "dev", "test": "test"}


def eb(number: int) -> str:
    """An id as newslake has it."""
    return f"EB{number}"


def expected_impressions(made: World) -> set[tuple[Any, ...]]:
    """(split, impression, position, user, time, article, clicked)."""
    return {
        (
            _SPLIT[name],
            eb(row["impression_id"]),
            place,
            eb(row["user_id"]),
            row["impression_time"],
            eb(one),
            one in row["article_ids_clicked"],
        )
        for name, split in made.splits.items()
        for row in split.behaviors
        for place, one in enumerate(row["article_ids_inview"])
    }


def expected_histories(made: World, last: int | None = None) -> set[tuple[Any, ...]]:
    """(split, impression, user, time, the articles read before it)."""
    found = set()
    for name, split in made.splits.items():
        read = {
            row["user_id"]: list(zip(row["impression_time_fixed"], row["article_id_fixed"], strict=True))
            for row in split.history
        }
        for row in split.behaviors:
            before = [
                eb(one)
                for at, one in sorted(read.get(row["user_id"], []), key=lambda pair: pair[0])
                if at < row["impression_time"]
            ]
            before = before[-last:] if last is not None else before
            found.add(
                (
                    _SPLIT[name],
                    eb(row["impression_id"]),
                    eb(row["user_id"]),
                    row["impression_time"],
                    tuple(before),
                )
            )
    return found


def expected_reads(made: World) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """(split, user, article, time, kind) -> (impression, seconds, scrolled); the longer one where two tell of
    one."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def add(
        key: tuple[Any, ...], impression_id: str | None, seconds: float | None, scrolled: float | None
    ) -> None:
        def rank(said: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple((value is not None, value or 0) for value in said[1:])

        said = (impression_id, seconds, scrolled)
        found[key] = max(found.get(key, said), said, key=rank)

    for name, split in made.splits.items():
        for row in split.history:
            lists = (
                row[f"{what}_fixed"]
                for what in ("impression_time", "article_id", "read_time", "scroll_percentage")
            )
            for at, one, seconds, scrolled in zip(*lists, strict=True):
                add((_SPLIT[name], eb(row["user_id"]), eb(one), at, "page"), None, seconds, scrolled)
        for row in split.behaviors:
            user, at = eb(row["user_id"]), row["impression_time"]
            if row["article_id"] is not None:
                add(
                    (_SPLIT[name], user, eb(row["article_id"]), at, "page"),
                    None,
                    row["read_time"],
                    row["scroll_percentage"],
                )
            told = row["next_read_time"], row["next_scroll_percentage"]
            if len(row["article_ids_clicked"]) == 1 and told != (None, None):
                [clicked] = row["article_ids_clicked"]
                add((_SPLIT[name], user, eb(clicked), at, "click"), eb(row["impression_id"]), *told)
    return found

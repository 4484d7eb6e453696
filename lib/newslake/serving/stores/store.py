"""What newslake needs of a system that serves vectors, and what is kept there. Which system it is,
stores/opening.py alone knows."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Optional, Protocol

import pyarrow as pa
from pyspark.sql import Column

from newslake.errors import UserError

DEFAULT_PREFIX = "newslake"
VECTOR = "vector"
ITEM, HASH = "item_id", "inputs_hash"
EXPIRES = "expires_at"
"""When an item leaves by itself, in a collection with a time to live."""
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True)
class Kind:
    """What a kind of collection holds.

    Attributes:
        name: what follows the prefix in the collection's name, before the topic model.
        key: the primary key.
        scalars: the other fields but the vector, with their types: int32, float or varchar.
        day: the scalar by which the table is partitioned, and which a time to live counts from.
    """

    name: str
    key: str
    scalars: Mapping[str, str]
    day: str | None = None


ARTICLES = Kind("articles", "news_id", {"news_date": "int32", "category": "varchar"}, day="news_date")
"""news_date is a number such as 20191115, so that a filter is `news_date >= 20191114`; 19700101 without a
date. category is the class that is known best; empty where none is."""
USERS = Kind("users", "vector_id", {"user_id": "varchar", "weight": "float"})
"""vector_id is user_id/tag_group/phrase_id; weight that of the phrase in the user's profile."""
KINDS = (ARTICLES, USERS)


@dataclass(frozen=True)
class Collection:
    """A collection of ours.

    Attributes:
        kind: what it holds.
        name: its full name.
        collection_id: the id that it got when it was made.
        size: entries of its vectors.
        topic_model: whose vectors they are.
        days: how long an item is there, counted from its kind's day; 0: for good; None: for good, and the
            items have no field EXPIRES.
    """

    kind: Kind
    name: str
    collection_id: str
    size: int
    topic_model: str
    days: int | None = None

    @property
    def scalars(self) -> Mapping[str, str]:
        """Its fields but the key and the vector, with their types: those of its kind, and EXPIRES where items
        may leave by themselves."""
        return self.kind.scalars if self.days is None else {**self.kind.scalars, EXPIRES: "timestamp"}


@dataclass(frozen=True)
class Wanted:
    """A collection that is to be there.

    Attributes:
        kind: articles or users.
        prefix: of its name.
        identity: encoder_id and topic_model of its vectors.
        days: how long its items are there (see Collection.days); None leaves that as it is.
    """

    kind: Kind
    prefix: str
    identity: Mapping[str, str]
    days: int | None = None


class VectorStore(Protocol):
    """An open system that serves vectors: collections of items, and the names by which they are read.

    A collection holds the vectors of one encoder and topic model. A reader asks by `read_as(kind, prefix)`,
    which stands for one of them.
    """

    def ensure(self, wanted: Wanted, *, size: int | None, rebuild: bool = False) -> Collection | None:
        """The collection of this kind and topic model, made where it is not there.

        Args:
            wanted: which.
            size: entries of a vector, for a new collection; None makes none.
            rebuild: drop it first.

        Returns:
            None where it is not there and size is None.

        Raises:
            UserError: it holds other vectors, lacks a field, or newslake did not make it; or the store knows
                no time to live.
        """

    def collections(self, kind: Kind, prefix: str) -> list[Collection]:
        """The collections of this kind, one for each topic model."""

    def for_executors(self) -> Optional["Opener"]:
        """How a task opens the same store, to send and delete there; None where this process alone can have
        it open. Goes to executors with their tasks."""

    def upsert(self, collection: Collection, items: pa.Table) -> None:
        """Send items (ITEM, the collection's scalars, VECTOR), each in place of one with its id."""

    def delete(self, collection: Collection, ids: Sequence[str]) -> None:
        """Delete items by their ids; those that are not there are no mistake."""

    def count(self, collection: Collection) -> int:
        """Items in the collection, everything that was sent before counted."""

    def drop(self, collection: Collection) -> None:
        """Drop a collection."""

    def problem(self, collection: Collection) -> Column:
        """Why an item (a row with ITEM, the kind's scalars and VECTOR) cannot go to the collection; NULL
        where it can."""

    def read_collection(self, kind: Kind, prefix: str) -> Collection | None:
        """The collection that readers get; None where there is none.

        Raises:
            UserError: a collection that newslake did not make bears the name.
        """

    def let_read(self, collection: Collection, prefix: str) -> bool:
        """Give readers this collection from now on; whether they had another one, or none, before."""


Opener = Callable[[], AbstractContextManager[VectorStore]]


def read_as(kind: Kind, prefix: str) -> str:
    """The name by which the collection of the active topic model is read, such as newslake_articles.

    Raises:
        UserError: no store takes such a prefix.
    """
    if not _PREFIX.fullmatch(prefix):
        raise UserError(f"--prefix {prefix}: letters, digits and _ only, and no digit first")
    return f"{prefix}_{kind.name}"

"""The tables that people can bring rows for, and what is theirs to say of each column."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from newslake.lake.tablespec import table_spec

Name = Literal["news", "impressions", "click_history", "reads", "search_queries", "user_interests"]


@dataclass(frozen=True)
class Target:
    """A table that takes rows from elsewhere.

    Attributes:
        table: its name.
        defaults: column -> SQL over the columns of the row, for what the mapping leaves out. Other columns
            are NULL then.
        computed: columns that are worked out, and that no mapping names.
        together: columns that make rows one thing: where one of its rows cannot be used, none is.
        agree: columns in which the rows of one thing are equal.
        latest: the column that says which of several versions of a row counts.
    """

    table: str
    defaults: Mapping[str, str] = field(default_factory=dict)
    computed: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    agree: tuple[str, ...] = ()
    latest: str | None = None

    def required(self) -> tuple[str, ...]:
        """The columns that a mapping must name."""
        contract = table_spec(self.table).schema()
        return tuple(
            one.name
            for one in contract
            if not one.nullable and one.name not in (*self.defaults, *self.computed)
        )

    def named(self) -> tuple[str, ...]:
        """The columns that a mapping may name, in the table's order."""
        return tuple(name for name in table_spec(self.table).schema().names if name not in self.computed)


_LIVE = "'live'"  # where stream_behaviors puts what comes later: one impression then has one key
TARGETS: Mapping[Name, Target] = {
    "news": Target("news", computed=("content_hash",), latest="updated_at"),
    "impressions": Target(
        "impressions",
        # As it happened, so did it come: what a day knew of can then be told of past days too.
        {"split": _LIVE, "ingested_at": "occurred_at"},
        together=("split", "impression_id"),
        agree=("user_id", "occurred_at"),
    ),
    "click_history": Target("click_history", {"split": _LIVE}),
    "reads": Target("reads", {"split": _LIVE, "kind": "'page'", "ingested_at": "read_at"}),
    "search_queries": Target("search_queries", {"ingested_at": "searched_at"}),
    "user_interests": Target("user_interests", {"weight": "1.0D", "ingested_at": "stated_at"}),
}

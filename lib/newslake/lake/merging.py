"""What a merge does, clause by clause, and the same as an SQL statement.

A session of Spark Connect merges by SQL: Delta's own API works there only where the server has Delta's plugin
for it. A classic one takes the API, since SQL needs one more query for each merge, which makes a view of its
source.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Clause:
    """One WHEN of a merge of rows `new` into a table `old`.

    Attributes:
        does: update and delete what matches, or insert what does not.
        where: a further condition.
        columns: names as SQL takes them; none stands for all.
    """

    does: Literal["update", "delete", "insert"]
    where: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, str]:
        """What each column is set to."""
        return {name: f"new.{name}" for name in self.columns}

    def sql(self) -> str:
        """The clause as SQL."""
        when = "WHEN NOT MATCHED" if self.does == "insert" else "WHEN MATCHED"
        return f"{when}{f' AND {self.where}' if self.where else ''} THEN {self._action()}"

    def _action(self) -> str:
        if self.does == "delete":
            return "DELETE"
        if self.does == "update":
            changed = ", ".join(f"{name} = {value}" for name, value in self.values.items())
            return f"UPDATE SET {changed or '*'}"
        if not self.columns:
            return "INSERT *"
        return f"INSERT ({', '.join(self.columns)}) VALUES ({', '.join(self.values.values())})"


def merge_statement(table: str, match: str, clauses: Sequence[Clause]) -> str:
    """The statement, with a field {rows} for the frame that is merged, as `spark.sql` fills it in.

    Args:
        table: as SQL names it.
        match: the condition that two rows, `old` and `new`, are the same.
        clauses: what to do.
    """
    before = f"MERGE INTO {table} AS old USING"
    after = f"AS new ON {match} {' '.join(clause.sql() for clause in clauses)}"
    return f"{_no_field(before)} {{rows}} {_no_field(after)}"


def _no_field(text: str) -> str:
    # A folder's name may hold braces.
    return re.sub(r"[{}]", r"\g<0>\g<0>", text)

"""What a write did, by the metrics that Delta keeps of it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """Rows that one write inserted, updated and deleted."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def rows(self) -> int:
        """Rows that are new or different now."""
        return self.inserted + self.updated


def written_by(metrics: Mapping[str, str]) -> Written:
    """What one commit of an append, an overwrite or a deletion did. (A merge answers with its own counts.)

    Args:
        metrics: operationMetrics of its entry in the table's history.
    """
    counts = {name: int(value) for name, value in metrics.items() if value.lstrip("-").isdigit()}
    return Written(
        inserted=counts.get("numOutputRows", 0),
        deleted=counts.get("numDeletedRows", 0),
    )

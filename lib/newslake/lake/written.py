"""What a write did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """Rows that one write inserted, updated and deleted. Of what a replaced slice held before, nothing is
    counted as deleted."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def rows(self) -> int:
        """Rows that are new or different now."""
        return self.inserted + self.updated

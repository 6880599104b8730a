"""Records that cannot be used: collected up to a share of all, and named."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flexpose.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BadRecord", "BadRecords"]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """One record that was left out: its file, its 0-based number there, the field, and why."""

    path: str | Path | None
    record: int
    field: str | None
    reason: str


@dataclass(slots=True)
class BadRecords:
    """The bad records of some files.

    Args:
        max_fraction: share of all records that may be bad, 0 to 1.

    Attributes:
        records: the bad ones, in the order of their finding.
        total: number of all records that were looked at.

    Raises:
        UsageError: the share is out of range.
    """

    max_fraction: float
    records: list[BadRecord] = field(default_factory=list)
    total: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_fraction) and 0 <= self.max_fraction <= 1):
            raise UsageError(f"max_fraction must be 0 to 1, got {self.max_fraction}")

    def check(self) -> None:
        """Raise the first bad record's error if there are more than may be.

        Raises:
            DataError: names the first one, and how many there are.
        """
        if len(self.records) <= self.max_fraction * self.total:
            return
        first, allowed = self.records[0], f"at most {self.max_fraction:.2%} may be"
        many = f" ({len(self.records)} of {self.total} records are bad, {allowed})"
        reason = first.reason if len(self.records) == 1 and not self.max_fraction else first.reason + many
        raise DataError(reason, path=first.path, record=first.record, field=first.field)

"""Records that something is wrong with: left out, noted, and at most a share of all."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from flexpose.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BadRecord", "BadRecords"]

_SHOWN = 3
_MAX_DESCRIBED = 10_000  # of one file; a file may be wrong a million times


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that was left out.

    Attributes:
        path: the file.
        record: 0-based index, of the annotation (COCO) or of the row (npz).
        field: what is wrong in it, e.g. ``keypoints``; None if it is the record as a whole.
        reason: what was expected and what came.
    """

    path: str
    record: int
    field: str | None
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (f"record {self.record}", self.field, self.reason) if part)


class BadRecords:
    """Collects the bad records of one or several files, which are read without them.

    Hand it to ``read_poses``, and call ``check`` when all files are read: reading itself never raises for the
    number of bad records, since the share is one of all files together.

    Args:
        max_fraction: largest share of bad records, 0 to 1, taken as the decimal number that it prints as:
            0.29 allows 29 of 100, and 0 none.

    Attributes:
        max_fraction: as given.
        records: the bad ones in the order in which they were found; of one file at most 10,000.
        count: all bad ones.
        total: records that were to become poses, so far: poses and bad records. Annotations that are crowds
            or have no labelled keypoint are neither.

    Raises:
        UsageError: the share is not in 0 to 1.
    """

    def __init__(self, max_fraction: float) -> None:
        if isinstance(max_fraction, bool) or not 0 <= max_fraction <= 1:
            raise UsageError(f"max_fraction must be 0 to 1, got {max_fraction!r}")
        self.max_fraction = float(max_fraction)
        self.records: list[BadRecord] = []
        self.count = 0
        self.total = 0

    def add(self, bad: Sequence[BadRecord], *, poses: int, count: int | None = None) -> None:
        """Note what came of one file.

        Args:
            bad: its bad records.
            poses: number of its records that became poses.
            count: number of its bad records, where only the first of them are described. None: ``len(bad)``.
        """
        count = len(bad) if count is None else count
        self.records += bad[:_MAX_DESCRIBED]
        self.count += count
        self.total += poses + count

    def check(self) -> None:
        """Raise if too many records are bad.

        Raises:
            DataError: ``count > max_fraction * total``, exactly; the message holds both and the first reasons.
        """
        if self.count <= Fraction(repr(self.max_fraction)) * self.total:
            return
        paths = {bad.path for bad in self.records}
        shown = [str(bad) if len(paths) == 1 else f"{bad.path}: {bad}" for bad in self.records[:_SHOWN]]
        if self.count > len(shown):
            shown.append(f"and {self.count - len(shown)} more")
        raise DataError(
            f"{self.count} of {self.total} records are bad, at most a share of {self.max_fraction:g} may be: "
            + "; ".join(shown),
            path=paths.pop() if len(paths) == 1 else None,
        )

"""The result of an evaluation: one row for each set of poses, as JSON, Markdown or table cells."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .columns import METRICS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..metrics import Worth, WorthCurve
    from .scoring import Scorer

__all__ = ["EvaluationReport", "ReportRow", "RowKind", "Value"]

RowKind = Literal["generated", "baseline", "real", "added"]


@dataclass(frozen=True)
class Value:
    """A measured number.

    Attributes:
        mean: the value, or the mean over the repeats.
        spread: its standard deviation over the repeats; None for a single one.
    """

    mean: float
    spread: float | None

    def format(self, factor: float, digits: int) -> str:
        """The value times `factor`, with its spread behind it."""
        text = f"{self.mean * factor:.{digits}f}"
        return text if self.spread is None else f"{text} +- {self.spread * factor:.{digits}f}"


@dataclass(frozen=True)
class ReportRow:
    """One set of poses.

    Attributes:
        name: as it is printed.
        kind: `generated`; `baseline`: a way of not learning; `real`: the target against itself; `added` by
            the caller.
        n: poses measured, in each repeat.
        values: by the key of the metric; what cannot be measured (no bones, no guide poses) is not there.
        worth_fd: how many real poses the FD is worth; None for real rows.
        worth_mmd2: the same for MMD2.
    """

    name: str
    kind: RowKind
    n: int
    values: dict[str, Value]
    worth_fd: Worth | None = None
    worth_mmd2: Worth | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""

        def worth(value: Worth | None) -> dict[str, Any] | None:
            return None if value is None else {"poses": round(value.poses, 1), "bound": value.bound}

        return {
            "name": self.name,
            "kind": self.kind,
            "n": self.n,
            "values": {
                key: {"mean": value.mean, "spread": value.spread} for key, value in self.values.items()
            },
            "worth_fd": worth(self.worth_fd),
            "worth_mmd2": worth(self.worth_mmd2),
        }


@dataclass(eq=False)
class EvaluationReport:
    """What `evaluate` found.

    Attributes:
        config: the settings, JSON-ready.
        counts: poses of each set, used and left out.
        bandwidth: h of the kernel, half frame sides.
        curve: Frechet distance of N real poses; None for a target that is too small for one.
        details: distances of the generated set by joint, bone and angle.
        notes: what the reader should know (poses left out, approximate joints).
        versions: of the software.
    """

    config: dict[str, Any]
    counts: dict[str, int]
    bandwidth: float
    curve: WorthCurve | None
    details: dict[str, dict[str, float]]
    notes: list[str]
    versions: dict[str, str]
    _rows: list[ReportRow]
    _scorer: Scorer = field(repr=False)

    def rows(self) -> tuple[ReportRow, ...]:
        """The rows, in the order of the report."""
        return tuple(self._rows)

    def row(self, name: str) -> ReportRow:
        """The row of that name.

        Raises:
            KeyError: there is none.
        """
        for row in self._rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def add_row(self, name: str, normalized: ArrayLike) -> ReportRow:
        """Measure another set of poses as the generated one was, and put it at the end.

        For instance real target poses that were drawn as pictures and read back: the floor of that chain.

        Args:
            name: of the row, not yet taken.
            normalized: [N, K, 2] complete poses of the report's skeleton, in frame coordinates.

        Returns:
            The row.

        Raises:
            UsageError: wrong shape, too few poses, or the name is taken.
            DataError: a coordinate is not finite.
        """
        row = self._scorer.row(name, normalized, taken=[row.name for row in self._rows])
        self._rows.append(row)
        return row

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        curve = None
        if self.curve is not None:
            curve = {"sizes": self.curve.sizes, "fd": self.curve.distances, "spread": self.curve.spreads}
        return {
            "format": "flexpose evaluation 1",
            "config": self.config,
            "counts": self.counts,
            "bandwidth": self.bandwidth,
            "rows": [row.to_dict() for row in self._rows],
            "worth_curve": curve,
            "details": self.details,
            "notes": self.notes,
            "metrics": {metric.key: metric.text for metric in METRICS},
            "versions": self.versions,
        }

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows of the table, as text; columns that no row has are left out."""
        metrics = [metric for metric in METRICS if any(metric.key in row.values for row in self._rows)]
        worth = any(row.worth_fd is not None for row in self._rows)
        headers = ["poses", "N", *(metric.title for metric in metrics)]
        headers += ["worth by FD", "worth by MMD2"] if worth else []
        table = []
        for row in self._rows:
            line = [row.name, f"{row.n:,}"]
            for metric in metrics:
                value = row.values.get(metric.key)
                line.append("-" if value is None else value.format(metric.factor, metric.digits))
            if worth:
                line += ["-" if value is None else str(value) for value in (row.worth_fd, row.worth_mmd2)]
            table.append(line)
        return headers, table

    def to_markdown(self) -> str:
        """The report as Markdown: the table, how to read it, and what was left out."""
        headers, table = self.cells()
        lines = ["# Evaluation", ""]
        lines += [f"| {' | '.join(headers)} |", "|" + " --- |" * len(headers)]
        lines += [f"| {' | '.join(line)} |" for line in table]
        used = {metric.title: metric for metric in METRICS if metric.title in headers}
        lines += ["", "## Columns", ""]
        lines += [f"- {title} ({metric.aim}): {metric.text}" for title, metric in used.items()]
        if "worth by FD" in headers:
            lines.append(
                "- worth by FD, by MMD2: so many real target poses, drawn again and again, would be as far "
                "from the target; `<` and `>`: beyond the ends of the curve."
            )
        lines += ["", "## How it was measured", ""]
        lines += [f"- {note}" for note in self.notes]
        if self.curve is not None:
            points = ", ".join(
                f"{n}: {d:.4f}" for n, d in zip(self.curve.sizes, self.curve.distances, strict=True)
            )
            lines.append(f"- FD of N real poses, drawn again and again: {points}.")
        lines.append(
            "- Versions: " + ", ".join(f"{name} {value}" for name, value in self.versions.items()) + "."
        )
        return "\n".join(lines) + "\n"

"""Tables of a grid: Markdown with means and spreads beside the paper's numbers, CSV of all cells, a plot."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .grid import Grid
    from .run import Cell

__all__ = ["cells_csv", "markdown", "plot"]

_DIGITS = {"worth": 1}


def _figure(values: Sequence[float], column: str) -> str:
    digits = _DIGITS.get(column, 3)
    if not values:
        return ""
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def markdown(grid: Grid, cells: Iterable[Cell], notes: Iterable[str] = ()) -> str:
    """One table a target: mean ± standard deviation over draws and seeds, and what the paper printed.

    The paper's numbers are of other data and another framing; only the order of methods can be compared.
    """
    done = list(cells)
    lines = [f"# {grid.title}", "", grid.about]
    printed = list(dict.fromkeys(column for row in grid.rows for column in row.paper))
    for target in grid.targets:
        mine = [cell for cell in done if cell.target == target.name]
        if not mine:
            continue
        heads = ["", "n", "shots", *grid.columns, *(f"{column} (paper)" for column in printed), "seconds"]
        lines += ["", f"## {target.name}", "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
        for row in grid.rows:
            of_row = [cell for cell in mine if cell.row == row.name]
            good = [cell for cell in of_row if cell.failed is None]
            if not of_row:
                continue
            texts = [
                _figure([cell.values[column] for cell in good if column in cell.values], column)
                for column in grid.columns
            ]
            texts += [f"{row.paper[column]:g}" if column in row.paper else "" for column in printed]
            seconds = f"{np.median([cell.seconds for cell in good]):.0f}" if good else ""
            lines.append(
                "| " + " | ".join([row.name, str(len(good)), str(of_row[0].shots), *texts, seconds]) + " |"
            )
    failed = [cell for cell in done if cell.failed is not None]
    told = [*notes, *(f"{cell.row} on {cell.target}, draw {cell.draw}: {cell.failed}" for cell in failed)]
    if told:
        lines += ["", *(f"- {note}" for note in told)]
    return "\n".join(lines) + "\n"


def cells_csv(grid: Grid, cells: Iterable[Cell]) -> str:
    """All cells, a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["target", "row", "draw", "seed", "shots", *grid.columns, "seconds", "failed"])
    for cell in cells:
        values = [cell.values.get(column, "") for column in grid.columns]
        writer.writerow(
            [
                cell.target,
                cell.row,
                cell.draw,
                cell.seed,
                cell.shots,
                *values,
                cell.seconds,
                cell.failed or "",
            ]
        )
    return text.getvalue()


def plot(grid: Grid, cells: Iterable[Cell], path: Path, *, column: str = "fd") -> None:
    """Draw one figure of every row and target as dots with spreads, a panel a target.

    Raises:
        ResourceError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ResourceError('plots need matplotlib: pip install "flexpose-pda[report]"') from None
    done = [cell for cell in cells if column in cell.values]
    targets = [t.name for t in grid.targets if any(cell.target == t.name for cell in done)]
    rows = [row.name for row in grid.rows if any(cell.row == row.name for cell in done)]
    figure = Figure(figsize=(3.2 * max(len(targets), 1) + 2, 0.32 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots(1, max(len(targets), 1), sharey=True, squeeze=False)[0]
    for axis, target in zip(axes, targets, strict=False):
        for at, row in enumerate(rows):
            values = [c.values[column] for c in done if c.row == row and c.target == target]
            if values:
                spread = np.std(values, ddof=1) if len(values) > 1 else 0
                axis.errorbar(np.mean(values), at, xerr=spread, fmt="o", color="#1f77b4", capsize=3)
        axis.set_title(target, fontsize=10)
        axis.set_xlabel(column)
        axis.set_xlim(left=0)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=120)

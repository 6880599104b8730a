"""Tables of a grid: Markdown with means and spreads beside the paper's numbers, CSV of all cells, charts."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from ..charts import Chart, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .grid import Grid
    from .run import Cell

__all__ = ["cells_csv", "charts", "markdown"]

_DIGITS = {"worth": 1, "mean_l2_px": 2, "mean_l2_pct": 2, "mean_l2_pct_either_side": 2, "mse_px2": 1}


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


def charts(grid: Grid, cells: Iterable[Cell], column: str = "fd") -> list[Chart]:
    """One figure of every row as means with spreads, a chart a target."""
    done = [cell for cell in cells if column in cell.values]
    found = []
    for target in grid.targets:
        of_target = [cell for cell in done if cell.target == target.name]
        rows = [row.name for row in grid.rows if any(cell.row == row.name for cell in of_target)]
        if not rows:
            continue
        values = [[cell.values[column] for cell in of_target if cell.row == row] for row in rows]
        series = Series(
            name=column,
            x=tuple(float(np.mean(some)) for some in values),
            y=tuple(float(at) for at in range(len(rows))),
            x_spread=tuple(float(np.std(some, ddof=1)) if len(some) > 1 else 0.0 for some in values),
            kind="points",
        )
        found.append(
            Chart(
                title=f"{grid.title.partition(':')[0]}, {target.name}",
                x_label=column,
                y_label="",
                series=(series,),
                y_names=tuple(rows),
            )
        )
    return found

"""The same charts as PNG, by matplotlib, which is loaded only here and only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._atomic import atomic_path
from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from .chart import Chart

__all__ = ["INSTALL", "require_matplotlib", "save_png"]

INSTALL = "the extra [report] of flexpose-pda"
"""What a message tells to install."""

_MARKERS = "os^Dvx+P"
_PANEL = (5.2, 3.9)  # inches
_ROW = 0.24
_INSIDE = 4  # series whose legend leaves room for the data


def require_matplotlib() -> Any:
    """Matplotlib's `Figure` class, which needs no display and has no global state.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(f"matplotlib is not installed: install {INSTALL}") from error
    return Figure


def save_png(path: str | PathLike[str], charts: Sequence[Chart], *, columns: int = 2, dpi: int = 110) -> None:
    """Publish charts side by side as one PNG file; the same charts give the same bytes.

    Args:
        path: the file.
        charts: at least one.
        columns: charts a row.
        dpi: pixels an inch; a chart is 5.2 by 3.9 inches, higher with many named rows.

    Raises:
        UsageError: matplotlib is not installed.
        ResourceError: the file cannot be written.
    """
    columns = min(columns, len(charts))
    rows = -(-len(charts) // columns)
    height = max(_PANEL[1], *(1.2 + _ROW * len(chart.y_names) for chart in charts))
    figure = require_matplotlib()(figsize=(_PANEL[0] * columns, height * rows), dpi=dpi, layout="constrained")
    for place, chart in enumerate(charts):
        _draw(figure.add_subplot(rows, columns, place + 1), chart)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw(axes: Any, chart: Chart) -> None:
    for number, series in enumerate(chart.series):
        axes.errorbar(
            series.x,
            series.y,
            xerr=series.x_spread or None,
            yerr=series.y_spread or None,
            label=series.name,
            marker=_MARKERS[number % len(_MARKERS)] if len(series.x) <= 40 or series.kind == "points" else "",
            markersize=4,
            linestyle="-" if series.kind == "line" else "",
            linewidth=1.2,
        )
        if series.kind == "bars":
            axes.barh(series.y, series.x, height=0.6, color=f"C{number % 10}", alpha=0.35)
    if chart.goal is not None:
        (left, low), (right, high) = chart.goal
        axes.fill_between([left, right], low, high, color="C2", alpha=0.12, linewidth=0)
    (x_low, x_high), (y_low, y_high) = chart.limits()
    axes.set_xlim(x_low, x_high)
    axes.set_yscale("log" if chart.log_y else "linear")
    if chart.y_names:
        axes.set_ylim(y_high, y_low)
        axes.set_yticks(range(len(chart.y_names)), chart.y_names, fontsize="small")
    else:
        axes.set_ylim(*((10**y_low, 10**y_high) if chart.log_y else (y_low, y_high)))
    if chart.equal:
        axes.set_aspect("equal", adjustable="box")
    if chart.bare:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_title(chart.title, fontsize="medium")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(visible=True, alpha=0.3)
    if len(chart.series) > 1:
        place: dict[str, Any] = {}  # where it covers least, by matplotlib
        if chart.bare:
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "ncols": 2}
        elif len(chart.series) > _INSIDE:
            place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        axes.legend(fontsize="small", **place)

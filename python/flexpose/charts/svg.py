"""A chart as SVG: text, numbers and shapes alone; its colours come from a page's style sheet, or from its own."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from .._atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from .chart import Chart, Series

__all__ = ["MARKS", "PALETTE", "chart_svg", "mark", "save_svg", "ticks"]

_WIDTH, _HEIGHT = 400.0, 270.0
_ROW = 20.0  # height of a row with a name
_TOP, _BOTTOM, _LEFT, _RIGHT = 26.0, 40.0, 50.0, 10.0
_LETTER = 5.7  # mean width of a letter of 11 px
_TICKS = 5
_MANY = 40  # points: more of them get smaller marks, and lines none

# Drawn about (0, 0); a series is told by its mark as well as by its colour.
MARKS = (
    '<circle r="3.5"/>',
    '<path d="M-3.2-3.2h6.4v6.4h-6.4z"/>',
    '<path d="M0-4.4 4 3.2H-4z"/>',
    '<path d="M0-4.6 4.6 0 0 4.6-4.6 0z"/>',
    '<path d="M0 4.4 4-3.2H-4z"/>',
    '<path class="open" d="M-3.5-3.5 3.5 3.5M-3.5 3.5 3.5-3.5"/>',
    '<path class="open" d="M-4 0H4M0-4V4"/>',
    '<circle class="open" r="3.4"/>',
)
"""The marks of series 0, 1, ..., in turn."""

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a6400", "#5b5f66")
"""Colours of series that the colour-blind tell apart, after Okabe and Ito 2008."""

_STYLE = (
    "text{font:11px system-ui,'DejaVu Sans',sans-serif;fill:#1c1d20}.title{font-size:12.5px;font-weight:600}"
    ".grid{stroke:#d9dadd;stroke-width:.7}.axis{stroke:#5b5f66}.goal{fill:#009e73;fill-opacity:.12}"
    ".line,.bar{stroke-width:1.4}.open{stroke-width:1.6}.grid,.axis,.line,.bar,.open{fill:none}"
    ".column{fill-opacity:.35;stroke:none}"
)


def mark(number: int, x: float = 0.0, y: float = 0.0, *, scale: float = 1.0) -> str:
    """The mark of a series at a place; after eight series colours come again, with other shapes."""
    count = len(MARKS)
    shape = MARKS[(number + 3 * (number // count)) % count]
    smaller = "" if scale == 1 else f" scale({scale:g})"
    return f'<g class="s{number % count}" transform="translate({x:.1f} {y:.1f}){smaller}">{shape}</g>'


def ticks(low: float, high: float, about: int = _TICKS) -> list[float]:
    """Round numbers within low to high, near `about` of them, 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1.0, 2.0, 5.0, 10.0)), key=lambda s: abs(math.log(s / rough)))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def chart_svg(chart: Chart) -> str:
    """Draw a chart as an ``<svg>`` element.

    It holds no colour: the classes ``s0`` to ``s7`` (series), ``axis``, ``grid``, ``goal``, ``bar`` (of errors),
    ``column`` (a bar from 0) and ``open`` (marks that are not filled) are the page's to style. It is 400 units wide
    and scales to its place.
    """
    names = chart.y_names
    left = _LEFT if not names else 16 + _LETTER * max(map(len, names))
    height = _height(chart)
    (x_low, x_high), (y_low, y_high) = chart.limits()
    width, tall = _WIDTH - left - _RIGHT, height - _TOP - _BOTTOM
    if chart.equal:
        unit = min(width / (x_high - x_low), tall / (y_high - y_low))
        x_low, x_high = _widened(x_low, x_high, width / unit)
        y_low, y_high = _widened(y_low, y_high, tall / unit)

    def to_x(value: float) -> float:
        return left + width * min(max((value - x_low) / (x_high - x_low), 0.0), 1.0)

    def to_y(value: float) -> float:
        at = math.log10(value) if chart.log_y else value
        share = min(max((at - y_low) / (y_high - y_low), 0.0), 1.0)  # error bars may reach beyond
        return _TOP + tall * (share if names else 1 - share)

    parts = [
        f'<svg class="chart" role="img" viewBox="0 0 {_WIDTH:g} {height:g}" '
        f'aria-label="{escape(_summary(chart))}" xmlns="http://www.w3.org/2000/svg">',
        f'<text class="title" x="{_WIDTH / 2:g}" y="15" text-anchor="middle">{escape(chart.title)}</text>',
    ]
    if chart.goal is not None:
        (x0, y0), (x1, y1) = chart.goal
        parts.append(
            f'<path class="goal" d="M{to_x(x0):.1f} {to_y(y0):.1f}H{to_x(x1):.1f}V{to_y(y1):.1f}H{to_x(x0):.1f}Z"/>'
        )
    parts += _axes(chart, to_x, to_y, (left, _TOP, width, tall), (x_low, x_high), (y_low, y_high))
    for number, series in enumerate(chart.series):
        parts += _series(number, series, to_x, to_y)
    return "".join([*parts, "</svg>"])


def _height(chart: Chart) -> float:
    return _TOP + _BOTTOM + _ROW * len(chart.y_names) if chart.y_names else _HEIGHT


def save_svg(
    path: str | PathLike[str],
    charts: Sequence[Chart],
    *,
    columns: int = 2,
    colors: Sequence[str] = PALETTE,
) -> None:
    """Publish charts side by side as one SVG file on white, with a style of its own and no legend.

    Args:
        path: the file.
        charts: at least one.
        columns: charts a row.
        colors: of series 0 to 7.

    Raises:
        ResourceError: the file cannot be written.
    """
    columns, top, parts = min(columns, len(charts)), 0.0, []
    for begin in range(0, len(charts), columns):
        row = charts[begin : begin + columns]
        for column, chart in enumerate(row):
            place = f'x="{column * _WIDTH:g}" y="{top:g}" width="{_WIDTH:g}" height="{_height(chart):g}"'
            parts.append(f"<svg {place}>{chart_svg(chart)}</svg>")
        top += max(map(_height, row))
    series = "".join(f".s{n},.s{n}>*{{fill:{color};stroke:{color}}}" for n, color in enumerate(colors))
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * _WIDTH:g} {top:g}" '
        f'width="{columns * _WIDTH:g}" height="{top:g}"><style>{series}{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
    atomic_write(path, text.encode())


def _widened(low: float, high: float, length: float) -> tuple[float, float]:
    middle = (low + high) / 2
    return middle - length / 2, middle + length / 2


def _summary(chart: Chart) -> str:
    series = "; ".join(series.name for series in chart.series)
    return f"{chart.title}. {chart.y_label or 'rows'} against {chart.x_label}: {series}."


def _axes(
    chart: Chart,
    to_x: Callable[[float], float],
    to_y: Callable[[float], float],
    box: tuple[float, float, float, float],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> list[str]:
    left, top, width, tall = box
    bottom, right = top + tall, left + width
    parts = []
    whole = all(float(x).is_integer() for series in chart.series for x in series.x)
    for value in [] if chart.bare else ticks(*x_limits):
        if whole and not math.isclose(value, round(value)):
            continue  # there is no round, step or layer between two
        x = to_x(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{_number(value)}</text>')
    rows: list[tuple[float, str]] = []
    if chart.y_names:
        rows = [(index, name) for index, name in enumerate(chart.y_names)]
    elif chart.log_y:
        rows = [(value, _number(value)) for value in _log_ticks(*y_limits)]
    elif not chart.bare:
        rows = [(value, _number(value)) for value in ticks(*y_limits)]
    for value, text in rows:
        y = to_y(value)
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 3.5:.1f}" text-anchor="end">{escape(text)}</text>')
    parts.append(f'<path class="axis" d="M{left:.1f} {top:.1f}V{bottom:.1f}H{right:.1f}"/>')
    parts.append(
        f'<text x="{left + width / 2:.1f}" y="{bottom + 31:.1f}" text-anchor="middle">{escape(chart.x_label)}</text>'
    )
    if not chart.y_names:
        middle = top + tall / 2
        parts.append(
            f'<text transform="translate(11 {middle:.1f}) rotate(-90)" text-anchor="middle">'
            f"{escape(chart.y_label)}</text>"
        )
    return parts


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and 2 and 5 times them where there are few."""
    found: list[float] = []
    for factors in ((1.0,), (1.0, 2.0, 5.0), tuple(map(float, range(1, 10)))):
        found = [
            factor * 10.0**power
            for power in range(math.floor(low), math.ceil(high) + 1)
            for factor in factors
            if low <= math.log10(factor * 10.0**power) <= high
        ]
        if len(found) >= 3:
            break
    return found


def _number(value: float) -> str:
    return f"{value:.10g}" if value == 0 or 1e-4 <= abs(value) < 1e5 else f"{value:.0e}"


def _series(
    number: int, series: Series, to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> list[str]:
    style = number % len(MARKS)
    points = [(to_x(x), to_y(y)) for x, y in zip(series.x, series.y, strict=True)]
    parts = []
    for index, (x, y) in enumerate(points):
        if series.kind == "bars":
            zero, half = to_x(0.0), 0.3 * _ROW
            parts.append(
                f'<path class="s{style} column" d="M{zero:.1f} {y - half:.1f}H{x:.1f}V{y + half:.1f}H{zero:.1f}Z"/>'
            )
        if series.x_spread:
            ends = (to_x(series.x[index] + side * series.x_spread[index]) for side in (-1, 1))
            parts.append('<path class="s{} bar" d="M{:.1f} {y:.1f}H{:.1f}"/>'.format(style, *ends, y=y))
        if series.y_spread:
            ends = (to_y(series.y[index] + side * series.y_spread[index]) for side in (-1, 1))
            parts.append('<path class="s{} bar" d="M{x:.1f} {:.1f}V{:.1f}"/>'.format(style, *ends, x=x))
    if series.kind == "line":
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="s{style} line" d="M{path}"/>')
    if series.kind != "line" or len(points) <= _MANY:
        scale = 1.0 if len(points) <= _MANY else 0.55
        parts += [mark(number, x, y, scale=scale) for x, y in points]
    return parts

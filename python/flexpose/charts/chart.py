"""What a chart shows, without how it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

__all__ = ["Chart", "Series", "SeriesKind"]

SeriesKind = Literal["line", "points", "bars"]


@dataclass(frozen=True)
class Series:
    """Points of one kind, with a name in the legend.

    Attributes:
        name: as it is printed.
        x: N values.
        y: N values; in a chart with `y_names` the number of the row, 0 at the top.
        x_spread: N half lengths of horizontal error bars, or none.
        y_spread: N half lengths of vertical error bars, or none.
        kind: "line" joins the points; "bars" draws a bar from 0 to each, in a chart with `y_names`.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    x_spread: tuple[float, ...] = ()
    y_spread: tuple[float, ...] = ()
    kind: SeriesKind = "line"

    def __post_init__(self) -> None:
        for name in ("y", "x_spread", "y_spread"):
            if len(getattr(self, name)) not in ({len(self.x)} if name == "y" else {0, len(self.x)}):
                raise UsageError(
                    f"{name} must have {len(self.x)} values as x, got {len(getattr(self, name))}"
                )
        for values in (self.x, self.y, self.x_spread, self.y_spread):
            if not all(map(math.isfinite, values)):
                raise UsageError(f"the series {self.name!r} must be finite")


@dataclass(frozen=True)
class Chart:
    """Axes and series.

    Attributes:
        title: what is shown; it heads the drawing and names it to a screen reader.
        x_label: with its unit.
        y_label: with its unit.
        series: at least one point in all.
        x_range: ends of the axis; None: those of the points.
        y_range: the same; not used with `y_names`.
        log_y: logarithmic; all y must be above 0.
        equal: one unit is as long on both axes.
        y_names: names of rows 0, 1, ... instead of numbers, from the top.
        bare: no numbers at the axes, where they mean nothing.
        goal: (x, y) to (x, y), a part of the plane that is tinted.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    log_y: bool = False
    equal: bool = False
    y_names: tuple[str, ...] = ()
    bare: bool = False
    goal: tuple[tuple[float, float], tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        if not any(series.x for series in self.series):
            raise UsageError(f"the chart {self.title!r} must have a point")
        if self.log_y and any(y <= 0 for series in self.series for y in series.y):
            raise UsageError(f"the chart {self.title!r} has a logarithmic axis and a y that is not above 0")
        if not self.y_names and any(series.kind == "bars" for series in self.series):
            raise UsageError(f"the chart {self.title!r} has bars and no y_names")

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the x axis and of the y axis (of its logarithm to base 10 where it is logarithmic)."""
        x = self.x_range or self._x_limits()
        if self.y_names:
            return x, (-0.5, len(self.y_names) - 0.5)
        if self.log_y:
            logarithms = [math.log10(y) for series in self.series for y in series.y]
            return x, self.y_range or _padded(min(logarithms), max(logarithms))
        y = self.y_range or _padded(*_reach([(s.y, s.y_spread) for s in self.series]))
        return x, y

    def _x_limits(self) -> tuple[float, float]:
        low, high = _reach([(s.x, s.x_spread) for s in self.series])
        if all(s.kind != "bars" for s in self.series):
            return _padded(low, high)
        ends = _padded(min(low, 0.0), max(high, 0.0))
        return (0.0 if low >= 0 else ends[0]), (0.0 if high <= 0 else ends[1])


def _reach(columns: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> tuple[float, float]:
    """The least and the largest value, error bars included."""
    low, high = math.inf, -math.inf
    for values, spreads in columns:
        for value, spread in zip(values, spreads or (0.0,) * len(values), strict=True):
            low, high = min(low, value - spread), max(high, value + spread)
    return low, high


def _padded(low: float, high: float) -> tuple[float, float]:
    space = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return low - space, high + space

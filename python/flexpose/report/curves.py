"""Training curves from logs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..charts import Chart, Series

if TYPE_CHECKING:
    from .gather import Log

__all__ = ["curves_of", "last_figures"]

_NO_CURVE = {"step", "kimg", "resolution", "fade"}  # places and settings, no figures of merit
_POINTS = 300
_LOGARITHMIC = 20.0  # largest over least value from which the axis is logarithmic


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _is_curve(key: str) -> bool:
    return key not in _NO_CURVE and not key.endswith("_per_s")


def curves_of(log: Log) -> list[Chart]:
    """Charts of a log: one for each phase and unit; figures with fewer than two points are left out.

    A list of numbers in a record, such as the distances that the rounds of the least squares found, is a curve too.
    """
    found: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    rounds: list[Chart] = []
    for record in log.records:
        step = _number(record.get("step"))
        phase = str(record.get("phase", ""))
        for key, value in record.items():
            number = _number(value)
            if isinstance(value, list) and len(value) > 1:
                rounds += _rounds(log.verb, key, value)
            if number is None or step is None or not _is_curve(key):
                continue
            unit = "pixels" if key.endswith("_px") else "loss"
            found.setdefault((phase, unit), {}).setdefault(key, []).append((step, number))
    charts = []
    for (phase, unit), curves in found.items():
        series = tuple(
            Series(name, tuple(x for x, _ in thin), tuple(y for _, y in thin))
            for name, thin in ((name, _thinned(points)) for name, points in curves.items())
            if len(thin) > 1
        )
        if series:
            values = [y for one in series for y in one.y]
            low, high = min(values), max(values)
            title = f"{log.verb}, {phase}: {unit}" if phase else f"{log.verb}: {unit}"
            charts.append(Chart(title, "step", unit, series, log_y=low > 0 and high / low > _LOGARITHMIC))
    return rounds + charts


def _rounds(verb: str, key: str, values: list[Any]) -> list[Chart]:
    """The chart of a list of numbers; none where something else is in it."""
    known = tuple(number for number in map(_number, values) if number is not None)
    if len(known) < len(values):
        return []
    name = key.replace("_", " ")
    rounds = tuple(map(float, range(1, len(known) + 1)))
    return [Chart(f"{verb}: {name}", "round", name, (Series(name, rounds, known),))]


def _thinned(values: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_POINTS` of the points, evenly spaced, the last one among them."""
    every = -(-len(values) // _POINTS)
    return values[(len(values) - 1) % every :: every]


def last_figures(log: Log) -> dict[str, float]:
    """The last value of each figure of merit in a log."""
    found = {}
    for record in log.records:
        for key, value in record.items():
            number = _number(value)
            if number is not None and _is_curve(key):
                found[key] = number
    return found

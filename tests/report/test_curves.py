"""Curves from logs: every record is a point, what is no figure of merit is none."""

from __future__ import annotations

from typing import Any

import pytest

from flexpose.report.curves import curves_of, last_figures
from flexpose.report.gather import Log


def log(*records: dict[str, Any], verb: str = "pretrain") -> Log:
    return Log(verb, {}, records)


def test_phases_and_units_are_apart() -> None:
    records = [
        {"step": 0, "poses": 60, "shown": 57},
        {"step": 10, "phase": "flow", "kimg": 0.0, "loss_flow": 3.0, "steps_per_s": 9.0},
        {"step": 20, "phase": "flow", "kimg": 0.0, "loss_flow": 2.0, "steps_per_s": 9.5},
        {"step": 30, "phase": "drawing", "kimg": 1.0, "loss_drawing": 0.5, "error_px": 4.0},
        {"step": 40, "phase": "drawing", "kimg": 2.0, "loss_drawing": 0.4},
        {"step": 50, "phase": "drawing", "kimg": 3.0, "loss_drawing": 0.3, "error_px": 1.0},
    ]
    charts = {chart.title: chart for chart in curves_of(log(*records))}
    assert set(charts) == {"pretrain, flow: loss", "pretrain, drawing: loss", "pretrain, drawing: pixels"}
    assert charts["pretrain, flow: loss"].series[0].y == (3.0, 2.0)
    pixels = charts["pretrain, drawing: pixels"].series[0]
    assert (pixels.name, pixels.x, pixels.y) == ("error_px", (30.0, 50.0), (4.0, 1.0))
    assert last_figures(log(*records))["error_px"] == 1.0


def test_rounds_of_the_least_squares_are_a_curve() -> None:
    (chart,) = curves_of(log({"step": 0, "shots": 6, "fd_to_training_poses": [0.5, 0.25]}, verb="adapt"))
    assert (chart.title, chart.series[0].x, chart.series[0].y) == (
        "adapt: fd to training poses",
        (1.0, 2.0),
        (0.5, 0.25),
    )


@pytest.mark.parametrize(("last", "logarithmic"), [(0.01, True), (0.5, False), (-1.0, False)])
def test_axis_is_logarithmic_where_values_fall_far(last: float, logarithmic: bool) -> None:
    (chart,) = curves_of(log({"step": 1, "loss": 1.0}, {"step": 2, "loss": last}))
    assert chart.log_y == logarithmic


def test_long_logs_are_thinned_to_the_last_point() -> None:
    (chart,) = curves_of(log(*({"step": n, "loss": 2.0 - n / 1e4} for n in range(1, 10_001))))
    assert 200 < len(chart.series[0].x) <= 300
    assert chart.series[0].x[-1] == 10_000


def test_what_is_no_number_is_left_out() -> None:
    records = [{"step": n, "loss": float("nan"), "phase": "x", "flag": True, "note": "y"} for n in range(3)]
    assert curves_of(log(*records)) == []
    assert last_figures(log(*records)) == {}
    assert curves_of(log({"step": 0, "odd": [1, "two"]})) == []

"""Charts: where points land, what a log axis shows, escaping, and the same chart as PNG."""

from __future__ import annotations

import math
import re
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from flexpose.charts import Chart, Series, chart_svg, save_png, save_svg
from flexpose.charts.svg import ticks
from flexpose.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"
LINE = Series("one", (1.0, 2.0, 4.0), (10.0, 20.0, 15.0), y_spread=(1.0, 0.0, 2.0))


def marks(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r'<g class="s\d" transform="translate\(([\d.-]+) ([\d.-]+)\)', svg)
    return [(float(x), float(y)) for x, y in found]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.0, 7.2, [-2, 0, 2, 4, 6]),
        (0.013, 0.021, [0.014, 0.016, 0.018, 0.02]),
        (100.0, 1100.0, [200, 400, 600, 800, 1000]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_points_lie_in_proportion() -> None:
    svg = chart_svg(Chart("t", "x", "y", (LINE,)))
    (x0, y0), (x1, y1), (x2, y2) = marks(svg)
    assert (x2 - x0) / (x1 - x0) == pytest.approx(3.0, abs=0.01)
    assert (y0 - y2) / (y0 - y1) == pytest.approx(0.5, abs=0.01)
    assert y1 < y2 < y0  # up is more


def test_log_axis_and_named_rows() -> None:
    series = Series("s", (0.0, 1.0, 2.0), (1.0, 10.0, 1000.0))
    (_, y0), (_, y1), (_, y2) = marks(chart_svg(Chart("t", "x", "y", (series,), log_y=True)))
    assert (y0 - y2) / (y0 - y1) == pytest.approx(3.0, abs=0.02)
    rows = Series("s", (1.0, 2.0), (0.0, 1.0), kind="points")
    svg = chart_svg(Chart("t", "x", "", (rows,), y_names=("first", "second")))
    assert marks(svg)[0][1] < marks(svg)[1][1]
    assert svg.index(">first<") < svg.index(">second<")


def test_equal_axes_have_one_unit() -> None:
    series = Series("s", (0.0, 100.0, 0.0), (0.0, 0.0, 100.0), kind="points")
    (x0, y0), (x1, _), (_, y2) = marks(chart_svg(Chart("t", "", "", (series,), equal=True, bare=True)))
    assert x1 - x0 == pytest.approx(y0 - y2, abs=0.2)


BARS = Chart(
    "b", "x", "", (Series("s", (1.0, 4.0), (0.0, 1.0), (0.5, 0.0), kind="bars"),), y_names=("one", "two")
)


def test_bars_begin_at_nothing() -> None:
    svg = chart_svg(BARS)
    found = re.findall(r'class="s0 column" d="M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H\1Z"', svg)
    (zero, top, first, bottom), (same, _, second, _) = (tuple(map(float, bar)) for bar in found)
    axis = re.search(r'class="axis" d="M([\d.]+)', svg)
    assert axis is not None
    assert zero == same == float(axis[1])
    assert second - zero == pytest.approx(4 * (first - zero), abs=0.3)
    assert (first, (top + bottom) / 2) == pytest.approx(marks(svg)[0], abs=0.1)
    below = Series("s", (-1.0, 3.0), (0.0, 1.0), kind="bars")
    (low, high), _ = Chart("b", "x", "", (below,), y_names=("one", "two")).limits()
    assert low < -1
    assert high > 3


def test_the_goal_is_a_part_of_the_plane() -> None:
    points = Series("s", (0.5, 1.0), (0.75, 1.0), kind="points")
    chart = Chart("g", "x", "y", (points,), x_range=(0, 1), y_range=(0, 1), goal=((0.5, 0.75), (1.0, 1.0)))
    svg = chart_svg(chart)
    goal = re.search(r'class="goal" d="M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H\1Z"', svg)
    assert goal is not None
    (x0, y0), (x1, y1) = marks(svg)
    assert tuple(map(float, goal.groups())) == (x0, y0, x1, y1)
    assert svg.index("goal") < svg.index("grid") < svg.index("<g")  # behind all else


def test_a_file_has_its_own_style(tmp_path: Path) -> None:
    square = Chart("t", "x", "y", (LINE, LINE))
    save_svg(tmp_path / "a.svg", [square, BARS, square], colors=("#123456", "#654321"))
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert (root.get("width"), root.get("height")) == ("800", "540")
    outer = root.findall(f"{SVG}svg")
    assert [(svg.get("x"), svg.get("y"), svg.get("width")) for svg in outer] == [
        ("0", "0", "400"),
        ("400", "0", "400"),
        ("0", "270", "400"),
    ]
    inner = [svg.find(f"{SVG}svg") for svg in outer]
    for place, svg in zip(outer, inner, strict=True):
        assert svg is not None
        assert svg.get("viewBox") == f"0 0 400 {place.get('height')}"
    style = root.findtext(f"{SVG}style")
    assert style is not None
    assert ".s0,.s0>*{fill:#123456;stroke:#123456}.s1," in style
    used = {name for element in root.iter() for name in str(element.get("class", "")).split()}
    assert {name for name in used if f".{name}" not in style} == {"chart"}


def test_no_tick_lies_between_two_rounds() -> None:
    svg = chart_svg(Chart("t", "round", "y", (Series("s", (1.0, 2.0), (0.5, 0.25)),)))
    assert ">1<" in svg
    assert ">1.5<" not in svg


def test_svg_is_well_formed_and_escapes() -> None:
    evil = '</text><script>alert("1")</script>&'
    chart = Chart(evil, evil, evil, (Series(evil, (1.0,), (0.0,), kind="points"),), y_names=(evil,))
    root = ET.fromstring(chart_svg(chart))
    assert root.get("role") == "img"
    assert evil in str(root.get("aria-label"))
    assert {element.tag for element in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "text", "path", "g", "circle")
    }
    assert [element.text for element in root.iter(f"{SVG}text")].count(evil) == 3


def test_marks_of_all_series_differ() -> None:
    series = tuple(Series(str(n), (float(n),), (float(n),), kind="points") for n in range(16))
    svg = chart_svg(Chart("t", "x", "y", series))
    drawn = re.findall(r'<g class="(s\d)"[^>]*>(.*?)</g>', svg)
    assert len(drawn) == len(set(drawn)) == 16


def test_png_is_the_same_each_time(tmp_path: Path) -> None:
    charts = [
        Chart("t", "x", "y", (LINE,), log_y=True),
        Chart("r", "x", "", (Series("s", (1.0,), (0.0,), kind="points"),), y_names=("row",)),
        Chart("e", "", "", (Series("a", (0.0, 1.0), (0.0, 5.0)), LINE), equal=True, bare=True),
        Chart("g", "x", "y", (LINE,), goal=((1.0, 10.0), (2.0, 12.0))),
        BARS,
    ]
    for name in ("a.png", "b.png"):
        save_png(tmp_path / name, charts)
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as opened:
        image = np.asarray(opened.convert("L"))
    assert image.shape[1] > 1000  # two charts a row
    assert image.std() > 10


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"matplotlib is not installed: install the extra \[report\]"):
        save_png(tmp_path / "a.png", [Chart("t", "x", "y", (LINE,))])
    assert list(tmp_path.iterdir()) == []


def test_wrong_charts_are_refused() -> None:
    with pytest.raises(UsageError, match="y must have 2 values as x, got 1"):
        Series("s", (1.0, 2.0), (1.0,))
    with pytest.raises(UsageError, match="y_spread must have 2 values"):
        Series("s", (1.0, 2.0), (1.0, 2.0), y_spread=(1.0,))
    with pytest.raises(UsageError, match="'s' must be finite"):
        Series("s", (1.0,), (math.nan,))
    with pytest.raises(UsageError, match="must have a point"):
        Chart("t", "x", "y", ())
    with pytest.raises(UsageError, match="has bars and no y_names"):
        Chart("t", "x", "y", (Series("s", (1.0,), (0.0,), kind="bars"),))
    with pytest.raises(UsageError, match="not above 0"):
        Chart("t", "x", "y", (Series("s", (1.0,), (0.0,)),), log_y=True)

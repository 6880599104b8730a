"""Small charts, described once and drawn twice: as SVG for a page, as PNG by matplotlib (the extra `[report]`)."""

from .chart import Chart, Series, SeriesKind
from .png import INSTALL, require_matplotlib, save_png
from .svg import chart_svg, save_svg

__all__ = [
    "INSTALL",
    "Chart",
    "Series",
    "SeriesKind",
    "chart_svg",
    "require_matplotlib",
    "save_png",
    "save_svg",
]

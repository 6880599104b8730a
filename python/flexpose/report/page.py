"""HTML, element by element: what is not an element already is text, and text is escaped."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..charts import chart_svg
from ..charts.svg import mark
from ..raster import encode_png

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ..charts import Chart

__all__ = ["Html", "chart_figure", "element", "page", "picture", "table"]

_VOID = {"br", "hr", "img", "link", "meta"}


class Html(str):
    """Text that is HTML already; every other string is escaped where it is put into a page."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | int | bool | None) -> Html:
    """An element.

    Args:
        name: such as "p".
        *children: elements, or text, which is escaped; None is left out.
        **attributes: `class_` for class, `aria_label` for aria-label; None and False are left out, True has no
            value.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name_of = key.rstrip("_").replace("_", "-")
        parts.append(f" {name_of}" if value is True else f' {name_of}="{escape(str(value))}"')
    parts.append(">")
    if name not in _VOID:
        parts += [
            child if isinstance(child, Html) else escape(child) for child in children if child is not None
        ]
        parts.append(f"</{name}>")
    return Html("".join(parts))


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table whose first column heads the rows; it scrolls sideways where there is no room for it."""
    head = element("tr", *(element("th", header, scope="col") for header in headers))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    ]
    inside = element(
        "table", element("caption", element("span", caption)), element("thead", head), element("tbody", *body)
    )
    return element("div", inside, class_="scroll", role="region", tabindex=0, aria_label=caption)


def picture(image: NDArray, alt: str, **attributes: str | int | None) -> Html:  # type: ignore[type-arg]
    """A picture [H, W, 3] uint8 inside the page."""
    data = base64.b64encode(encode_png(image)).decode("ascii")
    height, width = image.shape[:2]
    return element(
        "img", src=f"data:image/png;base64,{data}", alt=alt, width=width, height=height, **attributes
    )


def chart_figure(chart: Chart, caption: str | None = None) -> Html:
    """A chart with its legend."""
    legend = None
    if len(chart.series) > 1:
        entries = []
        for number, series in enumerate(chart.series):
            swatch = Html(f'<svg viewBox="-6 -6 12 12" aria-hidden="true">{mark(number)}</svg>')
            entries.append(element("li", swatch, series.name))
        legend = element("ul", *entries, class_="legend")
    text = None if caption is None else element("figcaption", caption)
    return element("figure", Html(chart_svg(chart)), legend, text, class_="chart")


def page(title: str, body: Sequence[str]) -> str:
    """A whole document that fetches nothing."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(style)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *body), lang='en')}\n"

"""HTML: what is text is escaped, wherever it goes; the reader of the tests finds what it should."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from flexpose.charts import Chart, Series
from flexpose.report.page import Html, chart_figure, element, page, picture, table

from .html import Page, outside

EVIL = "<script>alert('x')</script>&\"quoted\""


def test_text_is_escaped_in_every_place() -> None:
    chart = Chart(EVIL, EVIL, EVIL, (Series(EVIL, (1.0,), (1.0,)), Series("b", (1.0,), (2.0,))))
    body = [
        element("p", EVIL, id=EVIL, title=EVIL),
        table(EVIL, [EVIL, "b"], [[EVIL, EVIL]]),
        picture(np.zeros((2, 2, 3), np.uint8), EVIL),
        chart_figure(chart, EVIL),
        EVIL,
    ]
    html = page(EVIL, body)
    found = Page(html)
    assert "<script" not in html
    assert found.text.count(EVIL) >= 10
    assert found.all("p")[0] == {"id": EVIL, "title": EVIL}
    assert found.all("img")[0]["alt"] == EVIL
    assert found.tables == [[[EVIL, "b"], [EVIL, EVIL]]]
    assert outside(html) == []


def test_elements() -> None:
    assert element("td", None, "a<b", element("br"), class_="x", hidden=True, id=None) == (
        '<td class="x" hidden>a&lt;b<br></td>'
    )
    assert element("p", Html("<b>&amp;</b>")) == "<p><b>&amp;</b></p>"
    assert element("svg", aria_label="n") == '<svg aria-label="n"></svg>'


def test_picture_is_the_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    attributes = Page(picture(image, "alt")).all("img")[0]
    data = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
    assert (attributes["width"], attributes["height"]) == ("7", "5")


@pytest.mark.parametrize(
    "bad",
    [
        '<img src="https://a/b.png">',
        '<a href="http://a">x</a>',
        "<style>@import 'x';</style>",
        "<style>p{background:url(x)}</style>",
        '<p onclick="x()">y</p>',
        "<script>1</script>",
    ],
)
def test_the_reader_of_the_tests_sees_what_would_be_fetched(bad: str) -> None:
    assert outside(bad)


@pytest.mark.parametrize("bad", ["<p>", "</p>", "<p><b></p></b>"])
def test_the_reader_of_the_tests_sees_what_does_not_balance(bad: str) -> None:
    with pytest.raises(AssertionError):
        Page(bad)

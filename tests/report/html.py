"""A strict reader of pages: tags must balance, and what a page refers to is noted."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

VOID = {"br", "hr", "img", "link", "meta"}


class Page(HTMLParser):
    """Raises on tags that do not balance.

    Attributes:
        tags: of each element, with its attributes.
        tables: of each, rows of texts.
        text: outside of style sheets.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if self.open and self.open[-1] in {"td", "th"}:
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def urls(self) -> list[str]:
        names = {"src", "href", "data", "action", "poster", "srcset", "xlink:href", "background"}
        found = [value for _, attributes in self.tags for name, value in attributes.items() if name in names]
        return [url for url in found if url is not None]


def outside(html: str) -> list[str]:
    """Everything by which a page could fetch something."""
    page = Page(html)
    found = [url for url in page.urls() if not url.startswith(("data:image/png;base64,", "#"))]
    found += [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object", "embed", "base"}]
    found += [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    style = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    found += re.findall(r"@import|url\(|expression\(|image-set\(|//", style)
    return found

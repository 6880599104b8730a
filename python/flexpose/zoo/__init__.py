"""Sources that come with the package: generator and beta in one file, and a card that says where they are from."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, UsageError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["DEFAULT", "PREFIX", "ZooSource", "list_zoo", "source_file", "source_reference", "zoo_source"]

DEFAULT = "coco-body13-64"
"""What `flexpose adapt` starts from where no source is named."""
PREFIX = "zoo:"
"""Before a name, where a path could stand as well: adapters name their source so."""

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ZooSource:
    """A source of the zoo.

    Attributes:
        name: such as ``coco-body13-64``: data, skeleton, pixels.
        file: its safetensors file.
        card: what is known of it: data, licence, attribution, command, settings, pictures shown, figures.
    """

    name: str
    file: Path
    card: dict[str, Any]

    def verify(self) -> None:
        """Read it whole and compare it with its card.

        Raises:
            DataError: the file is not the one of the card, or cannot be used.
        """
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
        if digest != self.card.get("sha256"):
            raise DataError(f"expected sha256 {self.card.get('sha256')}, got {digest}", path=self.file)
        from ..pretrain.files import load_beta, load_generator

        load_generator(self.file)
        load_beta(self.file)


def list_zoo() -> tuple[str, ...]:
    """The names of all sources, the default first."""
    names = sorted(path.stem for path in _FOLDER.glob("*.safetensors"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT))


def zoo_source(name: str) -> ZooSource:
    """A source by its name.

    Raises:
        UsageError: there is none of this name; lists those that there are.
        DataError: its card cannot be read.
    """
    if name not in list_zoo():
        known = ", ".join(list_zoo()) or "none"
        raise UsageError(f"the zoo has no source {name!r}; it has: {known}")
    card_file = _FOLDER / f"{name}.json"
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", path=card_file) from error
    if not isinstance(card, dict):
        raise DataError("expected an object", path=card_file)
    return ZooSource(name, _FOLDER / f"{name}.safetensors", card)


def source_file(source: str | PathLike[str] | None, *, beside: Path | None = None) -> Path:
    """Where a source is.

    Args:
        source: ``zoo:NAME``, a path, or a name of the zoo that is no path; None is the zoo's default.
        beside: the folder that relative paths start from; by default the working directory.

    Raises:
        UsageError: the zoo has no source of that name.
    """
    if source is None:
        return zoo_source(DEFAULT).file
    text = os.fspath(source)
    if text.startswith(PREFIX):
        return zoo_source(text.removeprefix(PREFIX)).file
    path = Path(text) if beside is None else beside / text
    return zoo_source(text).file if text in list_zoo() and not path.exists() else path


def source_reference(source: Path, folder: Path) -> str:
    """How an adapter in `folder` names its source: the zoo's by name, any other by the way to it."""
    source = source.resolve()
    if source.parent == _FOLDER.resolve():
        return PREFIX + source.stem
    return os.path.relpath(source, folder.resolve())

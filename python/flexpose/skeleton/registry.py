"""The skeletons that come with the package, by name, and skeletons of the user, by path."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from flexpose.errors import UsageError
from flexpose.skeleton.definition import skeleton_from_toml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flexpose.skeleton.schema import Skeleton

__all__ = ["find_skeleton", "list_skeletons", "load_skeleton"]


@lru_cache(maxsize=1)
def list_skeletons() -> tuple[str, ...]:
    """The names of the skeletons that come with the package, sorted."""
    folder = resources.files("flexpose.skeleton") / "definitions"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml")))


@lru_cache(maxsize=32)
def _load(name: str) -> Skeleton:
    file = resources.files("flexpose.skeleton") / "definitions" / f"{name}.toml"
    return skeleton_from_toml(file.read_text(encoding="utf-8"))


def load_skeleton(name_or_path: str | os.PathLike[str]) -> Skeleton:
    """Load a skeleton.

    Args:
        name_or_path: one of ``list_skeletons()``, or the path of a TOML definition (``Skeleton.from_toml``).

    Returns:
        The skeleton; one of the package's own is read once.

    Raises:
        UsageError: it is neither; the message lists the names.
        DataError: the file is not a valid definition.
    """
    if isinstance(name_or_path, str) and name_or_path in list_skeletons():
        return _load(name_or_path)
    path = os.fspath(name_or_path)
    if not os.path.isfile(path):  # noqa: PTH113 - takes odd text (a NUL, a line break) without raising
        raise UsageError(
            f"skeleton must be one of {', '.join(list_skeletons())} or the path of a TOML file, got {path!r}"
        )
    return skeleton_from_toml(Path(path))


def find_skeleton(names: Sequence[str]) -> Skeleton | None:
    """Recognise a skeleton of the package by its keypoint names.

    Args:
        names: keypoint names as a file gives them.

    Returns:
        The skeleton with exactly these names in this order, or None.
    """
    wanted = tuple(str(name) for name in names)
    for name in list_skeletons():
        skeleton = _load(name)
        if skeleton.names == wanted:
            return skeleton
    return None

"""Skeletons as TOML: a strict reader that names file and field, and a writer."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexpose.errors import DataError, UsageError
from flexpose.skeleton.schema import Skeleton, checked_names

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

__all__ = ["skeleton_from_toml", "toml_from_skeleton"]

_MAX_BYTES = 1 << 20
_REQUIRED = ("name", "keypoints")
_OPTIONAL = (
    "description",
    "bones",
    "flip_pairs",
    "sigmas",
    "root",
    "torso",
    "palette_seed",
    "bone_colors",
    "joint_colors",
)


def skeleton_from_toml(source: str | os.PathLike[str]) -> Skeleton:
    """Read a skeleton definition; see ``Skeleton.from_toml``.

    Keys: ``name``, ``keypoints`` (list of names); optional ``description``, ``bones``, ``flip_pairs``,
    ``root``, ``torso`` (by keypoint name or 0-based index), ``sigmas``, ``palette_seed``, ``bone_colors`` and
    ``joint_colors`` (``[r, g, b]``, 0 to 255). Any other key is an error.

    Args:
        source: path, or TOML text.

    Returns:
        The skeleton.

    Raises:
        DataError: the text is not TOML, or a key is unknown, missing or out of range.
        UsageError: there is no such file.
    """
    path: Path | None = None
    if isinstance(source, str) and ("\n" in source or "=" in source):
        text = source
    else:
        path = Path(source)
        text = _read_text(path)
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise DataError(f"must be TOML: {err}", path=path) from err
    return _from_table(table, path)


def toml_from_skeleton(skeleton: Skeleton) -> str:
    """Write a definition that ``skeleton_from_toml`` reads back to an equal skeleton.

    Args:
        skeleton: any skeleton.

    Returns:
        TOML text.
    """

    def by_name(pairs: Iterable[tuple[int, int]]) -> list[str]:
        return [_inline([skeleton.names[a], skeleton.names[b]]) for a, b in pairs]

    lines = [f"name = {_quote(skeleton.name)}"]
    if skeleton.description:
        lines.append(f"description = {_quote(skeleton.description)}")
    lines.append(f"palette_seed = {skeleton.palette_seed}")
    lines.append(f"root = {_inline([skeleton.names[i] for i in skeleton.root])}")
    if skeleton.torso is not None:
        lines.append(f"torso = {_inline([skeleton.names[i] for i in skeleton.torso])}")
    lines += _block("keypoints", [_quote(name) for name in skeleton.names])
    lines += _block("sigmas", [repr(float(sigma)) for sigma in skeleton.sigmas])
    lines += _block("bones", by_name(skeleton.bones))
    lines += _block("flip_pairs", by_name(skeleton.flip_pairs))
    lines += _block("bone_colors", [str(color.tolist()) for color in skeleton.bone_colors])
    lines += _block("joint_colors", [str(color.tolist()) for color in skeleton.joint_colors])
    return "\n".join(lines) + "\n"


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise DataError(f"must be a definition of {_MAX_BYTES} bytes at most, got {size}", path=path)
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as err:
        raise DataError(f"must be UTF-8 text: {err}", path=path) from err
    except OSError as err:
        raise UsageError(f"skeleton must be a file that can be read, got {path}: {err.strerror}") from err


def _from_table(table: dict[str, Any], path: Path | None) -> Skeleton:
    known = (*_REQUIRED, *_OPTIONAL)
    for key in table:
        if key not in known:
            raise DataError(f"unknown key; known are {', '.join(known)}", path=path, field=key)
    for key in _REQUIRED:
        if key not in table:
            raise DataError("must be given", path=path, field=key)
    names = table["keypoints"]
    for key in ("name", "description"):
        if not isinstance(table.get(key, ""), str):
            raise DataError(f"must be text, got {table[key]!r}", path=path, field=key)
    if not isinstance(names, list):
        raise DataError(f"must be a list of names, got {names!r}", path=path, field="keypoints")
    seed = table.get("palette_seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise DataError(f"must be an integer, got {seed!r}", path=path, field="palette_seed")
    try:
        checked_names(table["name"], names)  # first: what else is wrong may follow from a wrong name
    except UsageError as err:
        field, _, rest = str(err).partition(" ")
        raise DataError(rest, path=path, field="keypoints" if field == "names" else field) from err
    where = {name: index for index, name in enumerate(names)}

    def indices(field: str, value: object) -> list[int]:
        if not isinstance(value, list):
            raise DataError(f"must be a list of keypoint names, got {value!r}", path=path, field=field)
        found = []
        for item in value:
            if isinstance(item, str) and item not in where:
                raise DataError(f"must name a keypoint, got {item!r}", path=path, field=field)
            found.append(where[item] if isinstance(item, str) else item)
        return found

    def pairs(field: str) -> list[list[int]]:
        if not isinstance(table[field], list):
            raise DataError(f"must be a list of pairs, got {table[field]!r}", path=path, field=field)
        return [indices(field, pair) for pair in table[field]]

    for key in ("sigmas", "bone_colors", "joint_colors"):
        if not isinstance(table.get(key, []), list):
            raise DataError(f"must be a list, got {table[key]!r}", path=path, field=key)
    for value in table.get("sigmas", []):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"must be numbers, got {value!r}", path=path, field="sigmas")
    for key in ("bone_colors", "joint_colors"):
        for value in table.get(key, []):
            if not isinstance(value, list) or len(value) != 3:
                raise DataError(f"must be [red, green, blue] each, got {value!r}", path=path, field=key)
    try:
        return Skeleton(
            table["name"],
            names,
            pairs("bones") if "bones" in table else (),
            flip_pairs=pairs("flip_pairs") if "flip_pairs" in table else None,
            sigmas=table.get("sigmas"),
            root=indices("root", table["root"]) if "root" in table else None,
            torso=indices("torso", table["torso"]) if "torso" in table else None,
            palette_seed=seed,
            bone_colors=table.get("bone_colors"),
            joint_colors=table.get("joint_colors"),
            description=table.get("description", ""),
        )
    except DataError:
        raise
    except UsageError as err:  # the constructor speaks of arguments, which have the names of the keys
        field, _, rest = str(err).partition(" ")
        raise DataError(rest, path=path, field=field) from err


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # a JSON string is a TOML string


def _inline(names: Iterable[str]) -> str:
    return "[" + ", ".join(_quote(name) for name in names) + "]"


def _block(key: str, items: list[str]) -> list[str]:
    return [f"{key} = [", *(f"    {item}," for item in items), "]"] if items else [f"{key} = []"]

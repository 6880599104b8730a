"""Rows of an npz file that hold something wrong, and the file without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose.poses.bad import BadRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["MAX_TEXT", "bad_rows", "only_rows"]

MAX_TEXT = 4096  # characters in a name or label; more is not one
_MAX_SIDE = 2**31 - 1
_PER_ROW = ("keypoints", "visibility", "visible", "image_size", "ids", "labels", "action")


def bad_rows(path: str | PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> list[BadRecord]:
    """Find the rows with a value that a pose must not have.

    Arrays of a wrong type or shape are passed over: they are wrong as a whole.

    Args:
        path: the file, for the records.
        arrays: ``keypoints`` [N, K, 2] numbers, and the others of the file.

    Returns:
        One record a bad row, in order, with the first thing that is wrong in it.
    """
    kp = arrays["keypoints"]
    n = len(kp)
    reasons: dict[int, tuple[str, str]] = {}

    def note(field: str, bad: Any, reason: Callable[[int], str]) -> None:
        for row in np.flatnonzero(bad).tolist():
            reasons.setdefault(row, (field, reason(row)))

    field = "visibility" if "visibility" in arrays else "visible"
    seen = arrays.get(field)
    if seen is not None and seen.shape == kp.shape[:2] and seen.dtype.kind in "iuf":
        note(field, ~np.isin(seen, (0, 1, 2)).all(axis=1), lambda _: "must be 0, 1 or 2")
    labelled = np.ones(kp.shape[:2], bool) if seen is None or seen.shape != kp.shape[:2] else seen != 0
    with np.errstate(over="ignore"):
        finite = np.isfinite(kp.astype(np.float32)).all(axis=2) | ~labelled
    note("keypoints", ~finite.all(axis=1), lambda row: _first_not_finite(kp[row], finite[row]))
    size = arrays.get("image_size")
    if size is not None and size.shape == (n, 2) and size.dtype.kind in "iuf":
        fits = (size >= 1) & (size <= _MAX_SIDE) & (size == np.floor(size))
        note("image_size", ~fits.all(axis=1), lambda row: f"must be integers >= 1, got {size[row].tolist()}")
    labels = arrays.get("labels")
    if labels is not None and labels.shape == (n,) and labels.dtype.kind == "U":
        long = np.char.str_len(labels) > MAX_TEXT
        note("labels", long, lambda _: f"must be at most {MAX_TEXT} characters")
    action, names = arrays.get("action"), arrays.get("action_names")
    if labels is None and action is not None and names is not None:
        count = names.size
        if action.shape == (n,) and action.dtype.kind in "iu":
            wanted = f"must index action_names, 0 to {count - 1}, got "
            note("action", (action < 0) | (action >= count), lambda row: f"{wanted}{action[row]}")
    return [BadRecord(str(path), row, *reasons[row]) for row in sorted(reasons)]


def _first_not_finite(keypoints: NDArray[Any], finite: NDArray[np.bool_]) -> str:
    joint = int((~finite).argmax())
    return f"must be finite where labelled, got {keypoints[joint].tolist()} at joint {joint}"


def only_rows(arrays: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """The same file with some of its rows; what all poses share stays."""
    n = len(arrays["keypoints"])
    kept = dict(arrays)
    for name in _PER_ROW:
        array = arrays.get(name)
        if array is None or array.shape[:1] != (n,) or (name == "image_size" and array.ndim == 1):
            continue
        kept[name] = array[rows]
    return kept

"""WFLW: a list with a face a line, 98 points.

Points stay as they are: the owner's count from the corner or the centre of the first pixel is not known to half
a pixel. The label joins the attributes that are set, such as ``expression+blur``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexpose.poses.formats.text import read_text

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add"]

_POINTS = 98
_ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
_BOX = 4
_SHORT = 2 * _POINTS + 1  # points and the picture's name: the lists of the test's parts
_LONG = _SHORT + _BOX + len(_ATTRIBUTES)
_MAX_BYTES = 1 << 28


def add(path: Path, out: Gathered) -> None:
    """Add a list: per line 196 coordinates, then a box and six attributes (not in all lists), then a name.

    Raises:
        DataError: the file is no text; a line is wrong, its record being the number of the line from 0.
    """
    points, labels = [], []
    for record, line in enumerate(read_text(path, _MAX_BYTES).splitlines()):
        words = line.split()
        if not words:
            continue
        if len(words) not in {_SHORT, _LONG}:
            out.reject(path, record, None, f"must be {_LONG} or {_SHORT} words, got {len(words)}")
            continue
        try:
            numbers = np.array(words[: 2 * _POINTS], np.float64)
        except ValueError as err:
            out.reject(path, record, "points", f"must be numbers: {err}")
            continue
        if not np.isfinite(numbers).all():
            out.reject(path, record, "points", "must be finite")
            continue
        flags = words[2 * _POINTS + _BOX : -1]
        if not set(flags) <= {"0", "1"}:
            out.reject(path, record, "attributes", f"must be 0 or 1, got {' '.join(flags)}")
            continue
        points.append(numbers.reshape(_POINTS, 2))
        labels.append("+".join(name for name, flag in zip(_ATTRIBUTES, flags, strict=False) if flag == "1"))
    out.add(path, np.reshape(points, (-1, _POINTS, 2)), labels=labels)

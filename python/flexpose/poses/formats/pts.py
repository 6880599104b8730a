"""Face points of 300-W and 300-VW: a .pts file a face, 68 points.

The files count pixels from 1 at their centres, as MATLAB does; here the centre of the first pixel is (0.5, 0.5).
So half a pixel is taken off. They give no size of the picture, no visibility and no class.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.formats.text import read_text

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add"]

_POINTS = 68
_MAX_BYTES = 1 << 16
_LAYOUT = re.compile(r"\s*version:\s*1\s+n_points:\s*(\d{1,9})\s*\{([^{}]*)\}\s*")


def add(path: Path, out: Gathered) -> None:
    """Add a file: ``version: 1``, ``n_points: 68``, and between braces a point a line.

    Raises:
        DataError: not such a file, or not of 68 points.
    """
    found = _LAYOUT.fullmatch(read_text(path, _MAX_BYTES))
    if found is None:
        raise DataError("must be 'version: 1', 'n_points: 68', '{', a point a line, '}'", path=path)
    if int(found.group(1)) != _POINTS:
        raise DataError(f"must be {_POINTS}, got {found.group(1)}", path=path, field="n_points")
    numbers = found.group(2).split()
    if len(numbers) != 2 * _POINTS:
        raise DataError(f"must be {2 * _POINTS} numbers, got {len(numbers)}", path=path, field="points")
    try:
        points = np.array(numbers, np.float64)
    except ValueError as err:
        raise DataError(f"must be numbers: {err}", path=path, field="points") from err
    out.add(path, points.reshape(1, _POINTS, 2) - 0.5)

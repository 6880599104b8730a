"""MPI-INF-3DHP, training part: S1/Seq1/annot.mat, 28 joints for each of 14 cameras.

Points are projections through the calibrated cameras and stay as they are; pictures are 2048 x 2048. The owner
names no action of a frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.formats.mat import read_mat

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add"]

_SIDE_PX = 2048


def add(path: Path, out: Gathered) -> None:
    """Add a file: ``annot2``, a cell with [frames, 56] (x1, y1, x2, y2, ...) a camera; camera by camera.

    Raises:
        DataError: not such a file.
        UsageError: the file is of version 7.3, and h5py is not installed.
    """
    cell = read_mat(path, ["annot2"]).get("annot2")
    if not isinstance(cell, np.ndarray) or cell.dtype != object or cell.size == 0:
        raise DataError("must be there, and a cell with an array a camera", path=path, field="annot2")
    for camera, values in enumerate(cell.ravel()):
        points = np.asarray(values)
        field = f"annot2{{{camera + 1}}}"
        if points.ndim != 2 or points.shape[1] != 56 or points.dtype.kind not in "fiu":
            got = f"{list(points.shape)} {points.dtype}"
            raise DataError(f"must be [frames, 56] numbers, got {got}", path=path, field=field)
        out.add(path, points.reshape(-1, 28, 2), image_size=(_SIDE_PX, _SIDE_PX))

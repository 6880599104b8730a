"""Leeds Sports Pose, joints.mat: [3, 14, N] in the set itself, [14, 3, N] in the extended one.

The third number says "occluded" in the set and "labelled" in the extended set. Coordinates count pixels from 1,
as MATLAB does; here the centre of the first pixel is (0.5, 0.5), so half a pixel is taken off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.formats.mat import array_of, read_mat

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add"]


def add(path: Path, out: Gathered) -> None:
    """Add a file: ``joints``, a pose for each picture in their order.

    Raises:
        DataError: not such a file.
    """
    joints = array_of(path, read_mat(path, ["joints"]), "joints")
    if joints.ndim != 3 or joints.shape[:2] not in {(3, 14), (14, 3)}:
        got = list(joints.shape)
        raise DataError(f"must be [3, 14, N] or [14, 3, N], got {got}", path=path, field="joints")
    extended = joints.shape[:2] == (14, 3)
    records = joints.transpose((2, 0, 1) if extended else (2, 1, 0))
    flag = records[..., 2]
    wrong = ~np.isin(flag, (0, 1)).all(axis=1)
    for record in np.flatnonzero(wrong).tolist():
        out.reject(path, record, "joints", "the third number must be 0 or 1")
    seen = np.where(flag == 1, 2, 0) if extended else np.where(flag == 1, 1, 2)
    out.add(path, records[~wrong, :, :2] - 0.5, seen[~wrong])

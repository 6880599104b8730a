"""SURREAL: <sequence>_c0001_info.mat, 24 SMPL joints for each frame of a clip.

Points are rounded coordinates of the picture's plane, 320 x 240, and stay as they are. The owner names no
action, and passes over frames whose joints all lie at one point; so they make no pose here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexpose.errors import DataError
from flexpose.poses.formats.mat import array_of, read_mat

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add"]


def add(path: Path, out: Gathered) -> None:
    """Add a file: ``joints2D`` [2, 24, T], or [2, 24] for a clip of one frame.

    Raises:
        DataError: not such a file.
    """
    joints = array_of(path, read_mat(path, ["joints2D"]), "joints2D")
    if joints.ndim not in {2, 3} or joints.shape[:2] != (2, 24):
        raise DataError(f"must be [2, 24, T], got {list(joints.shape)}", path=path, field="joints2D")
    points = joints.reshape(2, 24, -1).transpose(2, 1, 0)
    spread = (points != points[:, :1]).any(axis=(1, 2))
    out.add(path, points[spread], image_size=(320, 240))

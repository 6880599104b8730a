"""Simplified Human3.6M (Zhang et al., CVPR 2018): S1/Landmarks/<sequence>/<frame>.mat, a pose a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexpose.errors import DataError
from flexpose.poses.formats.human36m import MOVING_JOINTS, action_label
from flexpose.poses.formats.mat import array_of, read_mat

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["SIDE_PX", "add"]

SIDE_PX = 128  # of the pictures; the files hold shares of it


def add(path: Path, out: Gathered) -> None:
    """Add a file: ``keypoints_2d`` [32, 2], (x, y) in [0, 1]; the label is the activity in the folder's name.

    Raises:
        DataError: not such a file.
    """
    points = array_of(path, read_mat(path, ["keypoints_2d"]), "keypoints_2d")
    if points.shape != (32, 2):
        raise DataError(f"must be [32, 2], got {list(points.shape)}", path=path, field="keypoints_2d")
    kept = points[None, list(MOVING_JOINTS)] * float(SIDE_PX)
    out.add(path, kept, image_size=(SIDE_PX, SIDE_PX), labels=action_label(path.parent.name))

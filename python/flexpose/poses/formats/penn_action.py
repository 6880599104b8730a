"""Penn Action: labels/0001.mat, a video a file, 13 joints a frame.

Joints that could not be seen hold a guess, visibility 1 here, or the picture's first pixel where there was none:
these are not labelled. The first joint of each pair is the person's right, as ``penn13`` has it, although the
owner's list calls it left. Coordinates were scaled with the videos and stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.formats.mat import array_of, read_mat

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add", "is_training"]

_JOINTS = 13


def add(path: Path, out: Gathered) -> None:
    """Add a file: ``x``, ``y`` and ``visibility`` [frames, 13], ``dimensions`` (height, width, frames), ``action``.

    Raises:
        DataError: not such a file.
    """
    mat = read_mat(path, ["x", "y", "visibility", "dimensions", "action"])
    x, y, visible = (array_of(path, mat, name) for name in ("x", "y", "visibility"))
    for name, array in (("x", x), ("y", y), ("visibility", visible)):
        if array.shape != (len(x), _JOINTS):
            got = list(array.shape)
            raise DataError(f"must be [{len(x)}, {_JOINTS}], got {got}", path=path, field=name)
    size = None
    if "dimensions" in mat:
        dimensions = array_of(path, mat, "dimensions").ravel()
        if len(dimensions) != 3 or not (dimensions > 0).all():
            raise DataError("must be height, width and frames", path=path, field="dimensions")
        size = (dimensions[1], dimensions[0])
    missing = (visible == 0) & (x <= 1) & (y <= 1)
    seen = np.where(missing, 0, np.where(visible == 0, 1, 2))
    action = np.ravel(mat.get("action", ""))
    label = str(action[0]) if len(action) == 1 else ""
    out.add(path, np.stack([x, y], axis=2), seen, image_size=size, labels=label)


def is_training(path: Path) -> bool:
    """Whether the owner counts the video to the training part; ``train`` is 1 or -1."""
    train = array_of(path, read_mat(path, ["train"]), "train")
    return bool(train.size == 1 and train.ravel()[0] == 1)

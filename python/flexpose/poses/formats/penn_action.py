"""Penn Action: labels/0001.mat, a video a file, 13 joints a frame.

Joints that could not be seen hold a guess, visibility 1 here, or the picture's first pixel where there was none:
these are not labelled. The first joint of each pair is the person's right, as ``penn13`` has it, although the
owner's list calls it left. Coordinates were scaled with the videos and stay as they are. Frames in which the
tracking lost a joint (`in_reach`) are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.formats.mat import array_of, read_mat

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add", "in_reach", "is_training"]

_JOINTS = 13


def add(path: Path, out: Gathered) -> None:
    """Add a file: ``x``, ``y``, ``visibility`` [n, 13], ``bbox`` [n, 4], ``dimensions`` (height, width, n), ``action``.

    Raises:
        DataError: not such a file.
    """
    mat = read_mat(path, ["x", "y", "visibility", "dimensions", "action", "bbox"])
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
    keypoints, kept = np.stack([x, y], axis=2), np.ones(len(x), bool)
    if "bbox" in mat:
        box = array_of(path, mat, "bbox")
        if box.shape != (len(x), 4):
            raise DataError(f"must be [{len(x)}, 4], got {list(box.shape)}", path=path, field="bbox")
        kept = in_reach(keypoints, seen, box)
    out.add(path, keypoints[kept], seen[kept], image_size=size, labels=label)


def in_reach(
    keypoints: NDArray[np.floating], seen: NDArray[np.integer], box: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """[N] whether all labelled joints are within their person's box, or outside it by half its sides at most.

    Args:
        keypoints: [N, K, 2].
        seen: [N, K], 0 for joints that are not labelled.
        box: [N, 4] left, top, right and bottom.

    Returns:
        True also for joints that are no numbers, which others refuse.
    """
    corners = np.asarray(box, np.float64).reshape(-1, 1, 2, 2)
    low, high = corners[:, :, 0], corners[:, :, 1]
    half = (high - low) / 2
    inside = ((keypoints >= low - half) & (keypoints <= high + half)).all(axis=2)
    return np.asarray((inside | (seen == 0)).all(axis=1) | ~np.isfinite(keypoints).all(axis=(1, 2)))


def is_training(path: Path) -> bool:
    """Whether the owner counts the video to the training part; ``train`` is 1 or -1."""
    train = array_of(path, read_mat(path, ["train"]), "train")
    return bool(train.size == 1 and train.ravel()[0] == 1)

"""Human3.6M: MMPose's npz, and the annot.h5 that h36m-fetch makes of the official D2_Positions.

Of its 32 joints 17 move on their own; the others repeat them or are ends (hands, toes). Points are projections
through the calibrated cameras and stay as they are. Pictures are 1000 px wide and 1000 or 1002 high.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError, UsageError
from flexpose.poses.formats.hdf5 import open_hdf5, read_dataset_array
from flexpose.poses.formats.npz_arrays import read_arrays, read_texts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["MOVING_JOINTS", "action_label", "add_h5", "add_npz", "refuse_pickled"]

MOVING_JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
_ACTIONS = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting"),
    *("SittingDown", "Smoking", "TakingPhoto", "Waiting", "Walking", "WalkingDog", "WalkTogether"),
)
_HEIGHTS = {54138969: 1002, 55011271: 1000, 58860488: 1000, 60457274: 1002}  # by camera
# What the same action is called in the files of one subject.
_OTHER_NAMES = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}


def action_label(name: str) -> str:
    """The action in the name of a sequence, such as ``Walking 1``: its letters, one name an action."""
    found = re.match("[A-Za-z]*", name)
    action = found.group() if found else ""
    return _OTHER_NAMES.get(action, action)


def add_npz(path: Path, out: Gathered) -> None:
    """Add an annotation file of MMPose: ``part`` [N, 17, 3] (x, y, labelled), ``imgname`` [N] and more.

    The label is the action in the picture's name, ``S1/S1_Walking_1.54138969/..._000001.jpg``, and so is the
    camera, which tells the size.

    Raises:
        DataError: an array is missing, or of another type or shape.
    """
    arrays = read_arrays(path, ("part", "imgname"))
    part = arrays.get("part")
    if part is None or part.dtype.kind not in "fiu" or part.ndim != 3 or part.shape[1:] != (17, 3):
        got = "nothing" if part is None else f"{list(part.shape)} {part.dtype}"
        raise DataError(f"must be [N, 17, 3] numbers, got {got}", path=path, field="part")
    names = read_texts(path, "imgname", arrays.get("imgname", np.zeros(0, "U1")))
    if len(names) != len(part):
        raise DataError(f"must be {len(part)} names, got {len(names)}", path=path, field="imgname")
    labels, cameras = [], []
    for name in names:
        found = re.search(r"S\d+_([^/]*)\.(\d+)", name)
        labels.append(action_label(found.group(1)) if found else "")
        cameras.append(int(found.group(2)) if found and len(found.group(2)) == 8 else 0)
    seen = np.where(part[..., 2] > 0, 2, 0)
    out.add(path, part[..., :2], seen, image_size=_sizes(np.array(cameras, np.int64)), labels=labels)


def add_h5(path: Path, out: Gathered) -> None:
    """Add an ``annot.h5``: datasets ``pose/2d`` [N, 32, 2], ``camera`` [N] and ``action`` [N].

    Older files, which have no ``subaction``, count the actions from 1; others from 2, as the official
    metadata does.

    Raises:
        UsageError: h5py is not installed.
        DataError: the file is broken, or a dataset is missing or of another shape.
    """
    with open_hdf5(path) as file:
        points = read_dataset_array(path, file, "pose/2d")
        if points.ndim != 3 or points.shape[1:] != (32, 2):
            raise DataError(f"must be [N, 32, 2], got {list(points.shape)}", path=path, field="pose/2d")
        n = len(points)
        camera, action = (read_dataset_array(path, file, name) for name in ("camera", "action"))
        first = 2 if "subaction" in file else 1
    for name, values in (("camera", camera), ("action", action)):
        if values.shape != (n,) or values.dtype.kind not in "iu":
            got = f"{list(values.shape)} {values.dtype}"
            raise DataError(f"must be [{n}] integers, got {got}", path=path, field=name)
    index = action.astype(np.int64) - first
    wrong = (index < 0) | (index >= len(_ACTIONS))
    if wrong.any():
        record = int(wrong.argmax())
        last = first + len(_ACTIONS) - 1
        raise DataError(
            f"must be {first} to {last}, got {action[record]}", path=path, record=record, field="action"
        )
    labels = [_ACTIONS[i] for i in index]
    out.add(path, points[:, list(MOVING_JOINTS)], image_size=_sizes(camera), labels=labels)


def refuse_pickled(path: Path, name: str) -> UsageError:
    """The error for VideoPose3D's npz, whose arrays are Python objects."""
    shape = "keypoints [N, 17, 2]" if name == "positions_2d" else "keypoints3d [N, 17, 3]"
    return UsageError(
        f"{path}: {name} is a pickle, which may run code and is never read. Whoever trusts the file writes its "
        f"poses once as plain arrays with numpy.savez: {shape} float32 (the arrays of all subjects, actions and "
        "cameras after each other), joint_names [17] (flexpose skeletons show h36m17 --json) and labels [N] "
        "(the actions)"
    )


def _sizes(camera: NDArray[np.integer]) -> NDArray[np.int32]:
    """[N, 2] width and height by camera; 0 for a camera that is not one of the four."""
    height = np.zeros(len(camera), np.int32)
    for number, pixels in _HEIGHTS.items():
        height[camera == number] = pixels
    return np.stack([np.where(height > 0, 1000, 0), height], axis=1).astype(np.int32)

"""MPII Human Pose: mpii_human_pose_v1_u12_1.mat, a struct RELEASE with a record a picture.

Only persons with labelled points make poses: those of the training pictures. Coordinates count pixels from 1, as
MATLAB does; here the centre of the first pixel is (0.5, 0.5), so half a pixel is taken off. The label is the
category of the picture's activity. The file gives no sizes of pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.formats.mat import read_mat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flexpose.poses.formats.gathered import Gathered

__all__ = ["add"]

_JOINTS = 16


def add(path: Path, out: Gathered) -> None:
    """Add the file; records are numbers of pictures, from 0.

    A point whose visibility is not given (the two of the head) counts as visible; one that is missing in the
    list is not labelled.

    Raises:
        DataError: not such a file, or a point has no number from 0 to 15, a second one, or no coordinates.
    """
    release = next(_structs(read_mat(path, ["RELEASE"]).get("RELEASE")), {})
    pictures = list(_structs(release.get("annolist")))
    if not pictures:
        raise DataError("must hold annolist, a list of pictures", path=path, field="RELEASE")
    acts = list(_structs(release.get("act")))
    keypoints, visibility, labels = [], [], []
    for record, picture in enumerate(pictures):
        for person in _structs(picture.get("annorect")):
            points = [
                point
                for list_of in _structs(person.get("annopoints"))
                for point in _structs(list_of.get("point"))
            ]
            if not points:
                continue
            pose = np.zeros((_JOINTS, 3))
            try:
                _fill(pose, points)
            except ValueError as err:
                out.reject(path, record, "annopoints", str(err))
                continue
            keypoints.append(pose[:, :2])
            visibility.append(pose[:, 2])
            labels.append(_text(acts[record].get("cat_name", "")) if record < len(acts) else "")
    shape = (-1, _JOINTS)
    out.add(path, np.reshape(keypoints, (*shape, 2)), np.reshape(visibility, shape), labels=labels)


def _fill(pose: np.ndarray[Any, np.dtype[np.float64]], points: list[Any]) -> None:
    for point in points:
        joint = _number(point.get("id"))
        x, y = (_number(point.get(name)) for name in ("x", "y"))
        if joint is None or joint not in range(_JOINTS):
            raise ValueError(f"id must be 0 to {_JOINTS - 1}, got {joint}")
        if x is None or y is None or not np.isfinite((x, y)).all():
            raise ValueError(f"x and y of point {joint:g} must be finite numbers, got {x} and {y}")
        row = pose[int(joint)]
        if row[2]:
            raise ValueError(f"point {joint:g} must come once, got it twice")
        row[:] = x - 0.5, y - 0.5, 1 if _number(point.get("is_visible")) == 0 else 2


def _structs(value: Any) -> Iterator[dict[str, Any]]:
    """The structs of a MATLAB value: none if it is missing, empty or something else."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        yield from (item for item in value.ravel() if isinstance(item, dict))


def _number(value: Any) -> float | None:
    """A number, which may be text; None for an empty or missing one."""
    array = np.ravel(value)
    try:
        return float(array[0]) if array.size == 1 else None
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    array = np.ravel(value)
    return str(array[0]) if array.size == 1 else ""

"""Poses in space: BVH motions and npz files, with the package's names for the joints and y up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from flexpose.errors import DataError, UsageError
from flexpose.poses.formats.bvh import read_bvh
from flexpose.poses.formats.npz_arrays import read_arrays, read_labels, read_texts
from flexpose.poses.rigs import rig_joints

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["Points3D", "read_points3d"]

_BANDAI = re.compile(r"dataset-\d+_(.+)_[^_]+_\d+")


@dataclass(frozen=True, eq=False)
class Points3D:
    """Poses of one body in space, such as the frames of a motion.

    Attributes:
        keypoints: [N, K, 3] float64 in any unit, right-handed with y up.
        names: K joints, by the package's names.
        labels: N class labels, or None.
        origin: the file.
    """

    keypoints: NDArray[np.float64]
    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    origin: str

    def __len__(self) -> int:
        return len(self.keypoints)


def read_points3d(
    path: str | PathLike[str],
    *,
    up: Literal["y", "z"] = "y",
    stride: int = 1,
    rig: Mapping[str, str] | None = None,
) -> list[Points3D]:
    """Read motions.

    Args:
        path: a ``.bvh`` file, a folder with some (the label is the content in Bandai Namco's file names, else the
            name of the folder below ``path`` that holds the file), or a ``.npz`` with ``keypoints3d`` or
            ``keypoints`` [N, K, 3], ``joint_names`` [K] and, where there are, ``labels`` [N] or ``action`` [N] and
            ``action_names``.
        up: the axis that points up in the file; z becomes y by a quarter turn about x.
        stride: take each so many frames of a file.
        rig: the rig's names by the package's (``rig_joints``). None: they are recognised.

    Returns:
        One for each file, in natural order.

    Raises:
        UsageError: the path is not there or of another kind, an argument is out of range, or no joint is known.
        DataError: a file is broken.
    """
    path = Path(path)
    if up not in {"y", "z"}:
        raise UsageError(f"up must be y or z, got {up!r}")
    if stride < 1:
        raise UsageError(f"stride must be >= 1, got {stride}")
    if path.is_dir():
        files = sorted(path.rglob("*.[bB][vV][hH]"))
    elif path.suffix.lower() in {".bvh", ".npz"} and path.is_file():
        files = [path]
    else:
        files = []
    if not files:
        raise UsageError(f"path must be a .bvh or .npz file, or a folder with .bvh files, got {str(path)!r}")
    return [_read(file, path, up, stride, rig) for file in files]


def _read(file: Path, start: Path, up: str, stride: int, rig: Mapping[str, str] | None) -> Points3D:
    labels: list[str] | None = None
    if file.suffix.lower() == ".npz":
        points, names, labels = _read_npz(file)
    else:
        motion = read_bvh(file)
        points, names = motion.positions, list(motion.names)
        content = _BANDAI.fullmatch(file.stem)
        folder = "" if start in {file, file.parent} else file.parent.name
        label = content.group(1) if content else folder
        labels = [label] * len(points) if label else None
    joints = rig_joints(names, rig)
    if not joints:
        raise UsageError(
            f"{file}: no joint of the rig is known, got {', '.join(names[:40])}: give their names"
        )
    kept = points[::stride, list(joints.values())].astype(np.float64)
    if up == "z":
        kept = np.stack([kept[..., 0], kept[..., 2], -kept[..., 1]], axis=-1)
    return Points3D(kept, tuple(joints), None if labels is None else tuple(labels[::stride]), str(file))


def _read_npz(path: Path) -> tuple[NDArray[np.float64], list[str], list[str] | None]:
    arrays = read_arrays(
        path, ("keypoints3d", "keypoints", "joint_names", "labels", "action", "action_names")
    )
    points = arrays.get("keypoints3d", arrays.get("keypoints"))
    if points is None or points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind not in "fiu":
        got = "nothing" if points is None else f"{list(points.shape)} {points.dtype}"
        raise DataError(f"must be [N, K, 3] numbers, got {got}", path=path, field="keypoints3d")
    wrong = ~np.isfinite(points).all(axis=(1, 2))
    if wrong.any():
        raise DataError("must be finite", path=path, record=int(wrong.argmax()), field="keypoints3d")
    names = read_texts(path, "joint_names", arrays.get("joint_names", np.zeros(0, "U1")))
    if len(names) != points.shape[1]:
        raise DataError(f"must be {points.shape[1]} names, got {len(names)}", path=path, field="joint_names")
    labels = read_labels(path, arrays, len(points))
    if labels is not None and len(labels) != len(points):
        raise DataError(f"must be {len(points)} texts, got {len(labels)}", path=path, field="labels")
    return points, names, labels

"""Reading and writing poses: the format follows from the file's ending."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexpose.errors import DataError, UsageError
from flexpose.skeleton import Skeleton, load_skeleton, map_joints

if TYPE_CHECKING:
    from os import PathLike

    from flexpose.poses.poseset import PoseSet

__all__ = ["read_poses", "write_poses"]

_ENDINGS = (".json", ".npz")


def read_poses(path: str | PathLike[str], skeleton: Skeleton | str | None = None) -> PoseSet:
    """Read poses from a file.

    Args:
        path: ``.json`` (COCO keypoints) or ``.npz`` (see ``flexpose.poses.formats.npz``).
        skeleton: skeleton that is wanted, or its name; poses of another one are mapped (``map_joints``).
            None: the one that the file's joint names say.

    Returns:
        The poses; ``origin`` is the path.

    Raises:
        UsageError: the file is not there, has another ending, or its joints do not make the skeleton.
        DataError: the file holds what it must not; names record and field.
    """
    path = Path(path)
    wanted = load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"path must end in {' or '.join(_ENDINGS)}, got {str(path)!r}")
    if not path.is_file():
        raise UsageError(f"path must be a file, got {str(path)!r}: no such file")
    if path.suffix.lower() == ".npz":
        from flexpose.poses.formats.npz import read_npz

        poses = read_npz(path, wanted)
    else:
        from flexpose.poses.formats.coco import read_coco

        poses = read_coco(path, wanted)
    if wanted is None or poses.skeleton == wanted:
        return poses
    try:
        return map_joints(poses, wanted)
    except DataError:
        raise
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err


def write_poses(poses: PoseSet, path: str | PathLike[str]) -> None:
    """Write poses to a file, which is there whole or not at all.

    Args:
        poses: any poses.
        path: ``.json`` (COCO keypoints) or ``.npz`` (all fields, and the skeleton's definition).

    Raises:
        UsageError: the path has another ending.
        ResourceError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        from flexpose.poses.formats.npz import write_npz

        write_npz(poses, path)
    elif path.suffix.lower() == ".json":
        from flexpose.poses.formats.coco import write_coco

        write_coco(poses, path)
    else:
        raise UsageError(f"path must end in {' or '.join(_ENDINGS)}, got {str(path)!r}")

"""Reading and writing poses: the format follows from the file's ending."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexpose.errors import DataError, UsageError
from flexpose.skeleton import Skeleton, load_skeleton, map_joints

if TYPE_CHECKING:
    from os import PathLike

    from flexpose.poses.bad import BadRecords
    from flexpose.poses.poseset import PoseSet

__all__ = ["read_poses", "write_poses"]

_ENDINGS = (".json", ".npz")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz")


def read_poses(
    path: str | PathLike[str], skeleton: Skeleton | str | None = None, *, bad: BadRecords | None = None
) -> PoseSet:
    """Read poses from a file.

    Args:
        path: ``.json`` (COCO keypoints) or ``.npz`` (see ``flexpose.poses.formats.npz``); a regular file, or a
            symbolic link to one.
        skeleton: skeleton that is wanted, or its name; poses of another one are mapped (``map_joints``).
            None: the one that the file's joint names say.
        bad: None: the first record with something wrong in it is an error. Otherwise such records are left out
            and noted here, and the caller says when too many are (``bad.check()``). What concerns the file as a
            whole is an error all the same: it is cut off, not JSON, an array is missing or has a wrong shape.

    Returns:
        The poses; ``origin`` is the path.

    Raises:
        UsageError: the file is not there, has another ending, or its joints do not make the skeleton.
        DataError: the file holds what it must not; names record and field.
        ResourceError: reading failed half way.
    """
    path = Path(path)
    wanted = load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    _check_path(path)
    if path.suffix.lower() == ".npz":
        from flexpose.poses.formats.npz import read_npz

        poses = read_npz(path, wanted, bad=bad)
    else:
        from flexpose.poses.formats.coco import read_coco

        poses = read_coco(path, wanted, bad=bad)
    if wanted is None or poses.skeleton == wanted:
        return poses
    try:
        return map_joints(poses, wanted)
    except DataError:
        raise
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err


def _check_path(path: Path) -> None:
    """Only regular files: a pipe would block, and a device might never end."""
    if path.suffix.lower() not in _ENDINGS:
        hint = ": unpack it first" if path.suffix.lower() in _PACKED else ""
        raise UsageError(f"path must end in {' or '.join(_ENDINGS)}, got {str(path)!r}{hint}")
    if path.is_file():
        return
    what = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "no such file"
    raise UsageError(f"path must be a file, got {str(path)!r}: {what}")


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

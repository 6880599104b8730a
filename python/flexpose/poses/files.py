"""Reading and writing poses: the format follows from the file's ending and content, or from a folder's files."""

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

_WRITTEN = (".json", ".npz")
_READ = (*_WRITTEN, ".mat", ".h5", ".hdf5", ".pts", ".txt")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz")


def read_poses(
    path: str | PathLike[str], skeleton: Skeleton | str | None = None, *, bad: BadRecords | None = None
) -> PoseSet:
    """Read poses from a file, or from the folder of a data set.

    Args:
        path: ``.json`` (COCO keypoints), ``.npz`` (see ``flexpose.poses.formats.npz``), or a file as the owner of
            a data set gives it: ``.mat``, ``.h5``, ``.npz``, ``.pts``, ``.txt``; a regular file, or a symbolic
            link to one. A folder: all files below it that are of one data set's layout.
        skeleton: skeleton that is wanted, or its name; poses of another one are mapped (``map_joints``).
            None: the one that the file's joint names say.
        bad: None: the first record with something wrong in it is an error. Otherwise such records are left out
            and noted here, and the caller says when too many are (``bad.check()``). What concerns the file as a
            whole is an error all the same: it is cut off, not JSON, an array is missing or has a wrong shape.

    Returns:
        The poses; ``origin`` is the path.

    Raises:
        UsageError: the file is not there, has another ending, or its joints do not make the skeleton; a folder
            holds files of no data set, or of several.
        DataError: the file holds what it must not; names record and field.
        ResourceError: reading failed half way.
    """
    path = Path(path)
    wanted = load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    poses = _read(path, wanted, bad)
    if wanted is None or poses.skeleton == wanted:
        return poses
    try:
        return map_joints(poses, wanted)
    except DataError:
        raise
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err


def _read(path: Path, wanted: Skeleton | None, bad: BadRecords | None) -> PoseSet:
    """The poses with the skeleton of the file or folder."""
    if path.is_dir():
        from flexpose.poses.formats.layouts import layout_of_folder, read_files

        layout, paths = layout_of_folder(path)
        return read_files(layout, paths, path, bad)
    _check_path(path)
    if path.suffix.lower() == ".json":
        from flexpose.poses.formats.coco import read_coco

        return read_coco(path, wanted, bad=bad)
    from flexpose.poses.formats.layouts import layout_of_file, read_files
    from flexpose.poses.formats.npz import read_npz

    found = layout_of_file(path)
    if found is None:
        return read_npz(path, wanted, bad=bad)
    return read_files(found, [path], path, bad)


def _check_path(path: Path) -> None:
    """Only regular files: a pipe would block, and a device might never end."""
    ending = path.suffix.lower()
    if ending == ".bvh":
        raise UsageError(f"{path}: 3D joints need a camera first, see: flexpose poses project --help")
    if ending not in _READ:
        hint = ": unpack it first" if ending in _PACKED else ""
        raise UsageError(f"path must end in {', '.join(_READ[:-1])} or {_READ[-1]}, got {str(path)!r}{hint}")
    if not path.is_file():
        what = "a pipe or a device" if path.exists() else "no such file"
        raise UsageError(f"path must be a file or a folder, got {str(path)!r}: {what}")


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
        raise UsageError(f"path must end in {' or '.join(_WRITTEN)}, got {str(path)!r}")

"""Poses as npz: numpy arrays in a zip, without pickles.

Written: ``keypoints`` float32 [N, K, 2], ``visibility`` uint8 [N, K], ``joint_names`` [K], ``image_size``
int32 [N, 2], ``ids`` int64 [N], ``labels`` [N] (where there are labels), ``skeleton`` (its definition, TOML).
Read as well: ``visible`` for ``visibility``, ``image_size`` [2] or the side ``size`` of a square for all,
``action`` [N] indices into ``action_names`` for ``labels``, and, without ``skeleton``, one recognised by its
``joint_names`` or made of ``joint_names`` and ``bones``.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose._atomic import atomic_path
from flexpose.errors import DataError, UsageError
from flexpose.poses.formats.npz_arrays import read_arrays, read_labels, read_texts
from flexpose.poses.formats.npz_rows import bad_rows, only_rows
from flexpose.poses.poseset import PoseSet
from flexpose.skeleton import Skeleton, find_skeleton

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from flexpose.poses.bad import BadRecords

__all__ = ["read_npz", "write_npz"]


def read_npz(
    path: str | PathLike[str], skeleton: Skeleton | None = None, *, bad: BadRecords | None = None
) -> PoseSet:
    """Read poses from an npz file; layouts: see the module.

    Args:
        path: the file.
        skeleton: used where the file names the same joints, or none and has as many; otherwise ignored.
        bad: None: the first row with something wrong in it is an error. Otherwise such rows are left out and
            noted here; a wrong type or shape, and what is no npz, stay errors.

    Returns:
        The poses with the file's own skeleton.

    Raises:
        DataError: not a npz, a key is missing, or an array has a wrong type, shape or value.
        ResourceError: the file cannot be opened.
    """
    path = Path(path)
    arrays = read_arrays(path, _WANTED)
    side = arrays.pop("size", None)
    if side is not None and side.shape == () and "image_size" not in arrays:
        arrays["image_size"] = np.repeat(side, 2)
    kp = arrays.get("keypoints")
    if kp is None:
        raise DataError(
            f"must be there; the file has {', '.join(sorted(arrays)) or 'nothing'}",
            path=path,
            field="keypoints",
        )
    if kp.ndim == 3 and kp.shape[2] == 3:
        raise DataError(
            f"must be [N, K, 2] image points, got {list(kp.shape)}: 3D joints need a camera first, "
            "see: flexpose poses project --help",
            path=path,
            field="keypoints",
        )
    if kp.ndim != 3 or kp.shape[2] != 2:
        raise DataError(f"must be [N, K, 2], got {list(kp.shape)}", path=path, field="keypoints")
    if not np.issubdtype(kp.dtype, np.floating) and not np.issubdtype(kp.dtype, np.integer):
        raise DataError(f"must be numbers, got {kp.dtype}", path=path, field="keypoints")
    if bad is not None:
        found = bad_rows(path, arrays)
        if found:
            kept = np.delete(np.arange(len(kp)), [row.record for row in found])
            arrays = only_rows(arrays, kept)
            kp = arrays["keypoints"]
        bad.add(found, poses=len(kp))
    own = _skeleton(path, arrays, kp.shape[1], skeleton)
    visibility = arrays.get("visibility", arrays.get("visible"))
    try:
        return PoseSet(
            kp,
            visibility,
            skeleton=own,
            image_size=arrays.get("image_size"),
            ids=arrays.get("ids"),
            labels=read_labels(path, arrays, len(kp)),
            origin=str(path),
        )
    except DataError:
        raise
    except UsageError as err:  # the constructor speaks of arguments; here they are content of a file
        field, _, rest = str(err).partition(" ")
        raise DataError(rest, path=path, field=field) from err


def write_npz(poses: PoseSet, path: str | PathLike[str]) -> None:
    """Write poses as npz; the same poses give the same bytes.

    Args:
        poses: any poses.
        path: the file; it is there whole or not at all.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {
        "keypoints": poses.keypoints,
        "visibility": poses.visibility,
        "joint_names": np.array(poses.skeleton.names),
        "image_size": poses.image_size,
        "ids": poses.ids,
        "skeleton": np.array(poses.skeleton.to_toml()),
    }
    if poses.labels is not None:
        arrays["labels"] = np.array(poses.labels, dtype=np.str_)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(
                buffer, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False
            )
            # A fixed time: np.savez would write the clock into the archive.
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue())


_WANTED = frozenset(
    {"keypoints", "visibility", "visible", "joint_names", "bones", "image_size", "size", "ids", "labels"}
    | {"skeleton", "action", "action_names"}
)


def _skeleton(path: Path, arrays: dict[str, NDArray[Any]], k: int, given: Skeleton | None) -> Skeleton:
    if "skeleton" in arrays:
        text = arrays["skeleton"]
        if text.dtype.kind != "U" or text.shape != ():
            raise DataError(
                f"must be TOML text, got {list(text.shape)} {text.dtype}", path=path, field="skeleton"
            )
        try:
            # The line break makes it text, whatever it holds: content of a file must not name another file.
            own = Skeleton.from_toml(str(text) + "\n")
        except DataError as err:
            raise DataError(str(err), path=path, field="skeleton") from err
        if own.num_keypoints != k:
            raise DataError(f"must have {k} keypoints, got {own.num_keypoints}", path=path, field="skeleton")
        return own
    if "joint_names" not in arrays:
        if given is not None and given.num_keypoints == k:
            return given
        raise DataError(
            "must be there, or a skeleton of as many keypoints be given", path=path, field="joint_names"
        )
    names = read_texts(path, "joint_names", arrays["joint_names"])
    if len(names) != k:
        raise DataError(f"must be {k} names, got {len(names)}", path=path, field="joint_names")
    if given is not None and given.names == tuple(names):
        return given
    known = find_skeleton(names)
    if known is not None:
        return known
    bones = arrays.get("bones", np.zeros((0, 2), np.int64))
    if bones.ndim != 2 or bones.shape[1] != 2 or not np.issubdtype(bones.dtype, np.integer):
        raise DataError(
            f"must be [B, 2] integers, got {list(bones.shape)} {bones.dtype}", path=path, field="bones"
        )
    try:
        return Skeleton(path.stem, names, bones.tolist())
    except UsageError as err:
        raise DataError(str(err), path=path, field="joint_names or bones") from err

"""Poses that come from one file after another, or from records of which some may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.bad import BadRecord, BadRecords
from flexpose.poses.poseset import PoseSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    from flexpose.skeleton import Skeleton

__all__ = ["Gathered"]


class Gathered:
    """Collects what the files of a data set hold, and makes one PoseSet of it.

    Args:
        skeleton: K keypoints, of all poses.
        bad: None: the first record with something wrong in it is an error. Otherwise it is left out and noted.
    """

    def __init__(self, skeleton: Skeleton, bad: BadRecords | None = None) -> None:
        self.skeleton = skeleton
        self._bad = bad
        self._found: list[BadRecord] = []
        self._keypoints: list[NDArray[np.float32]] = []
        self._visibility: list[NDArray[np.uint8]] = []
        self._sizes: list[NDArray[np.int32]] = []
        self._labels: list[str] = []

    def add(
        self,
        path: str | PathLike[str],
        keypoints: ArrayLike,
        visibility: ArrayLike | None = None,
        *,
        image_size: ArrayLike | None = None,
        labels: str | Sequence[str] = "",
    ) -> None:
        """Add the poses of a file.

        Args:
            path: the file, for messages.
            keypoints: [n, K, 2] numbers, pixels with (0, 0) at the image's corner.
            visibility: [n, K] 0 not labelled, 1 occluded, 2 visible. None: all 2.
            image_size: (width, height) of all or [n, 2]; None or 0: not known.
            labels: class of all or of each; "" for none.

        Raises:
            DataError: the arrays are not numbers of these shapes, or a labelled point is not finite.
        """
        kp = _numbers(path, "keypoints", keypoints)
        k = self.skeleton.num_keypoints
        if kp.ndim != 3 or kp.shape[1:] != (k, 2):
            raise DataError(f"must be [N, {k}, 2], got {list(kp.shape)}", path=path, field="keypoints")
        n = len(kp)
        seen = np.full((n, k), 2, np.uint8)
        if visibility is not None:
            seen = _numbers(path, "visibility", visibility).astype(np.uint8)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # what float32 cannot hold is infinite, and refused
            kp = kp.astype(np.float32)
        wrong = ~np.isfinite(kp).all(axis=2) & (seen > 0)
        for row in np.flatnonzero(wrong.any(axis=1)).tolist():
            joint = int(wrong[row].argmax())
            self.reject(
                path,
                row,
                self.skeleton.names[joint],
                f"must be finite where labelled, got {kp[row, joint].tolist()}",
            )
        kept = ~wrong.any(axis=1)
        sizes = np.zeros((n, 2)) if image_size is None else _numbers(path, "image_size", image_size)
        if not ((sizes >= 0) & (sizes < 2**31)).all():
            raise DataError("must be sides of a picture", path=path, field="image_size")
        texts = [labels] * n if isinstance(labels, str) else list(labels)
        self._keypoints.append(kp[kept])
        self._visibility.append(seen[kept])
        self._sizes.append(np.broadcast_to(sizes, (n, 2)).astype(np.int32)[kept])
        self._labels += [text for text, keep in zip(texts, kept, strict=True) if keep]

    def reject(self, path: str | PathLike[str], record: int, field: str | None, reason: str) -> None:
        """Say that a record is wrong: note it, or raise.

        Raises:
            DataError: bad records are not wanted.
        """
        if self._bad is None:
            raise DataError(reason, path=path, record=record, field=field)
        self._found.append(BadRecord(str(path), record, field, reason))

    def poses(self, origin: str | PathLike[str]) -> PoseSet:
        """All poses in the order in which they came; ids are 1 to N.

        Args:
            origin: the file or folder that was read.

        Returns:
            The poses. An image whose size is not known is as large as its pose.
        """
        k = self.skeleton.num_keypoints
        keypoints = np.concatenate([np.zeros((0, k, 2), np.float32), *self._keypoints])
        poses = PoseSet(
            keypoints,
            np.concatenate([np.zeros((0, k), np.uint8), *self._visibility]),
            skeleton=self.skeleton,
            labels=self._labels if any(self._labels) else None,
            origin=str(origin),
        )
        sizes = np.concatenate([np.zeros((0, 2), np.int32), *self._sizes])
        if sizes.any():
            poses = poses.replace(image_size=np.where(sizes > 0, sizes, poses.image_size))
        if self._bad is not None:
            self._bad.add(self._found, poses=len(poses))
        return poses


def _numbers(path: str | PathLike[str], field: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"must be real numbers, got {array.dtype}", path=path, field=field)
    return array

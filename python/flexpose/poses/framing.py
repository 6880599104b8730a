"""Framing: the square of each pose that becomes [-1, 1] x [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from flexpose.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from flexpose.poses.poseset import PoseSet

__all__ = ["FrameMode", "Frames", "frame_poses", "normalized_poses"]

FrameMode = Literal["bbox", "keep", "root"]

_MIN_EXTENT_PX = 1e-3
_GRID_BITS = 47


@dataclass(frozen=True, eq=False)
class Frames:
    """One square per pose: ``normalize`` maps it to [-1, 1], ``denormalize`` back.

    Attributes:
        center: [N, 2] float64, pixels.
        half: [N] float64, half the side, pixels, > 0.
        mode: how the squares were chosen: ``bbox``, ``keep`` or ``root``.
        margin: share of the extent that was added on each side.
    """

    center: NDArray[np.float64]
    half: NDArray[np.float64]
    mode: str
    margin: float

    def __len__(self) -> int:
        return len(self.center)

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Frames:
        """The frames of some rows, for ``normalize`` and ``denormalize`` of these poses."""
        return Frames(self.center[rows], self.half[rows], self.mode, self.margin)

    def _checked(self, name: str, points: ArrayLike) -> NDArray[np.float64]:
        array = np.asarray(points, np.float64)
        if array.ndim != 3 or array.shape[0] != len(self) or array.shape[2] != 2:
            raise UsageError(f"{name} must be [{len(self)}, K, 2], got {list(array.shape)}")
        return array

    def normalize(self, keypoints: ArrayLike) -> NDArray[np.float64]:
        """Pixels to frame coordinates.

        Args:
            keypoints: [N, K, 2] pixels.

        Returns:
            [N, K, 2] float64, (keypoints - center) / half.

        Raises:
            UsageError: wrong shape.
        """
        array = self._checked("keypoints", keypoints)
        normalized: NDArray[np.float64] = (array - self.center[:, None]) / self.half[:, None, None]
        return normalized

    def denormalize(self, normalized: ArrayLike) -> NDArray[np.float64]:
        """Frame coordinates to pixels.

        The result is rounded to 2^-47 of the frame's scale (the larger of ``half`` and the centre's
        coordinates), which takes away the float64 rounding of a round trip: float32 pixels that went through
        ``normalize`` come back bit for bit, as long as they are 0 or at least 2^-23 of that scale.

        Args:
            normalized: [N, K, 2].

        Returns:
            [N, K, 2] float64 pixels.

        Raises:
            UsageError: wrong shape.
        """
        array = self._checked("normalized", normalized)
        pixels = array * self.half[:, None, None] + self.center[:, None]
        scale = np.maximum(self.half, np.abs(self.center).max(axis=1))
        grid = np.ldexp(1.0, np.frexp(scale)[1] - _GRID_BITS)[:, None, None]
        rounded: NDArray[np.float64] = np.rint(pixels / grid) * grid
        return rounded


def frame_poses(poses: PoseSet, mode: str = "bbox", margin: float = 0.10) -> Frames:
    """Choose a square for each pose.

    Args:
        poses: N poses; each needs a labelled keypoint.
        mode: ``bbox``: around the box of the labelled keypoints, its longer side enlarged by ``margin`` on
            both ends. ``keep``: the square around the whole image, no margin. ``root``: centred on the mean
            of the skeleton's root joints, as large as the farthest keypoint needs, margin as with ``bbox``.
        margin: share of the extent added on each side, >= 0.

    Returns:
        N frames.

    Raises:
        UsageError: unknown mode, or a margin out of range.
        DataError: a pose has no labelled keypoint, no extent (all at one point) or no labelled root.
    """
    if mode not in get_args(FrameMode):
        raise UsageError(f"mode must be one of {', '.join(get_args(FrameMode))}, got {mode!r}")
    if not (np.isfinite(margin) and 0 <= margin <= 10):
        raise UsageError(f"margin must be 0 to 10, got {margin}")
    if mode == "keep":
        size = poses.image_size.astype(np.float64)
        return Frames(size / 2, size.max(axis=1) / 2, mode, float(margin))
    kp = poses.keypoints.astype(np.float64)
    seen = poses.visibility > 0
    _refuse(poses, ~seen.any(axis=1), "must have a labelled keypoint to be framed")
    if mode == "bbox":
        low = np.where(seen[..., None], kp, np.inf).min(axis=1)
        high = np.where(seen[..., None], kp, -np.inf).max(axis=1)
        center, reach = (low + high) / 2, (high - low).max(axis=1) / 2
    else:
        root = list(poses.skeleton.root)
        _refuse(poses, ~seen[:, root].all(axis=1), "must have all root keypoints labelled for mode 'root'")
        center = kp[:, root].mean(axis=1)
        reach = (np.abs(kp - center[:, None]) * seen[..., None]).max(axis=(1, 2))
    _refuse(poses, 2 * reach < _MIN_EXTENT_PX, f"must extend over at least {_MIN_EXTENT_PX} px to be framed")
    return Frames(center, reach * (1 + 2 * margin), mode, float(margin))


def normalized_poses(poses: PoseSet, mode: str = "bbox", margin: float = 0.10) -> NDArray[np.float64]:
    """Poses in the coordinates of their own frames; see ``frame_poses``.

    Args:
        poses: N poses.
        mode: ``bbox``, ``keep`` or ``root``.
        margin: share of the extent added on each side, >= 0.

    Returns:
        [N, K, 2] float64, labelled keypoints inside [-1, 1] in the modes ``bbox`` and ``root``; keypoints
        that are not labelled are 0, which is a place like any other: consult ``poses.visibility``.

    Raises:
        UsageError: unknown mode, or a margin out of range.
        DataError: a pose cannot be framed; names it.
    """
    normalized = frame_poses(poses, mode, margin).normalize(poses.keypoints)
    normalized[poses.visibility == 0] = 0
    return normalized


def _refuse(poses: PoseSet, bad: NDArray[np.bool_] | np.bool_, message: str) -> None:
    bad = np.asarray(bad)
    if bad.any():
        raise DataError(message, path=poses.origin, record=int(bad.argmax()), field="keypoints")

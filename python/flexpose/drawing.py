"""alpha as a setting: the skeleton, the frame and the pen that a generator, its beta and its adapters share."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from .errors import DataError, UsageError
from .poses import FrameMode, PoseSet, frame_poses, normalized_poses
from .raster import pixels_from_normalized, rasterize
from .skeleton import Skeleton, map_joints

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    from .metrics import KinematicLimits
    from .poses import Frames

__all__ = ["Drawing", "FramedPoses", "array_hash"]

_MAX_SIZE_PX = 8192  # what the rasteriser draws at most; a header is a stranger's file


def array_hash(array: NDArray[Any]) -> str:
    """sha256 over type, shape and bytes of an array."""
    data = np.ascontiguousarray(array)
    return hashlib.sha256(f"{data.dtype.str}:{data.shape};".encode() + data.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class FramedPoses:
    """Fully labelled poses in frame coordinates.

    Attributes:
        normalized: [N, K, 2] float32, nominally in [-1, 1].
        labels: class label of each, or None.
        dropped: how many poses were left out because a keypoint has no label.
        frames: the square of each in its picture.
    """

    normalized: NDArray[np.float32]
    labels: tuple[str, ...] | None
    dropped: int
    frames: Frames

    def __len__(self) -> int:
        return len(self.normalized)

    @property
    def content_hash(self) -> str:
        """sha256 of the coordinates."""
        return array_hash(self.normalized)


@dataclass(frozen=True, eq=False)
class Drawing:
    """How poses are framed and drawn; networks that share pictures must share it.

    Attributes:
        skeleton: keypoints, bones and palette.
        size_px: side of the picture.
        line_width_px: width of the bones.
        joint_radius_px: radius of the discs.
        frame: framing mode, see `frame_poses`.
        margin: margin of the frame.
    """

    skeleton: Skeleton
    size_px: int
    line_width_px: float = 2.0
    joint_radius_px: float = 2.0
    frame: FrameMode = "bbox"
    margin: float = 0.10

    def framed(self, poses: PoseSet) -> FramedPoses:
        """Map to the skeleton, keep the fully labelled poses and frame them.

        Raises:
            UsageError: the skeleton's keypoints cannot be had from those of the poses.
            DataError: no pose is fully labelled, or one has no extent.
        """
        mapped = map_joints(poses, self.skeleton)
        complete = mapped.complete()
        kept = mapped[complete]
        if len(kept) == 0:
            raise DataError(
                f"expected poses with all {self.skeleton.num_keypoints} keypoints of {self.skeleton.name} labelled, "
                f"got none among {len(poses)}"
            )
        frames = frame_poses(kept, self.frame, self.margin)
        normalized = frames.normalize(kept.keypoints).astype(np.float32)
        return FramedPoses(normalized, kept.labels, int(len(poses) - len(kept)), frames)

    def reframed(self, normalized: ArrayLike) -> NDArray[np.float64]:
        """Poses [N, K, 2] that were made in frame coordinates, in the frames that they would have as data.

        The frame `keep` depends on the picture, not on the pose, and leaves them as they are.

        Raises:
            DataError: a pose has no extent.
        """
        poses = np.asarray(normalized, np.float64)
        if self.frame == "keep":
            return poses
        return normalized_poses(PoseSet(poses, skeleton=self.skeleton), self.frame, self.margin)

    def brought_within(
        self, limits: KinematicLimits, normalized: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Poses [N, K, 2] in frame coordinates brought within limits of bones and angles.

        Returns:
            The poses, those that were within as they were and those that are moved in frames of their own, and which
            are within now [N].

        Raises:
            DataError: a pose has no extent.
        """
        clamped, inside = limits.clamped(normalized)
        moved = (clamped != normalized).any(axis=(1, 2))
        if moved.any():
            clamped[moved] = self.reframed(clamped[moved])
        return clamped.astype(np.float32), inside

    def images(
        self, normalized: ArrayLike, *, layout: Literal["nhwc", "nchw"] = "nchw", workers: int | None = 1
    ) -> NDArray[np.uint8]:
        """Draw poses given in frame coordinates [N, K, 2]: uint8 [N, 3, S, S], or [N, S, S, 3] for "nhwc"."""
        return rasterize(
            pixels_from_normalized(normalized, self.size_px),
            None,
            self.skeleton,
            size_px=self.size_px,
            line_width_px=self.line_width_px,
            joint_radius_px=self.joint_radius_px,
            layout=layout,
            workers=workers,
        )

    def header(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "skeleton": self.skeleton.to_toml(),
            "skeleton_name": self.skeleton.name,
            "skeleton_fingerprint": self.skeleton.fingerprint,
            "size_px": self.size_px,
            "line_width_px": self.line_width_px,
            "joint_radius_px": self.joint_radius_px,
            "frame": self.frame,
            "margin": self.margin,
        }

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that decides a picture."""
        return hashlib.sha256(json.dumps(self.header(), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_header(cls, header: dict[str, Any], *, path: str | PathLike[str]) -> Drawing:
        """Rebuild it from a checkpoint's header.

        Raises:
            DataError: something is missing, or the palette is not the one that was written.
        """
        try:
            skeleton = Skeleton.from_toml(str(header["skeleton"]))
            drawing = cls(
                skeleton,
                int(header["size_px"]),
                float(header["line_width_px"]),
                float(header["joint_radius_px"]),
                cast("FrameMode", str(header["frame"])),
                float(header["margin"]),
            )
            fingerprint = header["skeleton_fingerprint"]
            drawing._check()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"no usable drawing: {error}", path=path, field="drawing") from error
        if skeleton.fingerprint != fingerprint:
            raise DataError("the skeleton's fingerprint is not the one written", path=path, field="skeleton")
        return drawing

    def _check(self) -> None:
        """Refuse settings that no command writes."""
        ranges = {
            "size_px": 1 <= self.size_px <= _MAX_SIZE_PX,
            "line_width_px": 0 < self.line_width_px < math.inf,
            "joint_radius_px": 0 <= self.joint_radius_px < math.inf,
            "margin": 0 <= self.margin < math.inf,
            "frame": self.frame in get_args(FrameMode),
        }
        for name, good in ranges.items():
            if not good:
                raise ValueError(f"{name} is out of range, got {getattr(self, name)!r}")

    def check_same(self, other: Drawing, what: str) -> None:
        """Refuse to use networks together that were trained on different pictures.

        Raises:
            UsageError: naming the settings that differ.
        """
        mine, theirs = self.header(), other.header()
        differing = [key for key in mine if key != "skeleton" and mine[key] != theirs[key]]
        if differing:
            detail = ", ".join(f"{key} {mine[key]!r} and {theirs[key]!r}" for key in differing)
            raise UsageError(f"{what} were trained on different pictures: {detail}")

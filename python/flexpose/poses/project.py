"""Poses in space through virtual pinhole cameras.

The world is right-handed with y up. A camera looks at the middle of the subject's box in each frame, from a
direction and distance that stay: azimuth 0 looks from +z, 90 degrees from +x; elevation 90 looks down from above.
Its picture has x to the right, y down, and the optical axis at its centre; there is no distortion and no roll.
Occlusion is not modelled: each joint counts as visible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError, UsageError
from flexpose.poses._random import Stream, uniforms
from flexpose.poses.poseset import PoseSet
from flexpose.skeleton import Skeleton, joint_map, load_skeleton

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from flexpose.poses.points3d import Points3D

__all__ = ["DISTANCE", "FOCAL", "camera_angles", "project_points", "project_poses"]

FOCAL = 1.145  # of the picture's side: 47 degrees, as the cameras of Human3.6M have it
DISTANCE = 2.7  # in sizes of the subject
_NOSE = 0.25  # from the middle of the head forward, in lengths of the torso


def camera_angles(
    cameras: int, *, azimuth: tuple[float, float], elevation: tuple[float, float], seed: int
) -> NDArray[np.float64]:
    """Draw the directions of cameras that surround the subject.

    Args:
        cameras: N >= 1.
        azimuth: range in degrees, low first; it is cut into N equal parts, and each camera lies in one of them.
        elevation: range in degrees within -90 to 90, low first.
        seed: 0 to 2^64 - 1.

    Returns:
        [N, 2] azimuth and elevation in degrees.

    Raises:
        UsageError: an argument is out of range.
    """
    if cameras < 1:
        raise UsageError(f"cameras must be >= 1, got {cameras}")
    for name, limit, (low, high) in (("azimuth", 360, azimuth), ("elevation", 90, elevation)):
        if not -limit <= low <= high <= limit:
            raise UsageError(f"{name} must be LOW:HIGH within -{limit} to {limit}, got {low:g}:{high:g}")
    drawn = uniforms(seed, Stream.CAMERA, cameras, 2)
    drawn[:, 0] = (np.arange(cameras) + drawn[:, 0]) / cameras
    low, high = np.array([azimuth, elevation], np.float64).T
    return np.asarray(low + drawn * (high - low))


def project_points(
    points: ArrayLike,
    target: ArrayLike,
    *,
    azimuth: float,
    elevation: float,
    distance: float,
    focal_px: float,
    size_px: float,
) -> NDArray[np.float64]:
    """Project points through a camera that looks at a target.

    Args:
        points: [N, K, 3].
        target: [N, 3] what lies on the optical axis.
        azimuth: degrees.
        elevation: degrees.
        distance: from the camera to the target, in the unit of the points.
        focal_px: focal length in pixels.
        size_px: side of the picture.

    Returns:
        [N, K, 2] pixels; (0, 0) is the picture's corner.
    """
    a, e = np.deg2rad([azimuth, elevation])
    right = np.array([np.cos(a), 0, -np.sin(a)])
    back = np.array(
        [np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)]
    )  # from the target to the camera
    up = np.cross(back, right)
    offset = np.asarray(points, np.float64) - np.asarray(target, np.float64)[:, None]
    depth = distance - offset @ back
    plane = np.stack([offset @ right, -(offset @ up)], axis=-1)
    return np.asarray(size_px / 2 + focal_px * plane / depth[..., None])


def project_poses(
    motions: Sequence[Points3D],
    *,
    cameras: int = 4,
    azimuth: tuple[float, float] = (0, 360),
    elevation: tuple[float, float] = (0, 30),
    focal_px: float | None = None,
    size_px: int = 256,
    distance: float = DISTANCE,
    seed: int = 0,
    skeleton: Skeleton | str = "body13",
) -> PoseSet:
    """See motions through virtual cameras; the same seed gives the same cameras for all motions.

    Args:
        motions: at least one.
        cameras: how many.
        azimuth: range in degrees (``camera_angles``).
        elevation: range in degrees.
        focal_px: focal length. None: 1.145 sides of the picture.
        size_px: side of the square picture, >= 1.
        distance: from the camera to the middle of the subject, >= 1, in sizes of the subject: twice the largest
            distance of a joint from the middle, in any frame of the motion.
        seed: of the cameras.
        skeleton: the skeleton that is wanted, or its name. What the rig lacks is made as ``joint_map`` says, in
            space; a nose is made from the head and the direction that the shoulders face.

    Returns:
        For each motion and camera all frames; ids are 1 to N, labels those of the motion.

    Raises:
        UsageError: an argument is out of range, or the rig cannot make a joint of the skeleton.
        DataError: a motion has no extent.
    """
    if not motions:
        raise UsageError("motions must hold at least one")
    if size_px < 1:
        raise UsageError(f"size_px must be >= 1, got {size_px}")
    focal = FOCAL * size_px if focal_px is None else focal_px
    if not (np.isfinite(focal) and focal > 0):
        raise UsageError(f"focal_px must be > 0, got {focal_px}")
    if not (np.isfinite(distance) and distance >= 1):
        raise UsageError(f"distance must be >= 1, got {distance}")
    wanted = load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    angles = camera_angles(cameras, azimuth=azimuth, elevation=elevation, seed=seed)
    seen, labels = [], []
    for motion in motions:
        points = _named_points(motion, wanted)
        middle = (points.max(axis=1) + points.min(axis=1)) / 2
        reach = np.linalg.norm(points - middle[:, None], axis=2).max(initial=0)
        if len(points) and not (np.isfinite(reach) and reach > 0):
            raise DataError("the joints must not lie at one point", path=motion.origin, field="keypoints")
        for turn, height in angles:
            seen.append(
                project_points(
                    points,
                    middle,
                    azimuth=turn,
                    elevation=height,
                    distance=2 * distance * reach,
                    focal_px=focal,
                    size_px=size_px,
                )
            )
            labels += list(motion.labels or [""] * len(points))
    return PoseSet(
        np.concatenate(seen),
        skeleton=wanted,
        image_size=(size_px, size_px),
        labels=labels if any(labels) else None,
        origin=motions[0].origin if len(motions) == 1 else None,
    )


def _named_points(motion: Points3D, wanted: Skeleton) -> NDArray[np.float64]:
    """[N, K, 3] the joints of the skeleton, in space."""
    names, points = motion.names, motion.keypoints
    needed = {f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip")} | {"head"}
    if "nose" in wanted.names and "nose" not in names and needed <= set(names):
        points = np.concatenate([points, _nose(dict(zip(names, points.swapaxes(0, 1), strict=True)))], axis=1)
        names = (*names, "nose")
    try:
        weights = joint_map(Skeleton("motion", names), wanted).weights
    except UsageError as err:
        raise UsageError(f"{motion.origin}: {err}") from err
    return np.asarray(weights @ points)


def _nose(joint: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """[N, 1, 3] a nose in front of the head's joint, level with it: across the line from the neck to the head.

    The head counts as facing where the shoulders face, since the positions of its joints do not tell more.
    """
    across = joint["left_shoulder"] - joint["right_shoulder"]
    shoulders = (joint["left_shoulder"] + joint["right_shoulder"]) / 2
    torso = shoulders - (joint["left_hip"] + joint["right_hip"]) / 2
    forward = np.cross(across, joint["head"] - joint.get("neck", shoulders))
    length = np.linalg.norm(forward, axis=1, keepdims=True)
    forward = forward / np.where(length > 0, length, 1)
    nose = joint["head"] + _NOSE * np.linalg.norm(torso, axis=1, keepdims=True) * forward
    return np.asarray(nose[:, None])

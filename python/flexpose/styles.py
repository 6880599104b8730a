"""Drawings that other programs define: ControlNet's pose pictures and KeypointGAN's soft lines.

The styles of flexpose's own are those of `flexpose.raster.rasterize`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from . import _rust
from ._arguments import MAX_SIZE_PX, float_array, integer, new_images, real, thread_count, visibility_array
from .errors import UsageError
from .skeleton import load_skeleton, map_joints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .poses import PoseSet
    from .skeleton import Skeleton

__all__ = ["OPENPOSE_SKELETON", "PRESETS", "Preset", "draw_keypointgan", "draw_openpose", "openpose_poses"]

Preset = Literal["sd15", "sdxl-thick"]
PRESETS: tuple[str, ...] = get_args(Preset)

OPENPOSE_SKELETON = "openpose18"
"""Name of the skeleton that ControlNet knows."""

OPENPOSE_OPTIONAL = ("right_eye", "left_eye", "right_ear", "left_ear")
"""Joints that many skeletons lack; a pose drawing is as good without them."""

_JOINTS = 18


def draw_openpose(
    keypoints: ArrayLike,
    visibility: ArrayLike | None = None,
    *,
    size_px: int,
    preset: Preset = "sd15",
    workers: int | None = None,
) -> NDArray[np.uint8]:
    """Draw poses as the pose pictures that ControlNet is steered with.

    Limbs come first, ellipses in 0.6 of their colour, then the joints as discs; what is drawn later covers what was
    drawn before, and nothing is anti-aliased. The pictures are those of controlnet-aux 0.0.10, bit for bit, at the side
    of 512 pixels at which it draws.

    Args:
        keypoints: [N, 18, 2] float, pixels of the picture that is drawn, in the order of the skeleton ``openpose18``;
            see `openpose_poses`. Points off the picture are legal, however far. Converted to float32.
        visibility: [N, 18] bool or uint8, 0 for a joint that is not drawn; None draws all. A limb needs both ends.
        size_px: picture side S, 1 to 8192.
        preset: half the width of limbs and radius of discs. ``sd15``: 4 pixels at a side of 512, and in proportion at
            other sides, at least 1. ``sdxl-thick``, for models of SDXL that were trained on thick lines: 4 pixels
            below a side of 500, 8 from there, 12 from 1000, and 4 more each 1000 up to 28.
        workers: number of threads, 1 to 1024; None takes as many as the process may use.

    Returns:
        [N, S, S, 3] uint8 RGB; the bytes do not depend on the number of workers.

    Raises:
        UsageError: an argument has the wrong type, shape or range.
        DataError: a visible joint is NaN or infinite in float32; ``record`` is the index of its pose.
        ResourceError: there is no memory for the images, or the system starts no threads.

    Source: what controlnet-aux draws; sdxl-thick as xinsir's model cards of ControlNets for SDXL ask for. Twin:
    tests/reference/openpose.py.
    """
    points = _poses(keypoints, _JOINTS)
    size = integer("size_px", size_px, MAX_SIZE_PX)
    if preset not in PRESETS:
        raise UsageError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    seen = None if visibility is None else visibility_array(visibility, points.shape[:2])
    images: NDArray[np.uint8] = new_images((len(points), size, size, 3), np.dtype(np.uint8))
    _rust.draw_openpose(points, seen, images, preset=preset, workers=thread_count(workers))
    return images


def draw_keypointgan(
    keypoints: ArrayLike,
    visibility: ArrayLike | None,
    skeleton: Skeleton,
    *,
    size_px: int,
    sigma: float = 0.2,
    workers: int | None = None,
) -> NDArray[np.uint8]:
    """Draw poses as KeypointGAN does: soft lines, as bright as the nearest bone makes them, and no joints.

    A pixel becomes floor(255 * exp(-sqrt(d^2 + 1e-6) / sigma^2) + 0.5), where d is its distance to the nearest bone on
    a grid from -1 to 1. As in KeypointGAN, the centres of the first and the last pixel are at -1 and 1, whereas the
    joints' -1 and 1 are the edges of the picture; at the edges, lines are half a pixel off from the other styles.

    Args:
        keypoints: [N, K, 2] float, pixels of the picture that is drawn. Points off the picture are legal, however far.
            Converted to float32.
        visibility: [N, K] bool or uint8, 0 for a joint whose bones are not drawn; None draws all.
        skeleton: bones; must have K keypoints. Its colours are not used.
        size_px: picture side S, 2 to 8192.
        sigma: the lines' softness, 0.02 to 10.
        workers: number of threads, 1 to 1024; None takes as many as the process may use.

    Returns:
        [N, S, S, 1] uint8; at most 1 away from the formula in exact numbers, and the same for any number of workers.

    Raises:
        UsageError: an argument has the wrong type, shape or range.
        DataError: a visible joint is NaN or infinite in float32; ``record`` is the index of its pose.
        ResourceError: there is no memory for the images, or the system starts no threads.

    Source: Jakab et al., arXiv:1907.02055, and the renderer that was published with it. Twin:
    tests/reference/keypointgan.py.
    """
    points = _poses(keypoints, skeleton.num_keypoints)
    size = integer("size_px", size_px, MAX_SIZE_PX)
    seen = None if visibility is None else visibility_array(visibility, points.shape[:2])
    images: NDArray[np.uint8] = new_images((len(points), size, size, 1), np.dtype(np.uint8))
    _rust.draw_keypointgan(
        points,
        seen,
        np.asarray(skeleton.bones, dtype=np.int64).reshape(-1, 2),
        images,
        sigma=real("sigma", sigma),
        workers=thread_count(workers),
    )
    return images


def openpose_poses(poses: PoseSet) -> PoseSet:
    """Carry poses over to the 18 joints that `draw_openpose` draws.

    Args:
        poses: N poses of any skeleton that has nose, shoulders, elbows, wrists, hips, knees and ankles. The neck is the
            middle of the shoulders if there is none; eyes and ears that the skeleton lacks are not labelled.

    Returns:
        N poses of ``openpose18``.

    Raises:
        UsageError: the skeleton lacks another joint.
    """
    return map_joints(poses, load_skeleton(OPENPOSE_SKELETON), optional=OPENPOSE_OPTIONAL)


def _poses(keypoints: ArrayLike, number: int) -> NDArray[np.float32]:
    points = float_array("keypoints", keypoints)
    if points.ndim != 3 or points.shape[1:] != (number, 2):
        raise UsageError(f"keypoints must be [N, {number}, 2], got {list(points.shape)}")
    return points

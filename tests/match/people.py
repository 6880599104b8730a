"""Pictures of made-up people on plain backgrounds, and settings of runs that take a second."""

from __future__ import annotations

import numpy as np

from flexpose.match import MatchConfig, Pictures
from flexpose.poses import PoseSet, frame_poses, source_domain, synth_poses
from flexpose.raster import pixels_from_normalized, rasterize

SIZE = 32
CONFIG = MatchConfig(
    size_px=SIZE,
    width=8,
    critic_width=16,
    steps=12,
    batch=4,
    dtype="float32",
    checkpoint_steps=3,
    picture_weight=0.3,
)


def prior(n: int = 40, seed: int = 2) -> PoseSet:
    """Poses that are of no picture."""
    return synth_poses(n, seed=seed, domain=source_domain())


def photographed(n: int = 20, seed: int = 1, groups: list[int] | None = None) -> tuple[Pictures, np.ndarray]:
    """N pictures, and the poses [N, K, 2] in [-1, 1] that they show."""
    poses = prior(n, seed)
    normalized = frame_poses(poses, "bbox", 0.1).normalize(poses.keypoints)
    points = pixels_from_normalized(normalized, SIZE)
    drawn = rasterize(
        points, None, poses.skeleton, size_px=SIZE, line_width_px=3, joint_radius_px=2, layout="nchw"
    )
    share = drawn.max(1, keepdims=True) / 255
    ground = np.random.default_rng(seed).integers(0, 120, (n, 3, 1, 1))
    images = (drawn * share + ground * (1 - share)).astype(np.uint8)
    names = tuple(f"{i}.png" for i in range(n))
    members = None if groups is None else np.array(groups, np.int64)
    return Pictures(images, names, np.full((n, 2), SIZE, np.int32), members), normalized

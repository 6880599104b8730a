"""Poses beyond the source: beta must read what an adapted generator draws, not the source alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..skeleton import kinematic_tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..skeleton import Skeleton

__all__ = ["stretch_and_turn"]


def stretch_and_turn(
    normalized: NDArray[np.float32], skeleton: Skeleton, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Vary poses [N, K, 2]: bone lengths by up to 40%, limb angles a little, then rotation, scale and place.

    Half of the poses are left as they are up to scale and place, so that beta never forgets the source. The result
    stays within about [-1.05, 1.05].
    """
    n = len(normalized)
    wild = rng.random(n) < 0.5
    poses = normalized.astype(np.float64)
    bent = poses.copy()
    length = np.exp(rng.normal(0, 0.2, (n, skeleton.num_keypoints)).clip(-0.5, 0.35))
    angle = rng.normal(0, 0.25, (n, skeleton.num_keypoints))
    for parent, child in kinematic_tree(skeleton).edges:
        offset = (poses[:, child] - poses[:, parent]) * length[:, child, None]
        cos, sin = np.cos(angle[:, child]), np.sin(angle[:, child])
        turned = np.stack(
            [cos * offset[:, 0] - sin * offset[:, 1], sin * offset[:, 0] + cos * offset[:, 1]], -1
        )
        bent[:, child] = bent[:, parent] + turned
    turn = rng.uniform(-np.pi / 3, np.pi / 3, n)
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    rotated = np.stack([cos * bent[..., 0] - sin * bent[..., 1], sin * bent[..., 0] + cos * bent[..., 1]], -1)
    poses = np.where(wild[:, None, None], rotated, poses)
    low, high = poses.min(1), poses.max(1)
    half = np.maximum((high - low).max(1) / 2, 1e-6)
    # Frames leave a margin, but a generator's picture need not: the box fills 60% to 100% of the picture.
    target = np.where(rng.random(n) < 0.5, 1 / 1.2, rng.uniform(0.6, 1.0, n))
    poses = (poses - ((low + high) / 2)[:, None]) * (target / half)[:, None, None]
    room = np.maximum(1.02 - np.abs(poses).max(1), 0.0)
    shift = rng.uniform(-1, 1, (n, 2)) * room * (rng.random((n, 1)) < 0.5)
    return np.asarray(poses + shift[:, None], np.float32)

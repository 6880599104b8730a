"""How close generated poses come to the guide poses: variety, and what was only learned by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .arrays import as_keypoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["NearestShot", "memorization_threshold", "nearest_shot_distance", "nearest_shot_distances"]


def nearest_shot_distances(keypoints: ArrayLike, shots: ArrayLike) -> NDArray[np.float64]:
    """Distance of each pose to the guide pose nearest to it.

    Args:
        keypoints: [N, K, 2].
        shots: [S, K, 2] guide poses in the same coordinates, S >= 1.

    Returns:
        [N] root mean square distance over the joints, in the coordinates' unit.

    Raises:
        UsageError: wrong shape, or no guide pose.
        DataError: a coordinate is not finite.
    """
    poses = as_keypoints(keypoints, "keypoints")
    guides = as_keypoints(shots, "shots", poses.shape[1])
    nearest = np.full(len(poses), np.inf)
    for guide in guides:  # a difference, not an expanded square: copies come out as exactly 0
        offset = poses - guide
        np.minimum(nearest, np.einsum("nkc,nkc->n", offset, offset), out=nearest)
    distances: NDArray[np.float64] = np.sqrt(nearest / poses.shape[1])
    return distances


def memorization_threshold(target: ArrayLike, shots: ArrayLike, quantile: float = 0.01) -> float:
    """Distance to the nearest guide pose below which only a share `quantile` of real target poses lies.

    Args:
        target: [M, K, 2] real poses without the guide poses.
        shots: [S, K, 2].
        quantile: in (0, 1).

    Raises:
        UsageError: wrong shape, or a quantile out of range.
        DataError: a coordinate is not finite.
    """
    if not 0.0 < quantile < 1.0:
        raise UsageError(f"quantile must be in (0, 1), got {quantile}")
    return float(np.quantile(nearest_shot_distances(target, shots), quantile))


@dataclass(frozen=True)
class NearestShot:
    """Distances of generated poses to their nearest guide poses, in the coordinates' unit.

    Attributes:
        mean: over the poses.
        median: over the poses.
        minimum: of the pose nearest to a guide pose.
        copies: share of the poses nearer than `threshold`; None without one.
        threshold: see `memorization_threshold`.
    """

    mean: float
    median: float
    minimum: float
    copies: float | None
    threshold: float | None


def nearest_shot_distance(
    keypoints: ArrayLike,
    shots: ArrayLike,
    target: ArrayLike | None = None,
    *,
    quantile: float = 0.01,
    threshold: float | None = None,
) -> NearestShot:
    """Distribution of the distance to the nearest guide pose, and the share that looks learned by heart.

    Real target poses come nearer to a guide pose than the threshold with probability `quantile`; a share of
    copies well above it says that the guide poses themselves are repeated.

    Args:
        keypoints: [N, K, 2] generated poses.
        shots: [S, K, 2] guide poses.
        target: [M, K, 2] real poses without the guide poses, for the threshold.
        quantile: of the target's own distances that becomes the threshold.
        threshold: given instead of `target`.

    Raises:
        UsageError: wrong shape, no poses, or both a target and a threshold.
        DataError: a coordinate is not finite.

    Source: the nearest-neighbour test of memorisation, here with a threshold taken from real data.
    """
    if target is not None and threshold is not None:
        raise UsageError("threshold must not be given with a target, got both")
    distances = nearest_shot_distances(keypoints, shots)
    if target is not None:
        threshold = memorization_threshold(target, shots, quantile)
    return NearestShot(
        mean=float(distances.mean()),
        median=float(np.median(distances)),
        minimum=float(distances.min()),
        copies=None if threshold is None else float((distances < threshold).mean()),
        threshold=threshold,
    )

"""The ways of not learning: what a handful of guide poses and a source set already give without a network.

A report that does not show them says nothing about what a generator has learned. All of them work on complete
normalised poses, [N, K, 2] in the frame's [-1, 1], and give the same poses for the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import UsageError
from ..metrics import affine_transport
from ..metrics.arrays import as_keypoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BASELINES",
    "Baseline",
    "Sampler",
    "gaussian_on_shots",
    "kernel_density",
    "ot_affine",
    "pose_mixup",
    "source_as_it_is",
    "source_residuals",
]


class Sampler(Protocol):
    """A baseline: guide poses [S, K, 2] and source poses [N, K, 2] in, n poses out."""

    def __call__(self, shots: ArrayLike, source: ArrayLike | None, n: int, seed: int) -> NDArray[np.float64]:
        """Draw [n, K, 2] normalised poses."""


def _shots(shots: ArrayLike, n: int, min_shots: int) -> NDArray[np.float64]:
    if n < 1:
        raise UsageError(f"n must be >= 1, got {n}")
    guides = as_keypoints(shots, "shots")
    if len(guides) < min_shots:
        raise UsageError(f"shots must have at least {min_shots} poses, got {len(guides)}")
    return guides


def _source(source: ArrayLike | None, num_keypoints: int, min_poses: int) -> NDArray[np.float64]:
    if source is None:
        raise UsageError("source must be given for this baseline, got None")
    poses = as_keypoints(source, "source", num_keypoints)
    if len(poses) < min_poses:
        raise UsageError(f"source must have at least {min_poses} poses, got {len(poses)}")
    return poses


def _rows(rng: np.random.Generator, count: int, n: int) -> NDArray[np.int64]:
    """Draw n row numbers, each row as often as any other as far as n allows."""
    whole, rest = divmod(n, count)
    return np.concatenate([np.tile(np.arange(count), whole), rng.choice(count, rest, replace=False)])


def source_as_it_is(shots: ArrayLike, source: ArrayLike | None, n: int, seed: int) -> NDArray[np.float64]:
    """Source poses, unadapted; none of them twice before all were drawn.

    Args:
        shots: [S, K, 2]; only K is used.
        source: [N, K, 2], N >= 1.
        n: poses to draw.
        seed: of the draw.

    Raises:
        UsageError: wrong shape, n < 1, or no source.
        DataError: a coordinate is not finite.
    """
    poses = _source(source, _shots(shots, n, 1).shape[1], 1)
    return poses[_rows(np.random.default_rng(seed), len(poses), n)]


def pose_mixup(shots: ArrayLike, source: ArrayLike | None, n: int, seed: int) -> NDArray[np.float64]:
    """Random points on the lines between two guide poses.

    Args:
        shots: [S, K, 2], S >= 2.
        source: not used.
        n: poses to draw.
        seed: of the draw.

    Raises:
        UsageError: wrong shape, n < 1, or fewer than 2 shots.
        DataError: a coordinate is not finite.

    Source: FlexPose, arXiv:2412.13463, Eq. 7.
    """
    from ..poses.mixup import mixup_poses

    mixed = mixup_poses(_shots(shots, n, 2), n, seed=seed)
    return np.asarray(mixed, dtype=np.float64)


def gaussian_on_shots(shots: ArrayLike, source: ArrayLike | None, n: int, seed: int) -> NDArray[np.float64]:
    """The normal distribution with the mean and covariance (divided by S - 1) of the guide poses.

    With fewer shots than coordinates it lies in the flat that the shots span.

    Args:
        shots: [S, K, 2], S >= 2.
        source: not used.
        n: poses to draw.
        seed: of the draw.

    Raises:
        UsageError: wrong shape, n < 1, or fewer than 2 shots.
        DataError: a coordinate is not finite.
    """
    guides = _shots(shots, n, 2)
    flat = guides.reshape(len(guides), -1)
    mean = flat.mean(axis=0)
    _, singular, directions = np.linalg.svd((flat - mean) / np.sqrt(len(flat) - 1), full_matrices=False)
    noise = np.random.default_rng(seed).standard_normal((n, len(singular)))
    drawn: NDArray[np.float64] = mean + (noise * singular) @ directions
    return drawn.reshape(n, *guides.shape[1:])


def kernel_density(
    shots: ArrayLike, source: ArrayLike | None, n: int, seed: int, *, bandwidth: float = 0.03
) -> NDArray[np.float64]:
    """A guide pose with independent normal noise on each coordinate.

    Args:
        shots: [S, K, 2], S >= 1.
        source: not used.
        n: poses to draw.
        seed: of the draw.
        bandwidth: standard deviation of the noise, in the coordinates' unit, > 0.

    Raises:
        UsageError: wrong shape or argument out of range.
        DataError: a coordinate is not finite.
    """
    guides = _shots(shots, n, 1)
    if not bandwidth > 0.0:
        raise UsageError(f"bandwidth must be > 0, got {bandwidth}")
    rng = np.random.default_rng(seed)
    centres = guides[rng.integers(len(guides), size=n)]
    return centres + bandwidth * rng.standard_normal(centres.shape)


def ot_affine(shots: ArrayLike, source: ArrayLike | None, n: int, seed: int) -> NDArray[np.float64]:
    """Source poses under the affine map that carries the source's mean and covariance to those of the shots.

    Directions in which the source has no spread get none; see `affine_transport`.

    Args:
        shots: [S, K, 2], S >= 2.
        source: [N, K, 2], N >= 2.
        n: poses to draw.
        seed: of the draw of source poses.

    Raises:
        UsageError: wrong shape, n < 1, or too few poses.
        DataError: a coordinate is not finite.
    """
    guides = _shots(shots, n, 2)
    poses = _source(source, guides.shape[1], 2)
    chosen = poses[_rows(np.random.default_rng(seed), len(poses), n)]
    return affine_transport(poses, guides)(chosen)


def source_residuals(
    shots: ArrayLike,
    source: ArrayLike | None,
    n: int,
    seed: int,
    *,
    neighbors: int = 300,
    strength: float = 0.7,
) -> NDArray[np.float64]:
    """A random mix of two guide poses, with the source's own variation around one of them.

    The variation is the deviation of a random one of the source poses nearest to that guide pose from their
    mean.

    Args:
        shots: [S, K, 2], S >= 2.
        source: [N, K, 2], N >= 1.
        n: poses to draw.
        seed: of the draw.
        neighbors: source poses around each guide pose, >= 1; all of a smaller source.
        strength: factor of the deviation.

    Raises:
        UsageError: wrong shape, argument out of range, or too few poses.
        DataError: a coordinate is not finite.
    """
    guides = _shots(shots, n, 2)
    poses = _source(source, guides.shape[1], 1)
    if neighbors < 1:
        raise UsageError(f"neighbors must be >= 1, got {neighbors}")
    count = min(neighbors, len(poses))
    residuals = np.empty((len(guides), count, *guides.shape[1:]))
    for index, guide in enumerate(guides):
        offset = poses - guide
        nearest = np.argpartition(np.einsum("nkc,nkc->n", offset, offset), count - 1)[:count]
        near = poses[np.sort(nearest)]
        residuals[index] = near - near.mean(axis=0)
    rng = np.random.default_rng(seed)
    first = rng.integers(len(guides), size=n)
    second = (first + rng.integers(1, len(guides), size=n)) % len(guides)
    share = rng.uniform(size=(n, 1, 1))
    mixed = share * guides[first] + (1.0 - share) * guides[second]
    drawn: NDArray[np.float64] = residuals[first, rng.integers(count, size=n)]
    return np.asarray(mixed + strength * drawn)


@dataclass(frozen=True)
class Baseline:
    """A sampler with its name in the report.

    Attributes:
        name: as it is printed.
        needs_source: whether it can work without a source set.
        sampler: draws the poses.
    """

    name: str
    needs_source: bool
    sampler: Sampler


BASELINES: tuple[Baseline, ...] = (
    Baseline("source as it is", True, source_as_it_is),
    Baseline("Pose-mixup of the shots", False, pose_mixup),
    Baseline("Gaussian on the shots", False, gaussian_on_shots),
    Baseline("KDE of the shots, h = 0.03", False, kernel_density),
    Baseline("OT-affine map of the source", True, ot_affine),
    Baseline("source residuals on mixed shots", True, source_residuals),
)
"""In the order of the report."""

"""How far a few guide poses are believed: the training poses' covariance is shrunk to the source's shape.

How much 16 guide poses spread is known well, in which directions is mostly accident; of the source the directions are
known, but they are another domain's. What lies between the two, at the guide poses' own total variance, is nearer to
the target's covariance than either (after Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional
covariance matrices"). Where between, is asked of guide poses that are left out: how likely are they under a normal
distribution with the covariance that the others give? This is ours, not the paper's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..metrics import affine_transport
from ..poses._random import Stream, uniforms

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["shrunk_poses", "source_share"]

_NOISE = (
    1e-3  # variance, in squared half frame sides: of a reader, and of what is beneath notice; a pixel of 64
)
_PARTS, _REPEATS = 3, 6  # a third of the guide poses is left out at a time
_STEP = 0.05  # of the shares that are tried


def source_share(
    poses: NDArray[np.floating],
    view_of_pose: NDArray[np.intp],
    views: NDArray[np.floating],
    shot_of_view: NDArray[np.intp],
    weights: NDArray[np.float64],
    prior: NDArray[np.floating],
    *,
    most: float,
    seed: int,
) -> float:
    """The share of the source's shape in the covariance under which guide poses that are left out are most likely.

    Args:
        poses: [N, K, 2] guide poses, varied.
        view_of_pose: [N] the view that each of them varies.
        views: [V, K, 2] the guide poses as they are shown: as given, mirrored, from behind.
        shot_of_view: [V] the guide pose that each shows; they are left out together.
        weights: [V] how often each view is varied, in any unit.
        prior: [M, K, 2] poses of the source.
        most: the largest share, 0 to 1. Left-out guide poses say little of whether a source so near is the target.
        seed: of the parts.

    Returns:
        0 to `most`; 0 where there are fewer than two guide poses, hardly any poses, or a prior without spread.
    """
    shares = np.append(np.arange(0, most, _STEP), most)
    unlikely = np.zeros(len(shares))
    rows, shown = _flat(poses), _flat(views)
    source = np.cov(_flat(prior), rowvar=False)
    if not np.trace(source) > 0:
        return 0.0
    shots = int(shot_of_view.max()) + 1
    order = uniforms(seed, Stream.SHRINKAGE, _REPEATS, shots).argsort(axis=1)
    for part in (part for one in order for part in np.array_split(one, min(_PARTS, shots))):
        out = np.isin(shot_of_view, part)
        others = rows[~out[view_of_pose]]
        if len(others) < 2 or not weights[out].any():
            continue
        offset, weight = shown[out] - others.mean(axis=0), weights[out] / weights[out].sum()
        scatter = (offset.T * weight) @ offset
        ours = np.cov(others, rowvar=False)
        theirs = source * (np.trace(ours) / np.trace(source))
        unlikely += len(part) * np.array([_surprise(scatter, _between(ours, theirs, s)) for s in shares])
    return float(shares[unlikely.argmin()])


def shrunk_poses(
    poses: NDArray[np.float32], prior: NDArray[np.floating], share: float
) -> NDArray[np.float32]:
    """The poses moved, all by one affine map, to where their covariance has that share of the prior's shape.

    Args:
        poses: [N, K, 2].
        prior: [M, K, 2] poses of the source.
        share: 0 (nothing moves) to 1.

    Returns:
        [N, K, 2] of the same mean and the same total variance.
    """
    if share == 0:
        return poses
    # Both sets by weight, around one mean, have the covariance that is wanted.
    rows, source = _flat(poses), _flat(prior)
    mean = rows.mean(axis=0)
    ours, theirs = rows - mean, source - source.mean(axis=0)
    theirs *= np.sqrt(ours.var(axis=0).sum() / theirs.var(axis=0).sum())
    count = len(rows) + len(source)
    both = [
        ours * np.sqrt((1 - share) * count / len(rows)),
        theirs * np.sqrt(share * count / len(source)),
    ]
    moved = affine_transport(rows, np.concatenate(both) + mean, noise=_NOISE)(rows)
    return moved.reshape(poses.shape).astype(np.float32)


def _flat(poses: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(poses, np.float64).reshape(len(poses), -1)


def _between(ours: NDArray[np.float64], source: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    return (1 - share) * ours + share * source + _NOISE * np.eye(len(ours))


def _surprise(scatter: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Minus twice the mean log likelihood of points with that scatter around the mean, but for a constant."""
    return float(np.linalg.slogdet(covariance).logabsdet + np.trace(np.linalg.solve(covariance, scatter)))

"""How far a few guide poses are believed: the training poses' covariance is shrunk to the source's shape.

How much 16 guide poses spread is known well, in which directions is mostly accident; of the source the directions are
known, but they are another domain's. What lies between the two, at the guide poses' own total variance, is nearer to
the target's covariance than either (after Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional
covariance matrices"). Where between, is asked of guide poses that are left out: how likely are they under a normal
distribution with the covariance that the others give? This is ours, not the paper's.

A target may also be hardly another domain at all. Then its own poses are among the source's, and to some part the
source's poses stand for those that the guide poses do not show. Left-out guide poses tell this as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..metrics import affine_transport
from ..poses._random import Stream, uniforms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Evidence", "shrunk_poses", "source_part", "source_share"]

_NOISE = (
    1e-3  # variance, in squared half frame sides: of a reader, and of what is beneath notice; a pixel of 64
)
_PARTS, _REPEATS = 3, 6  # a third of the guide poses is left out at a time
_STEP = 0.05  # of the shares that are tried
_PARTS_TRIED = np.arange(0, 0.61, _STEP)
_DOUBT = 0.2  # a normal distribution is likelier the wider it is about what it does not fit: so much is asked in vain
_BEYOND = 2.0  # what is taken for each share that is asked beyond that


class _LeftOut(NamedTuple):
    """Some guide poses, and what is made of the others.

    Attributes:
        size: guide poses.
        others: [M, 2 K] poses that vary the others.
        shown: [V, 2 K] views of those that are left out.
        weights: [V], their sum is 1.
    """

    size: int
    others: NDArray[np.float64]
    shown: NDArray[np.float64]
    weights: NDArray[np.float64]

    def scatter(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """[2 K, 2 K], mean outer product of the views around `mean`."""
        offset = self.shown - mean
        return np.asarray((offset.T * self.weights) @ offset, np.float64)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Guide poses, varied, and whose they are.

    Attributes:
        poses: [N, K, 2] guide poses, varied.
        view_of_pose: [N] the view that each of them varies.
        views: [V, K, 2] the guide poses as they are shown: as given, mirrored, from behind.
        shot_of_view: [V] the guide pose that each shows; they are left out together.
        weights: [V] how often each view is varied, in any unit.
    """

    poses: NDArray[np.floating]
    view_of_pose: NDArray[np.intp]
    views: NDArray[np.floating]
    shot_of_view: NDArray[np.intp]
    weights: NDArray[np.float64]

    def left_out(self, seed: int) -> Iterator[_LeftOut]:
        """A third of the guide poses at a time, each of them several times; nothing where there are fewer than two."""
        rows, shown, weights = _flat(self.poses), _flat(self.views), self.weights
        shots = int(self.shot_of_view.max()) + 1
        order = uniforms(seed, Stream.SHRINKAGE, _REPEATS, shots).argsort(axis=1)
        for part in (part for one in order for part in np.array_split(one, min(_PARTS, shots))):
            out = np.isin(self.shot_of_view, part)
            others = rows[~out[self.view_of_pose]]
            if len(others) >= 2 and weights[out].any():
                yield _LeftOut(len(part), others, shown[out], weights[out] / weights[out].sum())


def source_share(evidence: Evidence, prior: NDArray[np.floating], *, most: float, seed: int) -> float:
    """The share of the source's shape in the covariance under which guide poses that are left out are most likely.

    Args:
        evidence: the guide poses.
        prior: [M, K, 2] poses of the source.
        most: the largest share, 0 to 1. Left-out guide poses say little of whether a source so near is the target.
        seed: of the parts.

    Returns:
        0 to `most`; 0 where there are fewer than two guide poses, hardly any poses, or a prior without spread.
    """
    shares = np.append(np.arange(0, most, _STEP), most)
    unlikely = np.zeros(len(shares))
    source = np.cov(_flat(prior), rowvar=False)
    if not np.trace(source) > 0:
        return 0.0
    for left in evidence.left_out(seed):
        ours = np.cov(left.others, rowvar=False)
        theirs = source * (np.trace(ours) / np.trace(source))
        scatter = left.scatter(left.others.mean(axis=0))
        unlikely += left.size * np.array([_surprise(scatter, _between(ours, theirs, s)) for s in shares])
    return float(shares[unlikely.argmin()])


def source_part(evidence: Evidence, prior: NDArray[np.floating], *, most: float, seed: int) -> float:
    """How many of the training poses should be the source's own, as guide poses that are left out ask for it.

    Args:
        evidence: the guide poses.
        prior: [M, K, 2] poses of the source.
        most: the largest part, 0 to 1.
        seed: of the parts.

    Returns:
        0 to `most`: 0 where the source's poses make left-out ones less likely, or likelier by little.
    """
    unlikely = np.zeros(len(_PARTS_TRIED))
    theirs, middle = np.cov(_flat(prior), rowvar=False), _flat(prior).mean(axis=0)
    for left in evidence.left_out(seed):
        ours, mean = np.cov(left.others, rowvar=False), left.others.mean(axis=0)
        apart = np.outer(middle - mean, middle - mean)
        for index, part in enumerate(_PARTS_TRIED):
            mixed = _between(ours, theirs, part) + part * (1 - part) * apart
            scatter = left.scatter((1 - part) * mean + part * middle)
            unlikely[index] += left.size * _surprise(scatter, mixed)
    asked = float(_PARTS_TRIED[unlikely.argmin()])
    return float(np.clip(_BEYOND * (asked - _DOUBT), 0, most))


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

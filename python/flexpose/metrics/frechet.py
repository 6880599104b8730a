"""Frechet distance: the Wasserstein-2 distance of the normal distributions with the moments of two sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .arrays import as_row_pair, as_rows, row_chunks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Moments", "frechet_distance", "frechet_from_moments", "moments"]


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of a set of rows, in float64.

    Args:
        count: N.
        mean: [D].
        scatter: [D, D], the sum of the outer products of the rows' deviations from the mean.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def covariance(self, ddof: int = 1) -> NDArray[np.float64]:
        """The covariance [D, D], divided by N - `ddof`: 1 estimates a distribution's, 0 is the rows' own.

        Raises:
            UsageError: N is not above `ddof`.
        """
        if self.count <= ddof:
            raise UsageError(f"a covariance needs more than {ddof} rows, got {self.count}")
        return self.scatter / (self.count - ddof)

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together.

        Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983, Eq. 2.1.
        """
        count = self.count + other.count
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.scatter + other.scatter + np.outer(delta, delta) * (self.count * other.count / count),
        )


def moments(values: ArrayLike, *, name: str = "values") -> Moments:
    """The moments of a set, in one pass of float64 chunks.

    A chunk is centred before its scatter is taken, so coordinates far from the origin (pixels of a large
    picture) and float32 input lose nothing.

    Args:
        values: [N, K, 2] or [N, D], N >= 1.
        name: what the messages call it.

    Raises:
        UsageError: wrong shape.
        DataError: a value is not finite.
    """
    return _moments(as_rows(values, name))


def _moments(rows: NDArray[np.floating]) -> Moments:
    total: Moments | None = None
    for chunk in row_chunks(rows):
        mean = chunk.mean(axis=0)
        centred = chunk - mean
        part = Moments(len(chunk), mean, centred.T @ centred)
        total = part if total is None else total.merge(part)
    if total is None:
        raise UsageError("moments need at least one row, got 0")
    return total


def _factor(covariance: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """F [D, D] with F @ F.T equal to the covariance; directions below rounding are exactly empty."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    largest = max(float(values[-1]), 0.0)
    noise = largest * len(values) * np.finfo(np.float64).eps
    if values[0] < -1e-6 * max(largest, 1e-300):
        raise UsageError(f"{name} must be positive semi-definite, got an eigenvalue of {values[0]:.3g}")
    # Rounding leaves about +-eps * largest on a null direction; its root, 1e-8, would show in the distance.
    root: NDArray[np.float64] = vectors * np.sqrt(np.where(values > noise, values, 0.0))
    return root


def frechet_from_moments(
    mean_a: NDArray[np.float64],
    covariance_a: NDArray[np.float64],
    mean_b: NDArray[np.float64],
    covariance_b: NDArray[np.float64],
) -> float:
    """Squared Wasserstein-2 distance of two normal distributions.

    The cross term tr (A^1/2 B A^1/2)^1/2 is the sum of the singular values of F_a' F_b, where F F' is the
    covariance: only symmetric eigenproblems, no imaginary residue, and exact for singular covariances.

    Args:
        mean_a: [D].
        covariance_a: [D, D].
        mean_b: [D].
        covariance_b: [D, D].

    Returns:
        The distance, >= 0, in the square of the data's unit.

    Raises:
        UsageError: a covariance has a clearly negative eigenvalue.

    Source: Dowson and Landau 1982; used on features by Heusel et al. 2017, arXiv:1706.08500, Eq. 6.
    """
    cross = np.linalg.svd(
        _factor(covariance_a, "covariance_a").T @ _factor(covariance_b, "covariance_b"), compute_uv=False
    ).sum()
    shift = mean_a - mean_b
    distance = shift @ shift + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * cross
    return max(float(distance), 0.0)


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Frechet distance of two sets of poses, from their means and covariances (divided by N - 1).

    It has no feature network: the coordinates themselves are compared, so both sets must be framed by the
    same rule. Its expectation for two samples of one distribution is positive and falls as 1/N: compare
    values of equal N, or read them off a curve of real poses (`WorthCurve`).

    Args:
        a: [N, K, 2] or [N, D], N >= 2.
        b: [M, K, 2] or [M, D], M >= 2.

    Returns:
        The distance, >= 0, in the square of the coordinates' unit.

    Raises:
        UsageError: wrong shape, fewer than 2 rows, different numbers of columns.
        DataError: a value is not finite.

    Source: Heusel et al. 2017, arXiv:1706.08500, Eq. 6, on coordinates.
    """
    rows_a, rows_b = as_row_pair(a, b, ("a", "b"), min_rows=2)
    one, two = _moments(rows_a), _moments(rows_b)
    return frechet_from_moments(one.mean, one.covariance(), two.mean, two.covariance())

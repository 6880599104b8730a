"""Optimal transport: Wasserstein-1 distances on the line and the circle, the affine map between moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from .arrays import as_row_pair

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AffineTransport",
    "affine_transport",
    "circular_wasserstein",
    "circular_wasserstein_sorted",
    "wasserstein",
    "wasserstein_sorted",
]


def _merged_gaps(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Widths between the neighbours of both sorted samples together, and F_a - F_b there."""
    merged = np.concatenate([a, b])
    merged.sort(kind="stable")
    inner = merged[:-1]
    difference = np.searchsorted(a, inner, side="right") / len(a) - np.searchsorted(
        b, inner, side="right"
    ) / len(b)
    return np.diff(merged), difference


def wasserstein_sorted(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """`wasserstein` of sorted samples."""
    widths, difference = _merged_gaps(a, b)
    return float(widths @ np.abs(difference))


def circular_wasserstein_sorted(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """`circular_wasserstein` of sorted samples in [0, 2 pi)."""
    widths, difference = _merged_gaps(a, b)
    # The gap that closes the circle: both distribution functions are 1 there.
    widths = np.append(widths, max(2.0 * np.pi - float(widths.sum()), 0.0))
    difference = np.append(difference, 0.0)
    order = np.argsort(difference)
    weight = np.cumsum(widths[order])
    median = difference[order][np.searchsorted(weight, weight[-1] / 2.0)]
    return float(widths @ np.abs(difference - median))


def _sample(values: ArrayLike, name: str) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample):
        raise UsageError(f"{name} must be [N] with N >= 1, got {list(sample.shape)}")
    if not np.isfinite(sample).all():
        raise DataError("NaN or infinite value", record=int(np.argmin(np.isfinite(sample))), field=name)
    return np.sort(sample)


def wasserstein(a: ArrayLike, b: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples on the line: the area between their distribution functions.

    Args:
        a: [N].
        b: [M].

    Returns:
        The distance, >= 0, in the samples' unit.

    Raises:
        UsageError: not one-dimensional, or empty.
        DataError: a value is not finite.
    """
    return wasserstein_sorted(_sample(a, "a"), _sample(b, "b"))


def circular_wasserstein(a: ArrayLike, b: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples on the circle.

    Args:
        a: [N] radians; whole turns do not matter.
        b: [M] radians.

    Returns:
        The distance, in [0, pi] radians.

    Raises:
        UsageError: not one-dimensional, or empty.
        DataError: a value is not finite.

    Source: Delon, Salomon and Sobolevski 2010, "Fast transport optimization for Monge costs on the circle".
    """
    turn = 2.0 * np.pi
    return circular_wasserstein_sorted(np.sort(_sample(a, "a") % turn), np.sort(_sample(b, "b") % turn))


@dataclass(frozen=True, eq=False)
class AffineTransport:
    """x -> (x - center) @ matrix + moved.

    Attributes:
        center: [D], the mean of what is moved.
        matrix: [D, D], symmetric.
        moved: [D], the mean of where it goes.
    """

    center: NDArray[np.float64]
    matrix: NDArray[np.float64]
    moved: NDArray[np.float64]

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Move [N, D] or [N, K, 2] with 2 K = D; the result has the shape that it was given."""
        array = np.asarray(values, np.float64)
        rows: NDArray[np.float64] = (array.reshape(len(array), -1) - self.center) @ self.matrix + self.moved
        return rows.reshape(array.shape)


def affine_transport(a: ArrayLike, b: ArrayLike, *, noise: float = 0.0) -> AffineTransport:
    """The affine map that carries the mean and covariance of one set to those of another.

    Between normal distributions it is the optimal transport: A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 with the
    covariances A and B. Directions in which `a` has no spread (below 1e-10 of the largest) get none.

    Args:
        a: [N, K, 2] or [N, D], N >= 2, what is moved.
        b: [M, K, 2] or [M, D], M >= 2, where it goes.
        noise: variance added to every direction of both: what varies less is hardly stretched or shrunk.

    Raises:
        UsageError: wrong shape, negative noise, fewer than 2 rows, different numbers of columns.
        DataError: a value is not finite.

    Source: Olkin and Pukelsheim 1982, "The distance between two random vectors with given dispersion
        matrices".
    """
    rows_a, rows_b = (np.asarray(rows, np.float64) for rows in as_row_pair(a, b, ("a", "b"), min_rows=2))
    if not noise >= 0:
        raise UsageError(f"noise must be at least 0, got {noise}")
    floor = noise * np.eye(rows_a.shape[1])
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(rows_a, rowvar=False)) + floor)
    root = np.sqrt(np.maximum(values, 0.0))
    inverse = np.where(values > 1e-10 * values[-1], 1.0 / np.maximum(root, 1e-300), 0.0)
    half = (vectors * root) @ vectors.T
    unhalf = (vectors * inverse) @ vectors.T
    inner_values, inner = np.linalg.eigh(half @ (np.cov(rows_b, rowvar=False) + floor) @ half)
    matrix = unhalf @ ((inner * np.sqrt(np.maximum(inner_values, 0.0))) @ inner.T) @ unhalf
    return AffineTransport(rows_a.mean(axis=0), matrix, rows_b.mean(axis=0))

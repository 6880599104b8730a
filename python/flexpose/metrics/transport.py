"""Wasserstein-1 distances of samples on the line and on the circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["circular_wasserstein", "circular_wasserstein_sorted", "wasserstein", "wasserstein_sorted"]


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

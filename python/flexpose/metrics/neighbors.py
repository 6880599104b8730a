"""Metrics of k nearest neighbours: precision and recall, density and coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .arrays import as_row_pair, as_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["NeighborReference", "density_coverage", "precision_recall"]

_BLOCK = 256
# |x|^2 + |y|^2 - 2 x.y of equal rows is a rounding error of either sign; below this share it counts as 0.
_ROUNDING = 64 * np.finfo(np.float64).eps


def _centred(
    rows: NDArray[Any], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    moved = np.asarray(rows, dtype=np.float64) - centre
    return moved, np.einsum("nd,nd->n", moved, moved)


def _squared_distances(
    a: tuple[NDArray[np.float64], NDArray[np.float64]], b: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield (rows of a, [block, len(b)] squared distances); the array is reused."""
    (rows_a, squares_a), (rows_b, squares_b) = a, b
    for start in range(0, len(rows_a), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(rows_a)))
        total = squares_a[part, None] + squares_b
        distances = total - 2.0 * (rows_a[part] @ rows_b.T)
        distances[distances < _ROUNDING * total] = 0.0
        yield part, distances


def _radii(rows: tuple[NDArray[np.float64], NDArray[np.float64]], k: int) -> NDArray[np.float64]:
    """Squared distance of each row to its k-th nearest other row."""
    radii = np.empty(len(rows[0]))
    for part, distances in _squared_distances(rows, rows):
        distances[np.arange(len(distances)), np.arange(part.start, part.stop)] = np.inf
        radii[part] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return radii


class NeighborReference:
    """Real rows and their k-th nearest neighbours, found once for several generated sets.

    Args:
        real: [N, K, 2] or [N, D], N > k.
        k: neighbours, >= 1.

    Raises:
        UsageError: wrong shape, or not more rows than k.
        DataError: a value is not finite.
    """

    def __init__(self, real: ArrayLike, k: int = 5) -> None:
        if k < 1:
            raise UsageError(f"k must be >= 1, got {k}")
        self.k = k
        rows = as_rows(real, "real", min_rows=k + 1)
        self._centre = np.asarray(rows, dtype=np.float64).mean(axis=0)
        self._real = _centred(rows, self._centre)
        self._radii = _radii(self._real, k)

    def _fake(self, fake: ArrayLike, min_rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, _ = as_row_pair(fake, self._real[0][:1], ("fake", "real"), min_rows=1)
        return _centred(as_rows(rows, "fake", min_rows=min_rows), self._centre)

    def precision_recall(self, fake: ArrayLike) -> tuple[float, float]:
        """See the function `precision_recall`."""
        generated = self._fake(fake, self.k + 1)
        fake_radii = _radii(generated, self.k)
        inside_real = np.empty(len(fake_radii), np.bool_)
        covered = np.zeros(len(self._radii), np.bool_)
        for part, distances in _squared_distances(generated, self._real):
            inside_real[part] = (distances <= self._radii).any(axis=1)
            covered |= (distances <= fake_radii[part, None]).any(axis=0)
        return float(inside_real.mean()), float(covered.mean())

    def density_coverage(self, fake: ArrayLike) -> tuple[float, float]:
        """See the function `density_coverage`."""
        generated = self._fake(fake, 1)
        count = 0
        covered = np.zeros(len(self._radii), np.bool_)
        for _, distances in _squared_distances(generated, self._real):
            inside = distances <= self._radii
            count += int(np.count_nonzero(inside))
            covered |= inside.any(axis=0)
        return count / (self.k * len(generated[0])), float(covered.mean())


def precision_recall(real: ArrayLike, fake: ArrayLike, k: int = 5) -> tuple[float, float]:
    """Improved precision and recall, with exact neighbours.

    A set covers the balls around its rows that reach to the k-th nearest other row of it. Precision is the
    share of fake rows that the real set covers (are they right?), recall the share of real rows that the fake
    set covers (are all kinds there?). Both depend on the numbers of rows: compare at equal N and M.

    Args:
        real: [N, K, 2] or [N, D], N > k.
        fake: [M, K, 2] or [M, D], M > k.
        k: neighbours, >= 1.

    Returns:
        Precision and recall, each in [0, 1].

    Raises:
        UsageError: wrong shape, or not more rows than k.
        DataError: a value is not finite.

    Source: Kynkaanniemi et al. 2019, arXiv:1904.06991, Eq. 1 and 2.
    """
    return NeighborReference(real, k).precision_recall(fake)


def density_coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> tuple[float, float]:
    """Density and coverage: as precision and recall, but no outlier of the fake set can widen a ball.

    Args:
        real: [N, K, 2] or [N, D], N > k.
        fake: [M, K, 2] or [M, D], M >= 1.
        k: neighbours, >= 1.

    Returns:
        Density (mean number of real balls that hold a fake row, over k; it can exceed 1) and coverage (share
        of real balls that hold a fake row, in [0, 1]).

    Raises:
        UsageError: wrong shape, or not more rows than k.
        DataError: a value is not finite.

    Source: Naeem et al. 2020, arXiv:2002.09797, Eq. 5 and 7.
    """
    return NeighborReference(real, k).density_coverage(fake)

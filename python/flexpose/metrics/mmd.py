"""Maximum mean discrepancy with the Gaussian kernel, exact over all pairs."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from .._cpus import allowed_threads
from ..errors import UsageError
from .arrays import as_row_pair, as_rows, row_chunks
from .frechet import moments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["MMDReference", "median_bandwidth", "mmd2"]

_ROWS = 128
_COLUMNS = 256
# 128 x 256 x 32 multiply-adds stay below the size from which OpenBLAS starts threads of its own, which would
# fight with ours; a stack of 4 such tiles is one call outside the interpreter lock and fits in 1 MiB of L2.
_STACK = 4
_STRIPE = 32
# Above this mean exponent the rounding of float32 could show in the sixth decimal of a kernel mean.
_FLOAT32_MEAN_EXPONENT = 6.0
_EMPTY = -1e30  # exponent of the rows that only fill a tile: their kernel value is exactly 0


def _exponential() -> tuple[Callable[..., Any], float]:
    """The faster of exp and exp2 in this numpy and its factor; a fact of the build, not a timing."""
    try:
        from numpy.lib.introspect import opt_func_info

        current = opt_func_info(func_name="^exp2$", signature="float32")["exp2"]["ff"]["current"]
    except (ImportError, KeyError, TypeError):
        current = ""
    if "AVX512" in current or "X86_V4" in current:
        return np.exp2, math.log2(math.e)
    return np.exp, 1.0


class _Tiles:
    """Rows of one set, centred and scaled, with the two extra columns that turn a product into an exponent.

    With x' = [c x, -|c x|^2 / 2, 1] and y' = [c y, 1, -|c y|^2 / 2], x' . y' is -c^2 |x - y|^2 / 2.
    """

    def __init__(
        self, rows: NDArray[Any], centre: NDArray[np.float64], scale: float, dtype: DTypeLike
    ) -> None:
        self.count: int = len(rows)
        width = rows.shape[1]
        self.blocks = -(-self.count // _COLUMNS)
        left = np.zeros((self.blocks * _COLUMNS, width + 2), dtype)
        right = np.zeros_like(left)
        start = 0
        for chunk in row_chunks(rows):
            scaled = (chunk - centre) * scale
            half = -0.5 * np.einsum("nd,nd->n", scaled, scaled)
            stop = start + len(chunk)
            left[start:stop, :width] = right[start:stop, :width] = scaled
            left[start:stop, width] = right[start:stop, width + 1] = half
            start = stop
        left[:, width + 1] = right[:, width] = 1
        left[self.count :, width] = right[self.count :, width + 1] = _EMPTY
        self.left = left
        self.right = np.ascontiguousarray(right.reshape(self.blocks, _COLUMNS, -1).transpose(0, 2, 1))

    def row_tiles(self) -> int:
        return -(-self.count // _ROWS)


def _tile_sums(
    a: _Tiles, b: _Tiles, tile: int, factors: Sequence[float], symmetric: bool, exp: Callable[..., Any]
) -> list[float]:
    """Sums of the kernel over one row tile of `a` and all of `b`, one for each factor of the exponent.

    `symmetric` (b is a): only columns from the tile's own block on, those beyond it counted twice and the
    diagonal left out.
    """
    rows = a.left[tile * _ROWS : (tile + 1) * _ROWS]
    dtype = rows.dtype
    stack = _STACK if dtype == np.float32 else _STACK // 2
    exponents = np.empty((stack, _ROWS, _COLUMNS), dtype)
    kernel = np.empty_like(exponents) if len(factors) > 1 else exponents
    ones = np.ones(_COLUMNS, dtype)
    sums = [0.0] * len(factors)
    own = tile * _ROWS // _COLUMNS if symmetric else -1
    start = max(own, 0)
    while start < b.blocks:
        # The own block comes alone: it has another weight and a diagonal.
        stop = start + 1 if start == own else min(start + stack, b.blocks)
        depth = stop - start
        np.matmul(rows, b.right[start:stop], out=exponents[:depth])
        for index, factor in enumerate(factors):
            if kernel is exponents:
                if factor != 1.0:
                    np.multiply(exponents[:depth], dtype.type(factor), out=exponents[:depth])
            else:
                np.multiply(exponents[:depth], dtype.type(factor), out=kernel[:depth])
            values = kernel[:depth]
            exp(values, out=values)
            # Products with ones are the fastest sum over a row; short stripes keep BLAS on this thread.
            total = float((values.reshape(-1, _STRIPE, _COLUMNS) @ ones).sum(dtype=np.float64))
            if start == own:
                offset = tile * _ROWS - own * _COLUMNS
                diagonal = np.arange(min(_ROWS, a.count - tile * _ROWS))
                total -= float(values[0, diagonal, diagonal + offset].sum(dtype=np.float64))
            elif symmetric:
                total *= 2.0
            sums[index] += total
        start = stop
    return sums


def _kernel_sums(
    a: _Tiles,
    b: _Tiles,
    factors: Sequence[float],
    threads: int,
    exp: Callable[..., Any],
    *,
    symmetric: bool = False,
) -> list[float]:
    """Sums of the kernel over all pairs; the same to the last bit for any number of threads."""

    def work(tile: int) -> list[float]:
        return _tile_sums(a, b, tile, factors, symmetric, exp)

    tiles = range(a.row_tiles())
    if threads == 1:
        parts = [work(tile) for tile in tiles]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(work, tiles))
    return [math.fsum(part[index] for part in parts) for index in range(len(factors))]


def _thread_count(threads: int | None) -> int:
    if threads is None:
        return allowed_threads()
    if threads < 1:
        raise UsageError(f"threads must be >= 1, got {threads}")
    return threads


def median_bandwidth(b: ArrayLike, n: int = 10_000, seed: int = 0) -> float:
    """Median distance between two rows of a set: the usual bandwidth of the Gaussian kernel.

    Args:
        b: [N, K, 2] or [N, D], N >= 2.
        n: at most this many rows are used; above it, a random choice of them.
        seed: of that choice.

    Returns:
        The median of the distances of the pairs of different rows, > 0, in the data's unit; the squared
        distances are rounded to float32 before the median is taken.

    Raises:
        UsageError: wrong shape, fewer than 2 rows, or more than half of the pairs are equal rows.
        DataError: a value is not finite.

    Source: Gretton et al. 2012, "A kernel two-sample test", section 8.
    """
    rows = as_rows(b, "b", min_rows=2)
    if n < 2:
        raise UsageError(f"n must be >= 2, got {n}")
    if len(rows) > n:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), n, replace=False))]
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    squares = np.einsum("nd,nd->n", rows, rows)
    distances = np.empty(len(rows) * (len(rows) - 1) // 2, np.float32)
    start = 0
    for first in range(0, len(rows), 256):
        part = rows[first : first + 256]
        block = squares[first : first + 256, None] + squares[first:] - 2.0 * (part @ rows[first:].T)
        for index in range(len(part)):
            values = block[index, index + 1 :]
            distances[start : start + len(values)] = values
            start += len(values)
    middle = len(distances) // 2
    if len(distances) % 2:
        median = float(np.partition(distances, middle)[middle])
    else:
        parts = np.partition(distances, [middle - 1, middle])[middle - 1 : middle + 1]
        median = (math.sqrt(max(float(parts[0]), 0.0)) + math.sqrt(max(float(parts[1]), 0.0))) ** 2 / 4.0
    # The rounding of |x|^2 + |y|^2 - 2 x.y must not pass for a distance.
    if median <= 1e-12 * max(float(squares.max()), 1e-300):
        raise UsageError("b must have distinct rows: the median distance is 0; give a bandwidth")
    return math.sqrt(median)


class MMDReference:
    """A target set against which several generated sets are measured; its own sum over pairs is taken once.

    Args:
        target: [M, K, 2] or [M, D], M >= 2.
        bandwidth: h of the kernel exp(-d^2 / (2 h^2)), > 0, in the data's unit; None takes
            `median_bandwidth`.
        scales: the kernel is taken at each of these multiples of the bandwidth.
        threads: worker threads; None takes the cores that this process may use. The values do not depend on
            it.
        seed: of the rows that the median is taken from.

    Attributes:
        bandwidth: h.
        scales: as given.
        target_mean: mean kernel value of two different target rows, for each scale.

    Raises:
        UsageError: wrong shape, fewer than 2 rows, a bandwidth or scale that is not positive.
        DataError: a value is not finite.
    """

    def __init__(
        self,
        target: ArrayLike,
        bandwidth: float | None = None,
        *,
        scales: Sequence[float] = (1.0,),
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        rows = as_rows(target, "target", min_rows=2)
        self._threads = _thread_count(threads)
        self.scales = tuple(float(scale) for scale in scales)
        if not self.scales or not all(0.0 < scale < math.inf for scale in self.scales):
            raise UsageError(f"scales must be positive numbers, got {list(scales)}")
        self.bandwidth = median_bandwidth(rows, seed=seed) if bandwidth is None else float(bandwidth)
        if not 0.0 < self.bandwidth < math.inf:
            raise UsageError(f"bandwidth must be > 0, got {bandwidth}")
        self._rows = rows
        self._exp, factor = _exponential()
        self._scale = math.sqrt(factor) / self.bandwidth
        self._factors = [scale**-2.0 for scale in self.scales]
        self._centre = moments(rows).mean
        self._tiles: dict[np.dtype[Any], _Tiles] = {}
        self._spread = self._mean_exponent(rows)
        tiles = self._target_tiles(self._dtype(self._spread))
        pairs = len(rows) * (len(rows) - 1)
        self.target_mean = tuple(total / pairs for total in self._sums(tiles, tiles, symmetric=True))

    def _mean_exponent(self, rows: NDArray[Any]) -> float:
        """Mean of |x - centre|^2 / h^2 at the smallest scale: what rounding in float32 is proportional to."""
        total = 0.0
        for chunk in row_chunks(rows):
            offset = (chunk - self._centre) * self._scale
            total += float(np.einsum("nd,nd->", offset, offset))
        return float(total / len(rows) * max(self._factors))

    @staticmethod
    def _dtype(exponent: float) -> np.dtype[Any]:
        return np.dtype(np.float32 if exponent <= _FLOAT32_MEAN_EXPONENT else np.float64)

    def _target_tiles(self, dtype: np.dtype[Any]) -> _Tiles:
        if dtype not in self._tiles:
            self._tiles[dtype] = _Tiles(self._rows, self._centre, self._scale, dtype)
        return self._tiles[dtype]

    def _sums(self, a: _Tiles, b: _Tiles, *, symmetric: bool = False) -> list[float]:
        return _kernel_sums(a, b, self._factors, self._threads, self._exp, symmetric=symmetric)

    def distances(self, generated: ArrayLike) -> tuple[float, ...]:
        """Unbiased squared MMD between a set and the target, one value for each scale.

        Args:
            generated: [N, K, 2] or [N, D], N >= 2.

        Raises:
            UsageError: wrong shape, fewer than 2 rows, or another number of columns than the target's.
            DataError: a value is not finite.
        """
        rows, _ = as_row_pair(generated, self._rows[:1], ("generated", "target"), min_rows=1)
        if len(rows) < 2:
            raise UsageError(f"generated must have at least 2 rows, got {len(rows)}")
        dtype = self._dtype(max(self._spread, self._mean_exponent(rows)))
        tiles = _Tiles(rows, self._centre, self._scale, dtype)
        own = self._sums(tiles, tiles, symmetric=True)
        cross = self._sums(tiles, self._target_tiles(dtype))
        n, m = len(rows), len(self._rows)
        return tuple(
            one / (n * (n - 1)) + target - 2.0 * both / (n * m)
            for one, both, target in zip(own, cross, self.target_mean, strict=True)
        )

    def mmd2(self, generated: ArrayLike) -> float:
        """`distances` at the first scale."""
        return self.distances(generated)[0]


def mmd2(a: ArrayLike, b: ArrayLike, bandwidth: float | None = None, *, threads: int | None = None) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel exp(-d^2 / (2 h^2)).

    All pairs are used: float32 tiles of centred data with float64 sums, within 1e-6 of float64 throughout (a
    bandwidth that is small against the data's spread is computed in float64). The estimate has mean 0 for two
    samples of one distribution, so it can be negative.

    Args:
        a: [N, K, 2] or [N, D], N >= 2.
        b: [M, K, 2] or [M, D], M >= 2: the target.
        bandwidth: h > 0, in the data's unit; None takes `median_bandwidth(b)`.
        threads: worker threads; None takes the cores that this process may use. The value does not depend on
            it.

    Returns:
        The U-statistic; it lies in [-1, 2].

    Raises:
        UsageError: wrong shape, fewer than 2 rows, different numbers of columns, a bandwidth that is not
            positive.
        DataError: a value is not finite.

    Source: Gretton et al. 2012, "A kernel two-sample test", JMLR 13, Eq. 3.
    """
    as_row_pair(a, b, ("a", "b"), min_rows=2)
    return MMDReference(b, bandwidth, threads=threads).mmd2(a)

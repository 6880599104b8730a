"""MMD against all pairs in float64, its mean under the null hypothesis, and its independence of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from flexpose.errors import DataError, UsageError
from flexpose.metrics import MMDReference, median_bandwidth, mmd2

if TYPE_CHECKING:
    from numpy.typing import NDArray


def by_all_pairs(a: NDArray[np.float64], b: NDArray[np.float64], h: float) -> float:
    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-cdist(x, y, "sqeuclidean") / (2 * h * h))

    n, m = len(a), len(b)
    own, other = kernel(a, a), kernel(b, b)
    np.fill_diagonal(own, 0)
    np.fill_diagonal(other, 0)
    return float(own.sum() / (n * (n - 1)) + other.sum() / (m * (m - 1)) - 2 * kernel(a, b).mean())


def two_sets(n: int, m: int, d: int = 26) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(n * 1000 + m)
    return rng.normal(0.1, 0.3, (n, d)), rng.normal(0.0, 0.35, (m, d))


# Sizes around the tile's 128 rows and 256 columns, and more columns than one stack of tiles.
@pytest.mark.parametrize(("n", "m"), [(2, 2), (127, 255), (128, 256), (129, 257), (300, 1500), (1300, 385)])
def test_equals_all_pairs_in_float64(n: int, m: int) -> None:
    a, b = two_sets(n, m)
    assert mmd2(a, b, 2.0) == pytest.approx(by_all_pairs(a, b, 2.0), abs=1e-7)


@pytest.mark.parametrize("bandwidth", [0.02, 0.3, 1.0, 5.0, 100.0])
def test_any_bandwidth_keeps_six_decimals(bandwidth: float) -> None:
    a, b = two_sets(200, 300, 2)
    assert mmd2(a, b, bandwidth) == pytest.approx(by_all_pairs(a, b, bandwidth), abs=1e-7)


def test_float32_pixels_far_from_the_origin() -> None:
    a, b = two_sets(300, 400)
    a, b = (a * 100 + 2000).astype(np.float32), (b * 100 + 2000).astype(np.float32)
    expected = by_all_pairs(a.astype(np.float64), b.astype(np.float64), 150.0)
    assert mmd2(a, b, 150.0) == pytest.approx(expected, abs=1e-7)


def test_far_outlier_does_not_cost_precision() -> None:
    a, b = two_sets(300, 400)
    a[17] = 1e4
    assert mmd2(a, b, 2.0) == pytest.approx(by_all_pairs(a, b, 2.0), abs=1e-7)


def test_default_bandwidth_is_the_targets_median() -> None:
    a, b = two_sets(100, 150)
    assert mmd2(a, b) == mmd2(a, b, median_bandwidth(b))


def test_threads_do_not_change_a_bit() -> None:
    a, b = two_sets(700, 900)
    assert len({mmd2(a, b, 2.0, threads=threads) for threads in (1, 2, 3, 7)}) == 1


def test_mean_is_zero_for_two_samples_of_one_distribution() -> None:
    rng = np.random.default_rng(0)
    values, biased = [], []
    for _ in range(300):
        a, b = rng.standard_normal((2, 30, 4))
        values.append(mmd2(a, b, 2.0, threads=1))
        own = [np.exp(-cdist(x, x, "sqeuclidean") / 8).mean() for x in (a, b)]
        biased.append(sum(own) - 2 * np.exp(-cdist(a, b, "sqeuclidean") / 8).mean())
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert np.mean(biased) > 3 * error  # the estimate with the diagonal would not pass
    assert min(values) < 0


def test_known_value_where_the_moments_are_equal() -> None:
    # +-1 with equal odds against N(0, 1): the Frechet distance is 0, the MMD has a closed form.
    rng = np.random.default_rng(1)
    a, b = rng.choice([-1.0, 1.0], (3000, 1)), rng.standard_normal((3000, 1))
    h2 = 0.25
    own = (1 + np.exp(-2 / h2)) / 2 + np.sqrt(h2 / (h2 + 2))
    expected = own - 2 * np.sqrt(h2 / (h2 + 1)) * np.exp(-0.5 / (h2 + 1))
    assert expected > 0.1
    assert mmd2(a, b, 0.5) == pytest.approx(expected, abs=0.01)


def test_one_reference_for_several_sets_and_scales() -> None:
    a, b = two_sets(150, 400)
    reference = MMDReference(b, 2.0, scales=(1.0, 0.5, 2.0))
    found = reference.distances(a)
    assert found == pytest.approx([by_all_pairs(a, b, h) for h in (2.0, 1.0, 4.0)], abs=1e-7)
    assert reference.mmd2(a) == found[0]
    assert reference.mmd2(b[:50]) == pytest.approx(by_all_pairs(b[:50], b, 2.0), abs=1e-7)
    kernel = np.exp(-pdist(b, "sqeuclidean") / 8)
    assert reference.target_mean[0] == pytest.approx(kernel.mean(), abs=1e-7)


def test_generated_set_that_needs_float64_beside_one_that_does_not() -> None:
    a, b = two_sets(150, 400)
    reference = MMDReference(b, 2.0)
    for scale in (1.0, 100.0, 1.0):
        assert reference.mmd2(a * scale) == pytest.approx(by_all_pairs(a * scale, b, 2.0), abs=1e-7)


@pytest.mark.parametrize("n", [2, 3, 100, 301])
def test_median_bandwidth_equals_scipy(n: int) -> None:
    rows = np.random.default_rng(2).standard_normal((n, 6))
    assert median_bandwidth(rows) == pytest.approx(np.median(pdist(rows)), rel=1e-6)


def test_median_bandwidth_of_a_large_set_uses_a_fixed_choice() -> None:
    rows = np.random.default_rng(3).standard_normal((500, 6))
    one = median_bandwidth(rows, n=100, seed=4)
    assert one == median_bandwidth(rows, n=100, seed=4)
    assert one != median_bandwidth(rows, n=100, seed=5)
    assert one == pytest.approx(np.median(pdist(rows)), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mmd2(np.zeros((1, 2)), np.zeros((5, 2)), 1.0), "a must have at least 2 rows, got 1"),
        (lambda: mmd2(np.zeros((5, 2)), np.zeros((1, 2)), 1.0), "b must have at least 2 rows, got 1"),
        (lambda: mmd2(np.zeros((5, 2)), np.zeros((5, 3)), 1.0), "same number of columns"),
        (lambda: mmd2(np.zeros((5, 2)), np.zeros((5, 2)), 0.0), "bandwidth must be > 0, got 0"),
        (lambda: mmd2(np.zeros((5, 2)), np.zeros((5, 2)), np.nan), "bandwidth must be > 0, got nan"),
        (lambda: mmd2(np.zeros((5, 2)), np.zeros((5, 2))), "median distance is 0"),
        (lambda: mmd2(np.zeros((5, 2)), np.ones((5, 2)) * 0.1), "median distance is 0"),
        (lambda: mmd2(np.zeros((5, 2)), np.eye(2), 1.0, threads=0), "threads must be >= 1, got 0"),
        (lambda: MMDReference(np.eye(2), 1.0, scales=()), "scales must be positive"),
        (lambda: MMDReference(np.eye(2), 1.0).mmd2(np.eye(2)[:1]), "generated must have at least 2 rows"),
        (lambda: median_bandwidth(np.eye(2), n=1), "n must be >= 2, got 1"),
    ],
)
def test_wrong_arguments_are_named(call: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()  # type: ignore[operator]


def test_values_that_are_not_finite_are_named() -> None:
    bad = np.eye(3)
    bad[1, 2] = np.nan
    with pytest.raises(DataError, match="record 1: a"):
        mmd2(bad, np.eye(3), 1.0)

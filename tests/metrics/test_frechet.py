"""Frechet distance against closed forms and scipy's matrix square root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.linalg

from flexpose.errors import DataError, UsageError
from flexpose.metrics import frechet_distance, frechet_from_moments, moments

if TYPE_CHECKING:
    from numpy.typing import NDArray


def with_moments(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], n: int, seed: int
) -> NDArray[np.float64]:
    """Rows that have exactly this mean and this covariance (divided by n - 1): noise, whitened, coloured."""
    noise = np.random.default_rng(seed).standard_normal((n, len(mean)))
    noise -= noise.mean(axis=0)
    left, _, right = np.linalg.svd(noise, full_matrices=False)
    white = left @ right * np.sqrt(n - 1)
    values, vectors = np.linalg.eigh(covariance)
    return mean + white @ (vectors * np.sqrt(np.maximum(values, 0.0))).T


def random_covariance(d: int, seed: int, rank: int | None = None) -> NDArray[np.float64]:
    factor = np.random.default_rng(seed).standard_normal((d, rank or d))
    return factor @ factor.T / d


def by_sqrtm(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.real(scipy.linalg.sqrtm(cov_a @ cov_b))
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(cross))


def test_two_gaussians_with_a_known_answer() -> None:
    # Commuting covariances: |m|^2 + sum (sqrt(a_i) - sqrt(b_i))^2.
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    one, two = np.array([4.0, 1.0, 0.25, 9.0]), np.array([1.0, 1.0, 2.25, 0.0])
    mean = np.array([0.5, -1.0, 2.0, 0.0])
    a = with_moments(mean, rotation * one @ rotation.T, 50, 1)
    b = with_moments(np.zeros(4), rotation * two @ rotation.T, 70, 2)
    expected = 5.25 + 1.0 + 0.0 + 1.0 + 9.0
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, abs=1e-6)


def test_one_dimension() -> None:
    a = with_moments(np.array([3.0]), np.array([[4.0]]), 10, 0)
    b = with_moments(np.array([1.0]), np.array([[0.25]]), 20, 1)
    assert frechet_distance(a, b) == pytest.approx(4.0 + 1.5**2, abs=1e-12)


def test_covariances_that_do_not_commute_equal_sqrtm() -> None:
    a = with_moments(np.ones(26), random_covariance(26, 3), 200, 4)
    b = with_moments(np.zeros(26), random_covariance(26, 5), 300, 6)
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_singular_covariances(scale: float) -> None:
    # 16 poses in 26 dimensions; where only one is singular the truth comes from a basis of its range.
    full = with_moments(np.zeros(26), random_covariance(26, 7), 100, 8) * scale
    flat = np.random.default_rng(9).standard_normal((16, 26)) * scale
    cov_flat, cov_full = np.cov(flat, rowvar=False), np.cov(full, rowvar=False)
    values, vectors = np.linalg.eigh(cov_flat)
    basis = vectors[:, -15:] * np.sqrt(values[-15:])
    cross = np.sqrt(np.linalg.eigvalsh(basis.T @ cov_full @ basis)).sum()
    shift = flat.mean(axis=0) - full.mean(axis=0)
    expected = shift @ shift + np.trace(cov_flat) + np.trace(cov_full) - 2 * cross
    assert frechet_distance(flat, full) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(flat, flat) <= 1e-10 * scale**2
    assert frechet_distance(full, full) <= 1e-10 * scale**2


def test_two_rows_on_two_orthogonal_lines() -> None:
    # Rank one each, nothing in common: both traces remain.
    assert frechet_distance([[1.0, 0.0], [-1.0, 0.0]], [[0.0, 2.0], [0.0, -2.0]]) == pytest.approx(2.0 + 8.0)


def test_points_without_spread() -> None:
    assert frechet_distance(np.zeros((3, 2)), np.ones((4, 2))) == pytest.approx(2.0)


def test_float32_far_from_the_origin_loses_nothing() -> None:
    # In one pass over raw float32 squares the variance of 1e-4 around 4096 would be all rounding.
    rng = np.random.default_rng(10)
    a = (4096 + rng.integers(-64, 64, (20_000, 6)) / 2048).astype(np.float32)
    b = (4096 + rng.integers(-64, 80, (30_000, 6)) / 2048).astype(np.float32)
    exact = frechet_distance(a.astype(np.float64) - 4096, b.astype(np.float64) - 4096)
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-9)


def test_keypoints_and_rows_are_the_same() -> None:
    rng = np.random.default_rng(11)
    a, b = rng.standard_normal((30, 13, 2)), rng.standard_normal((40, 13, 2))
    assert frechet_distance(a, b) == frechet_distance(a.reshape(30, 26), b.reshape(40, 26))


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("n", [2, 8192, 20_000])
def test_moments_over_chunks_equal_numpy(n: int, ddof: int) -> None:
    rows = np.random.default_rng(12).standard_normal((n, 5)) + 100
    found = moments(rows)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance(ddof), np.cov(rows, rowvar=False, ddof=ddof), rtol=1e-10)


def test_merged_moments_are_those_of_both_sets() -> None:
    rows = np.random.default_rng(13).standard_normal((30, 3))
    merged = moments(rows[:7]).merge(moments(rows[7:]))
    assert merged.count == 30
    np.testing.assert_allclose(merged.scatter, moments(rows).scatter, rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4)), "a must have at least 2 rows, got 1"),
        (np.zeros((5, 4)), np.zeros((0, 4)), "b must have at least 2 rows, got 0"),
        (np.zeros((5, 4)), np.zeros((5, 6)), "same number of columns, got 4 and 6"),
        (np.zeros(5), np.zeros((5, 4)), r"a must be \[N, K, 2\] or \[N, D\], got \[5\]"),
        (np.zeros((5, 4, 3)), np.zeros((5, 12)), r"a must be .* got \[5, 4, 3\]"),
        (np.zeros((5, 0)), np.zeros((5, 0)), "a must have at least one column"),
        (np.array([["x", "y"]] * 2), np.zeros((5, 2)), "a must hold real numbers"),
    ],
)
def test_wrong_arguments_are_named(a: NDArray[np.float64], b: NDArray[np.float64], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        frechet_distance(a, b)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    rows = np.zeros((9000, 2), np.float32)
    rows[8500, 1] = bad
    with pytest.raises(DataError, match="record 8500: b") as caught:
        frechet_distance(np.zeros((5, 2)), rows)
    assert caught.value.record == 8500


def test_negative_covariance_is_refused() -> None:
    zero = np.zeros(2)
    with pytest.raises(UsageError, match="covariance_b must be positive semi-definite"):
        frechet_from_moments(zero, np.eye(2), zero, np.diag([1.0, -0.5]))


def test_covariance_of_one_row_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 1 rows, got 1"):
        moments([[1.0, 2.0]]).covariance()

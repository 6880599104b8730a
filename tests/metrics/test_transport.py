"""Wasserstein-1 distances on the line (scipy) and on the circle (all rotations of the pairing)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose.errors import DataError, UsageError
from flexpose.metrics import affine_transport, circular_wasserstein, wasserstein

if TYPE_CHECKING:
    from numpy.typing import NDArray

TURN = 2 * np.pi


def by_all_rotations(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """For samples of one size an optimal pairing on the circle keeps the cyclic order."""
    a, b = np.sort(a % TURN), np.sort(b % TURN)
    gaps = [np.abs((a - np.roll(b, shift) + np.pi) % TURN - np.pi).mean() for shift in range(len(a))]
    return float(min(gaps))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 8), (300, 200)])
def test_line_equals_scipy(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal(n), rng.normal(0.5, 2, m)
    assert wasserstein(a, b) == pytest.approx(scipy.stats.wasserstein_distance(a, b), abs=1e-12)


def test_line_with_ties_equals_scipy() -> None:
    a, b = np.array([0, 0, 1, 1, 1, 2]), np.array([1, 1, 2, 2])
    assert wasserstein(a, b) == pytest.approx(scipy.stats.wasserstein_distance(a, b), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(*[st.lists(st.floats(-20, 20), min_size=n, max_size=n) for _ in range(2)])
    )
)
def test_circle_equals_the_best_rotation(samples: tuple[list[float], list[float]]) -> None:
    a, b = map(np.array, samples)
    assert circular_wasserstein(a, b) == pytest.approx(by_all_rotations(a, b), abs=1e-9)


@pytest.mark.parametrize("turn", [0.0, 0.3, 2.0, 3.0])
def test_turned_sample_is_as_far_as_the_turn(turn: float) -> None:
    narrow = np.random.default_rng(0).uniform(-0.05, 0.05, 100) + 3.1  # lies across the seam
    assert circular_wasserstein(narrow, narrow + turn) == pytest.approx(turn, abs=1e-9)
    assert circular_wasserstein(narrow + turn, narrow + 10 * TURN) == pytest.approx(turn, abs=1e-9)


def test_point_against_the_whole_circle() -> None:
    around = np.arange(10_000) / 10_000 * TURN
    assert circular_wasserstein([1.0], around) == pytest.approx(np.pi / 2, abs=1e-3)


def test_samples_of_unequal_size() -> None:
    a, b = np.array([0.1, 3.0]), np.array([6.2, 2.0, 4.0])
    expected = by_all_rotations(np.repeat(a, 3), np.repeat(b, 2))
    assert circular_wasserstein(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distance", [wasserstein, circular_wasserstein])
def test_wrong_arguments_are_named(distance: object) -> None:
    with pytest.raises(UsageError, match=r"b must be \[N\] with N >= 1, got \[0\]"):
        distance([1.0], [])  # type: ignore[operator]
    with pytest.raises(UsageError, match=r"a must be \[N\] with N >= 1, got \[1, 1\]"):
        distance([[1.0]], [1.0])  # type: ignore[operator]
    with pytest.raises(DataError, match="record 1: a"):
        distance([1.0, np.inf], [1.0])  # type: ignore[operator]


def test_noise_leaves_directions_of_hardly_any_spread_alone() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 1e-4])
    a, b = rng.normal(size=(2, 4000, 2)) * scale
    b = b * [2.0, 30.0] + [1.0, 0.0]
    plain, calm = affine_transport(a, b), affine_transport(a, b, noise=1e-4)
    assert plain.matrix[1, 1] == pytest.approx(30, rel=0.1)
    assert calm.matrix[1, 1] == pytest.approx(1, rel=0.1)
    assert calm.matrix[0, 0] == pytest.approx(plain.matrix[0, 0], rel=1e-3)
    with pytest.raises(UsageError, match="noise must be at least 0, got -1"):
        affine_transport(a, b, noise=-1)

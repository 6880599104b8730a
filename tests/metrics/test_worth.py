"""Reading a distance as a number of real poses."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import UsageError
from flexpose.metrics import MMDReference, Worth, WorthCurve, frechet_distance, worth_of_mmd2

CURVE = WorthCurve((16, 32, 64), (0.4, 0.1, 0.025), (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (0.5, "<16"),
        (0.4, "16"),
        (0.2, "23"),
        (0.1, "32"),
        (0.05, "45"),
        (0.025, "64"),
        (0.02, ">64"),
        (0.0, ">64"),
    ],
)
def test_reading_is_linear_in_logarithms(distance: float, text: str) -> None:
    assert str(CURVE.read(distance)) == text


def test_bounds() -> None:
    assert CURVE.read(1.0) == Worth(16.0, "<")
    assert CURVE.read(0.2).poses == pytest.approx(16 * np.sqrt(2))


def test_curve_falls_as_one_over_n() -> None:
    # N poses with the covariance S: the mean alone is off by tr S / N.
    target = np.random.default_rng(0).standard_normal((20_000, 4))
    curve = WorthCurve.from_target(target, draws=40)
    assert curve.sizes == (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    assert list(curve.distances) == sorted(curve.distances, reverse=True)
    ratios = np.array(curve.distances[2:-1]) / np.array(curve.distances[3:])
    assert np.all((ratios > 1.5) & (ratios < 2.7))
    assert curve == WorthCurve.from_target(target, draws=40)


def test_poses_drawn_from_n_real_ones_are_worth_n() -> None:
    rng = np.random.default_rng(1)
    target = rng.standard_normal((10_000, 6)) * [1, 2, 3, 1, 1, 1]
    curve = WorthCurve.from_target(target, draws=40)
    worths = []
    for _ in range(20):
        some = target[rng.integers(len(target), size=100)]
        worths.append(curve.read(frechet_distance(some[rng.integers(100, size=20_000)], target)).poses)
    assert np.median(worths) == pytest.approx(100, rel=0.2)


def test_covariance_is_that_of_the_poses_drawn() -> None:
    # Two draws from +-1 give one point twice (distance 2) or both points (distance 0), never anything between.
    curve = WorthCurve.from_target(np.array([[-1.0], [1.0]] * 2), smallest=2, draws=64)
    twos = curve.distances[0] * 64 / 2
    assert twos == pytest.approx(round(twos), abs=1e-9)
    assert 16 < twos < 48


def test_small_target_has_a_short_curve() -> None:
    assert WorthCurve.from_target(np.random.default_rng(2).standard_normal((100, 2))).sizes == (16, 32)


def test_mmd2_of_poses_drawn_from_n_real_ones_is_worth_n() -> None:
    rng = np.random.default_rng(3)
    target = rng.standard_normal((3000, 4))
    reference = MMDReference(target, 2.0)
    found = []
    for _ in range(10):
        some = target[rng.integers(len(target), size=50)]
        found.append(reference.mmd2(some[rng.integers(50, size=1500)]))
    worth = worth_of_mmd2(float(np.mean(found)), reference.target_mean[0])
    assert worth.poses == pytest.approx(50, rel=0.2)


@pytest.mark.parametrize(
    ("mmd2", "text"), [(0.4, "<16"), (0.01, "50"), (1e-5, ">4096"), (0.0, ">4096"), (-0.1, ">4096")]
)
def test_worth_of_mmd2_by_its_closed_form(mmd2: float, text: str) -> None:
    assert str(worth_of_mmd2(mmd2, 0.5)) == text


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="target must have at least 32 rows, got 31"):
        WorthCurve.from_target(np.zeros((31, 2)))
    with pytest.raises(UsageError, match="smallest must be in 2 to largest"):
        WorthCurve.from_target(np.zeros((31, 2)), smallest=1)
    with pytest.raises(UsageError, match="draws must be >= 1, got 0"):
        WorthCurve.from_target(np.zeros((31, 2)), draws=0)
    with pytest.raises(UsageError, match="distance must be >= 0, got -1"):
        CURVE.read(-1.0)
    with pytest.raises(UsageError, match="mmd2 must be a number"):
        worth_of_mmd2(float("nan"), 0.5)

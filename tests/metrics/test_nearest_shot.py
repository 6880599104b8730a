"""Distances to guide poses on sets whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import UsageError
from flexpose.metrics import memorization_threshold, nearest_shot_distance, nearest_shot_distances

SHOTS = np.stack([np.zeros((4, 2)), np.full((4, 2), 10.0)])


def test_root_mean_square_over_the_joints_to_the_nearest() -> None:
    pose = np.zeros((4, 2))
    pose[0] = [3.0, 4.0]  # one joint of four is 5 off
    found = nearest_shot_distances(np.stack([pose, SHOTS[1], SHOTS[1] - [0.6, 0.8]]), SHOTS)
    np.testing.assert_allclose(found, [2.5, 0.0, 1.0])
    assert found[1] == 0.0


def test_summary() -> None:
    poses = SHOTS[[0, 0, 1, 1]] + np.array([0.0, 1.0, 2.0, 5.0])[:, None, None] * [0.6, 0.8]
    found = nearest_shot_distance(poses, SHOTS, threshold=1.5)
    assert (found.mean, found.median, found.minimum) == pytest.approx((2.0, 1.5, 0.0))
    assert (found.copies, found.threshold) == (0.5, 1.5)
    assert nearest_shot_distance(poses, SHOTS).copies is None


def test_threshold_is_the_targets_own_quantile() -> None:
    rng = np.random.default_rng(0)
    target = SHOTS[rng.integers(2, size=5000)] + rng.standard_normal((5000, 4, 2))
    threshold = memorization_threshold(target, SHOTS, 0.01)
    assert nearest_shot_distance(target, SHOTS, target).copies == pytest.approx(0.01, abs=2e-4)
    assert nearest_shot_distance(target, SHOTS, target).threshold == threshold
    fresh = SHOTS[rng.integers(2, size=5000)] + rng.standard_normal((5000, 4, 2))
    assert nearest_shot_distance(fresh, SHOTS, target).copies == pytest.approx(0.01, abs=0.006)
    copied = SHOTS[rng.integers(2, size=500)] + 0.01 * rng.standard_normal((500, 4, 2))
    assert nearest_shot_distance(copied, SHOTS, target).copies == 1.0


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match=r"shots must be \[N, 4, 2\], got \[2, 3, 2\]"):
        nearest_shot_distances(SHOTS, SHOTS[:, :3])
    with pytest.raises(UsageError, match="shots must have at least 1 rows, got 0"):
        nearest_shot_distances(SHOTS, SHOTS[:0])
    with pytest.raises(UsageError, match="threshold must not be given with a target"):
        nearest_shot_distance(SHOTS, SHOTS, SHOTS, threshold=1.0)
    with pytest.raises(UsageError, match=r"quantile must be in \(0, 1\), got 1"):
        memorization_threshold(SHOTS, SHOTS, 1.0)

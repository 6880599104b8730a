"""Limits of bones and joints: what a real set allows and what it does not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flexpose.errors import DataError, UsageError
from flexpose.metrics import KinematicLimits, implausible_rate
from flexpose.skeleton import Skeleton, load_skeleton

ROD = Skeleton("rod", ("a", "b", "c"), ((0, 1), (1, 2)))


def bent(angles: np.ndarray, second: np.ndarray | float = 1.0) -> np.ndarray:
    """Rods of a bone of length 1 and one of length `second`, with this angle from the first to the second."""
    angles = np.asarray(angles, dtype=np.float64)
    poses = np.zeros((len(angles), 3, 2))
    poses[:, 0, 0] = 1.0  # from the joint in the origin the first bone points along x
    poses[:, 2] = (
        np.stack([np.cos(angles), np.sin(angles)], 1) * np.broadcast_to(second, len(angles))[:, None]
    )
    return poses


def test_ranges_are_widened_quantiles() -> None:
    angles = np.linspace(-0.5, 1.5, 2001)
    lengths = np.linspace(0.5, 1.5, 2001)
    limits = KinematicLimits.from_reference(bent(angles, lengths), ROD, tail=0.0, widen=0.25)
    ratios = lengths / (1 + lengths)
    assert limits.ratio_low[1] == pytest.approx(0.75 * ratios.min())
    assert limits.ratio_high[1] == pytest.approx(1.25 * ratios.max())
    assert limits.angle_center[0] % (2 * np.pi) == pytest.approx(0.5)
    assert limits.angle_reach[0] == pytest.approx(1.0 + 0.25 * 2.0)


def test_pose_inside_and_outside() -> None:
    reference = bent(np.linspace(-0.5, 1.5, 2001))
    limits = KinematicLimits.from_reference(reference, ROD, tail=0.0, widen=0.25)
    np.testing.assert_array_equal(
        limits.violated(bent([0.5, 1.99, 2.01, -0.99, -1.01, np.pi])), [False, False, True, False, True, True]
    )
    # Both ratios are 1/2 in the reference, so 0.375 to 0.625 is allowed.
    np.testing.assert_array_equal(
        limits.violated(bent(np.full(4, 0.5), np.array([0.61, 0.59, 1.66, 1.67]))), [False, True, False, True]
    )


def test_range_across_the_seam_of_the_circle() -> None:
    reference = bent(np.linspace(np.pi - 0.4, np.pi + 0.4, 501))
    limits = KinematicLimits.from_reference(reference, ROD, tail=0.0, widen=0.0)
    np.testing.assert_array_equal(
        limits.violated(bent([np.pi - 0.39, -np.pi + 0.39, np.pi - 0.41, -np.pi + 0.41, 0.0])),
        [False, False, True, True, True],
    )


def test_angle_that_takes_every_value_is_never_a_violation() -> None:
    angles = np.linspace(-np.pi, np.pi, 1000)
    limits = KinematicLimits.from_reference(bent(angles), ROD)
    assert limits.angle_reach[0] == np.pi
    assert not limits.violated(bent(angles)).any()


def test_foreshortening_is_allowed_where_the_reference_has_it() -> None:
    # A limb that points at the camera has a short picture; half of the real poses do.
    rng = np.random.default_rng(0)
    reference = bent(np.zeros(4000), rng.uniform(0.01, 1.0, 4000))
    assert implausible_rate(bent(np.zeros(500), rng.uniform(0.02, 1.0, 500)), ROD, reference) == 0.0
    assert implausible_rate(bent(np.zeros(500), rng.uniform(2.0, 3.0, 500)), ROD, reference) == 1.0


def test_real_poses_that_the_limits_have_not_seen_rarely_violate_them() -> None:
    rng = np.random.default_rng(1)
    both = bent(rng.normal(0, 0.3, 4000), rng.normal(1, 0.1, 4000))
    assert implausible_rate(both[:2000], ROD, both[2000:]) < 0.01


def test_rigid_reference_still_allows_itself() -> None:
    reference = bent(np.full(50, 0.3), 0.7) * np.random.default_rng(2).uniform(0.1, 9.0, (50, 1, 1))
    assert implausible_rate(reference * 3.3, ROD, reference, widen=0.0) == 0.0


def test_wrong_arguments_are_named() -> None:
    reference = bent(np.zeros(5))
    with pytest.raises(UsageError, match=r"tail must be in \[0, 0.5\), got 0.5"):
        implausible_rate(reference, ROD, reference, tail=0.5)
    with pytest.raises(UsageError, match="widen must be >= 0, got -1"):
        implausible_rate(reference, ROD, reference, widen=-1)
    with pytest.raises(UsageError, match=r"reference must be \[N, 3, 2\]"):
        implausible_rate(reference, ROD, reference[:, :2])


def test_limits_come_back_from_their_numbers() -> None:
    skeleton = load_skeleton("body13")
    poses = np.random.default_rng(0).standard_normal((50, 13, 2))
    limits = KinematicLimits.from_reference(poses, skeleton)
    values = json.loads(json.dumps(limits.to_dict()))
    again = KinematicLimits.from_dict(values, skeleton)
    others = np.random.default_rng(1).standard_normal((200, 13, 2))
    np.testing.assert_array_equal(again.violated(others), limits.violated(others))
    for spoilt in (
        {k: v for k, v in values.items() if k != "ratio_low"},
        values | {"ratio_high": values["ratio_high"][1:]},
        values | {"angle_reach": [float("nan")] * len(values["angle_reach"])},
        values | {"angle_center": "wide"},
    ):
        with pytest.raises(DataError, match="limits must"):
            KinematicLimits.from_dict(spoilt, skeleton)

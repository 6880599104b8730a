"""Limits of bones and joints: what a real set allows and what it does not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flexpose.errors import DataError, UsageError
from flexpose.metrics import KinematicLimits, bone_ratios, implausible_rate, joint_angles
from flexpose.poses import synth_poses
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


def test_a_bone_or_an_angle_beyond_its_range_goes_to_the_end_of_it() -> None:
    limits = KinematicLimits.from_reference(bent(np.linspace(-0.5, 1.5, 2001)), ROD, tail=0.0, widen=0.25)
    given = bent([0.5, 2.5, 0.5, -2.0], np.array([1.0, 1.0, 3.0, 0.2]))
    poses, inside = limits.clamped(given)
    assert inside.all()
    assert not limits.violated(poses).any()
    np.testing.assert_array_equal(poses[0], given[0])
    # Angles from -1 to 2 and ratios from 0.375 to 0.625 are allowed; 2 % of half of that is left to the end.
    np.testing.assert_allclose(joint_angles(poses, ROD)[:, 0], [0.5, 2.0, 0.5, -1.0], atol=0.05)
    np.testing.assert_allclose(bone_ratios(poses, ROD)[:, 1], [0.5, 0.5, 0.625, 0.375], atol=0.01)
    # Nothing pulls a pose away: the joints' mean stays.
    np.testing.assert_allclose(poses.mean(1), given.mean(1), atol=1e-12)


def bodies(n: int, seed: int, spread: float) -> np.ndarray:
    """Poses of the made-up studio, their joints shaken."""
    poses = synth_poses(n, seed=5).keypoints.astype(np.float64)
    return poses + spread * np.random.default_rng(seed).standard_normal(poses.shape)


def test_bodies_with_loops_are_brought_in_by_little() -> None:
    skeleton = load_skeleton("body13")
    limits = KinematicLimits.from_reference(bodies(30, 0, 0.0), skeleton, tail=0.0, widen=0.15)
    given = bodies(500, 1, 4.0)
    before = given.copy()
    bad = limits.violated(given)
    assert 0.2 < bad.mean() < 0.95
    poses, inside = limits.clamped(given)
    np.testing.assert_array_equal(given, before)
    np.testing.assert_array_equal(inside, ~limits.violated(poses))
    assert inside.mean() > 0.98
    np.testing.assert_array_equal(poses[~bad], given[~bad])
    moved = np.linalg.norm(poses - given, axis=-1)[bad & inside].mean()
    size = np.ptp(given, axis=1).max(axis=1).mean()
    assert 0 < moved < 0.05 * size
    # Turned, enlarged and elsewhere it is the same.
    turn = np.array([[np.cos(1.0), np.sin(1.0)], [-np.sin(1.0), np.cos(1.0)]])
    elsewhere, again = limits.clamped(given @ turn * 3.0 + 100.0)
    np.testing.assert_array_equal(again, inside)
    np.testing.assert_allclose(elsewhere[inside], (poses @ turn * 3.0 + 100.0)[inside], atol=1e-6)


def test_a_short_bone_turns_where_long_ones_meet_it() -> None:
    # A trunk, hips seen from the side and a leg: what is drawn now and then has the hips the other way round.
    skeleton = Skeleton("side", ("neck", "left", "right", "foot"), ((0, 1), (1, 2), (2, 3)))

    def seen(across: np.ndarray, down: np.ndarray) -> np.ndarray:
        right = np.stack([across, down], axis=1)
        left, leg = np.zeros_like(right), np.array([0.0, 1.0])
        return np.stack([left - leg, left, right, right + leg], axis=1)

    tilts = np.linspace(-0.01, 0.01, 20)
    limits = KinematicLimits.from_reference(seen(np.full(20, 0.05), tilts), skeleton, tail=0.0, widen=0.25)
    other = seen(np.full(20, -0.05), tilts + 0.0005)
    assert limits.violated(other).all()
    poses, inside = limits.clamped(other)
    assert inside.all()
    assert np.linalg.norm(poses - other, axis=-1).max() < 0.15


def test_parts_that_no_bone_joins_stay_where_they_are() -> None:
    skeleton = Skeleton("pair", ("a", "b", "c", "d"), ((0, 1), (2, 3)))
    alike = np.array([[[0.0, 0], [1, 0], [9, 0], [10, 0]]])
    limits = KinematicLimits.from_reference(alike, skeleton, tail=0.0, widen=0.1)
    poses, inside = limits.clamped([[[0.0, 0], [2, 0], [9, 0], [10, 0]]])
    assert inside.all()
    np.testing.assert_allclose(poses.reshape(2, 2, 2).mean(1), [[1.0, 0], [9.5, 0]], atol=1e-9)


def test_what_cannot_be_brought_in_is_told() -> None:
    limits = KinematicLimits(ROD, np.full(2, 0.8), np.full(2, 0.9), np.zeros(1), np.full(1, np.pi))
    _, inside = limits.clamped(bent(np.zeros(3)))
    np.testing.assert_array_equal(inside, False)
    with pytest.raises(UsageError, match=r"keypoints must be \[N, 3, 2\]"):
        limits.clamped(np.zeros((1, 2, 2)))
    with pytest.raises(DataError, match="all bones have length 0"):
        limits.clamped(np.zeros((1, 3, 2)))

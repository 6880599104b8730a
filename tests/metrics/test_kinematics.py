"""Distances of bones and joints, each against its own definition."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.metrics import (
    KinematicReference,
    bone_ratios,
    circular_wasserstein,
    joint_angles,
    kinematic_distances,
    root_orientation,
    wasserstein,
)
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body13")


def test_equals_the_distances_of_each_bone_and_angle() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((60, 13, 2)), rng.standard_normal((80, 13, 2)) * [1.0, 2.0]
    found = kinematic_distances(a, b, BODY)
    bones = [wasserstein(x, y) for x, y in zip(bone_ratios(a, BODY).T, bone_ratios(b, BODY).T, strict=True)]
    angles = [
        circular_wasserstein(x, y)
        for x, y in zip(joint_angles(a, BODY).T, joint_angles(b, BODY).T, strict=True)
    ]
    np.testing.assert_allclose(found.per_bone, bones, atol=1e-12)
    np.testing.assert_allclose(found.per_angle, angles, atol=1e-12)
    assert found.bone_ratio == pytest.approx(np.mean(bones))
    assert found.joint_angle == pytest.approx(np.mean(angles))
    trunk = circular_wasserstein(root_orientation(a, BODY), root_orientation(b, BODY))
    assert found.orientation == pytest.approx(trunk)


def test_same_set_in_another_order_is_at_distance_zero() -> None:
    poses = np.random.default_rng(1).standard_normal((50, 13, 2))
    found = KinematicReference(poses, BODY).distances(poses[::-1] * 3 + 5)
    assert found.bone_ratio == pytest.approx(0, abs=1e-12)
    assert found.joint_angle == pytest.approx(0, abs=1e-9)


def test_turned_set_differs_in_orientation_alone() -> None:
    poses = np.random.default_rng(2).normal(0, 0.02, (50, 13, 2)) + np.linspace(0, 1, 26).reshape(13, 2) ** 2
    turn = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    found = kinematic_distances(poses @ turn, poses, BODY)
    assert found.orientation == pytest.approx(0.4, abs=1e-9)
    assert found.joint_angle == pytest.approx(0, abs=1e-9)


def test_longer_bone_moves_its_ratio_by_a_known_share() -> None:
    rod = Skeleton("rod", ("a", "b", "c"), ((0, 1), (1, 2)))
    a = np.array([[[0.0, 0], [1, 0], [2, 0]]])
    b = np.array([[[0.0, 0], [1, 0], [4, 0]]])
    found = kinematic_distances(a, b, rod)
    assert found.per_bone.tolist() == pytest.approx([0.25, 0.25])
    assert found.orientation is None


def test_skeleton_without_angles() -> None:
    stick = Skeleton("stick", ("a", "b"), ((0, 1),))
    poses = np.random.default_rng(3).standard_normal((5, 2, 2))
    found = kinematic_distances(poses, poses, stick)
    assert (found.joint_angle, len(found.per_angle)) == (0.0, 0)

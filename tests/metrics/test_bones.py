"""Bone lengths, ratios, joint angles and the trunk's direction on poses drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import DataError, UsageError
from flexpose.metrics import angle_pairs, bone_lengths, bone_ratios, joint_angles, root_orientation
from flexpose.skeleton import Skeleton, load_skeleton

# An arm that branches at its end: a - b - c and b - d; the second bone is written child first.
ARM = Skeleton("arm", ("a", "b", "c", "d"), ((0, 1), (2, 1), (1, 3)))
POSE = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [3.0, -5.0]])


def test_lengths_and_ratios() -> None:
    np.testing.assert_allclose(bone_lengths(POSE[None], ARM), [[3, 4, 5]])
    np.testing.assert_allclose(bone_ratios(POSE[None], ARM), [[3 / 12, 4 / 12, 5 / 12]])


def test_ratios_do_not_depend_on_size_place_or_turn() -> None:
    rng = np.random.default_rng(0)
    poses = rng.standard_normal((20, 4, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    moved = poses @ turn * 7 + 100
    np.testing.assert_allclose(bone_ratios(moved, ARM), bone_ratios(poses, ARM), rtol=1e-12)
    np.testing.assert_allclose(joint_angles(moved, ARM), joint_angles(poses, ARM), atol=1e-10)


def test_angles_point_away_from_the_joint_and_turn_from_x_to_y() -> None:
    assert angle_pairs(ARM) == ((1, 0, 1), (1, 0, 2))
    # At b the bone to a points to -x, c lies down (+y): from -x down is a quarter turn against x to y.
    np.testing.assert_allclose(joint_angles(POSE[None], ARM), [[-np.pi / 2, np.pi / 2]])


def test_mirrored_angles_change_their_sign() -> None:
    poses = np.random.default_rng(1).standard_normal((50, 4, 2))
    np.testing.assert_allclose(joint_angles(poses * [-1, 1], ARM), -joint_angles(poses, ARM))


def test_straight_joint_has_one_angle() -> None:
    straight = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, -0.0]])
    for bones in (((0, 1), (2, 1), (1, 3)), ((1, 0), (1, 2), (1, 3))):
        skeleton = Skeleton("arm", ("a", "b", "c", "d"), bones)
        assert (joint_angles(np.stack([straight, straight * [1, -1]]), skeleton) == np.pi).all()


def test_bone_without_length_has_angle_zero() -> None:
    pose = POSE.copy()
    pose[2] = pose[1]
    assert joint_angles(pose[None], ARM)[0, 0] == 0


def test_number_of_angles_of_a_body() -> None:
    body = load_skeleton("body13")
    assert len(angle_pairs(body)) == 2 * len(body.bones) - body.num_keypoints
    assert joint_angles(np.random.default_rng(2).standard_normal((3, 13, 2)), body).shape == (3, 15)


def test_orientation_of_the_trunk() -> None:
    body = load_skeleton("body13")
    pose = np.zeros((13, 2))
    pose[[1, 2]] = [[9.0, -10.0], [-9.0, -10.0]]  # shoulders above the hips on the screen
    pose[[7, 8]] = [[5.0, 0.0], [-5.0, 0.0]]
    lying = pose[:, ::-1] * [-1, 1]
    found = root_orientation(np.stack([pose, lying, -pose]), body)
    np.testing.assert_allclose(found, [-np.pi / 2, 0, np.pi / 2], atol=1e-12)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match=r"keypoints must be \[N, 4, 2\], got \[1, 3, 2\]"):
        bone_lengths(np.zeros((1, 3, 2)), ARM)
    with pytest.raises(UsageError, match="'points' has none"):
        bone_ratios(np.zeros((1, 2, 2)), Skeleton("points", ("a", "b")))
    with pytest.raises(UsageError, match="skeleton must have a torso, 'arm' has none"):
        root_orientation(POSE[None], ARM)
    with pytest.raises(DataError, match="record 1: keypoints: all bones have length 0"):
        bone_ratios(np.stack([POSE, np.ones((4, 2))]), ARM)
    bad = np.stack([POSE, POSE])
    bad[1, 3, 0] = np.nan
    with pytest.raises(DataError, match="record 1: keypoints: NaN"):
        joint_angles(bad, ARM)

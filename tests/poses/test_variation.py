"""Guide poses with a prior's variation: what stays, what turns, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import UsageError
from flexpose.poses import source_domain, synth_poses, target_domain, vary_poses
from flexpose.poses.framing import normalized_poses
from flexpose.skeleton import load_skeleton
from flexpose.skeleton.tree import kinematic_tree

SKELETON = load_skeleton("body13")


@pytest.fixture(scope="module")
def guides():
    return normalized_poses(synth_poses(5, seed=3, domain=target_domain()))


@pytest.fixture(scope="module")
def prior():
    return normalized_poses(synth_poses(400, seed=4, domain=source_domain()))


def bones(poses):
    edges = np.array(kinematic_tree(SKELETON).edges)
    bone = poses[:, edges[:, 1]] - poses[:, edges[:, 0]]
    return np.hypot(bone[..., 0], bone[..., 1]), np.arctan2(bone[..., 1], bone[..., 0])


def vary(guides, prior, n=200, **options):
    return vary_poses(guides, prior, n, **({"seed": 1, "skeleton": SKELETON} | options))


def test_without_strength_they_are_the_guide_poses(guides, prior):
    varied = vary(guides, prior, strength=0)
    distance = np.abs(varied[:, None] - guides[None]).max((2, 3))
    assert distance.min(1).max() < 1e-6
    assert set(distance.argmin(1)) == set(range(5))


def test_it_says_which_guide_pose_each_is_of(guides, prior):
    still, own = vary(guides, prior, strength=0, return_shots=True)
    np.testing.assert_allclose(still, guides[own], atol=1e-6)
    varied, again = vary(guides, prior, return_shots=True)
    np.testing.assert_array_equal(again, own)
    np.testing.assert_array_equal(varied, vary(guides, prior))


def test_bones_keep_their_lengths_without_stretches(guides, prior):
    varied = vary(guides, prior, lengths=0)
    lengths = bones(guides)[0]
    nearest = np.abs(bones(varied.astype(float))[0][:, None] - lengths[None]).max(2).min(1)
    assert nearest.max() < 1e-5
    assert np.abs(varied[:, None] - guides[None]).max((2, 3)).min(1).mean() > 0.02, "but they do move"


def test_one_neighbour_and_full_pull_give_its_bones(guides, prior):
    """With strength, lengths and pull 1 the pose has the bones of the prior's nearest pose."""
    varied = vary(guides, prior, neighbors=1, strength=1, lengths=1, pull=1).astype(float)
    nearest = prior[((prior[None] - guides[:, None]) ** 2).sum((2, 3)).argmin(1)]
    wanted_length, wanted_angle = bones(nearest)
    length, angle = bones(varied)
    turn = np.exp(1j * angle)[:, None] - np.exp(1j * wanted_angle)[None]
    difference = np.abs(length[:, None] - wanted_length[None]).max(2) + np.abs(turn).max(2)
    assert difference.min(1).max() < 1e-5


def test_without_pull_the_middle_of_the_turns_is_the_guide_pose(guides, prior):
    varied = vary(guides[:1], prior, n=4000, pull=0, strength=0.5, neighbors=15).astype(float)
    turn = np.angle(np.exp(1j * (bones(varied)[1] - bones(guides[:1])[1])))
    direction = np.angle(np.exp(1j * turn).mean(0))
    assert np.median(np.abs(direction)) < 0.003
    assert turn.std(0).min() > 0.05


def test_pose_i_is_the_same_whatever_n(guides, prior):
    np.testing.assert_array_equal(vary(guides, prior, n=7), vary(guides, prior, n=50)[:7])
    assert not np.array_equal(vary(guides, prior, n=7), vary(guides, prior, n=7, seed=2))
    assert vary(guides, prior, n=0).shape == (0, 13, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1}, "strength must be from 0"),
        ({"pull": 2}, "pull must be from 0 to 1"),
        ({"neighbors": 401}, "neighbors must be from 1 to 400"),
    ],
)
def test_out_of_range(guides, prior, options, message):
    with pytest.raises(UsageError, match=message):
        vary(guides, prior, **options)


def test_shapes_and_numbers(guides, prior):
    with pytest.raises(UsageError, match=r"shots must be \[N >= 1, 13, 2\], got \[5, 12, 2\]"):
        vary(guides[:, :12], prior)
    broken = prior.copy()
    broken[3, 0] = np.nan
    with pytest.raises(UsageError, match="prior must be finite, pose 3 is not"):
        vary(guides, broken)


def test_weights_say_how_often(guides, prior):
    varied = vary(guides, prior, n=3000, strength=0, weights=[1, 0, 2, 0, 7])
    nearest = np.abs(varied[:, None] - guides[None]).max((2, 3)).argmin(1)
    np.testing.assert_allclose(np.bincount(nearest, minlength=5) / 3000, [0.1, 0, 0.2, 0, 0.7], atol=0.03)
    np.testing.assert_array_equal(vary(guides, prior), vary(guides, prior, weights=np.full(5, 0.3)))


@pytest.mark.parametrize(
    "weights", [[1, 1], np.ones((5, 1)), [1, 1, -1, 1, 1], [0] * 5, [1, 1, np.nan, 1, 1], [np.inf] + [1] * 4]
)
def test_weights_that_are_none(guides, prior, weights):
    with pytest.raises(UsageError, match="weights must be 5 numbers >= 0"):
        vary(guides, prior, weights=weights)

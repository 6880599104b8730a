"""Pose-mixup: Eq. 7 by hand, pairs, weights, angles, guards."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from flexpose.errors import UsageError
from flexpose.poses import mixup_poses, shrunken_mix_fraction, synth_poses
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body13")
SHOTS = np.random.default_rng(0).uniform(-1, 1, (5, 13, 2))


def _lengths(kp, skeleton=BODY):
    return np.array([[np.linalg.norm(p[a] - p[b]) for a, b in skeleton.bones] for p in kp])


def test_equation_7():
    mixed = mixup_poses(SHOTS, 200, seed=1, return_pairs=True)
    for kp, i, j, weight in zip(*mixed, strict=True):
        assert i != j
        np.testing.assert_allclose(kp, weight * SHOTS[i] + (1 - weight) * SHOTS[j], rtol=1e-14)
    assert np.array_equal(mixup_poses(SHOTS, 200, seed=1), mixed.keypoints)


@pytest.mark.parametrize("space", ["coordinates", "angles"])
def test_mix_k_does_not_depend_on_n(space):
    whole = mixup_poses(SHOTS, 30, seed=1, space=space, skeleton=BODY)
    assert np.array_equal(mixup_poses(SHOTS, 4, seed=1, space=space, skeleton=BODY), whole[:4])
    assert not np.array_equal(mixup_poses(SHOTS, 4, seed=2, space=space, skeleton=BODY), whole[:4])
    assert mixup_poses(SHOTS, 0, seed=1, space=space, skeleton=BODY).shape == (0, 13, 2)


def test_pairs_are_uniform():
    _, i, j, _ = mixup_poses(SHOTS, 20_000, seed=0, return_pairs=True)
    counts = Counter(zip(i.tolist(), j.tolist(), strict=True))
    assert len(counts) == 20
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("beta", [1.0, 0.4, 3.0])
def test_weights_follow_the_beta_law(beta):
    weight = mixup_poses(SHOTS, 5000, seed=0, beta=beta, return_pairs=True).weight
    assert stats.kstest(weight, stats.beta(beta, beta).cdf).pvalue > 1e-3


def test_types():
    assert mixup_poses(SHOTS.astype(np.float32), 3, seed=0).dtype == np.float32
    assert mixup_poses((SHOTS * 100).astype(int), 3, seed=0).dtype == np.float64


def test_within_label():
    labels = ["a", "b", "a", "b", "b"]
    _, i, j, _ = mixup_poses(SHOTS, 6000, seed=0, labels=labels, within_label=True, return_pairs=True)
    counts = Counter(zip(i.tolist(), j.tolist(), strict=True))
    assert set(counts) == {(0, 2), (2, 0), (1, 3), (3, 1), (1, 4), (4, 1), (3, 4), (4, 3)}
    # each pose is first equally often, and then each of its label's others
    expected = [1200 if labels[a] == "a" else 600 for a, _ in counts]
    assert stats.chisquare(list(counts.values()), expected).pvalue > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keypoints": SHOTS[:1]}, "at least 2 poses, got 1"),
        ({"keypoints": SHOTS[0]}, r"must be \[S, K, 2\], got \[13, 2\]"),
        ({"keypoints": SHOTS[:, :12], "skeleton": BODY}, r"\[S, 13, 2\], got \[5, 12, 2\]"),
        ({"keypoints": SHOTS.astype(str)}, "numbers"),
        ({"keypoints": np.where(SHOTS > 0.99, np.nan, SHOTS)}, "finite, pose"),
        ({"n": -1}, "n must be"),
        ({"n": 1.5}, "n must be"),
        ({"beta": 0}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"space": "polar"}, "coordinates, angles, got 'polar'"),
        ({"space": "angles"}, "needs a skeleton"),
        ({"within_label": True}, "needs 5 labels, got None"),
        ({"within_label": True, "labels": ["a"] * 4}, "needs 5 labels, got 4"),
        ({"within_label": True, "labels": list("aabbc")}, "'c' has 1"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(UsageError, match=message):
        mixup_poses(**({"keypoints": SHOTS, "n": 3, "seed": 0} | options))


STICK = Skeleton("stick", ["a", "b", "c"], [(0, 1), (1, 2)], root=[0])


def test_angles_by_hand():
    # Bone ab turns from 0 to 90 degrees with lengths 1 and 4, bc from 170 to -170 over 180 with length 2.
    turn = np.radians(170)
    first = [[0, 0], [1, 0], [1 + 2 * np.cos(turn), 2 * np.sin(turn)]]
    second = [[10, 20], [10, 24], [10 + 2 * np.cos(turn), 24 - 2 * np.sin(turn)]]
    mixed, i, _, weight = mixup_poses(
        [first, second], 50, seed=0, space="angles", skeleton=STICK, return_pairs=True
    )
    share = np.where(i == 0, weight, 1 - weight)  # of the first pose
    np.testing.assert_allclose(mixed[:, 0], np.outer(1 - share, [10, 20]), atol=1e-12)
    ab, bc = mixed[:, 1] - mixed[:, 0], mixed[:, 2] - mixed[:, 1]
    np.testing.assert_allclose(np.arctan2(ab[:, 1], ab[:, 0]), (1 - share) * np.pi / 2, atol=1e-12)
    np.testing.assert_allclose(np.hypot(*ab.T), 4 ** (1 - share), rtol=1e-12)
    np.testing.assert_allclose(np.hypot(*bc.T), 2, rtol=1e-12)
    degrees = np.degrees(np.arctan2(bc[:, 1], bc[:, 0])) % 360
    np.testing.assert_allclose(degrees, 170 + 20 * (1 - share), atol=1e-9)  # the short way, over 180


def test_angles_of_equal_poses_and_turned_ones():
    kp = synth_poses(1, seed=0).keypoints.astype(np.float64)[0]
    same = mixup_poses([kp, kp], 5, seed=0, space="angles", skeleton=BODY)
    np.testing.assert_allclose(same, np.broadcast_to(kp, same.shape), rtol=1e-12)
    # A pose and itself turned by 100 degrees: each mix is the pose turned in between, every bone as long.
    c, s = np.cos(np.radians(100)), np.sin(np.radians(100))
    turned = kp @ np.array([[c, s], [-s, c]])
    mixed = mixup_poses([kp, turned], 20, seed=0, space="angles", skeleton=BODY)
    np.testing.assert_allclose(_lengths(mixed), np.repeat(_lengths([kp]), 20, axis=0), rtol=1e-9)
    straight = mixup_poses([kp, turned], 20, seed=0)
    assert (_lengths(straight) < _lengths([kp]) * 0.99).any()


def test_angles_of_bones_without_length():
    collapsed = [[0, 0], [0, 0], [0, 1]]
    open_ = [[0, 0], [0, 2], [1, 2]]
    mixed, i, _, w = mixup_poses(
        [collapsed, open_], 20, seed=0, space="angles", skeleton=STICK, return_pairs=True
    )
    share = np.where(i == 1, w, 1 - w)
    np.testing.assert_allclose(mixed[:, 1], np.stack([0 * share, 2 * share], axis=1), atol=1e-12)
    assert np.isfinite(mixed).all()


@pytest.mark.parametrize("name", ["body13", "face68", "hand21", "coco17"])
def test_angle_mixes_stay_at_their_roots(name):
    skeleton = load_skeleton(name)
    shots = np.random.default_rng(1).uniform(-1, 1, (4, skeleton.num_keypoints, 2))
    mixed, i, j, w = mixup_poses(shots, 30, seed=0, space="angles", skeleton=skeleton, return_pairs=True)
    roots = shots[:, list(skeleton.root)].mean(axis=1)
    expected = w[:, None] * roots[i] + (1 - w)[:, None] * roots[j]
    np.testing.assert_allclose(mixed[:, list(skeleton.root)].mean(axis=1), expected, atol=1e-12)


def test_shrunken_fraction():
    kp = synth_poses(1, seed=0).keypoints.astype(np.float64)
    mirrored = kp.copy()
    mirrored[..., 0] *= -1  # a back view: the sides do not change places
    shots = np.concatenate([kp, mirrored])
    middle = shots.mean(axis=0, keepdims=True)  # shoulders and hips have collapsed
    assert shrunken_mix_fraction(middle, shots, BODY) == 1
    assert shrunken_mix_fraction(shots, shots, BODY) == 0
    assert shrunken_mix_fraction(np.concatenate([middle, shots]), shots, BODY) == pytest.approx(1 / 3)
    assert shrunken_mix_fraction(middle, shots, BODY, fraction=0) == 0
    assert shrunken_mix_fraction(middle[:0], shots, BODY) == 0
    assert shrunken_mix_fraction(middle, shots, Skeleton("points", BODY.names)) == 0
    half = kp / 2
    assert shrunken_mix_fraction(half, kp, BODY, fraction=0.49) == 0
    assert shrunken_mix_fraction(half, kp, BODY, fraction=0.51) == 1


def test_shrunken_fraction_refuses():
    with pytest.raises(UsageError, match="fraction"):
        shrunken_mix_fraction(SHOTS, SHOTS, BODY, fraction=1.5)
    with pytest.raises(UsageError, match="at least 1 pose, got 0"):
        shrunken_mix_fraction(SHOTS, SHOTS[:0], BODY)
    with pytest.raises(UsageError, match=r"\[S, 13, 2\]"):
        shrunken_mix_fraction(SHOTS[:, :5], SHOTS, BODY)

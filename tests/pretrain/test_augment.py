"""Variation of poses for beta: bounded, named right, seeded, and half of it the source itself."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.drawing import Drawing
from flexpose.poses import source_domain, synth_poses
from flexpose.pretrain.augment import stretch_and_turn
from flexpose.skeleton import kinematic_tree, load_skeleton

BODY = load_skeleton("body13")


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return Drawing(BODY, 16).framed(synth_poses(500, seed=3, domain=source_domain())).normalized


@pytest.fixture(scope="module")
def varied(poses: np.ndarray) -> np.ndarray:
    return stretch_and_turn(poses, BODY, np.random.default_rng(0))


def test_stays_in_the_picture(varied: np.ndarray) -> None:
    assert varied.dtype == np.float32
    assert np.isfinite(varied).all()
    assert np.abs(varied).max() <= 1.05
    extent = (varied.max(1) - varied.min(1)).max(1)
    assert extent.min() >= 1.2 - 1e-4, "never smaller than 60% of the picture"
    assert extent.max() <= 2 + 1e-4
    assert (np.abs(varied).max((1, 2)) > 0.95).any(), "reaches the edge"


def test_seeded(poses: np.ndarray, varied: np.ndarray) -> None:
    before = poses.copy()
    np.testing.assert_array_equal(stretch_and_turn(poses, BODY, np.random.default_rng(0)), varied)
    assert not np.array_equal(stretch_and_turn(poses, BODY, np.random.default_rng(1)), varied)
    np.testing.assert_array_equal(poses, before)


def tame(poses: np.ndarray, varied: np.ndarray) -> np.ndarray:
    """Rows that are the source's up to scale and place: [N] bool."""
    a, b = (x.astype(np.float64) - x.astype(np.float64).mean(1, keepdims=True) for x in (poses, varied))
    scale = (a * b).sum((1, 2)) / (a**2).sum((1, 2))
    return np.abs(b - scale[:, None, None] * a).max((1, 2)) < 1e-5


def test_half_of_the_poses_are_the_source_s_up_to_scale_and_place(
    poses: np.ndarray, varied: np.ndarray
) -> None:
    assert abs(tame(poses, varied).sum() - 250) < 5 * np.sqrt(500 / 4)


def test_limbs_stretch_and_turn_within_bounds_and_keep_their_names(
    poses: np.ndarray, varied: np.ndarray
) -> None:
    wild = ~tame(poses, varied)
    edges = kinematic_tree(BODY).edges
    parents, children = (list(side) for side in zip(*edges, strict=True))
    before, after = ((x[wild][:, children] - x[wild][:, parents]).astype(np.float64) for x in (poses, varied))
    lengths = np.linalg.norm(before, axis=-1)
    ratio = np.linalg.norm(after, axis=-1) / np.where(lengths > 0.02, lengths, np.nan)
    spread = np.nanmax(ratio, 1) / np.nanmin(ratio, 1)
    # Each length by a factor from exp(-0.5) to exp(0.35), all by one common scale.
    assert spread.max() <= np.exp(0.85) + 1e-3
    assert np.median(spread) > 1.2
    # Each edge turns by about 0.25 rad on top of the pose's own turn: a mirrored or misnamed limb would turn by more.
    angles = np.arctan2(*np.moveaxis(after, -1, 0)[::-1]) - np.arctan2(*np.moveaxis(before, -1, 0)[::-1])
    common = np.angle(np.exp(1j * angles).mean(1))
    rest = np.angle(np.exp(1j * (angles - common[:, None])))[lengths > 0.02]
    assert 0.15 < rest.std() < 0.3
    assert np.abs(common).max() < np.pi / 3 + 0.5


def test_one_pose_and_none() -> None:
    pose = Drawing(BODY, 16).framed(synth_poses(1, seed=3)).normalized
    assert stretch_and_turn(pose, BODY, np.random.default_rng(0)).shape == (1, 13, 2)
    assert stretch_and_turn(pose[:0], BODY, np.random.default_rng(0)).shape == (0, 13, 2)

"""Guide poses from behind, and the varied poses that tau is solved for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexpose.adapt import AdaptConfig
from flexpose.adapt.training_poses import (
    GuideViews,
    from_behind,
    guide_poses,
    guide_views,
    varied_poses,
    with_mirrored,
)
from flexpose.config import make_config
from flexpose.drawing import Drawing
from flexpose.errors import ConfigError
from flexpose.metrics import frechet_distance
from flexpose.poses import synth_poses
from flexpose.skeleton import load_skeleton

from .. import tiny

BODY = load_skeleton("body13")
DRAWING = Drawing(skeleton=BODY, size_px=16)
LEFT, RIGHT = (BODY.names.index(f"{side}_shoulder") for side in ("left", "right"))


@pytest.fixture
def guides() -> np.ndarray:
    return DRAWING.framed(tiny.target_poses()).normalized


def facing(poses: np.ndarray) -> np.ndarray:
    """Whether the left shoulder is at the right, as with someone who faces the camera."""
    return np.asarray(poses[:, LEFT, 0] > poses[:, RIGHT, 0])


def test_from_behind_sides_change_and_left_stays_left(guides: np.ndarray) -> None:
    everything = np.concatenate([guides, guides * [-1, 1]])
    behind = from_behind(guides, everything)
    np.testing.assert_array_equal(behind, guides * np.array([-1, 1], np.float32))
    assert not (facing(behind) & facing(guides)).any()
    assert behind.dtype == guides.dtype


def test_what_the_source_never_shows_from_behind_is_not_turned(guides: np.ndarray) -> None:
    """As with faces: poses near the guide poses themselves, and none near them from behind."""
    rng = np.random.default_rng(0)
    near = np.concatenate([guides + rng.normal(0, 0.01, guides.shape) for _ in range(20)])
    assert len(from_behind(guides, near)) == 0
    one = np.concatenate([near, guides[2:3] * [-1, 1]])
    np.testing.assert_array_equal(from_behind(guides, one), guides[2:3] * np.array([-1, 1], np.float32))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_varied_poses_is_from_behind(guides: np.ndarray, share: float) -> None:
    behind = guides * np.array([-1, 1], np.float32)
    prior = np.concatenate([with_mirrored(guides, DRAWING), with_mirrored(behind, DRAWING)] * 4)
    config = AdaptConfig(behind=share, mixed=2000, variation=1e-6, shrinkage=0, source_part=0)
    rows = np.arange(len(guides))
    seen = np.repeat([False, True], len(guides))
    views = GuideViews(np.concatenate([guides, behind]), np.concatenate([rows, rows]), seen)
    varied, source, _ = varied_poses(views, prior, DRAWING, config)
    assert source == 0
    assert varied.shape == (2000, 13, 2)
    assert varied.dtype == np.float32
    distance = np.abs(varied[:, None] - views.poses[None]).max((2, 3))
    nearest = distance.argmin(1)
    assert distance.min(1).max() < 1e-3
    assert (nearest >= len(guides)).mean() == pytest.approx(share, abs=0.03)
    counts = np.bincount(nearest, minlength=2 * len(guides))
    for part, expected in ((counts[: len(guides)], 1 - share), (counts[len(guides) :], share)):
        np.testing.assert_allclose(part / 2000, expected / len(guides), atol=0.04)


def test_views_say_which_guide_pose_they_show(guides: np.ndarray) -> None:
    framed, count = DRAWING.framed(tiny.target_poses()), len(guides)
    behind = guides[2:3] * np.array([-1, 1], np.float32)
    prior = np.concatenate([guides, guides * [1, 1.01], behind])
    views = guide_views(framed, prior, DRAWING, AdaptConfig())
    first = 2 * count
    np.testing.assert_array_equal(views.poses[:first], with_mirrored(guides, DRAWING))
    np.testing.assert_array_equal(views.shots[:first], [*range(count), *range(count)])
    assert views.behind.tolist() == [False] * first + [True] * (len(views.poses) - first)
    (own,) = np.flatnonzero((views.poses[first:] == behind).all((1, 2)))
    assert views.shots[first + own] == 2
    for changes in ({"behind": 0.0}, {"flips": False}):
        fewer = guide_views(framed, prior, DRAWING, replace(AdaptConfig(), **changes))
        assert not fewer.behind.any()
        assert len(fewer.poses) == (first if "behind" in changes else count)


def test_without_any_from_behind_all_are_from_the_front(guides: np.ndarray) -> None:
    views = GuideViews(guides, np.arange(len(guides)), np.zeros(len(guides), bool))
    np.testing.assert_allclose(views.weights(0.3), 1 / len(guides))
    np.testing.assert_array_equal(views.weights(0.3), views.weights(0.0))


def test_shrinkage_moves_the_varied_poses_towards_the_source(guides: np.ndarray) -> None:
    """Guide poses that are a part of the source: what is left out is likelier under the source's covariance."""
    prior = DRAWING.framed(synth_poses(2000, seed=5)).normalized
    some = DRAWING.framed(synth_poses(16, seed=6)).normalized
    views = GuideViews(some, np.arange(16), np.zeros(16, bool))
    config = AdaptConfig(mixed=1000, source_part=0.0)
    plain, none, _ = varied_poses(views, prior, DRAWING, replace(config, shrinkage=0.0))
    moved, share, _ = varied_poses(views, prior, DRAWING, config)
    assert none == 0 < share <= 0.3
    assert frechet_distance(moved, prior) < 0.9 * frechet_distance(plain, prior)


def test_some_training_poses_are_the_sources_own_where_guide_poses_ask_for_them() -> None:
    prior = DRAWING.framed(synth_poses(2000, seed=5)).normalized
    some = DRAWING.framed(synth_poses(16, seed=6)).normalized
    views = GuideViews(some, np.arange(16), np.zeros(16, bool))
    config = AdaptConfig(mixed=1000, source_part=0.25)
    found = varied_poses(views, prior, DRAWING, config)
    without = varied_poses(views, prior, DRAWING, replace(config, source_part=0.0))
    assert (found.part, without.part) == (0.25, 0.0)
    assert found.share == without.share
    np.testing.assert_array_equal(found.poses[:750], without.poses[:750])
    np.testing.assert_array_equal(found.poses[750:], prior[:250])
    narrow = some[:1] + np.random.default_rng(0).normal(0, 0.01, some.shape).astype(np.float32)
    views = GuideViews(narrow, np.arange(16), np.zeros(16, bool))
    assert varied_poses(views, prior, DRAWING, config).part == 0.0


def test_guide_poses_are_mirrored_if_wanted(guides: np.ndarray) -> None:
    framed = DRAWING.framed(tiny.target_poses())
    both = guide_poses(framed, DRAWING, AdaptConfig(flips=True))
    np.testing.assert_array_equal(both, with_mirrored(guides, DRAWING))
    np.testing.assert_array_equal(both[len(guides) :, RIGHT], guides[:, LEFT] * [-1, 1])
    np.testing.assert_array_equal(guide_poses(framed, DRAWING, AdaptConfig(flips=False)), guides)


@pytest.mark.parametrize("name", ["behind", "shrinkage", "source_part"])
@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_share(name: str, share: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be"):
        make_config(AdaptConfig, {name: share})

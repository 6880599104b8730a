"""Guide poses from behind, and the varied poses that tau is solved for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexpose.adapt import AdaptConfig, training_poses
from flexpose.adapt.training_poses import guide_poses, guide_views, varied_poses
from flexpose.adapt.views import GuideViews, all_views, likely_views, with_mirrored
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


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_varied_poses_is_from_behind(guides: np.ndarray, share: float) -> None:
    behind = guides * np.array([-1, 1], np.float32)
    prior = np.concatenate([with_mirrored(guides, DRAWING), with_mirrored(behind, DRAWING)] * 4)
    config = AdaptConfig(behind=share, mixed=2000, variation=1e-6, shrinkage=0, source_part=0)
    views = all_views(guides, prior, DRAWING)
    views = views.where(~views.mirrored)
    varied, _, source, _ = varied_poses(views, prior, DRAWING, config)
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


@pytest.mark.parametrize("views", ["likely", "all"])
def test_the_settings_say_which_views_there_are(guides: np.ndarray, views: str) -> None:
    framed = DRAWING.framed(tiny.target_poses())
    behind = guides * np.array([-1, 1], np.float32)
    prior = np.concatenate([with_mirrored(guides, DRAWING), with_mirrored(behind, DRAWING)])
    config = replace(AdaptConfig(), views=views)
    every = all_views(guides, prior, DRAWING)
    assert every.kinds == ["as given", "mirrored", "from behind"]
    for changes, expected in (
        ({}, every),
        ({"behind": 0.0}, every.where(~every.behind)),
        ({"flips": False}, every.where(~every.behind & ~every.mirrored)),
    ):
        asked = replace(config, **changes)
        got = guide_views(framed, prior, DRAWING, asked)
        wanted = likely_views(expected, asked.behind) if views == "likely" else expected
        for column, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(column, other)


def test_shrinkage_moves_the_varied_poses_towards_the_source(guides: np.ndarray) -> None:
    """Guide poses that are a part of the source: what is left out is likelier under the source's covariance."""
    prior = DRAWING.framed(synth_poses(2000, seed=5)).normalized
    some = DRAWING.framed(synth_poses(16, seed=6)).normalized
    views = GuideViews.as_given(some)
    config = AdaptConfig(mixed=1000, source_part=0.0)
    plain, _, none, _ = varied_poses(views, prior, DRAWING, replace(config, shrinkage=0.0))
    moved, _, share, _ = varied_poses(views, prior, DRAWING, config)
    assert none == 0 < share <= 0.3
    assert frechet_distance(moved, prior) < 0.9 * frechet_distance(plain, prior)


def test_some_training_poses_are_the_sources_own_where_guide_poses_ask_for_them() -> None:
    prior = DRAWING.framed(synth_poses(2000, seed=5)).normalized
    some = DRAWING.framed(synth_poses(16, seed=6)).normalized
    views = GuideViews.as_given(some)
    config = AdaptConfig(mixed=1000, source_part=0.25)
    found = varied_poses(views, prior, DRAWING, config)
    without = varied_poses(views, prior, DRAWING, replace(config, source_part=0.0))
    assert (found.part, without.part) == (0.25, 0.0)
    assert found.share == without.share
    np.testing.assert_array_equal(found.poses[:750], without.poses[:750])
    np.testing.assert_array_equal(found.poses[750:], prior[:250])
    narrow = some[:1] + np.random.default_rng(0).normal(0, 0.01, some.shape).astype(np.float32)
    views = GuideViews.as_given(narrow)
    assert varied_poses(views, prior, DRAWING, config).part == 0.0


def test_guide_poses_nearer_to_each_other_than_the_source_varies_are_varied_by_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prior = DRAWING.framed(synth_poses(2000, seed=5)).normalized
    some = DRAWING.framed(synth_poses(16, seed=6)).normalized
    config = AdaptConfig(mixed=500)
    wide = varied_poses(GuideViews.as_given(some), prior, DRAWING, config)
    assert wide.strength == config.variation
    assert wide.part > 0
    noise = np.random.default_rng(0).normal(0, 0.02, some.shape).astype(np.float32)
    views = GuideViews.as_given(some[:1] + noise)
    narrow = varied_poses(views, prior, DRAWING, config)
    assert narrow.strength == pytest.approx(0.2 * config.variation)
    assert narrow.part == 0

    def moved(poses: np.ndarray) -> float:
        return float(np.square(poses[:, None] - views.poses[None]).sum((2, 3)).min(1).mean())

    monkeypatch.setattr(training_poses, "_FARTHEST", 1e9)
    assert moved(narrow.poses) < 0.2 * moved(varied_poses(views, prior, DRAWING, config).poses)


def test_a_target_without_some_views_takes_none_of_the_sources_poses() -> None:
    """The source has them, so it is another domain."""
    prior = DRAWING.framed(synth_poses(2000, seed=5)).normalized
    views = GuideViews.as_given(DRAWING.framed(synth_poses(16, seed=6)).normalized)
    config = AdaptConfig(mixed=500)
    assert varied_poses(views, prior, DRAWING, config).part > 0
    assert varied_poses(views._replace(fewer=True), prior, DRAWING, config).part == 0


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

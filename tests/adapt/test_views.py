"""Guide poses mirrored and from behind, and when the guide poses speak against it."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.adapt.views import GuideViews, all_views, likely_views, with_mirrored
from flexpose.drawing import Drawing
from flexpose.skeleton import load_skeleton

from .. import tiny

BODY = load_skeleton("body13")
DRAWING = Drawing(skeleton=BODY, size_px=16)
LEFT, RIGHT = (BODY.names.index(f"{side}_shoulder") for side in ("left", "right"))
TURN = np.array([-1, 1], np.float32)
ALL = ["as given", "mirrored", "from behind"]


@pytest.fixture
def guides() -> np.ndarray:
    return DRAWING.framed(tiny.target_poses()).normalized


def near(poses: np.ndarray, seed: int, spread: float = 0.02) -> np.ndarray:
    return (poses + np.random.default_rng(seed).normal(0, spread, poses.shape)).astype(np.float32)


def facing(poses: np.ndarray) -> np.ndarray:
    """Whether the left shoulder is at the right, as with someone who faces the camera."""
    return np.asarray(poses[:, LEFT, 0] > poses[:, RIGHT, 0])


def mirrored(poses: np.ndarray) -> np.ndarray:
    return with_mirrored(poses, DRAWING)[len(poses) :]


def one_sided(count: int, guides: np.ndarray) -> np.ndarray:
    """[count, K, 2] one guide pose again and again, all parts to the right of the middle."""
    return near(np.repeat(guides[:1], count, axis=0) + np.float32([0.5, 0]), seed=0)


def known(guides: np.ndarray) -> np.ndarray:
    """Poses of a source that has all views of them."""
    both = with_mirrored(guides, DRAWING)
    return near(np.concatenate([both, both * TURN] * 4), seed=1)


# --- which there are


def test_mirrored_ones_follow_those_as_given(guides: np.ndarray) -> None:
    both = with_mirrored(guides, DRAWING)
    np.testing.assert_array_equal(both[: len(guides)], guides)
    np.testing.assert_array_equal(both[len(guides) :, RIGHT], guides[:, LEFT] * TURN)


def test_from_behind_sides_change_and_left_stays_left(guides: np.ndarray) -> None:
    views = all_views(guides, known(guides), DRAWING)
    behind = views.where(views.behind & ~views.mirrored)
    np.testing.assert_array_equal(behind.poses, guides * TURN)
    assert not (facing(behind.poses) & facing(guides)).any()
    again = views.where(views.behind & views.mirrored)
    np.testing.assert_array_equal(again.poses, mirrored(guides) * TURN)
    assert views.poses.dtype == guides.dtype


def test_what_the_source_never_shows_from_behind_is_not_turned(guides: np.ndarray) -> None:
    """As with faces: poses near the guide poses and their mirror images, and none near them from behind."""
    prior = near(np.concatenate([with_mirrored(guides, DRAWING)] * 20), seed=0, spread=0.01)
    assert not all_views(guides, prior, DRAWING).behind.any()
    one = np.concatenate([prior, guides[2:3] * TURN])
    views = all_views(guides, one, DRAWING)
    (own,) = np.flatnonzero(views.behind & ~views.mirrored)
    np.testing.assert_array_equal(views.poses[own], guides[2] * TURN)
    assert views.shots[own] == 2


def test_views_say_what_they_show(guides: np.ndarray) -> None:
    count = len(guides)
    views = all_views(guides, known(guides), DRAWING)
    assert views.shots.tolist() == [*range(count)] * 4
    assert views.kinds == ALL
    assert views.where(~views.mirrored).kinds == ["as given", "from behind"]
    assert GuideViews.as_given(guides).kinds == ["as given"]


def test_without_any_from_behind_all_are_taken_alike(guides: np.ndarray) -> None:
    views = GuideViews.as_given(guides)
    np.testing.assert_allclose(views.weights(0.3), 1 / len(guides))
    np.testing.assert_array_equal(views.weights(0.3), views.weights(0.0))


# --- which are likely


def chosen(shots: np.ndarray, share: float = 0.3) -> list[str]:
    return likely_views(all_views(shots, known(shots), DRAWING), share).kinds


def test_one_side_alone_is_neither_mirrored_nor_turned(guides: np.ndarray) -> None:
    assert chosen(one_sided(12, guides)) == ["as given"]


def test_poses_and_their_mirror_images_are_mirrored(guides: np.ndarray) -> None:
    shots = one_sided(12, guides)
    shots[6:] = mirrored(shots[6:])
    assert chosen(shots) == ["as given", "mirrored"]


def test_poses_seen_from_both_sides_are_turned(guides: np.ndarray) -> None:
    shots = one_sided(12, guides)
    shots[6:] *= TURN
    assert chosen(shots, share=0.5) == ["as given", "from behind"]


def test_all_views_stay_where_the_guide_poses_show_them_all(guides: np.ndarray) -> None:
    shots = one_sided(12, guides)
    shots[3:6] = mirrored(shots[3:6])
    shots[6:9] *= TURN
    shots[9:] = mirrored(shots[9:]) * TURN
    assert chosen(shots) == ALL


def test_one_that_is_like_no_other_decides_nothing(guides: np.ndarray) -> None:
    """In none of its views it is near the others; as a normal kernel has it, it would outweigh all of them."""
    shots = one_sided(12, guides)
    shots[0] = shots[0] * np.float32([-1, 0.5]) + np.float32([0.1, 0.3])
    assert chosen(shots) == ["as given"]


def test_two_guide_poses_are_too_few_to_tell(guides: np.ndarray) -> None:
    assert chosen(guides[:2]) == ALL


def test_guide_poses_that_are_all_the_same(guides: np.ndarray) -> None:
    same = np.repeat(guides[:1] + np.float32([0.5, 0]), 12, axis=0)
    assert chosen(same) == ["as given"]


def test_without_any_from_behind_only_mirrored_ones_are_left_out(guides: np.ndarray) -> None:
    shots = one_sided(12, guides)
    views = all_views(shots, known(shots), DRAWING)
    front = views.where(~views.behind)
    assert likely_views(front, 0.3).kinds == ["as given"]
    shots[6:] = mirrored(shots[6:])
    views = all_views(shots, known(shots), DRAWING)
    front = views.where(~views.behind)
    np.testing.assert_array_equal(likely_views(front, 0.3).poses, front.poses)


def test_how_far_guide_poses_are_apart(guides: np.ndarray) -> None:
    """To the nearest other as given; mirrored ones are no guide poses."""
    shots = np.repeat(guides[:1], 3, axis=0)
    shots[1, 0, 0] += 3
    shots[2, 1, 1] += 4
    views = all_views(shots, known(shots), DRAWING)
    assert views.apart() == pytest.approx(3, rel=1e-5)
    assert GuideViews.as_given(shots).apart() == pytest.approx(3, rel=1e-5)


def test_what_is_left_says_that_there_were_more(guides: np.ndarray) -> None:
    shots = one_sided(12, guides)
    views = all_views(shots, known(shots), DRAWING)
    assert not views.fewer
    left = likely_views(views, 0.3)
    assert left.fewer
    assert left.where(np.ones(12, bool)).fewer
    assert not views.where(~views.behind).fewer

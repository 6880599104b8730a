"""Batches of drawn poses: epochs, mirror images, seeds, held-out rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flexpose.drawing import Drawing
from flexpose.errors import UsageError
from flexpose.poses import PoseSet
from flexpose.pretrain.data import (
    PoseBatches,
    drawn_skeleton,
    holdout_split,
    images_to_tensor,
    step_seed,
)
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body13")
DRAWING = Drawing(BODY, 16)


def numbered(count: int) -> np.ndarray:
    """Poses [count, 13, 2] that tell their row: x holds row + keypoint / 100, y the negative."""
    x = np.arange(count)[:, None] + np.arange(1, 14) / 100
    return np.stack([x, -x], -1).astype(np.float32)


def rows_of(poses: np.ndarray) -> list[int]:
    return np.floor(np.abs(poses[:, 0, 0])).astype(int).tolist()


def sequence(count: int, batch: int, steps: int, seed: int = 0) -> list[int]:
    batches = PoseBatches(numbered(count), DRAWING, batch, seed, flips=False)
    return [row for step in range(steps) for row in rows_of(batches.poses(step))]


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (10, 10), (7, 16), (5, 1), (3, 50)])
def test_epochs_hold_every_row_once(count: int, batch: int) -> None:
    seen = sequence(count, batch, -(-4 * count // batch))
    for epoch in range(4):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_have_orders_of_their_own() -> None:
    seen = sequence(20, 20, 5)
    orders = {tuple(seen[begin : begin + 20]) for begin in range(0, 100, 20)}
    assert len(orders) == 5


@pytest.mark.parametrize("batch", [2, 5, 12, 60])
def test_order_does_not_depend_on_the_batch(batch: int) -> None:
    assert sequence(12, batch, 60 // batch) == sequence(12, 1, 60)


def test_order_depends_on_the_seed() -> None:
    assert sequence(12, 12, 1, seed=0) != sequence(12, 12, 1, seed=1)


def test_any_step_can_be_asked_first() -> None:
    one, other = (PoseBatches(numbered(9), DRAWING, 4, 3, flips=True) for _ in range(2))
    later = one.poses(1000)
    for step in range(3):
        other.poses(step)
    np.testing.assert_array_equal(other.poses(1000), later)


def mirrored(pose: np.ndarray) -> np.ndarray:
    result = pose.copy()
    for left, right in BODY.flip_pairs:
        result[[left, right]] = result[[right, left]]
    result[:, 0] *= -1
    return result


def test_half_of_the_poses_are_exact_mirror_images() -> None:
    poses = numbered(40)
    batches = PoseBatches(poses, DRAWING, 40, 0, flips=True)
    turned = 0
    for step in range(25):
        shown = batches.poses(step)
        for pose, row in zip(shown, rows_of(shown), strict=True):
            if pose[0, 0] < 0:
                turned += 1
                np.testing.assert_array_equal(pose, mirrored(poses[row]))
            else:
                np.testing.assert_array_equal(pose, poses[row])
    assert abs(turned - 500) < 5 * np.sqrt(1000 / 4)


def test_flips_leave_the_order_alone() -> None:
    plain, flipped = (PoseBatches(numbered(9), DRAWING, 9, 0, flips=flips) for flips in (False, True))
    assert rows_of(plain.poses(0)) == rows_of(flipped.poses(0))


def test_with_mirrored() -> None:
    poses = numbered(4)
    both = PoseBatches(poses, DRAWING, 2, 0, flips=True).with_mirrored()
    np.testing.assert_array_equal(both, np.concatenate([poses, np.stack([mirrored(p) for p in poses])]))
    np.testing.assert_array_equal(PoseBatches(poses, DRAWING, 2, 0, flips=False).with_mirrored(), poses)


def test_pictures_are_the_drawn_poses() -> None:
    poses = np.random.default_rng(0).uniform(-1, 1, (6, 13, 2)).astype(np.float32)
    batches = PoseBatches(poses, DRAWING, 4, 0, flips=True)
    images = batches.images(2)
    assert images.dtype == torch.float32
    expected = DRAWING.images(batches.poses(2)).astype(np.float64) / 255 * 2 - 1
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-6)
    half = batches.images(2, 8).numpy()
    np.testing.assert_allclose(half, expected.reshape(4, 3, 8, 2, 8, 2).mean((3, 5)), atol=1e-6)
    np.testing.assert_array_equal(batches.drawn(batches.poses(2)).numpy(), images.numpy())


def test_a_flipped_picture_of_a_mirrored_pose() -> None:
    """Left and right keep their colours: mirroring a pose is not mirroring its picture."""
    poses = np.random.default_rng(0).uniform(-0.8, 0.8, (1, 13, 2)).astype(np.float32)
    batches = PoseBatches(poses, DRAWING, 1, 0, flips=True)
    plain, turned = DRAWING.images(batches.with_mirrored())
    assert not np.array_equal(plain[:, :, ::-1], turned)
    assert np.abs(plain.max(0)[:, ::-1].astype(int) - turned.max(0)).mean() < 60


def test_range_of_pictures() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    tensor = images_to_tensor(levels)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    back = ((tensor + 1) * 127.5).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(back, levels)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(100, 0.05, 5), (10, 0.0, 0), (1, 0.9, 0), (2, 0.9, 1), (30, 0.5, 15)]
)
def test_held_out_rows(count: int, share: float, held: int) -> None:
    shown, rest = holdout_split(count, share, 0)
    assert len(rest) == held
    assert sorted([*shown, *rest]) == list(range(count))
    assert (np.diff(shown) > 0).all()
    assert (np.diff(rest) > 0).all()


def test_held_out_rows_are_drawn_by_the_seed() -> None:
    first, again, other = (holdout_split(200, 0.2, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert np.mean(first) == pytest.approx(100, abs=30), "from all over the set"


def test_seeds_of_steps_differ() -> None:
    places = [(1,), (2,), (0, 1), (1, 1), (2, 3, 4), (4, 3, 2)]
    seeds = {step_seed(seed, *place) for seed in range(5) for place in places}
    assert len(seeds) == 5 * len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len({step_seed(0, 1, step) for step in range(2000)}) == 2000


@pytest.mark.parametrize(
    ("own", "drawn"), [("body13", "body13"), ("coco17", "body13"), ("face68", "face68"), ("hand21", "hand21")]
)
def test_people_are_drawn_with_body13_and_others_with_their_own_skeleton(own: str, drawn: str) -> None:
    skeleton = load_skeleton(own)
    poses = PoseSet(np.zeros((1, skeleton.num_keypoints, 2)), skeleton=skeleton)
    assert drawn_skeleton("auto", poses).fingerprint == load_skeleton(drawn).fingerprint
    assert drawn_skeleton("coco17", poses).name == "coco17"
    with pytest.raises(UsageError, match="no-such"):
        drawn_skeleton("no-such", poses)


def test_a_skeleton_of_ones_own_is_drawn_as_it_is() -> None:
    own = Skeleton.from_toml(load_skeleton("hand21").to_toml().replace("hand21", "glove"))
    poses = PoseSet(np.zeros((1, 21, 2)), skeleton=own)
    assert drawn_skeleton("auto", poses) is own

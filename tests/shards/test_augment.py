"""Variation of poses: against a scalar twin, by closed forms, and the same whatever the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexpose.errors import UsageError
from flexpose.poses._random import Stream, uniforms
from flexpose.raster import pixels_from_normalized, rasterize
from flexpose.shards.augment import Augment, augment_labelled, augment_poses, augment_visibility, limb_names
from flexpose.skeleton import Skeleton, list_skeletons, load_skeleton

BODY = load_skeleton("body13")
PAPER = Augment.parse("rotation=45,limb=135:225@left_knee/right_knee,scale=0.7:0.9/1.1:1.2,flip=0.5")
N = 400
INDICES = np.arange(N)


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return np.random.default_rng(3).uniform(-0.8, 0.8, (N, 13, 2)).astype(np.float32)


def bone_lengths(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    a, b = np.array(skeleton.bones).T
    return np.linalg.norm(poses[:, a].astype(np.float64) - poses[:, b], axis=-1)


def twin(pose: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """PAPER on one pose, by complex numbers."""
    points = [complex(x, y) for x, y in pose.tolist()]
    if numbers[0] < 0.5:
        points = [-points[i].conjugate() for i in BODY.flip_index]
    hip, members = ((7, (9, 11)), (8, (10, 12)))[int(numbers[1] * 2)]
    turn = complex(math.cos(a := math.radians(135 + 90 * numbers[2])), math.sin(a))
    for joint in members:
        points[joint] = points[hip] + (points[joint] - points[hip]) * turn
    place = numbers[3] * 0.3
    scale = 0.7 + place if place < 0.2 else 1.1 + (place - 0.2)
    turn = complex(math.cos(a := math.radians(-45 + 90 * numbers[4])), math.sin(a))
    return np.array([((p * scale * turn).real, (p * scale * turn).imag) for p in points])


def test_equals_the_scalar_twin(poses: np.ndarray) -> None:
    varied = augment_poses(poses, BODY, PAPER, 11, INDICES)
    assert varied.dtype == np.float32
    numbers = uniforms(11, Stream.AUGMENT, N, 8)
    expected = np.array([twin(pose, row) for pose, row in zip(poses, numbers, strict=True)])
    np.testing.assert_allclose(varied, expected, rtol=0, atol=3e-7)


@given(st.permutations(range(20)), st.integers(1, 20), st.integers(0, 3))
def test_a_pose_does_not_depend_on_its_company(order: list[int], cut: int, epoch: int) -> None:
    poses = np.random.default_rng(0).uniform(-1, 1, (20, 13, 2))
    visibility = np.random.default_rng(1).integers(0, 3, (20, 13)).astype(np.uint8)
    far = np.arange(20) * 10**12 + 5
    whole, flags = augment_labelled(poses, visibility, BODY, PAPER, 4, far, epoch=epoch)
    for part in (order[:cut], order[cut:]):
        drawn, seen = augment_labelled(poses[part], visibility[part], BODY, PAPER, 4, far[part], epoch=epoch)
        assert drawn.tobytes() == whole[part].tobytes()
        assert np.array_equal(seen, flags[part])
    alone = augment_poses(poses, BODY, PAPER, 4, far, epoch=epoch, visibility=visibility)
    assert np.array_equal(alone, whole)
    assert np.array_equal(augment_visibility(visibility, BODY, PAPER, 4, far, epoch=epoch), flags)


def test_seed_epoch_and_index_each_change_it(poses: np.ndarray) -> None:
    variants = [
        augment_poses(poses, BODY, PAPER, 1, INDICES),
        augment_poses(poses, BODY, PAPER, 2, INDICES),
        augment_poses(poses, BODY, PAPER, 1, INDICES, epoch=1),
        augment_poses(poses, BODY, PAPER, 1, INDICES + 1),
    ]
    for i, one in enumerate(variants):
        for other in variants[:i]:
            assert (one != other).any(axis=(1, 2)).all()


def test_nothing_varies_nothing(poses: np.ndarray) -> None:
    assert augment_poses(poses, BODY, Augment(), 0, INDICES).tobytes() == poses.tobytes()


@pytest.mark.parametrize("name", list_skeletons())
def test_turns_keep_the_length_of_every_bone(name: str) -> None:
    skeleton = load_skeleton(name)
    poses = np.random.default_rng(5).uniform(-1, 1, (300, skeleton.num_keypoints, 2))
    turned = augment_poses(
        poses, skeleton, Augment(rotation_deg=(-180, 180), limb_rotation_deg=(-180, 180)), 0, INDICES[:300]
    )
    lengths = bone_lengths(poses, skeleton)
    np.testing.assert_allclose(bone_lengths(turned, skeleton), lengths, rtol=0, atol=1e-6)
    limb = augment_poses(poses, skeleton, Augment(limb_rotation_deg=(90, 90)), 0, INDICES[:300])
    moved = (np.abs(limb - poses) > 1e-3).any(axis=2)
    assert moved.any(axis=1).all(), "a limb of every pose turns"
    assert not moved[:, list(skeleton.root)].any(), "the root stays"
    names = set(limb_names(skeleton))
    assert len({tuple(row) for row in moved.tolist()}) >= min(len(names), 5)


def test_scale_is_that_of_the_frame(poses: np.ndarray) -> None:
    scaled = augment_poses(poses, BODY, Augment(scale=((0.7, 0.9), (1.1, 1.2))), 0, INDICES)
    factor = (scaled.astype(np.float64) / poses).reshape(N, -1)
    assert np.ptp(factor, axis=1).max() < 1e-5
    factor = factor.mean(axis=1)
    low, high = (factor > 0.69999) & (factor < 0.90001), (factor > 1.09999) & (factor < 1.20001)
    assert (low | high).all()
    assert abs(low.mean() - 2 / 3) < 0.12, "each range by its width"
    assert np.ptp(factor[low]) > 0.19
    assert np.ptp(factor[high]) > 0.09


def test_single_values_are_drawn_alike(poses: np.ndarray) -> None:
    turned = augment_poses(poses, BODY, Augment(rotation_deg=((90, 90), (180, 180))), 0, INDICES)
    quarter = (turned == poses[..., ::-1] * np.array([-1, 1], np.float32)).all(axis=(1, 2))
    half = (turned == -poses).all(axis=(1, 2))
    assert (quarter ^ half).all(), "exact at right angles"
    assert abs(quarter.mean() - 0.5) < 0.12


def test_mirror_image_is_that_of_the_picture(poses: np.ndarray) -> None:
    """Where the bones' colours do not tell left from right, the picture of the mirrored pose is the mirrored one."""
    colours = {"bone_colors": [[9, 99, 255]] * len(BODY.bones), "joint_colors": [[255, 9, 9]] * 13}
    plain = Skeleton(
        "plain", BODY.names, [], flip_pairs=BODY.flip_pairs, joint_colors=colours["joint_colors"]
    )
    visibility = np.random.default_rng(2).integers(0, 3, (N, 13)).astype(np.uint8)
    flip = Augment(flip=1)
    mirrored, seen = augment_labelled(poses, visibility, plain, flip, 0, INDICES)
    assert (mirrored[seen == 0] == 0).all()

    def picture(points: np.ndarray, flags: np.ndarray) -> np.ndarray:
        pixels = pixels_from_normalized(points, 32)
        return rasterize(pixels, flags, plain, size_px=32, joint_radius_px=1.5).astype(np.int64)

    difference = np.abs(picture(mirrored, seen) - picture(poses, visibility)[:, :, ::-1])
    assert difference.max() <= 1
    left, right = BODY.index("left_wrist"), BODY.index("right_wrist")
    assert np.array_equal(seen[:, left], visibility[:, right])


def test_half_are_mirrored(poses: np.ndarray) -> None:
    flipped = (augment_poses(poses, BODY, Augment(flip=0.5), 0, INDICES) != poses).any(axis=(1, 2))
    assert abs(flipped.mean() - 0.5) < 0.12


def test_missing_joints_stay_missing_and_hold_no_limb(poses: np.ndarray) -> None:
    visibility = np.full((N, 13), 2, np.uint8)
    visibility[:, BODY.index("left_hip")] = 0
    holes = poses.copy()
    holes[visibility == 0] = np.nan
    augment = Augment(limb_rotation_deg=(90, 90), limbs=("left_knee",))
    turned = augment_poses(holes, BODY, augment, 0, INDICES, visibility=visibility)
    assert np.array_equal(turned[visibility > 0], poses[visibility > 0])
    assert (turned[visibility == 0] == 0).all()
    turned = augment_poses(poses, BODY, augment, 0, INDICES)
    assert (turned != poses).any(axis=(0, 2)).nonzero()[0].tolist() == [9, 11]


def test_one_more_variation_leaves_the_others(poses: np.ndarray) -> None:
    both = augment_poses(poses, BODY, Augment.parse("rotation=30,scale=0.5"), 0, INDICES)
    one = augment_poses(poses, BODY, Augment.parse("rotation=30"), 0, INDICES)
    np.testing.assert_allclose(both, one / 2, atol=1e-6)


def test_a_skeleton_without_bones_has_no_limbs() -> None:
    dots = Skeleton("dots", ["a", "b", "c"])
    assert limb_names(dots) == ()
    poses = np.ones((2, 3, 2))
    assert (augment_poses(poses, dots, Augment(limb_rotation_deg=(5, 9)), 0, np.arange(2)) == 1).all()
    assert augment_poses(poses[:0], dots, PAPER_WITHOUT_LIMB, 0, np.arange(0)).shape == (0, 3, 2)


PAPER_WITHOUT_LIMB = Augment.parse("rotation=45,scale=0.7:0.9/1.1:1.2,flip=0.5")


def test_parse() -> None:
    assert Augment.parse("") == Augment()
    assert Augment.parse("rotation=30,limb=20,scale=0.8:1.2,flip=0.5") == Augment(
        rotation_deg=(-30, 30), limb_rotation_deg=(-20, 20), scale=(0.8, 1.2), flip=0.5
    )
    assert Augment.parse(" scale=0.9 , rotation=-5:45 ") == Augment(scale=(0.9, 0.9), rotation_deg=(-5, 45))
    assert PAPER.limbs == ("left_knee", "right_knee")
    assert PAPER.limb_rotation_deg == ((135, 225),)


ANGLES = st.tuples(st.floats(-360, 360), st.floats(-360, 360)).map(lambda pair: tuple(sorted(pair)))


@given(
    ANGLES, ANGLES, st.sampled_from([(), ("left_knee",), ("a", "b")]), st.floats(0.01, 100), st.floats(0, 1)
)
def test_text_comes_back(rotation, limb, limbs, scale, flip) -> None:
    augment = Augment(
        rotation_deg=rotation, limb_rotation_deg=limb, limbs=limbs, scale=(scale, 100), flip=flip
    )
    assert Augment.parse(str(augment)) == augment


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rotate=3", "rotation"),
        ("rotation", "rotation"),
        ("rotation=x", "number"),
        ("rotation=1:", "number"),
        ("rotation=5:1", "low <= high"),
        ("rotation=400", "360"),
        ("rotation=nan", "low <= high"),
        ("rotation=1,rotation=2", "twice"),
        ("scale=0", "scale"),
        ("scale=-1:1", "scale"),
        ("scale=0.9/1.1:1.2", "single values"),
        ("scale=inf", "scale"),
        ("limb=5@", "limbs"),
        ("flip=2", "probability"),
        ("flip=nan", "probability"),
    ],
)
def test_wrong_texts(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Augment.parse(text)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"normalized": np.zeros((2, 12, 2))}, "normalized must be"),
        ({"indices": np.zeros(3, np.int64)}, "indices must be"),
        ({"indices": np.zeros(2)}, "indices must be"),
        ({"indices": np.array([0, -1])}, "rows must be"),
        ({"seed": -1}, "seed must be"),
        ({"epoch": -1}, "lap must be"),
        ({"visibility": np.zeros((2, 12))}, "visibility must be"),
        ({"augment": Augment(limbs=("tail",))}, "tail"),
        ({"augment": Augment(limbs=("nose",))}, "limbs must be among left_elbow"),
    ],
)
def test_wrong_arguments(change: dict[str, object], word: str) -> None:
    arguments = {
        "normalized": np.zeros((2, 13, 2)),
        "skeleton": BODY,
        "augment": PAPER,
        "seed": 0,
        "indices": np.arange(2),
    }
    with pytest.raises(UsageError, match=word):
        augment_poses(**{**arguments, **change})


@pytest.mark.parametrize(
    "values",
    [
        {"rotation_deg": ()},
        {"rotation_deg": (1, 2, 3)},
        {"rotation_deg": (True, True)},
        {"limbs": "left_knee"},
        {"limbs": (3,)},
        {"flip": "0.5"},
    ],
)
def test_wrong_values(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        Augment(**values)

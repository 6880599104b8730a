"""Joint maps: by hand on small poses, identity, derived joints, visibility, faces."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest

from flexpose.errors import UsageError
from flexpose.poses import PoseSet
from flexpose.skeleton import Skeleton, joint_map, list_skeletons, load_skeleton, map_joints

BODIES = ("coco17", "h36m17", "mpii16", "lsp14", "penn13", "openpose18", "smpl24", "mpi_inf_3dhp")


def _poses(name: str, n: int = 3, seed: int = 0) -> PoseSet:
    skeleton = load_skeleton(name)
    rng = np.random.default_rng(seed)
    k = skeleton.num_keypoints
    return PoseSet(
        rng.uniform(0, 500, (n, k, 2)),
        rng.integers(0, 3, (n, k)),
        skeleton=skeleton,
        image_size=(500, 500),
        ids=[7, 5, 6][:n],
        labels=["a", "b", ""][:n],
    )


@pytest.mark.parametrize("name", list_skeletons())
def test_identity(name):
    skeleton = load_skeleton(name)
    found = joint_map(skeleton, skeleton)
    assert found.kind == "identical"
    assert np.array_equal(found.weights, np.eye(skeleton.num_keypoints))
    poses = _poses(name)
    keypoints, visibility = found.apply(poses.keypoints, poses.visibility)
    assert np.array_equal(keypoints, poses.keypoints)
    assert np.array_equal(visibility, poses.visibility)
    assert map_joints(poses, skeleton) is poses


def test_coco_to_body13_takes_the_published_rows():
    poses = _poses("coco17")
    mapped = map_joints(poses, load_skeleton("body13"))
    rows = [0, *range(5, 17)]
    assert np.array_equal(mapped.keypoints, poses.keypoints[:, rows])
    assert np.array_equal(mapped.visibility, poses.visibility[:, rows])
    assert joint_map(poses.skeleton, mapped.skeleton).kind == "exact"
    assert (mapped.labels, mapped.ids.tolist()) == (poses.labels, poses.ids.tolist())
    assert np.array_equal(mapped.image_size, poses.image_size)


def test_lsp_order_of_mpii():
    # The order that LSP users take from MPII for the limbs.
    rows = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    poses = _poses("mpii16")
    mapped = map_joints(poses, load_skeleton("lsp14"))
    assert np.array_equal(mapped.keypoints[:, :12], poses.keypoints[:, rows])
    assert joint_map(poses.skeleton, mapped.skeleton).approximate_joints == ("neck", "head_top")
    assert np.array_equal(mapped.keypoints[:, 12:], poses.keypoints[:, [8, 9]])


def test_penn_head_stands_for_the_nose():
    poses = _poses("penn13")
    found = joint_map(poses.skeleton, load_skeleton("body13"))
    assert found.kind == "approximate"
    assert found.approximate_joints == ("nose",)
    mapped = map_joints(poses, load_skeleton("body13"))
    # Penn has right before left in every pair.
    rows = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11]
    assert np.array_equal(mapped.keypoints, poses.keypoints[:, rows])
    assert "nose ~ head" in found.describe()
    assert "left_hip = left_hip" in found.describe()


def test_derived_joints_by_hand():
    skeleton = load_skeleton("coco17")
    kp = np.zeros((1, 17, 2), np.float32)
    kp[0, 5], kp[0, 6] = (10, 20), (30, 24)  # shoulders
    kp[0, 11], kp[0, 12] = (14, 60), (26, 64)  # hips
    kp[0, 0] = (20, 12)  # nose
    vis = np.full((1, 17), 2)
    vis[0, 5], vis[0, 12] = 1, 0
    mapped = map_joints(PoseSet(kp, vis, skeleton=skeleton), load_skeleton("openpose18"))
    neck = mapped.skeleton.index("neck")
    assert mapped.keypoints[0, neck].tolist() == [20, 22]
    assert mapped.visibility[0, neck] == 1  # as visible as the least visible shoulder
    assert joint_map(skeleton, mapped.skeleton).kind == "exact"
    h36m = map_joints(PoseSet(kp, vis, skeleton=skeleton), load_skeleton("h36m17"))
    pelvis, thorax = h36m.skeleton.index("pelvis"), h36m.skeleton.index("thorax")
    assert h36m.visibility[0, pelvis] == 0  # a hip is missing
    assert h36m.keypoints[0, pelvis].tolist() == [0, 0]
    assert h36m.keypoints[0, thorax].tolist() == [20, 22]
    whole = map_joints(PoseSet(kp, skeleton=skeleton), load_skeleton("h36m17"))
    assert whole.keypoints[0, pelvis].tolist() == [20, 62]
    assert whole.keypoints[0, h36m.skeleton.index("spine")].tolist() == [20, 42]
    # The crown lies beyond the nose, seen from the shoulders: 22 - 1.9 * (22 - 12) = 3.
    np.testing.assert_allclose(whole.keypoints[0, h36m.skeleton.index("head_top")], [20, 3], atol=1e-5)


def test_mpii_pelvis_and_thorax_are_means_by_definition():
    found = joint_map(load_skeleton("coco17"), load_skeleton("mpii16"))
    assert found.approximate_joints == ("upper_neck", "head_top")


@pytest.mark.parametrize("name", BODIES)
def test_every_body_becomes_body13(name):
    found = joint_map(load_skeleton(name), load_skeleton("body13"))
    assert set(found.approximate_joints) <= {"nose"}
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    # limbs are copied, each from the joint of its name
    for joint, joint_name in enumerate(found.target.names[1:], 1):
        assert found.weights[joint, found.source.names.index(joint_name)] == 1


POSSIBLE = [(a, b) for a in BODIES for b in BODIES if a != b and b not in {"coco17", "smpl24"}]
POSSIBLE = [p for p in POSSIBLE if p[1] not in {"openpose18", "mpi_inf_3dhp"}]
POSSIBLE += [("coco17", "openpose18"), ("openpose18", "coco17"), ("wflw98", "face68")]


def test_which_maps_there_are():
    found = set()
    for a, b in itertools.permutations([*BODIES, "face68", "wflw98", "hand21"], 2):
        with contextlib.suppress(UsageError):
            joint_map(load_skeleton(a), load_skeleton(b))
            found.add((a, b))
    assert found == set(POSSIBLE)


@pytest.mark.parametrize(("a", "b"), POSSIBLE)
def test_maps_commute_with_mirroring(a, b):
    source, target = load_skeleton(a), load_skeleton(b)
    found = joint_map(source, target)
    np.testing.assert_allclose(found.weights[target.flip_index][:, source.flip_index], found.weights)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)


def test_impossible_maps_say_what_is_missing():
    with pytest.raises(UsageError, match="no source for left_eye, right_eye, left_ear, right_ear"):
        joint_map(load_skeleton("body13"), load_skeleton("coco17"))
    for other in ("face68", "hand21"):
        with pytest.raises(UsageError, match="cannot be mapped"):
            map_joints(_poses("coco17"), load_skeleton(other))
    with pytest.raises(UsageError, match="cannot be mapped"):
        joint_map(load_skeleton("face68"), load_skeleton("wflw98"))


def test_wflw_to_68():
    # The table that users of both data sets share.
    rows = [*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60), 60, 61, 63, 64, 65, 67]
    rows += [68, 69, 71, 72, 73, 75, *range(76, 96)]
    found = joint_map(load_skeleton("wflw98"), load_skeleton("face68"))
    assert found.kind == "exact"
    assert found.weights.argmax(axis=1).tolist() == rows
    assert (found.weights.sum(axis=1) == 1).all()


def test_a_users_skeleton_is_mapped_by_name():
    own = Skeleton("mine", ["tail", *load_skeleton("body13").names])
    assert joint_map(own, load_skeleton("body13")).kind == "exact"
    with pytest.raises(UsageError, match="no source for tail"):
        joint_map(load_skeleton("body13"), own)


def test_apply_refuses_other_shapes():
    found = joint_map(load_skeleton("coco17"), load_skeleton("body13"))
    with pytest.raises(UsageError, match=r"\[N, 17, 2\]"):
        found.apply(np.zeros((2, 13, 2), np.float32), np.zeros((2, 13), np.uint8))

"""The skeletons of the package against what their data sets' owners publish."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from flexpose.skeleton import find_skeleton, list_skeletons, load_skeleton

ALL = ("body13", "coco17", "face68", "h36m17", "hand21", "lsp14", "mpi_inf_3dhp", "mpii16")
ALL += ("openpose18", "penn13", "smpl24", "wflw98")


def test_list():
    assert list_skeletons() == ALL
    assert [load_skeleton(name).name for name in ALL] == list(ALL)
    assert load_skeleton("coco17") is load_skeleton("coco17")


@pytest.mark.parametrize(
    ("name", "keypoints", "bones", "pairs"),
    [
        ("body13", 13, 14, 6),
        ("coco17", 17, 19, 8),
        ("face68", 68, 63, 29),
        ("h36m17", 17, 16, 6),
        ("hand21", 21, 20, 0),
        ("lsp14", 14, 14, 6),
        ("mpi_inf_3dhp", 28, 27, 10),
        ("mpii16", 16, 15, 6),
        ("openpose18", 18, 17, 8),
        ("penn13", 13, 14, 6),
        ("smpl24", 24, 23, 9),
        ("wflw98", 98, 93, 44),
    ],
)
def test_counts(name, keypoints, bones, pairs):
    s = load_skeleton(name)
    assert (s.num_keypoints, len(s.bones), len(s.flip_pairs)) == (keypoints, bones, pairs)
    assert s.description
    assert s.torso is not None
    assert find_skeleton(s.names) is s
    assert find_skeleton(s.names[::-1]) is None


def test_coco_sigmas_are_those_of_pycocotools():
    truth = Params("keypoints").kpt_oks_sigmas
    assert load_skeleton("coco17").sigmas.tolist() == pytest.approx(truth.tolist())
    body = [0, *range(5, 17)]
    assert load_skeleton("body13").sigmas.tolist() == pytest.approx(truth[body].tolist())


def test_coco_names_and_bones():
    # As in the categories of person_keypoints_val2017.json (bones there are 1-based).
    names = [
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ]
    one_based = [
        [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9], [8, 10],
        [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
    ]  # fmt: skip
    s = load_skeleton("coco17")
    assert list(s.names) == names
    assert {frozenset(b) for b in s.bones} == {frozenset((a - 1, b - 1)) for a, b in one_based}


def test_body13_is_part_of_coco():
    coco, body = load_skeleton("coco17"), load_skeleton("body13")
    assert body.names == tuple(coco.names[i] for i in (0, *range(5, 17)))
    assert body.bones == (
        (1, 2), (1, 3), (3, 5), (2, 4), (4, 6), (1, 7), (2, 8), (7, 8), (7, 9), (9, 11), (8, 10), (10, 12),
        (0, 1), (0, 2),
    )  # fmt: skip


def test_h36m_sides():
    # The usual 17 (VideoPose3D): right leg 1-3, left leg 4-6, left arm 11-13, right arm 14-16.
    names = load_skeleton("h36m17").names
    left = [i for i, name in enumerate(names) if name.startswith("left")]
    right = [i for i, name in enumerate(names) if name.startswith("right")]
    assert left == [4, 5, 6, 11, 12, 13]
    assert right == [1, 2, 3, 14, 15, 16]


def test_openpose_limbs_and_colours():
    s = load_skeleton("openpose18")
    assert s.names[:2] == ("nose", "neck")
    assert s.bones[0] == (1, 2)  # neck to right shoulder, drawn first and red
    assert s.bone_colors[0].tolist() == [255, 0, 0]
    assert s.joint_colors[17].tolist() == [255, 0, 85]
    assert np.array_equal(s.bone_colors, s.joint_colors[:17])


def test_smpl_tree():
    # parents of SMPL's kinematic tree (kintree_table of the model files)
    parents = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    assert load_skeleton("smpl24").bones == tuple((p, i + 1) for i, p in enumerate(parents))


@pytest.mark.parametrize("name", [n for n in ALL if n not in {"face68", "wflw98", "hand21"}])
def test_sides_are_paired_by_name(name):
    s = load_skeleton(name)
    sided = {i for i, n in enumerate(s.names) if n.startswith(("left_", "right_"))}
    assert {i for pair in s.flip_pairs for i in pair} == sided
    for left, right in s.flip_pairs:
        assert s.names[left].replace("left_", "right_") == s.names[right]
    # A mirrored skeleton has the same bones.
    flip = s.flip_index
    bones = {frozenset(b) for b in s.bones}
    assert {frozenset((int(flip[a]), int(flip[b]))) for a, b in s.bones} == bones


@pytest.mark.parametrize("name", ["face68", "wflw98"])
def test_faces_mirror_onto_themselves(name):
    s = load_skeleton(name)
    bones = {frozenset(b) for b in s.bones}
    flip = s.flip_index
    assert {frozenset((int(flip[a]), int(flip[b]))) for a, b in s.bones} == bones
    middle = {s.names[i] for i in range(s.num_keypoints) if flip[i] == i}
    if name == "face68":
        # chin, nose ridge, nose base, middle of the four lip lines
        assert {s.names.index(n) for n in middle} == {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}
    else:
        assert {s.names.index(n) for n in middle} == {16, 51, 52, 53, 54, 57, 79, 85, 90, 94}


def test_wflw_pairs_of_the_owner():
    # From the owners' picture of the 98 points: brows run 33-37 above and 38-41 back below, and 42-46, 47-50.
    flip = load_skeleton("wflw98").flip_index
    expected = {0: 32, 33: 46, 37: 42, 38: 50, 41: 47, 55: 59, 60: 72, 64: 68, 65: 75, 76: 82, 87: 83, 96: 97}
    assert {i: int(flip[i]) for i in expected} == expected

"""The Skeleton type: what it refuses, equality, immutability, copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from flexpose.errors import UsageError
from flexpose.skeleton import Skeleton, load_skeleton
from flexpose.skeleton.schema import DEFAULT_SIGMA, mirror_pairs

NAMES = ["head", "left_hand", "right_hand", "tail"]
BONES = [(0, 1), (0, 2), (0, 3)]


def test_defaults():
    s = Skeleton("bug", NAMES, BONES)
    assert s.num_keypoints == 4
    assert s.flip_pairs == ((1, 2),)
    assert s.flip_index.tolist() == [0, 2, 1, 3]
    assert s.sigmas.tolist() == [DEFAULT_SIGMA] * 4
    assert s.root == (0, 1, 2, 3)
    assert s.torso is None
    assert s.bone_colors.shape == (3, 3)
    assert s.joint_colors.shape == (4, 3)
    together = np.concatenate([s.bone_colors, s.joint_colors])
    assert len(np.unique(together, axis=0)) == 7
    assert s.index("tail") == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": " "}, "name must be text"),
        ({"names": []}, "names must be 1 to 1024"),
        ({"names": [f"k{i}" for i in range(1025)]}, "got 1025"),
        ({"names": ["a", "b", "a", "c"]}, "unique, got 'a' twice"),
        ({"names": ["a", "", "b", "c"]}, "not empty"),
        ({"names": "abcd"}, "names must be"),
        ({"bones": [(0, 4)]}, "from 0 to 3, got 4"),
        ({"bones": [(-1, 2)]}, "got -1"),
        ({"bones": [(1, 1)]}, "two different"),
        ({"bones": [(0, 1), (0, 1)]}, "unique"),
        ({"bones": [(0, 1, 2)]}, "pairs"),
        ({"bones": [(0, 1.0)]}, "indices"),
        ({"flip_pairs": [(1, 2), (2, 3)]}, "each keypoint once"),
        ({"flip_pairs": [(1, 9)]}, "got 9"),
        ({"sigmas": [0.1, 0.1, 0.1]}, r"\[4\], got \[3\]"),
        ({"sigmas": [0.1, 0.1, 0.1, 0.0]}, "> 0"),
        ({"sigmas": [0.1, 0.1, 0.1, float("nan")]}, "finite"),
        ({"root": []}, "root"),
        ({"root": [4]}, "root"),
        ({"torso": (0, 7)}, "torso"),
        ({"palette_seed": -1}, "palette_seed"),
        ({"palette_seed": True}, "palette_seed"),
        ({"bone_colors": [[0, 0, 256]] * 3}, "0 to 255"),
        ({"bone_colors": [[0, 0, 2]] * 2}, r"\[3, 3\], got \[2, 3\]"),
        ({"joint_colors": [[0.5, 0, 2]] * 4}, "integers"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(UsageError, match=message):
        Skeleton(**({"name": "bug", "names": NAMES, "bones": BONES} | change))


def test_unknown_keypoint_name():
    with pytest.raises(UsageError, match="got 'nose'"):
        Skeleton("bug", NAMES).index("nose")


def test_mirror_pairs_by_name():
    assert mirror_pairs(["Right_Ear", "left_ear", "eyeLeft", "eyeRight", "left_x"]) == ((1, 0), (2, 3))


def test_immutable():
    s = load_skeleton("body13")
    with pytest.raises(AttributeError, match="immutable"):
        s.name = "x"
    with pytest.raises(AttributeError, match="immutable"):
        del s.name
    for array in (s.sigmas, s.bone_colors, s.joint_colors, s.flip_index):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_equal_and_hashable_by_content():
    a, b = (Skeleton("bug", NAMES, BONES, description=d) for d in ("one", "two"))
    assert a == b
    assert hash(a) == hash(b)
    assert len({a, b}) == 1
    assert a != "bug"
    changed = [
        Skeleton("bog", NAMES, BONES),
        Skeleton("bug", NAMES, BONES[::-1]),
        Skeleton("bug", NAMES, BONES, flip_pairs=()),
        Skeleton("bug", NAMES, BONES, sigmas=[0.1, 0.1, 0.1, 0.2]),
        Skeleton("bug", NAMES, BONES, root=[0]),
        Skeleton("bug", NAMES, BONES, torso=(0, 3)),
        Skeleton("bug", NAMES, BONES, palette_seed=1),
        Skeleton("bug", NAMES, BONES, joint_colors=[[1, 2, 3]] * 4),
    ]
    assert len({a.fingerprint, *(s.fingerprint for s in changed)}) == 1 + len(changed)


def test_body13_fingerprint_never_changes():
    # Checkpoints name it; a change is a break of the format.
    assert (
        load_skeleton("body13").fingerprint
        == "b93e6ed2ea83ebc5e3626353fd16c8dd8164355325bc4390cacd624ba6bbb83c"
    )


def test_copies_are_equal():
    s = load_skeleton("openpose18")
    assert copy.deepcopy(s) == s
    assert pickle.loads(pickle.dumps(s)) == s  # worker processes get it so


def test_repr_is_short():
    assert repr(load_skeleton("wflw98")) == "Skeleton('wflw98', 98 keypoints, 93 bones)"

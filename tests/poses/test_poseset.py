"""PoseSet: what goes in, what is refused, indexing, joining, mirroring."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body13")
ONE = Skeleton("one", ["left_a", "right_a", "b"], [(0, 1)])


def _zeros(n: int = 2, **fields) -> PoseSet:
    return PoseSet(**({"keypoints": np.zeros((n, 3, 2)), "skeleton": ONE} | fields))


def test_defaults():
    p = PoseSet([[[1, 2], [3.5, 4], [-5, 0]], [[0, 0], [0, 0], [-1, -1]]], skeleton=ONE)
    assert p.keypoints.dtype == np.float32
    assert p.visibility.tolist() == [[2, 2, 2], [2, 2, 2]]
    assert p.image_size.tolist() == [[4, 4], [1, 1]]  # the tight box from the corner, rounded up
    assert p.ids.tolist() == [1, 2]
    assert p.labels is None
    assert p.origin is None
    assert repr(p) == "PoseSet(2 poses, one, keypoints [2, 3, 2])"


def test_not_labelled_is_zero_and_may_come_as_nan():
    kp = np.full((1, 3, 2), np.nan)
    kp[0, 0] = 5
    p = PoseSet(kp, [[1, 0, 0]], skeleton=ONE)
    assert p.keypoints.tolist() == [[[5, 5], [0, 0], [0, 0]]]
    assert PoseSet(kp, [[True, False, False]], skeleton=ONE).visibility.tolist() == [[2, 0, 0]]
    assert p.complete().tolist() == [False]


def test_input_is_copied_and_frozen():
    kp, vis = np.ones((1, 3, 2), np.float32), np.full((1, 3), 2, np.uint8)
    p = PoseSet(kp, vis, skeleton=ONE)
    kp[:] = 9
    vis[:] = 0
    assert p.keypoints.max() == 1
    assert p.visibility.min() == 2
    for array in (
        p.keypoints,
        p.visibility,
        p.image_size,
        p.ids,
        p[0].keypoints,
        p[:1].ids,
        p.flipped().keypoints,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(AttributeError, match=r"use replace\(keypoints="):
        p.keypoints = kp
    with pytest.raises(AttributeError, match="immutable"):
        del p.ids


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keypoints": np.zeros((4, 12, 2))}, r"keypoints must be \[N, 3, 2\], got \[4, 12, 2\]"),
        ({"keypoints": np.zeros((2, 3, 3))}, r"got \[2, 3, 3\]"),
        ({"keypoints": [[1, 2], [3]]}, "keypoints must be an array of numbers"),
        ({"keypoints": [[["a", "b"]] * 3]}, "keypoints must be numbers"),
        ({"keypoints": np.zeros((2, 3, 2), complex)}, "keypoints must be numbers, got complex128"),
        ({"skeleton": "body13"}, "skeleton must be a Skeleton, got str"),
        ({"visibility": np.zeros((2, 2))}, r"visibility must be \[2, 3\], got \[2, 2\]"),
        ({"image_size": (1, 2, 3)}, "image_size must be"),
        ({"image_size": [[1, 2]] * 3}, "image_size must be"),
        ({"ids": [1]}, r"ids must be \[2\], got \[1\]"),
        ({"ids": [1.0, 2.0]}, "integers"),
        ({"ids": np.array([1, 2**63], np.uint64)}, "below 2\\^63"),
        ({"labels": ["a"]}, "labels must be 2 strings"),
        ({"labels": "ab"}, "labels must be 2 strings"),
        ({"labels": ["a", 3]}, "labels must be strings, got 3"),
    ],
)
def test_wrong_arguments(fields, message):
    with pytest.raises(UsageError, match=message):
        _zeros(**fields)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("visibility", [None, [[0, 0, 0], [0, 1, 0]]])
def test_not_finite_where_labelled(bad, visibility):
    kp = np.zeros((2, 3, 2))
    kp[1, 1, 0] = bad
    with pytest.raises(DataError, match=r"file: record 1: keypoints: must be finite .* at joint 1") as caught:
        PoseSet(kp, visibility, skeleton=ONE, origin="file")
    assert (caught.value.record, caught.value.field) == (1, "keypoints")


@pytest.mark.parametrize("bad", [3, -1, 0.5, np.nan])
def test_visibility_out_of_range(bad):
    with pytest.raises(DataError, match="must be 0, 1 or 2") as caught:
        _zeros(visibility=[[0, 1, 2], [0, 1, bad]])
    assert (caught.value.record, caught.value.field) == (1, "visibility")


@pytest.mark.parametrize("bad", [0, -3, 1.5, np.nan, np.inf, 2.0**31])
def test_image_size_out_of_range(bad):
    with pytest.raises(DataError, match="integers >= 1") as caught:
        _zeros(image_size=[[5, 5], [bad, 5]])
    assert (caught.value.record, caught.value.field) == (1, "image_size")


def test_no_poses():
    for kp in (np.zeros((0, 3, 2)), np.zeros((0, 3, 2), np.float32)):
        p = PoseSet(kp, skeleton=ONE, labels=[])
        assert len(p) == 0
        assert p.image_size.shape == (0, 2)
        assert p.complete().shape == (0,)
        assert len(p[[]]) == len(p.flipped()) == len(PoseSet.concat([p, p])) == 0


def test_indexing(poses):
    assert poses[2] == poses[[2]] == poses[2:3] == poses[np.arange(6) == 2] == poses[-4] == poses[np.int64(2)]
    assert poses[[3, 0, 3]].ids.tolist() == [4, 1, 4]
    assert poses[[3, 0, 3]].labels == ("sit", "walk", "sit")
    assert poses[::-2].labels == ("walk", "sit", "walk")
    assert [p.ids[0] for p in poses] == [1, 2, 3, 4, 5, 6]
    assert np.array_equal(poses[poses.complete()].keypoints, poses.keypoints[[0, 2, 3]])
    assert poses[:0].labels == ()
    assert poses[np.array([-1])].ids.tolist() == [6]


@pytest.mark.parametrize("index", [6, -7, [0, 6], [-7]])
def test_index_out_of_range(poses, index):
    with pytest.raises(IndexError, match="-6 to 5"):
        poses[index]


@pytest.mark.parametrize("index", [True, "a", [0.5], [[0]], [True, False], None, np.zeros(7, bool)])
def test_index_of_a_wrong_kind(poses, index):
    with pytest.raises(UsageError, match="index"):
        poses[index]


def test_replace(poses):
    assert poses.replace() == poses
    changed = poses.replace(labels=None, origin="x")
    assert (changed.labels, changed.origin) == (None, "x")
    with pytest.raises(UsageError, match="got label"):
        poses.replace(label="x")
    with pytest.raises(UsageError, match=r"\[6\]"):
        poses.replace(ids=[1])


def test_equality_by_content(poses):
    assert poses == poses.replace(origin="elsewhere")
    kp = poses.keypoints.copy()
    kp[0, 0, 0] += 1
    for other in (
        poses.replace(keypoints=kp),
        poses.replace(ids=poses.ids + 1),
        poses.replace(labels=None),
        poses.replace(image_size=(201, 160)),
        poses.replace(skeleton=Skeleton("x", BODY.names)),
        poses[:5],
    ):
        assert poses != other
        assert poses.content_hash() != other.content_hash()
    assert poses != 3
    assert poses.content_hash() == copy.deepcopy(poses).content_hash()
    assert pickle.loads(pickle.dumps(poses)) == poses  # worker processes get it so
    with pytest.raises(TypeError, match="unhashable"):
        hash(poses)


def test_content_hash_takes_signed_zeros_as_equal():
    a, b = _zeros(), _zeros(keypoints=np.full((2, 3, 2), -0.0))
    assert a == b
    assert a.content_hash() == b.content_hash()


def test_concat(poses):
    both = PoseSet.concat([poses[:2], poses[2:]])
    assert both == poses
    mixed = PoseSet.concat([poses[:1].replace(labels=None, origin="a"), poses[1:2].replace(origin="b")])
    assert mixed.labels == ("", "walk")
    assert mixed.origin is None
    assert PoseSet.concat([p.replace(labels=None) for p in poses]).labels is None
    with pytest.raises(UsageError, match="at least one"):
        PoseSet.concat([])
    with pytest.raises(UsageError, match="body13 and one: use map_joints"):
        PoseSet.concat([poses, _zeros()])


def test_flipped_by_hand():
    p = PoseSet([[[1, 2], [30, 4], [7, 8]]], [[2, 0, 1]], skeleton=ONE, image_size=(100, 50)).flipped()
    assert p.keypoints.tolist() == [[[0, 0], [99, 2], [93, 8]]]
    assert p.visibility.tolist() == [[0, 2, 1]]


@st.composite
def _sets(draw):
    n = draw(st.integers(0, 5))
    # Quarters of a pixel below 2^20: what float32 mirrors without rounding.
    grid = hnp.arrays(np.int32, (n, 13, 2), elements=st.integers(-(2**21), 2**21))
    vis = draw(hnp.arrays(np.uint8, (n, 13), elements=st.integers(0, 2)))
    labels = draw(st.none() | st.lists(st.sampled_from(["", "a", "ü"]), min_size=n, max_size=n))
    ids = draw(hnp.arrays(np.int64, n))
    size = draw(hnp.arrays(np.int32, (n, 2), elements=st.integers(1, 5000)))
    return PoseSet(draw(grid) / 4, vis, skeleton=BODY, image_size=size, ids=ids, labels=labels)


@settings(max_examples=50, deadline=None)
@given(_sets())
def test_flipping_twice_is_the_identity(p):
    assert p.flipped().flipped() == p
    assert p.flipped().visibility.sum() == p.visibility.sum()


@settings(max_examples=50, deadline=None)
@given(_sets(), st.data())
def test_cutting_and_joining(p, data):
    cut = data.draw(st.integers(0, len(p)))
    assert PoseSet.concat([p[:cut], p[cut:]]) == p
    mask = data.draw(hnp.arrays(bool, len(p)))
    rows = np.flatnonzero(mask)
    assert p[mask] == p[rows] == p[rows.tolist()]

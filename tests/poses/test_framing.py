"""Framing: closed forms of the three modes, exact round trips, poses that cannot be framed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet, frame_poses, normalized_poses
from flexpose.skeleton import Skeleton

PAIR = Skeleton("pair", ["a", "b", "c"], [(0, 1)], root=[0, 1])


def _one(points, visibility=None, **fields) -> PoseSet:
    return PoseSet([points], None if visibility is None else [visibility], skeleton=PAIR, **fields)


def test_bbox_by_hand():
    frames = frame_poses(_one([[10, 100], [30, 100], [20, 140]]))
    assert frames.center.tolist() == [[20, 120]]
    assert frames.half.tolist() == [24]  # longer side 40, and 10 % of it on both ends: 48 / 2
    normalized = normalized_poses(_one([[10, 100], [30, 100], [20, 140]]))
    np.testing.assert_allclose(normalized[0], [[-10 / 24, -20 / 24], [10 / 24, -20 / 24], [0, 20 / 24]])
    assert frame_poses(_one([[10, 100], [30, 100], [20, 140]]), margin=0).half.tolist() == [20]


def test_missing_joints_do_not_count():
    p = _one([[10, 100], [30, 100], [9999, 0]], [2, 1, 0])
    assert frame_poses(p).center.tolist() == [[20, 100]]
    assert frame_poses(p).half.tolist() == [12]
    assert normalized_poses(p)[0, 2].tolist() == [0, 0]


def test_keep_by_hand():
    p = _one([[0, 0], [640, 480], [320, 240]], image_size=(640, 480))
    frames = frame_poses(p, "keep", 0.3)
    assert frames.center.tolist() == [[320, 240]]
    assert frames.half.tolist() == [320]
    np.testing.assert_allclose(normalized_poses(p, "keep")[0], [[-1, -0.75], [1, 0.75], [0, 0]])


def test_root_by_hand():
    frames = frame_poses(_one([[10, 10], [30, 10], [20, 60]]), "root")
    assert frames.center.tolist() == [[20, 10]]
    assert frames.half.tolist() == [60]  # the farthest point is 50 away; times 1.2


def test_rows_of_frames(poses):
    frames = frame_poses(poses[:4])
    part = frames[np.array([2, 0])]
    assert len(part) == 2
    assert np.array_equal(
        part.normalize(poses.keypoints[[2, 0]]), frames.normalize(poses.keypoints[:4])[[2, 0]]
    )


def test_no_poses(poses):
    frames = frame_poses(poses[:0])
    assert frames.normalize(poses.keypoints[:0]).shape == (0, 13, 2)
    for mode in ("bbox", "keep", "root"):
        assert normalized_poses(poses[:0], mode).shape == (0, 13, 2)


@pytest.mark.parametrize("mode", ["bbox", "root"])
def test_everything_labelled_is_inside(poses, mode):
    normalized = normalized_poses(poses[:5], mode)
    seen = poses.visibility[:5] > 0
    assert np.abs(normalized[seen]).max() <= 1 / 1.2 + 1e-12
    # ... and the longest side or the farthest point reaches the margin
    np.testing.assert_allclose(np.abs(normalized).max(axis=(1, 2)), 1 / 1.2)


@pytest.mark.parametrize(
    ("p", "mode", "message"),
    [
        (_one([[5, 5], [5, 5], [5, 5]]), "bbox", "extend over"),
        (_one([[5, 5], [5, 5], [5, 5]]), "root", "extend over"),
        (_one([[5, 5], [5, 5.0005], [5, 5]]), "bbox", "extend over"),
        (_one([[5, 5], [7, 7], [9, 9]], [0, 0, 1]), "bbox", "extend over"),
        (_one([[5, 5], [7, 7], [9, 9]], [0, 0, 0]), "bbox", "labelled keypoint"),
        (_one([[5, 5], [7, 7], [9, 9]], [0, 2, 2]), "root", "root keypoints"),
    ],
)
def test_what_cannot_be_framed_names_the_record(p, mode, message):
    good = _one([[0, 0], [4, 4], [8, 8]])
    with pytest.raises(DataError, match=f"record 1: keypoints: must .*{message}") as caught:
        frame_poses(PoseSet.concat([good, p, p]), mode)
    assert caught.value.record == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "box"}, "mode must be one of bbox, keep, root, got 'box'"),
        ({"margin": -0.1}, "margin"),
        ({"margin": float("nan")}, "margin"),
        ({"margin": 11}, "margin"),
    ],
)
def test_wrong_arguments(poses, options, message):
    with pytest.raises(UsageError, match=message):
        frame_poses(poses, **options)


@pytest.mark.parametrize("shape", [(5, 13, 2), (4, 13, 3), (13, 2)])
def test_wrong_shapes(poses, shape):
    frames = frame_poses(poses[:4])
    for method in (frames.normalize, frames.denormalize):
        with pytest.raises(UsageError, match=r"must be \[4, K, 2\]"):
            method(np.zeros(shape))


@settings(max_examples=300, deadline=None)
@given(
    hnp.arrays(np.float32, (4, 3, 2), elements=st.floats(-(2.0**17), 2.0**17, width=32)),
    st.sampled_from(["bbox", "keep", "root"]),
    st.floats(0, 1),
)
def test_float32_pixels_come_back_bit_for_bit(kp, mode, margin):
    # Pixels of any image: multiples of 2^-12 (float32 near 1,000 px has steps of 2^-14), zeros among them.
    kp = np.float32(np.rint(kp.astype(np.float64) * 4096) / 4096)
    kp[0, 0] = 0
    p = PoseSet(kp, skeleton=PAIR, image_size=(1920, 1080))
    extent = np.ptp(kp, axis=1).max(axis=1)
    p = p[extent > 1]
    if len(p) == 0:
        return
    frames = frame_poses(p, mode, margin)
    scale = np.maximum(frames.half, np.abs(frames.center).max(axis=1))
    back = frames.denormalize(frames.normalize(p.keypoints))
    kept = (np.abs(p.keypoints) >= 2.0**-23 * scale[:, None, None]) | (p.keypoints == 0)
    assert np.array_equal(back.astype(np.float32)[kept], p.keypoints[kept])
    # What is smaller than float32 resolves at this scale is off by less than the documented grid.
    reach = np.maximum(np.abs(p.keypoints.astype(np.float64)), scale[:, None, None])
    assert (np.abs(back - p.keypoints) <= 2.0**-46 * reach).all()


def test_random_pixels_come_back_bit_for_bit():
    rng = np.random.default_rng(0)
    kp = rng.uniform(0, 2000, (20_000, 3, 2)).astype(np.float32)
    p = PoseSet(kp, skeleton=PAIR)
    for mode in ("bbox", "keep", "root"):
        frames = frame_poses(p, mode)
        assert np.array_equal(frames.denormalize(frames.normalize(kp)).astype(np.float32), kp)


def test_shift_and_scale_do_not_change_normalized_poses(poses):
    p = poses[:4]
    moved = p.replace(
        keypoints=np.where(p.visibility[..., None] > 0, p.keypoints * 4 + 1000, 0), image_size=None
    )
    np.testing.assert_allclose(normalized_poses(moved), normalized_poses(p), atol=1e-5)

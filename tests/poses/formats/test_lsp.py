"""LSP and its extended set: two orders of axes, two meanings of the third number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from flexpose.errors import DataError
from flexpose.poses import BadRecords, read_poses


def records(n=3):
    """[n, 14, 3] with x = 100 * picture + joint + 1 and y = x + 0.5."""
    x = 100.0 * np.arange(n)[:, None] + np.arange(1, 15)
    return np.stack([x, x + 0.5, np.zeros_like(x)], axis=2)


def test_the_set_itself_marks_occlusion(tmp_path):
    poses = records()
    poses[1, 0, 2] = 1  # the right ankle of the second picture
    savemat(tmp_path / "joints.mat", {"joints": poses.transpose(2, 1, 0)})
    read = read_poses(tmp_path / "joints.mat")
    assert read.skeleton.names[:6] == tuple(
        f"{s}" for s in ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle")
    )
    # The first pixel is 1 in the file and has its centre at 0.5 here.
    np.testing.assert_array_equal(read.keypoints[0, 0], [0.5, 1.0])
    np.testing.assert_array_equal(read.keypoints, poses[..., :2] - 0.5)
    assert read.visibility[1, read.skeleton.index("right_ankle")] == 1
    assert (read.visibility == 2).sum() == 3 * 14 - 1


def test_the_extended_set_marks_what_is_labelled(tmp_path):
    poses = records()
    poses[..., 2] = 1
    poses[2, 13] = 0  # no head top in the third picture
    savemat(tmp_path / "joints.mat", {"joints": poses.transpose(1, 2, 0)})
    read = read_poses(tmp_path / "joints.mat")
    assert read.visibility[2, read.skeleton.index("head_top")] == 0
    assert (read.visibility == 2).sum() == 3 * 14 - 1
    np.testing.assert_array_equal(read.keypoints[:2], poses[:2, :, :2] - 0.5)
    np.testing.assert_array_equal(read.keypoints[2, 13], [0, 0])


def test_wrong_records_and_shapes(tmp_path):
    poses = records()
    poses[1, 3, 2] = 0.5
    savemat(tmp_path / "joints.mat", {"joints": poses.transpose(2, 1, 0)})
    with pytest.raises(DataError, match="record 1: joints: the third number must be 0 or 1"):
        read_poses(tmp_path / "joints.mat")
    assert len(read_poses(tmp_path / "joints.mat", bad=BadRecords(1))) == 2
    for shape in ((14, 2, 5), (3, 14), (5, 14, 3)):
        savemat(tmp_path / "joints.mat", {"joints": np.zeros(shape)})
        with pytest.raises(DataError, match=r"must be \[3, 14, N\] or \[14, 3, N\]"):
            read_poses(tmp_path / "joints.mat")
    savemat(tmp_path / "joints.mat", {"joints": "text"})
    with pytest.raises(DataError, match="joints: must be numbers"):
        read_poses(tmp_path / "joints.mat")

"""Human3.6M as MMPose and h36m-fetch give it, and what VideoPose3D gives."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest

from flexpose.errors import DataError, UsageError
from flexpose.poses import BadRecords, read_poses

# The names of the 32 joints, as the toolbox of the data set's owner has them.
JOINTS = (
    *("Hips", "RightUpLeg", "RightLeg", "RightFoot", "RightToeBase", "Site"),
    *("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase", "Site", "Spine", "Spine1", "Neck", "Head", "Site"),
    *("LeftShoulder", "LeftArm", "LeftForeArm", "LeftHand", "LeftHandThumb", "Site", "L_Wrist_End", "Site"),
    *(
        "RightShoulder",
        "RightArm",
        "RightForeArm",
        "RightHand",
        "RightHandThumb",
        "Site",
        "R_Wrist_End",
        "Site",
    ),
)
OWN = {
    "pelvis": "Hips",
    "right_hip": "RightUpLeg",
    "right_knee": "RightLeg",
    "right_ankle": "RightFoot",
    "left_hip": "LeftUpLeg",
    "left_knee": "LeftLeg",
    "left_ankle": "LeftFoot",
    "spine": "Spine1",
    "thorax": "Neck",
    "neck_nose": "Head",
    "left_shoulder": "LeftArm",
    "left_elbow": "LeftForeArm",
    "left_wrist": "LeftHand",
    "right_shoulder": "RightArm",
    "right_elbow": "RightForeArm",
    "right_wrist": "RightHand",
}


def write_h5(path, *, action, subaction, n=3, camera=(54138969, 55011271, 60457274)):
    points = np.arange(n * 32 * 2, dtype=np.float64).reshape(n, 32, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["pose/2d"] = points
        file["pose/3d"] = np.zeros((n, 32, 3))
        file["camera"] = np.array(camera)
        file["action"] = np.array(action)
        file["intrinsics/54138969"] = np.zeros(4)
        if subaction:
            file["subaction"] = np.ones(n, np.int64)
    return points


def test_h5_takes_the_moving_joints_by_name(tmp_path):
    points = write_h5(tmp_path / "annot.h5", action=[2, 12, 16], subaction=True)
    poses = read_poses(tmp_path / "annot.h5")
    assert (poses.skeleton.name, len(poses)) == ("h36m17", 3)
    for ours, theirs in OWN.items():
        expected = points[:, JOINTS.index(theirs)]
        np.testing.assert_array_equal(poses.keypoints[:, poses.skeleton.index(ours)], expected, ours)
    np.testing.assert_array_equal(poses.keypoints[:, poses.skeleton.index("head_top")], points[:, 15])
    assert poses.labels == ("Directions", "TakingPhoto", "WalkTogether")
    assert poses.image_size.tolist() == [[1000, 1002], [1000, 1000], [1000, 1002]]
    assert (poses.visibility == 2).all()
    assert read_poses(tmp_path / "annot.h5", "lsp14").skeleton.name == "lsp14"


def test_older_h5_counts_actions_from_one(tmp_path):
    write_h5(tmp_path / "annot.h5", action=[1, 11, 15], subaction=False)
    assert read_poses(tmp_path / "annot.h5").labels == ("Directions", "TakingPhoto", "WalkTogether")
    write_h5(tmp_path / "annot.h5", action=[1, 16, 2], subaction=False)
    with pytest.raises(DataError, match="record 1: action: must be 1 to 15, got 16"):
        read_poses(tmp_path / "annot.h5")


def test_folder_of_h5_in_natural_order(tmp_path):
    for subject, action in (("S11", 3), ("S9", 2)):
        write_h5(tmp_path / subject / "Directions-1" / "annot.h5", action=[action] * 3, subaction=True)
    poses = read_poses(tmp_path)
    assert poses.labels == ("Directions",) * 3 + ("Discussion",) * 3  # S9 before S11
    assert poses.ids.tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("pose"), "pose/2d: must be there"),
        (lambda f: f.pop("camera"), "camera: must be there"),
        (lambda f: f.pop("action") is None or f.create_dataset("action", data=[2.5] * 3), "3. integers"),
        (
            lambda f: f.pop("pose/2d") is None or f.create_dataset("pose/2d", data=np.ones((3, 17, 2))),
            "32, 2",
        ),
        (lambda f: f.pop("pose/2d") is None or f.create_dataset("pose/2d", data=[b"x"]), "must be numbers"),
        (lambda f: f.pop("pose/2d") is None or f.create_dataset("pose/2d", (10**6, 10**6), "f8"), "below"),
    ],
)
def test_wrong_h5(tmp_path, change, message):
    write_h5(tmp_path / "annot.h5", action=[2, 3, 4], subaction=True)
    with h5py.File(tmp_path / "annot.h5", "r+") as file:
        change(file)
    with pytest.raises(DataError, match=message):
        read_poses(tmp_path / "annot.h5")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_cut_off_h5(tmp_path, share):
    write_h5(tmp_path / "whole.h5", action=[2, 3, 4], subaction=True)
    whole = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "annot.h5").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"annot\.h5: must be an HDF5 file"):
        read_poses(tmp_path / "annot.h5")


def test_missing_h5py_names_the_extra(tmp_path, monkeypatch):
    write_h5(tmp_path / "annot.h5", action=[2, 3, 4], subaction=True)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r'pip install "flexpose-pda\[datasets\]"'):
        read_poses(tmp_path / "annot.h5")


def mmpose(n=2):
    part = np.arange(n * 17 * 3, dtype=np.float64).reshape(n, 17, 3)
    part[..., 2] = 1
    names = [
        "S1/S1_Photo_1.54138969/S1_Photo_1.54138969_000001.jpg",
        "S11/S11_WalkingDog.58860488/S11_WalkingDog.58860488_000006.jpg",
    ]
    return {
        "imgname": np.array(names[:n]),
        "center": np.zeros((n, 2)),
        "scale": np.ones(n),
        "part": part,
        "S": np.ones((n, 17, 4)),
    }


def test_mmpose_npz(tmp_path):
    arrays = mmpose()
    arrays["part"][1, 4, 2] = 0
    np.savez(tmp_path / "h36m_test.npz", **arrays)
    poses = read_poses(tmp_path / "h36m_test.npz")
    assert poses.skeleton.name == "h36m17"
    np.testing.assert_array_equal(poses.keypoints[0], arrays["part"][0, :, :2])
    assert poses.labels == ("TakingPhoto", "WalkingDog")
    assert poses.image_size.tolist() == [[1000, 1002], [1000, 1000]]
    assert poses.visibility[1, poses.skeleton.index("left_hip")] == 0
    assert (poses.visibility == 2).sum() == 33


def test_a_bad_record_is_left_out_where_that_is_asked_for(tmp_path):
    arrays = mmpose()
    arrays["part"][0, 5, 1] = np.nan
    np.savez(tmp_path / "h36m_train.npz", **arrays)
    with pytest.raises(DataError, match="record 0: left_knee: must be finite"):
        read_poses(tmp_path / "h36m_train.npz")
    bad = BadRecords(0.5)
    assert read_poses(tmp_path / "h36m_train.npz", bad=bad).labels == ("WalkingDog",)
    assert [(b.record, b.field) for b in bad.records] == [(0, "left_knee")]
    assert bad.total == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("part", np.zeros((2, 32, 3)), r"part: must be \[N, 17, 3\]"),
        ("imgname", np.array(["a"]), "imgname: must be 2 names, got 1"),
        ("imgname", np.array([object()] * 2, object), "Python objects"),
    ],
)
def test_wrong_mmpose_npz(tmp_path, key, value, message):
    np.savez(tmp_path / "a.npz", **{**mmpose(), key: value})
    with pytest.raises(DataError, match=message):
        read_poses(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "shape"), [("positions_2d", r"keypoints \[N, 17, 2\]"), ("positions_3d", "3d")]
)
def test_pickles_are_refused_with_the_way_out(tmp_path, name, shape):
    np.savez(tmp_path / "data.npz", **{name: np.array({"S1": {}}, object), "metadata": np.array({}, object)})
    with pytest.raises(UsageError, match=f"{name} is a pickle, .* never read.*{shape}"):
        read_poses(tmp_path / "data.npz")

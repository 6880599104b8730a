"""S-H3.6M, MPI-INF-3DHP, SURREAL and Penn Action in their owners' layouts."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from flexpose.errors import DataError, UsageError
from flexpose.poses import map_joints, read_poses
from flexpose.skeleton import load_skeleton


def write_landmarks(root, subject, sequence, frame, points):
    path = root / subject / "Landmarks" / sequence / f"{frame}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"keypoints_2d": points})
    return path


def test_simple_human36m(tmp_path):
    points = np.stack([np.arange(32) / 64, np.arange(32) / 128], axis=1)
    path = write_landmarks(tmp_path, "S1", "Walking 1", 1, points)
    pose = read_poses(path)
    assert (pose.skeleton.name, pose.labels) == ("h36m17", ("Walking",))
    assert pose.image_size.tolist() == [[128, 128]]
    knee = pose.keypoints[0, pose.skeleton.index("left_knee")]  # joint 7 of the 32
    np.testing.assert_allclose(knee, [14, 7])
    np.testing.assert_allclose(pose.keypoints[0, pose.skeleton.index("right_wrist")], [54, 27])


def test_simple_human36m_folder(tmp_path):
    for frame in (10, 9, 100):
        write_landmarks(tmp_path, "S9", "directions_2", frame, np.full((32, 2), frame / 200))
    write_landmarks(tmp_path, "S11", "Posing", 1, np.full((32, 2), 0.9))
    poses = read_poses(tmp_path)
    np.testing.assert_allclose(poses.keypoints[:, 0, 0], [9 * 0.64, 6.4, 64, 0.9 * 128], rtol=1e-6)
    assert poses.labels == ("directions",) * 3 + ("Posing",)
    assert len(read_poses(tmp_path / "S9" / "Landmarks")) == 3
    write_landmarks(tmp_path, "S9", "directions_2", 11, np.zeros((17, 2)))
    with pytest.raises(DataError, match=r"11\.mat: keypoints_2d: must be \[32, 2\], got \[17, 2\]"):
        read_poses(tmp_path)


def annot2(cameras=3, frames=4):
    cell = np.empty((cameras, 1), object)
    for camera in range(cameras):
        x = 1000.0 * camera + 100 * np.arange(frames)[:, None] + np.arange(28)
        cell[camera, 0] = np.stack([x, x + 0.25], axis=2).reshape(frames, 56)
    return cell


def check_3dhp(poses):
    assert (len(poses), poses.skeleton.name) == (12, "mpi_inf_3dhp")
    assert poses.image_size[0].tolist() == [2048, 2048]
    # frame 2 of camera 1; the owner's list: 4 pelvis, 9 left_shoulder, 14 right_shoulder, 18 left_hip
    pose = poses.keypoints[4 + 2]
    for name, index in (("pelvis", 4), ("left_shoulder", 9), ("right_shoulder", 14), ("left_hip", 18)):
        np.testing.assert_array_equal(pose[poses.skeleton.index(name)], [1200 + index, 1200.25 + index])


def test_mpi_inf_3dhp(tmp_path):
    path = tmp_path / "S1" / "Seq1" / "annot.mat"
    path.parent.mkdir(parents=True)
    savemat(path, {"annot2": annot2(), "frames": np.arange(4)[:, None], "annot3": np.zeros((14, 1), object)})
    check_3dhp(read_poses(path))
    check_3dhp(read_poses(tmp_path))


def test_mpi_inf_3dhp_of_version_7_3(tmp_path):
    path = tmp_path / "annot.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        references = []
        for index, values in enumerate(annot2().ravel()):
            file[f"#refs#/{index}"] = values.T
            references.append(file[f"#refs#/{index}"].ref)
        cell = file.create_dataset("annot2", (1, 3), h5py.ref_dtype)
        cell[0] = references
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
    check_3dhp(read_poses(path))


def test_wrong_3dhp(tmp_path):
    cell = annot2()
    cell[1, 0] = np.zeros((4, 34))
    for value, message in ((cell, r"annot2\{2\}: must be \[frames, 56\]"), (np.zeros((4, 56)), "a cell")):
        savemat(tmp_path / "annot.mat", {"annot2": value})
        with pytest.raises(DataError, match=message):
            read_poses(tmp_path / "annot.mat")


def test_surreal(tmp_path):
    x = 10.0 * np.arange(3)[None, :] + np.arange(24)[:, None]  # [24, T]
    joints = np.stack([x, x + 0.5]).astype(np.float32)
    joints[:, :, 1] = 0  # a frame that the owner passes over: all joints at one point
    folder = tmp_path / "cmu" / "train" / "run0" / "01_01"
    folder.mkdir(parents=True)
    savemat(folder / "01_01_c0001_info.mat", {"joints2D": joints, "sequence": "01_01_c0001"})
    savemat(folder / "01_01_c0002_info.mat", {"joints2D": joints[:, :, 2]})  # T = 1
    savemat(folder / "01_01_c0001_segm.mat", {"segm_1": np.zeros((240, 320))})
    poses = read_poses(tmp_path)
    assert (poses.skeleton.name, poses.labels) == ("smpl24", None)
    assert poses.image_size.tolist() == [[320, 240]] * 3
    np.testing.assert_array_equal(poses.keypoints[:, 0], [[0, 0.5], [20, 20.5], [20, 20.5]])
    # SMPL: 1 left hip, 2 right hip, 16 left shoulder, 21 right wrist
    for name, index in (("left_hip", 1), ("right_hip", 2), ("left_shoulder", 16), ("right_wrist", 21)):
        np.testing.assert_array_equal(poses.keypoints[0, poses.skeleton.index(name)], [index, index + 0.5])
    savemat(tmp_path / "x_info.mat", {"joints2D": joints.transpose(1, 0, 2)})
    with pytest.raises(DataError, match=r"must be \[2, 24, T\], got \[24, 2, 3\]"):
        read_poses(tmp_path / "x_info.mat")


def write_penn(path, **changes):
    frames = 3
    x = 50.0 * np.arange(frames)[:, None] + np.arange(13) + 10
    values = {
        "action": "golf_swing",
        "pose": "front",
        "x": x,
        "y": x + 0.75,
        "visibility": np.ones((frames, 13), np.uint8),
        "train": np.array([[1]]),
        "bbox": np.tile([0.0, 0.0, 480.0, 270.0], (frames, 1)),
        "dimensions": np.array([[270, 480, frames]]),
        "nframes": np.array([[frames]]),
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, values)
    return values


def test_penn_action(tmp_path):
    visibility = np.ones((3, 13), np.uint8)
    visibility[0, 5] = visibility[2, 0] = 0
    x = np.arange(39.0).reshape(3, 13) + 10
    y = x + 0.75
    x[2, 0] = y[2, 0] = 0.75  # nothing was known: the picture's first pixel
    write_penn(tmp_path / "labels" / "0007.mat", x=x, y=y, visibility=visibility)
    poses = read_poses(tmp_path / "labels" / "0007.mat")
    assert (poses.skeleton.name, poses.labels) == ("penn13", ("golf_swing",) * 3)
    assert poses.image_size.tolist() == [[480, 270]] * 3  # width first
    np.testing.assert_array_equal(poses.keypoints[1, 3], [x[1, 3], y[1, 3]])
    assert poses.skeleton.names[3] == "right_elbow"
    assert poses.visibility[0, 5] == 1
    assert poses.visibility[2, 0] == 0
    assert (poses.visibility == 2).sum() == 37
    body = map_joints(poses, load_skeleton("body13"))
    np.testing.assert_array_equal(body.keypoints[:, body.skeleton.index("left_ankle")][:, 0], x[:, 12])


def test_frames_that_lost_a_joint_are_left_out(tmp_path):
    box = np.array(
        [[0, 0, 40, 40], [60, 60, 72, 73], [90, 90, 150, 150]]
    )  # x is 10 to 22, 60 to 72, 110 to 122
    assert len(read_poses_of(tmp_path, bbox=box)) == 3
    visible = np.ones((3, 13), np.uint8)
    x = 50.0 * np.arange(3)[:, None] + np.arange(13) + 10
    x[1, 7] = 72 + 6.5  # half of the box's width, and a little
    np.testing.assert_array_equal(read_poses_of(tmp_path, bbox=box, x=x).keypoints[:, 0, 0], [10, 110])
    box[2] = 0  # nobody is where there is no box
    assert len(read_poses_of(tmp_path, bbox=box, x=x)) == 1
    box[2] = 90, 90, 150, 150
    x[1, 7], visible[1, 7] = 0.5, 0  # not labelled at all
    assert len(read_poses_of(tmp_path, bbox=box, x=x, y=np.where(x < 1, 0.5, x), visibility=visible)) == 3
    with pytest.raises(DataError, match=r"bbox: must be \[3, 4\], got \[2, 4\]"):
        read_poses_of(tmp_path, bbox=box[:2])


def read_poses_of(tmp_path, **changes):
    write_penn(tmp_path / "labels" / "0001.mat", **changes)
    return read_poses(tmp_path / "labels" / "0001.mat")


def test_penn_action_folder(tmp_path):
    write_penn(tmp_path / "labels" / "0002.mat", action="bowl")
    write_penn(tmp_path / "labels" / "0001.mat")
    for folder in (tmp_path, tmp_path / "labels"):
        assert read_poses(folder).labels == ("golf_swing",) * 3 + ("bowl",) * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.zeros((4, 13))}, r"y: must be \[3, 13\], got \[4, 13\]"),
        ({"x": np.zeros((3, 12))}, r"x: must be \[3, 13\], got \[3, 12\]"),
        ({"dimensions": np.zeros((1, 3))}, "dimensions: must be height"),
        ({"dimensions": np.full((1, 3), 1e30)}, "image_size: must be sides"),
        ({"dimensions": np.full((1, 3), np.inf)}, "image_size: must be sides"),
        ({"x": np.full((3, 13), np.inf)}, "record 0: head: must be finite"),
        ({"y": "text"}, "y: must be numbers"),
    ],
)
def test_wrong_penn_action(tmp_path, changes, message):
    write_penn(tmp_path / "0001.mat", **changes)
    with pytest.raises(DataError, match=message):
        read_poses(tmp_path / "0001.mat")


def test_a_folder_of_two_sets_is_refused(tmp_path):
    write_penn(tmp_path / "labels" / "0001.mat")
    savemat(tmp_path / "joints.mat", {"joints": np.zeros((3, 14, 2))})
    with pytest.raises(UsageError, match="files of LSP, Penn Action in several layouts: give one of them"):
        read_poses(tmp_path)

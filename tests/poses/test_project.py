"""Virtual cameras: by hand, against a camera matrix, and people whose left is where it must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flexpose.errors import DataError, UsageError
from flexpose.poses import Points3D, camera_angles, project_points, project_poses, read_points3d
from flexpose.skeleton import load_skeleton

BODY = {
    "head": (0, 1.6, 0),
    "left_shoulder": (0.2, 1.4, 0),
    "right_shoulder": (-0.2, 1.4, 0),
    "left_elbow": (0.3, 1.1, 0),
    "right_elbow": (-0.3, 1.1, 0.1),
    "left_wrist": (0.35, 0.9, 0.1),
    "right_wrist": (-0.3, 1.2, 0.3),
    "left_hip": (0.1, 0.9, 0),
    "right_hip": (-0.1, 0.9, 0),
    "left_knee": (0.1, 0.5, 0.05),
    "right_knee": (-0.1, 0.5, 0),
    "left_ankle": (0.1, 0.1, 0),
    "right_ankle": (-0.1, 0.1, 0),
    "neck": (0, 1.45, 0),
}


def person(n=2, labels=None, turn=0.0):
    """N frames of a person who faces +z and walks along x, turned about the vertical."""
    points = np.array(list(BODY.values())) + np.arange(n)[:, None, None] * [3.0, 0, 0]
    points = points @ Rotation.from_euler("y", turn, degrees=True).as_matrix().T
    return Points3D(points, tuple(BODY), labels, "test")


def test_the_camera_in_front_by_hand():
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    target = np.array([[1.0, 2, 3], [0, 0, 0]])
    seen = project_points(points, target, azimuth=0, elevation=0, distance=10, focal_px=300, size_px=200)
    x, y, z = np.moveaxis(points - target[:, None], 2, 0)
    np.testing.assert_allclose(seen[..., 0], 100 + 300 * x / (10 - z), rtol=1e-12)
    np.testing.assert_allclose(seen[..., 1], 100 - 300 * y / (10 - z), rtol=1e-12)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "point", "expected"),
    [
        (90, 0, (0, 0, -1), (150, 100)),  # from +x, -z is to the right
        (180, 0, (1, 0, 0), (50, 100)),  # from behind, +x is to the left
        (0, 90, (0, 0, -1), (100, 50)),  # from above, what is far from the front camera is at the top
        (0, -90, (0, 0, -1), (100, 150)),
        (0, 0, (0, 0, 5), (100, 100)),
    ],
)
def test_directions(azimuth, elevation, point, expected):
    seen = project_points(
        [[point]], [[0, 0, 0]], azimuth=azimuth, elevation=elevation, distance=10, focal_px=500, size_px=200
    )
    np.testing.assert_allclose(seen[0, 0], expected, atol=1e-9)


def test_equals_a_camera_matrix():
    rng = np.random.default_rng(1)
    points, target = rng.normal(size=(3, 7, 3)), rng.normal(size=(3, 3))
    azimuth, elevation, distance = 35.0, -20.0, 9.0
    # World to camera: undo the azimuth, undo the elevation, then y and z point down and forward.
    turn = Rotation.from_euler("x", elevation, degrees=True) * Rotation.from_euler(
        "y", -azimuth, degrees=True
    )
    flip = np.diag([1.0, -1, -1])
    centre = np.array([0, 0, distance])
    intrinsics = np.array([[400.0, 0, 128], [0, 400, 128], [0, 0, 1]])
    seen = project_points(
        points, target, azimuth=azimuth, elevation=elevation, distance=distance, focal_px=400, size_px=256
    )
    for frame in range(3):
        camera = (turn.apply(points[frame] - target[frame]) - centre) @ flip.T @ intrinsics.T
        np.testing.assert_allclose(seen[frame], camera[:, :2] / camera[:, 2:], rtol=1e-10)


def test_cameras_surround_the_subject_and_follow_the_seed():
    angles = camera_angles(8, azimuth=(-180, 180), elevation=(5, 25), seed=3)
    assert (np.floor((angles[:, 0] + 180) / 45) == np.arange(8)).all()
    assert ((angles[:, 1] >= 5) & (angles[:, 1] < 25)).all()
    assert np.array_equal(angles, camera_angles(8, azimuth=(-180, 180), elevation=(5, 25), seed=3))
    assert not np.array_equal(angles, camera_angles(8, azimuth=(-180, 180), elevation=(5, 25), seed=4))
    fixed = camera_angles(1, azimuth=(30, 30), elevation=(10, 10), seed=0)
    np.testing.assert_array_equal(fixed, [[30, 10]])


def test_poses_are_seen_whole_and_with_the_right_left():
    poses = project_poses(
        [person(3, ("walk",) * 3)], cameras=2, azimuth=(0, 0), elevation=(0, 0), size_px=100, seed=1
    )
    assert (poses.skeleton.name, len(poses), poses.labels) == ("body13", 6, ("walk",) * 6)
    assert poses.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert (poses.visibility == 2).all()
    assert ((poses.keypoints > 0) & (poses.keypoints < 100)).all()
    # The camera keeps the middle of the box in the centre, wherever the person walks.
    np.testing.assert_allclose(poses.keypoints, poses.keypoints[[0] * 6], atol=1e-4)
    x, y = poses.keypoints[0].T
    at = poses.skeleton.index
    assert x[at("left_shoulder")] > x[at("right_shoulder")]  # who faces the camera has the left at the right
    assert y[at("nose")] < y[at("left_shoulder")] < y[at("left_hip")] < y[at("left_ankle")]
    behind = project_poses([person(1)], cameras=1, azimuth=(180, 180), elevation=(0, 0))
    assert behind.keypoints[0, 1, 0] < behind.keypoints[0, 2, 0]


def test_projection_in_closed_form():
    motion = person(1)
    poses = project_poses(
        [motion], cameras=1, azimuth=(0, 0), elevation=(0, 0), focal_px=500, size_px=300, distance=2
    )
    middle = np.array([0.025, 0.85, 0.15])  # of the box, to which the nose adds nothing at the edges
    kept = [name for name in BODY if name in poses.skeleton.names]
    body = np.array([BODY[name] for name in kept])
    nose = np.array([0, 1.6, 0.25 * 0.5])
    reach = np.linalg.norm(np.vstack([body, nose]) - middle, axis=1)
    low, high = np.vstack([body, nose]).min(axis=0), np.vstack([body, nose]).max(axis=0)
    np.testing.assert_allclose((low + high) / 2, middle)
    depth = 4 * reach.max() - (body[:, 2] - middle[2])
    columns = [poses.skeleton.index(name) for name in kept]
    np.testing.assert_allclose(
        poses.keypoints[0, columns, 0], 150 + 500 * (body[:, 0] - middle[0]) / depth, rtol=1e-5
    )
    np.testing.assert_allclose(
        poses.keypoints[0, columns, 1], 150 - 500 * (body[:, 1] - middle[1]) / depth, rtol=1e-5
    )


@pytest.mark.parametrize("turn", [0, 50, 180])
def test_the_nose_is_where_the_person_faces(turn):
    front = project_poses([person(1, turn=turn)], cameras=1, azimuth=(turn, turn), elevation=(0, 0))
    side = project_poses([person(1, turn=turn)], cameras=1, azimuth=(turn + 90,) * 2, elevation=(0, 0))
    at = front.skeleton.index
    shoulders = (front.keypoints[0, at("left_shoulder")] + front.keypoints[0, at("right_shoulder")]) / 2
    assert abs(front.keypoints[0, at("nose"), 0] - shoulders[0]) < 0.1  # it is nearer to the camera
    # From the person's left, the nose is to the left of the shoulders.
    assert side.keypoints[0, at("nose"), 0] < side.keypoints[0, at("left_shoulder"), 0] - 5


def test_other_skeletons_are_made_in_space():
    poses = project_poses([person(1)], cameras=1, skeleton="mpii16", azimuth=(60, 60), elevation=(20, 20))
    assert poses.skeleton.name == "mpii16"
    with pytest.raises(UsageError, match="test: motion cannot be mapped to coco17: no source for left_eye"):
        project_poses([person(1)], skeleton="coco17")
    with pytest.raises(UsageError, match="no source for contour_0"):
        project_poses([person(1)], skeleton=load_skeleton("face68"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": 0}, "cameras must be >= 1"),
        ({"elevation": (0, 91)}, "elevation must be LOW:HIGH within -90 to 90"),
        ({"elevation": (30, 0)}, "got 30:0"),
        ({"azimuth": (0, float("nan"))}, "azimuth must be"),
        ({"distance": 0.9}, "distance must be >= 1"),
        ({"focal_px": 0}, "focal_px must be > 0"),
        ({"size_px": 0}, "size_px must be >= 1"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(UsageError, match=message):
        project_poses([person(1)], **options)


def test_a_body_without_extent():
    flat = Points3D(np.zeros((2, len(BODY), 3)), tuple(BODY), None, "flat.npz")
    with pytest.raises(DataError, match=r"flat\.npz: keypoints: the joints must not lie at one point"):
        project_poses([flat])


def write_npz(path, points, **more):
    np.savez(path, keypoints3d=points, joint_names=np.array(list(BODY)), **more)


def test_npz_up_and_stride(tmp_path):
    standing = person(5).keypoints.astype(np.float32)
    z_up = np.stack([standing[..., 0], -standing[..., 2], standing[..., 1]], axis=2)
    labels = np.array(["a", "b", "c", "d", "e"])
    write_npz(tmp_path / "y.npz", standing, labels=labels)
    write_npz(tmp_path / "z.npz", z_up, labels=labels)
    (one,) = read_points3d(tmp_path / "y.npz", stride=2)
    (other,) = read_points3d(tmp_path / "z.npz", up="z", stride=2)
    np.testing.assert_array_equal(one.keypoints, standing[::2])
    np.testing.assert_array_equal(one.keypoints, other.keypoints)
    assert (one.names, one.labels, len(one)) == (tuple(BODY), ("a", "c", "e"), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints3d": np.zeros((2, 14, 2))}, r"keypoints3d: must be \[N, K, 3\] numbers"),
        ({"keypoints3d": np.full((2, 14, 3), np.inf)}, "record 0: keypoints3d: must be finite"),
        ({"joint_names": np.array(["a"])}, "joint_names: must be 14 names, got 1"),
        ({"labels": np.array(["a"])}, "labels: must be 2 texts, got 1"),
        ({"joint_names": np.array([{}] * 14, object)}, "Python objects"),
    ],
)
def test_wrong_npz(tmp_path, change, message):
    arrays = {"keypoints3d": np.zeros((2, 14, 3)), "joint_names": np.array(list(BODY)), **change}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_points3d(tmp_path / "a.npz")


def bvh(drop):
    return (
        "HIERARCHY\nROOT Hips { OFFSET 0 0 0 CHANNELS 3 Xposition Yposition Zposition\n"
        f"End Site {{ OFFSET 0 {drop} 0 }} }}\nMOTION\nFrames: 2\nFrame Time: 0.1\n1 2 3\n4 5 6\n"
    )


def test_folder_of_bvh(tmp_path):
    for name in ("walk/b.bvh", "dataset-2_wave-left-hand_normal_003.bvh", "a.BVH"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(bvh(-1), encoding="utf-8")
    motions = read_points3d(tmp_path)
    found = {motion.origin.rsplit("/", 1)[-1]: motion.labels for motion in motions}
    assert found == {
        "a.BVH": None,
        "b.bvh": ("walk", "walk"),
        "dataset-2_wave-left-hand_normal_003.bvh": ("wave-left-hand", "wave-left-hand"),
    }
    assert motions[0].names == ("pelvis",)
    np.testing.assert_array_equal(motions[0].keypoints[:, 0], [[1, 2, 3], [4, 5, 6]])


def test_wrong_paths(tmp_path):
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    for path in (tmp_path, tmp_path / "a.json", tmp_path / "b.bvh"):
        with pytest.raises(UsageError, match=r"must be a \.bvh or \.npz file, or a folder"):
            read_points3d(path)
    (tmp_path / "b.bvh").write_text(bvh(1).replace("Hips", "Bone01"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"no joint of the rig is known, got Bone01, Bone01_end: give"):
        read_points3d(tmp_path / "b.bvh")
    for options in ({"up": "x"}, {"stride": 0}):
        with pytest.raises(UsageError, match="must be"):
            read_points3d(tmp_path / "b.bvh", **options)

"""MPII's annotation: structs in structs, with fields and lists missing as they are in the file."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from flexpose.errors import DataError
from flexpose.poses import BadRecords, read_poses

EMPTY = np.zeros((0, 0))


def structs(rows):
    """A [1, n] struct array; fields that a row lacks are empty, as MATLAB has them."""
    names = sorted({name for row in rows for name in row})
    array = np.empty((1, len(rows)), [(name, object) for name in names])
    for index, row in enumerate(rows):
        for name in names:
            array[0, index][name] = row.get(name, EMPTY)
    return array


def person(ids, *, visible=None, shift=0.0):
    points = [
        {"x": 10.0 * i + shift, "y": 10.0 * i + 1 + shift, "id": float(i)}
        | ({} if visible is None or visible[i] is None else {"is_visible": visible[i]})
        for i in ids
    ]
    return {"scale": 2.0, "annopoints": structs([{"point": structs(points)}])}


def write(path, pictures, categories):
    release = {
        "annolist": structs(
            [{"image": structs([{"name": f"{i:09}.jpg"}]), **row} for i, row in enumerate(pictures)]
        ),
        "img_train": np.ones((1, len(pictures))),
        "act": structs(
            [{"cat_name": name, "act_name": f"{name}, fast", "act_id": 1.0} for name in categories]
        ).T,
    }
    savemat(path, {"RELEASE": release})


@pytest.fixture
def file(tmp_path):
    visible = dict.fromkeys(range(16), 1.0) | {8: None, 9: None, 0: 0.0, 1: "0", 2: "1"}
    pictures = [
        {"annorect": structs([person(range(16), visible=visible), {"scale": 3.0}])},  # one has no points
        {"annorect": EMPTY},
        {"annorect": structs([person([6, 13], shift=0.25)])},  # no is_visible at all
        {},
    ]
    path = tmp_path / "mpii_human_pose_v1_u12_1.mat"
    write(path, pictures, ["sports", "dancing", "running", "walking"])
    return path


def test_joints_visibility_and_labels(file):
    poses = read_poses(file)
    assert (len(poses), poses.skeleton.name, poses.labels) == (2, "mpii16", ("sports", "running"))
    # The owner's list: 0 right ankle, 5 left ankle, 6 pelvis, 9 head top, 10 right wrist, 13 left shoulder.
    for name, index in (("right_ankle", 0), ("left_ankle", 5), ("head_top", 9), ("right_wrist", 10)):
        np.testing.assert_array_equal(
            poses.keypoints[0, poses.skeleton.index(name)], [10 * index - 0.5, 10 * index + 0.5]
        )
    assert poses.visibility[0].tolist() == [1, 1] + [2] * 14
    assert np.flatnonzero(poses.visibility[1]).tolist() == [6, 13]
    np.testing.assert_array_equal(poses.keypoints[1, 13], [129.75, 130.75])
    assert (poses.image_size[0] == [150, 151]).all()  # not given: as large as the pose
    assert read_poses(file.parent) == poses


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"x": 1.0, "y": 2.0, "id": 16.0}, "id must be 0 to 15, got 16"),
        ({"x": 1.0, "y": 2.0}, "id must be 0 to 15, got None"),
        ({"x": EMPTY, "y": 2.0, "id": 3.0}, "x and y of point 3 must be finite"),
        ({"x": 1.0, "y": np.inf, "id": 3.0}, "x and y of point 3 must be finite"),
        ({"x": 1.0, "y": 2.0, "id": 6.0}, "point 6 must come once"),
    ],
)
def test_wrong_points(tmp_path, point, message):
    good = {"x": 5.0, "y": 6.0, "id": 6.0}
    rect = {"annopoints": structs([{"point": structs([good, point])}])}
    write(tmp_path / "a.mat", [{}, {"annorect": structs([rect, person([2])])}], ["a", "b"])
    with pytest.raises(DataError, match=f"record 1: annopoints: {message}"):
        read_poses(tmp_path / "a.mat")
    bad = BadRecords(0.5)
    assert len(read_poses(tmp_path / "a.mat", bad=bad)) == 1
    assert bad.count == 1


def test_another_struct(tmp_path):
    for value in ({"images": 1.0}, "text", 3.0):
        savemat(tmp_path / "a.mat", {"RELEASE": value})
        with pytest.raises(DataError, match="RELEASE: must hold annolist"):
            read_poses(tmp_path / "a.mat")

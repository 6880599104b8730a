"""300-W and 300-VW points, WFLW lists, and faces through COCO JSON."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools.coco import COCO

from flexpose.errors import DataError
from flexpose.poses import BadRecords, map_joints, read_poses, write_poses
from flexpose.skeleton import load_skeleton


def pts_text(points, *, n=None, head="version: 1"):
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
    return f"{head}\nn_points: {len(points) if n is None else n}\n{{\n{rows}\n}}\n"


def face(seed=0):
    return np.random.default_rng(seed).integers(10_000, 400_000, (68, 2)) / 1000


def test_pts_counts_from_one(tmp_path):
    points = face()
    points[0] = 1, 1  # the centre of the first pixel
    (tmp_path / "a.pts").write_text(pts_text(points), encoding="utf-8")
    poses = read_poses(tmp_path / "a.pts")
    assert (poses.skeleton.name, len(poses)) == ("face68", 1)
    np.testing.assert_array_equal(poses.keypoints[0, 0], [0.5, 0.5])
    np.testing.assert_allclose(poses.keypoints[0], points - 0.5, rtol=1e-6)
    # The first of the 68 is the jaw at the left of the picture, 36 the outer corner of the eye there.
    assert [poses.skeleton.names[i] for i in (0, 36, 45)] == ["contour_0", "right_eye_0", "left_eye_3"]


def test_300vw_tree_in_the_order_of_frames(tmp_path):
    for video, frame in (("002", 1), ("001", 10), ("001", 9)):
        path = tmp_path / video / "annot" / f"{frame:06}.pts"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pts_text(face() + 1000 * int(video) + frame).replace("\n", "\r\n"), encoding="utf-8")
    poses = read_poses(tmp_path)
    offsets = poses.keypoints[:, 5, 0].astype(np.float64) - face()[5, 0] + 0.5
    np.testing.assert_allclose(offsets, [1009, 1010, 2001], atol=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be 'version: 1'"),
        (pts_text(face())[:-2], "must be 'version: 1'"),
        (pts_text(face())[:-40], "must be 'version: 1'"),
        (pts_text(face(), head="version: 2"), "must be 'version: 1'"),
        (pts_text(face()[:51]), "n_points: must be 68, got 51"),
        (pts_text(face(), n=999999999), "n_points: must be 68, got 999999999"),
        (pts_text(face()[:67], n=68), "must be 136 numbers, got 134"),
        (pts_text(face()).replace("}", "x 1}").replace("0\n", "0\n", 1), "must be 136 numbers, got 138"),
        (pts_text(np.full((68, 2), np.nan)), "record 0: contour_0: must be finite"),
    ],
)
def test_wrong_pts(tmp_path, text, message):
    (tmp_path / "a.pts").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"a\.pts: .*{message}"):
        read_poses(tmp_path / "a.pts")


def test_pts_that_is_no_text_or_too_large(tmp_path):
    (tmp_path / "a.pts").write_bytes(b"\xff\xfe version")
    with pytest.raises(DataError, match="must be text"):
        read_poses(tmp_path / "a.pts")
    (tmp_path / "a.pts").write_bytes(b" " * 70_000)
    with pytest.raises(DataError, match="at most 65536 bytes, got 70000"):
        read_poses(tmp_path / "a.pts")


def wflw_line(seed, *, flags="0 1 0 0 0 1", box="10 20 110 120"):
    points = np.random.default_rng(seed).uniform(0, 500, 196)
    middle = f"{box} {flags} " if flags else ""
    return (
        f"{' '.join(f'{v:.6f}' for v in points)} {middle}37--Soccer/37_Soccer_soccer_ball_37_{seed}.jpg",
        points,
    )


def test_wflw_list(tmp_path):
    (first, points), (second, _) = wflw_line(1), wflw_line(2, flags="0 0 0 0 0 0")
    path = tmp_path / "list_98pt_rect_attr_train.txt"
    path.write_text(f"{first}\n{second}\n", encoding="utf-8")
    poses = read_poses(path)
    assert (poses.skeleton.name, len(poses)) == ("wflw98", 2)
    assert poses.labels == ("expression+blur", "")
    np.testing.assert_allclose(poses.keypoints[0], points.reshape(98, 2), atol=1e-4)
    # The owner's order: 33 to 50 brows, 60 outer corner of the right eye, 72 of the left, 96 and 97 pupils.
    names = poses.skeleton.names
    assert [names[i] for i in (0, 33, 60, 72, 96)] == [
        "jaw_0",
        "right_eyebrow_0",
        "right_lid_0",
        "left_lid_4",
        "right_pupil",
    ]
    eye = map_joints(poses, load_skeleton("face68")).keypoints[:, 36]
    np.testing.assert_array_equal(eye, poses.keypoints[:, 60])


def test_wflw_lists_of_the_test_parts_and_folder(tmp_path):
    (tmp_path / "list_98pt_test_blur.txt").write_text(wflw_line(3, flags="")[0], encoding="utf-8")
    poses = read_poses(tmp_path / "list_98pt_test_blur.txt")
    assert (len(poses), poses.labels) == (1, None)
    for part, seed in (("test", 4), ("train", 5)):
        path = tmp_path / "list_98pt_rect_attr_train_test" / f"list_98pt_rect_attr_{part}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(wflw_line(seed)[0], encoding="utf-8")
    assert len(read_poses(tmp_path)) == 2  # the parts of the test are in the test already


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line[: len(line) // 2], "must be 207 or 197 words"),
        (lambda line: line.replace(" ", " x", 1), "points: must be numbers"),
        (lambda line: "nan " + line.split(" ", 1)[1], "points: must be finite"),
        (lambda line: line.replace(" 0 1 0 0 0 1 ", " 0 2 0 0 0 1 "), "attributes: must be 0 or 1, got 0 2"),
    ],
)
def test_wrong_wflw_lines(tmp_path, change, message):
    path = tmp_path / "list.txt"
    path.write_text(f"{wflw_line(1)[0]}\n{change(wflw_line(2)[0])}\n{wflw_line(3)[0]}\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"list\.txt: record 1: .*{message}"):
        read_poses(path)
    bad = BadRecords(0.5)
    assert len(read_poses(path, bad=bad)) == 2
    assert (bad.count, bad.total) == (1, 3)


@pytest.mark.parametrize("name", ["a.pts", "list.txt"])
def test_faces_survive_coco_json(tmp_path, name):
    text = pts_text(face()) if name == "a.pts" else f"{wflw_line(1)[0]}\n{wflw_line(2)[0]}"
    (tmp_path / name).write_text(text, encoding="utf-8")
    poses = read_poses(tmp_path / name)
    write_poses(poses, tmp_path / "faces.json")
    assert read_poses(tmp_path / "faces.json") == poses
    coco = COCO(str(tmp_path / "faces.json"))
    found = np.array([a["keypoints"] for a in coco.loadAnns(coco.getAnnIds())]).reshape(len(poses), -1, 3)
    np.testing.assert_array_equal(found[..., :2].astype(np.float32), poses.keypoints)
    assert coco.loadCats(coco.getCatIds())[0]["keypoints"] == list(poses.skeleton.names)

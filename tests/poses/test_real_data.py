"""Real poses: every set is read, recognised, mapped and framed; skipped without FLEXPOSE_DATA."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import DataError
from flexpose.poses import frame_poses, map_joints, normalized_poses, read_poses, split_fewshot, summarize
from flexpose.skeleton import joint_map, load_skeleton


def test_coco_persons_with_body13(real_data):
    p = read_poses(real_data / "person_keypoints_train2017_body13.json", "body13")
    assert p.skeleton.name == "body13"
    assert len(p) == 31_647
    assert p.complete().all()
    frames = frame_poses(p)
    back = frames.denormalize(frames.normalize(p.keypoints))
    assert np.array_equal(back.astype(np.float32), p.keypoints)
    # In most pictures of standing people the nose is above the hips.
    normalized = normalized_poses(p)
    assert (normalized[:, 0, 1] < normalized[:, 7:9, 1].mean(axis=1)).mean() > 0.95


def test_coco_npz_agrees_with_json(real_data):
    json, npz = (
        read_poses(real_data / f) for f in ("person_keypoints_train2017_body13.json", "coco_train2017.npz")
    )
    assert npz.skeleton == json.skeleton == load_skeleton("coco17")
    body = map_joints(npz, load_skeleton("body13"))
    assert body.complete().sum() >= len(json)
    known = {kp.tobytes() for kp in npz.keypoints[body.complete()]}
    assert all(kp.tobytes() in known for kp in json.keypoints)


@pytest.mark.parametrize(
    ("name", "skeleton", "count", "labels"),
    [
        ("lab_cmu", "body13", 30_438, 8),
        ("lab_bandai", "body13", 36_670, 10),
        ("penn_action", "penn13", 163_841, 15),
        ("lsp", "lsp14", 2000, 0),
        ("lsp_extended", "lsp14", 10_000, 0),
        ("mpii", "mpii16", 19_919, 0),
    ],
)
def test_bodies(real_data, name, skeleton, count, labels):
    p = read_poses(real_data / f"{name}.npz")
    assert p.skeleton == load_skeleton(skeleton)
    assert len(p) == count
    assert len(set(p.labels or ())) == labels
    body = map_joints(p, load_skeleton("body13"))
    whole = body[body.complete()]
    assert len(whole) > count * 0.2
    # A joint map that crosses sides would hang the elbows on the wrong shoulders.
    own = np.linalg.norm(whole.keypoints[:, [3, 4]] - whole.keypoints[:, [1, 2]], axis=-1)
    other = np.linalg.norm(whole.keypoints[:, [3, 4]] - whole.keypoints[:, [2, 1]], axis=-1)
    assert (own < other).mean() > 0.6


@pytest.mark.parametrize("name", ["lsp", "lsp_extended", "mpii", "lab_cmu"])
def test_the_derived_nose_is_where_coco_has_it(real_data, name):
    """Height of the nose over the shoulders in torso lengths, upright people: medians agree."""

    def height(p):
        kp = p.keypoints[p.complete()].astype(np.float64)
        shoulders, hips = kp[:, 1:3].mean(axis=1), kp[:, 7:9].mean(axis=1)
        axis = shoulders - hips
        length = np.linalg.norm(axis, axis=-1)
        kept = (length > 1) & (axis[:, 1] < -0.9 * length)
        rise = ((kp[:, 0] - shoulders) * axis).sum(axis=-1)[kept] / length[kept] ** 2
        return float(np.median(rise))

    truth = height(read_poses(real_data / "coco_train2017.npz", "body13"))
    assert height(read_poses(real_data / f"{name}.npz", "body13")) == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize(("name", "count"), [("youtube_faces68", 4232), ("ibug300w_afw_helen", 1537)])
def test_faces(real_data, name, count):
    p = read_poses(real_data / f"{name}.npz")
    skeleton = load_skeleton("face68")
    assert p.skeleton == skeleton
    assert len(p) == count
    whole = p[p.complete()]
    assert len(whole) > count * 0.9
    # The right eye (the person's) is on the left of the picture, and a mirrored face is a face again.
    assert (whole.keypoints[:, 36, 0] < whole.keypoints[:, 45, 0]).mean() > 0.99
    mirrored = whole.flipped()
    assert (mirrored.keypoints[:, 36, 0] < mirrored.keypoints[:, 45, 0]).mean() > 0.99
    # The middle points stay in the middle: a wrong flip pair would tear them apart.
    a, b = (normalized_poses(x).mean(axis=0) for x in (whole, mirrored))
    assert np.abs(a - b).max() < 0.2


def test_shots_of_the_lab(real_data):
    shots = read_poses(real_data / "lab_cmu_shots16.json")
    target = read_poses(real_data / "lab_cmu.npz")
    rows = np.load(real_data / "lab_cmu_shots16_rows.npy", allow_pickle=False)
    assert shots.skeleton == target.skeleton
    assert shots.labels == target[rows].labels
    np.testing.assert_allclose(shots.keypoints, target[rows].keypoints, atol=0.006)
    split = split_fewshot(target, seed=0)
    assert len(split.shots) == 16
    assert len(split_fewshot(target, seed=0, shots=12, strategy="kmeans").shots) == 12


def test_penn_head_is_an_approximation(real_data):
    p = read_poses(real_data / "penn_action.npz")
    assert joint_map(p.skeleton, load_skeleton("body13")).approximate_joints == ("nose",)
    s = summarize(p[:5000])
    assert s["poses"] == 5000
    assert s["complete"] > 0


def test_mocap_in_3d_is_refused(real_data):
    with pytest.raises(DataError, match="3D joints need a camera"):
        read_poses(real_data / "cmu_actions.npz")

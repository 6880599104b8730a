"""Data sets by name: found, read by part, or missing with the way to come by them."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from flexpose.errors import DataError, UsageError
from flexpose.poses import dataset_file, list_datasets, read_dataset, synth_poses, write_poses
from flexpose.skeleton import load_skeleton


@pytest.mark.parametrize("dataset", list_datasets(), ids=lambda dataset: dataset.name)
def test_absent_data_says_where_its_owner_gives_it(tmp_path, dataset):
    with pytest.raises(UsageError) as error:
        read_dataset(dataset.name, tmp_path)
    message = str(error.value)
    for part in (dataset.name, str(tmp_path), dataset.give, dataset.owner, dataset.licence):
        assert part in message
    assert "{}" not in message
    assert message.count("\n") == 0


def test_unknown_names_and_parts(tmp_path):
    with pytest.raises(UsageError, match=r"name must be one of coco, h36m, .*, got 'imagenet'"):
        dataset_file("imagenet", tmp_path)
    with pytest.raises(UsageError, match="split of h36m must be one of train, test, got 'dev'"):
        read_dataset("h36m", tmp_path, "dev")
    with pytest.raises(UsageError, match="it has no parts"):
        read_dataset("3dhp", tmp_path, "train")


def test_coco_in_its_owners_layout(tmp_path):
    for part, count in (("train", 5), ("val", 3)):
        write_poses(synth_poses(count, seed=1), tmp_path / f"annotations/person_keypoints_{part}2017.json")
    assert len(read_dataset("coco", tmp_path)) == len(read_dataset("coco", tmp_path, "train")) == 5
    assert len(read_dataset("coco", tmp_path, "val")) == 3
    assert dataset_file("coco", tmp_path).name == "person_keypoints_train2017.json"


def test_npz_of_the_free_sets(tmp_path):
    skeleton = load_skeleton("lsp14")
    arrays = {
        "keypoints": np.arange(4 * 14 * 2, dtype=np.float32).reshape(4, 14, 2),
        "visible": np.full((4, 14), 2, np.uint8),
        "joint_names": np.array(skeleton.names),
    }
    np.savez(tmp_path / "lsp.npz", **arrays)
    assert len(read_dataset("lsp", tmp_path)) == 4
    with pytest.raises(UsageError, match="must have split and split_names"):
        read_dataset("lsp", tmp_path, "test")
    parts = {"split": np.array([1, 0, 1, 1]), "split_names": np.array(["train", "test"])}
    np.savez(tmp_path / "lsp.npz", **arrays, **parts)
    np.testing.assert_array_equal(
        read_dataset("lsp", tmp_path, "test").keypoints, arrays["keypoints"][[0, 2, 3]]
    )
    penn = {**arrays, "keypoints": arrays["keypoints"][:, :13], "visible": arrays["visible"][:, :13]}
    penn["joint_names"] = np.array(load_skeleton("penn13").names)
    np.savez(tmp_path / "penn_action.npz", **penn, split_train=np.array([1, 1, 0, 1]))
    assert (
        len(read_dataset("penn_action", tmp_path, "train")),
        len(read_dataset("penn_action", tmp_path)),
    ) == (3, 4)
    box = np.concatenate([penn["keypoints"].min(1), penn["keypoints"].max(1)], axis=1)
    penn["keypoints"][2, 4] = box[2, 2:] * 10
    np.savez(tmp_path / "penn_action.npz", **penn, bbox_xyxy=box)
    np.testing.assert_array_equal(
        read_dataset("penn_action", tmp_path).keypoints, penn["keypoints"][[0, 1, 3]]
    )
    np.savez(tmp_path / "penn_action.npz", **penn, bbox_xyxy=box[:2])
    with pytest.raises(DataError, match=r"bbox_xyxy: must be \[4, 4\], got \[2, 4\]"):
        read_dataset("penn_action", tmp_path)


def test_lsp_halves(tmp_path):
    joints = np.zeros((3, 14, 6))
    joints[:2] = np.arange(1, 7)
    (tmp_path / "lsp_dataset").mkdir()
    savemat(tmp_path / "lsp_dataset" / "joints.mat", {"joints": joints})
    assert read_dataset("lsp", tmp_path, "train").keypoints[:, 0, 0].tolist() == [0.5, 1.5, 2.5]
    assert read_dataset("lsp", tmp_path, "test").keypoints[:, 0, 0].tolist() == [3.5, 4.5, 5.5]


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_300vw_by_the_owners_videos(tmp_path):
    points = "\n".join(["10 20"] * 68)
    for video in ("001", "114", "410", "562", "563"):
        write_text(
            tmp_path / "300vw" / video / "annot" / "000001.pts", f"version: 1\nn_points: 68\n{{\n{points}\n}}"
        )
    counts = [len(read_dataset("300vw", tmp_path, part)) for part in (None, "train", "test")]
    assert counts == [5, 2, 3]


def test_wflw_lists(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        line = " ".join(["7"] * 196 + ["0"] * 10 + ["a.jpg"])
        folder = tmp_path / "WFLW" / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
        write_text(folder / f"list_98pt_rect_attr_{part}.txt", f"{line}\n" * count)
    counts = [len(read_dataset("wflw", tmp_path, part)) for part in (None, "train", "test")]
    assert counts == [5, 3, 2]


def test_human36m_by_subject(tmp_path):
    for subject in ("S1", "S8", "S9", "S11"):
        path = tmp_path / "h36m" / "processed" / subject / "Walking-1" / "annot.h5"
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            file["pose/2d"] = np.ones((2, 32, 2))
            file["camera"] = np.zeros(2, np.int64)
            file["action"] = np.full(2, 13)
    assert [len(read_dataset("h36m", tmp_path, part)) for part in (None, "train", "test")] == [8, 4, 4]
    assert set(read_dataset("h36m", tmp_path).labels) == {"Walking"}


def test_mmpose_files_by_part(tmp_path):
    for part, n in (("train", 3), ("test", 2)):
        path = tmp_path / "h36m" / "annotation_body3d" / "fps10" / f"h36m_{part}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, part=np.ones((n, 17, 3)), imgname=np.array(["S9/S9_Eating.55011271/x"] * n))
    assert [len(read_dataset("h36m", tmp_path, part)) for part in (None, "train", "test")] == [5, 3, 2]


def test_simple_human36m_surreal_and_penn_by_part(tmp_path):
    for subject in ("S1", "S9", "S11"):
        path = tmp_path / "human_images" / subject / "Landmarks" / "Walking" / "1.mat"
        path.parent.mkdir(parents=True)
        savemat(path, {"keypoints_2d": np.full((32, 2), 0.5)})
    assert [len(read_dataset("s-h36m", tmp_path, part)) for part in (None, "train", "test")] == [3, 2, 1]
    joints = np.arange(48.0).reshape(2, 24)
    for part in ("train", "val"):
        path = tmp_path / "SURREAL" / "data" / "cmu" / part / "run0" / "01_01" / "01_01_c0001_info.mat"
        path.parent.mkdir(parents=True)
        savemat(path, {"joints2D": joints})
    assert len(read_dataset("surreal", tmp_path, "val")) == 1
    with pytest.raises(UsageError, match="none of its 2 files belongs to the part 'test' of surreal"):
        read_dataset("surreal", tmp_path, "test")
    values = {"x": np.ones((2, 13)), "y": np.ones((2, 13)), "visibility": np.ones((2, 13)), "action": "bowl"}
    (tmp_path / "Penn_Action" / "labels").mkdir(parents=True)
    for number, train in ((1, 1), (2, -1), (3, -1)):
        savemat(tmp_path / f"Penn_Action/labels/{number:04}.mat", {**values, "train": train})
    assert [len(read_dataset("penn_action", tmp_path, p)) for p in (None, "train", "test")] == [6, 2, 4]


def test_every_set_is_found_at_one_of_its_places(tmp_path):
    for dataset in list_datasets():
        place = tmp_path / dataset.paths[-1].format("train")
        write_text(place, json.dumps({}))
        assert dataset_file(dataset.name, tmp_path) == place


@pytest.mark.parametrize(
    ("name", "skeleton", "poses"),
    [
        ("coco", "coco17", 31_647),
        ("lsp", "lsp14", 2_000),
        ("mpii", "mpii16", 19_919),
        ("300w", "face68", 1_537),
        ("youtube_faces", "face68", 4_232),
        ("lab_bandai", "body13", 36_670),
    ],
)
def test_real_data(real_data, name, skeleton, poses):
    read = read_dataset(name, real_data)
    assert (read.skeleton.name, len(read)) == (skeleton, poses)


def test_parts_of_real_data(real_data):
    assert [len(read_dataset("lsp", real_data, part)) for part in ("train", "test")] == [1_000, 1_000]

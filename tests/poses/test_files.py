"""The way from a path to a reader or writer."""

from __future__ import annotations

import json
import os

import pytest

from flexpose.errors import DataError, UsageError
from flexpose.poses import read_poses, write_poses
from flexpose.skeleton import load_skeleton


@pytest.mark.parametrize("ending", [".json", ".npz", ".NPZ"])
def test_round_trip_by_ending(tmp_path, poses, ending):
    path = tmp_path / f"p{ending}"
    write_poses(poses, path)
    again = read_poses(str(path))
    assert again == poses
    assert again.origin == str(path)
    assert read_poses(path, "body13") == poses
    assert read_poses(path, load_skeleton("penn13")).skeleton.name == "penn13"


@pytest.mark.parametrize("name", ["p.csv", "p", "p.npz.bak"])
def test_other_endings(tmp_path, poses, name):
    with pytest.raises(UsageError, match=r"must end in \.json, \.npz, \.mat, .* or \.txt"):
        read_poses(tmp_path / name)
    with pytest.raises(UsageError, match=r"must end in \.json or \.npz"):
        write_poses(poses, tmp_path / name)


def test_no_such_file_and_no_such_skeleton(tmp_path, poses):
    for name in ("p.npz", "p.json"):
        with pytest.raises(UsageError, match="no such file"):
            read_poses(tmp_path / name)
    write_poses(poses, tmp_path / "p.npz")
    with pytest.raises(UsageError, match="skeleton must be one of"):
        read_poses(tmp_path / "p.npz", "body14")


def test_a_coco_file_without_names_needs_a_skeleton(tmp_path, poses):
    document = {
        "images": [{"id": 1, "width": 9, "height": 9}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * 13, "bbox": [0, 0, 9, 9]}
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    path = tmp_path / "p.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_poses(path, "body13").skeleton == load_skeleton("body13")
    with pytest.raises(DataError, match=r"skeleton='body13'"):
        read_poses(path)


@pytest.mark.parametrize("ending", [".gz", ".zst", ".zip"])
def test_packed_files_are_to_be_unpacked(tmp_path, ending):
    path = tmp_path / f"p.json{ending}"
    path.write_bytes(b"\x1f\x8b")
    with pytest.raises(UsageError, match=r"must end in .* unpack it first"):
        read_poses(path)


def test_what_is_no_regular_file(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "dangling.npz").symlink_to(tmp_path / "nothing")
    cases = {"folder.json": "with none", "dangling.npz": "no such file"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.json")
        cases["pipe.json"] = "a pipe"
    for name, what in cases.items():
        with pytest.raises(UsageError, match=f"must be a file.* got .*{what}"):
            read_poses(tmp_path / name)


def test_a_link_to_a_file_is_followed(tmp_path, poses):
    write_poses(poses, tmp_path / "p.json")
    (tmp_path / "link.json").symlink_to("p.json")
    assert read_poses(tmp_path / "link.json") == poses

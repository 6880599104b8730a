"""Readers of finished data sets: what the files say, and a typed error for everything that they must not say."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.poses import frame_poses, synth_poses
from flexpose.shards.index import open_dataset, read_keypoint_shard

from .handmade import plan, write_dataset, write_shard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flexpose.poses import PoseSet

POSES = synth_poses(30, seed=1)
DRAWN = np.delete(np.arange(30), [3, 11])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "set", POSES, DRAWN, 10)


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def test_index(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert (dataset.kind, dataset.count, dataset.skeleton) == ("keypoints", 28, POSES.skeleton)
    assert [(shard.first, shard.count) for shard in dataset.shards] == [(0, 10), (10, 10), (20, 8)]
    assert dataset.plan.shards == ((0, 10), (10, 20), (20, 28))
    assert dataset.plan.config["size_px"] == 24
    assert dataset.poses_path(dataset.shards[2]) == folder / "shard-00002.safetensors"


@pytest.mark.parametrize("kind", ["webdataset", "npy", "png"])
def test_index_of_pictures(tmp_path: Path, kind: str) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "set", POSES, DRAWN, 10, kind))
    assert dataset.plan.image == (3, 24, 24)
    names = {"webdataset": "shard-00001.tar", "npy": "shard-00001.npy", "png": "00001"}
    assert dataset.shards[1].file == names[kind]
    assert dataset.shards[1].poses == "shard-00001.safetensors"


def test_shards_that_were_given_up(folder: Path) -> None:
    def give_up(values: dict[str, Any]) -> None:
        del values["shards"][1]
        values["count"] = 18

    edit(folder / "index.json", give_up)
    dataset = open_dataset(folder)
    assert [shard.file for shard in dataset.shards] == ["shard-00000.safetensors", "shard-00002.safetensors"]


def test_folders_that_are_none(folder: Path) -> None:
    (folder / "index.json").unlink()
    with pytest.raises(UsageError, match="not finished"):
        open_dataset(folder)
    (folder / "plan.json").unlink()
    with pytest.raises(UsageError, match="no data set"):
        open_dataset(folder)
    (folder / "plan.json").mkdir()
    with pytest.raises(UsageError, match="no data set"):
        open_dataset(folder)


SHARD = ("shards", 1)
CHANGES = [
    ("index.json", ("format",), 2, "format: must be 1, got 2: written by a newer"),
    ("index.json", ("format",), True, "format"),
    ("plan.json", ("format",), 7, "format: must be 1, got 7: written by a newer"),
    ("index.json", ("count",), 27, "count: must be the 28"),
    ("index.json", ("count",), "28", "count: must be an integer"),
    ("index.json", ("count",), -1, "count: must be an integer"),
    ("index.json", ("kind",), "npy", "kind: must be keypoints as in plan.json"),
    ("index.json", ("kind",), "mds", "kind: must be one of"),
    ("index.json", ("kind",), ["npy"], "kind: must be text"),
    ("index.json", ("plan",), "x", "plan: must be 64"),
    ("index.json", ("skeleton",), "", "skeleton: must be a skeleton"),
    ("index.json", ("skeleton",), "body13", "skeleton: must be a skeleton"),
    ("index.json", ("shards",), {}, "shards: must be a list"),
    ("index.json", ("extra",), 1, "extra: is not known"),
    ("index.json", SHARD, [], r"shards\[1\]: must be an object"),
    ("index.json", (*SHARD, "file"), "../shard-00001.safetensors", r"shards\[1\].file: must be 'shard-00001"),
    ("index.json", (*SHARD, "file"), "/etc/passwd", r"shards\[1\].file"),
    ("index.json", (*SHARD, "file"), "shard-00000.safetensors", r"shards\[1\].file"),
    ("index.json", (*SHARD, "first"), 0, r"shards\[1\].(count|first|file)"),
    ("index.json", (*SHARD, "first"), 5, r"shards\[1\].first"),
    ("index.json", (*SHARD, "first"), 1e3, r"shards\[1\].first: must be an integer"),
    ("index.json", (*SHARD, "count"), 9, r"shards\[1\].count: must be 10"),
    ("index.json", (*SHARD, "count"), 0, r"shards\[1\].count"),
    ("index.json", (*SHARD, "bytes"), 2**60, r"shards\[1\].bytes"),
    ("index.json", (*SHARD, "blake3"), "0" * 63 + "g", r"shards\[1\].blake3"),
    ("index.json", (*SHARD, "poses"), {"file": "x"}, r"shards\[1\].poses: must be null"),
    ("index.json", (*SHARD, "more"), 1, r"shards\[1\].more: is not known"),
    ("plan.json", ("count",), 29, "count: must be the 28"),
    ("plan.json", SHARD, [10, 10], r"shards\[1\]: must be \[10, more\]"),
    ("plan.json", SHARD, [11, 20], r"shards\[1\]"),
    ("plan.json", SHARD, [10, 20.0], r"shards\[1\]"),
    ("plan.json", SHARD, [10, 2**70], r"shards\[1\]"),
    ("plan.json", SHARD, "10", r"shards\[1\]"),
    (
        "plan.json",
        ("image",),
        {"channels": 3, "height": 8, "width": 8},
        "image: must be there for pictures alone",
    ),
    ("plan.json", ("image",), {"channels": 3, "height": 8}, "image.width: is missing"),
    ("plan.json", ("image",), {"channels": 0, "height": 8, "width": 8}, "image.channels"),
    ("plan.json", ("labels",), [1], "labels"),
    ("plan.json", ("labels",), "ab", "labels"),
    ("plan.json", ("config",), [], "config: must be an object"),
    ("plan.json", ("skeleton",), "name = 'a'\nkeypoints = 3", "skeleton: must be a skeleton"),
    ("plan.json", ("new",), None, "new: is not known"),
]


@pytest.mark.parametrize(("file", "where", "value", "word"), CHANGES)
def test_wrong_values_are_named(
    folder: Path, file: str, where: tuple[Any, ...], value: object, word: str
) -> None:
    def change(values: Any) -> None:
        for key in where[:-1]:
            values = values[key]
        values[where[-1]] = value

    edit(folder / file, change)
    with pytest.raises(DataError, match=f"{file}: {word}"):
        open_dataset(folder)


@pytest.mark.parametrize("file", ["plan.json", "index.json"])
def test_missing_fields_are_named(folder: Path, file: str) -> None:
    for name in json.loads((folder / file).read_text(encoding="utf-8")):
        before = (folder / file).read_bytes()
        edit(folder / file, lambda values, name=name: values.pop(name))
        with pytest.raises(DataError, match=f"{file}: {name}: is missing"):
            open_dataset(folder)
        (folder / file).write_bytes(before)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"format": NaN}',
        b"[" * 100_000,
        b'{"format": ' + b"9" * 9999 + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)
@pytest.mark.parametrize("file", ["plan.json", "index.json"])
def test_no_json(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=file):
        open_dataset(folder)


def test_poses_of_a_shard(folder: Path) -> None:
    path = folder / "shard-00001.safetensors"
    keypoints, visibility, index, frame, label = read_keypoint_shard(path)
    rows = DRAWN[10:20]
    assert np.array_equal(index, rows)
    assert np.array_equal(visibility, POSES.visibility[rows])
    assert (label == -1).all()
    pixels = frame[:, None, :2] + keypoints * frame[:, None, 2:]
    np.testing.assert_allclose(pixels, POSES.keypoints[rows], atol=1e-4)
    assert np.array_equal(
        keypoints, frame_poses(POSES[rows]).normalize(POSES.keypoints[rows]).astype(np.float32)
    )


def broken(poses: PoseSet, path: Path, **change: Any) -> Path:
    """A shard file with other tensors; None leaves one out."""
    write_shard(path, poses, np.arange(5))
    tensors = {**load_file(path), **change}
    save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata={"format": "1"})
    return path


def spoiled(name: str, where: tuple[int, ...], value: float) -> dict[str, Any]:
    shapes = {"keypoints": ((5, 13, 2), "f4"), "visibility": ((5, 13), "u1"), "index": ((5,), "i8")}
    shapes |= {"frame": ((5, 3), "f8"), "label": ((5,), "i4")}
    tensor = np.ones(*shapes[name])
    tensor[where] = value
    return {name: tensor}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"label": None}, "must hold"),
        ({"more": np.zeros(1)}, "must hold"),
        ({"id": np.zeros(4, np.int64)}, r"id: must be \[5\]"),
        ({"id": np.zeros(5, np.int32)}, "id: must be I64"),
        ({"index": np.zeros(5, np.int32)}, "index: must be I64"),
        ({"keypoints": np.zeros((5, 13, 2))}, "keypoints: must be F32"),
        ({"keypoints": np.zeros((5, 26), np.float32)}, "keypoints: must be F32 with 3"),
        ({"keypoints": np.zeros((5, 12, 2), np.float32)}, r"keypoints: must be \[5, 13, 2\]"),
        ({"index": np.zeros(4, np.int64)}, r"index: must be \[5\]"),
        ({"frame": np.ones((5, 4))}, r"frame: must be \[5, 3\]"),
        (spoiled("keypoints", (3, 2, 1), np.nan), "record 3: keypoints: must be finite"),
        (spoiled("keypoints", (4, 0, 0), np.inf), "record 4: keypoints: must be finite"),
        (spoiled("visibility", (1, 12), 3), "record 1: visibility: must be 0, 1 or 2"),
        (spoiled("index", (2,), -1), "record 2: index"),
        (spoiled("frame", (0, 2), 0), "record 0: frame"),
        (spoiled("frame", (0, 1), np.nan), "record 0: frame"),
        (spoiled("label", (4,), -2), "record 4: label"),
    ],
)
def test_wrong_shards(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    with pytest.raises(DataError, match=f"s.safetensors: {word}"):
        read_keypoint_shard(broken(POSES, tmp_path / "s.safetensors", **change))


def test_names_of_the_input_may_be_there(tmp_path: Path) -> None:
    path = broken(POSES, tmp_path / "s.safetensors", id=np.arange(5))
    assert np.array_equal(read_keypoint_shard(path).index, np.arange(5))


def test_unlabelled_joints_may_hold_anything_and_come_as_zero(tmp_path: Path) -> None:
    change = spoiled("keypoints", (3, 2, 1), np.nan) | spoiled("visibility", (3, 2), 0)
    shard = read_keypoint_shard(broken(POSES, tmp_path / "s.safetensors", **change))
    assert (shard.keypoints[3, 2] == 0).all()
    assert (shard.keypoints[shard.visibility > 0] == 1).all()


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    write_shard(path, POSES, np.arange(5))
    content = path.read_bytes()
    with pytest.raises(DataError, match="longer than 100 bytes"):
        read_keypoint_shard(path, max_bytes=100)
    for wrong in (b"", b"12345678", content[:-1], content + b"x", b"\xff" * 8 + content[8:], content[:40]):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=r"s\.safetensors"):
            read_keypoint_shard(path)
    save_file({"keypoints": np.zeros(1)}, path)
    with pytest.raises(DataError, match="format: must be '1', got None"):
        read_keypoint_shard(path)
    with pytest.raises(ResourceError, match="could not be read"):
        read_keypoint_shard(tmp_path / "none")
    shutil.copytree(tmp_path, tmp_path / "folder")
    with pytest.raises((DataError, ResourceError)):
        read_keypoint_shard(tmp_path / "folder")


def test_an_empty_data_set(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "set", POSES, DRAWN[:0], 10))
    assert dataset.count == 0
    assert plan(POSES, [])["shards"] == []

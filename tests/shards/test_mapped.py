"""Shard files mapped into memory: what they say, and a typed error for what they must not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from flexpose.errors import DataError, ResourceError
from flexpose.poses import synth_poses
from flexpose.shards import RenderStyle, open_dataset, plan_render, read_keypoint_shard, write_shards
from flexpose.shards.mapped import MappedShard, first_fault

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {"keypoints": ((5, 13, 2), "f4"), "visibility": ((5, 13), "u1"), "index": ((5,), "i8")}
SHAPES |= {"frame": ((5, 3), "f8"), "label": ((5,), "i4")}


def tensors(**change: Any) -> dict[str, np.ndarray]:
    values: dict[str, Any] = {name: np.ones(*shape) for name, shape in SHAPES.items()}
    return {name: value for name, value in {**values, **change}.items() if value is not None}


def spoiled(name: str, where: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    tensor = np.ones(*SHAPES[name])
    tensor[where] = value
    return {name: tensor}


def test_holds_what_was_written(tmp_path: Path) -> None:
    write_shards(plan_render(synth_poses(20, seed=1), tmp_path / "set", RenderStyle(), kind="keypoints"))
    dataset = open_dataset(tmp_path / "set")
    path = dataset.poses_path(dataset.shards[0])
    mapped, read = MappedShard(path), read_keypoint_shard(path)
    assert len(mapped) == 20
    for name, tensor in mapped.tensors.items():
        assert np.array_equal(tensor, getattr(read, name))
        assert not tensor.flags.writeable
    assert first_fault(mapped.tensors) is None


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
    ],
)
def test_wrong_tensors(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    path = tmp_path / "s.safetensors"
    save_file(tensors(**change), path, metadata={"format": "1"})
    with pytest.raises(DataError, match=rf"s\.safetensors: {word}"):
        MappedShard(path)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (spoiled("keypoints", (3, 2, 1), np.nan), 3),
        (spoiled("keypoints", (4, 0, 0), np.inf), 4),
        (spoiled("visibility", (1, 12), 3), 1),
        (spoiled("index", (2,), -1), 2),
        (spoiled("frame", (0, 2), 0), 0),
        (spoiled("frame", (0, 1), np.nan), 0),
        (spoiled("label", (4,), -2), 4),
    ],
)
def test_wrong_values(change: dict[str, np.ndarray], row: int) -> None:
    fault = first_fault(tensors(**change))
    assert fault is not None
    assert fault[:2] == (row, next(iter(change)))
    assert first_fault(tensors()) is None


def test_unlabelled_joints_may_hold_anything() -> None:
    assert (
        first_fault(tensors(**spoiled("keypoints", (3, 2, 1), np.nan), **spoiled("visibility", (3, 2), 0)))
        is None
    )


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    save_file(tensors(), path, metadata={"format": "1"})
    content = path.read_bytes()
    assert len(MappedShard(path)) == 5
    with pytest.raises(DataError, match="longer than 100 bytes"):
        MappedShard(path, max_bytes=100)
    for wrong in (b"", b"12345678", content[:-1], content + b"x", b"\xff" * 8 + content[8:], content[:40]):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=r"s\.safetensors"):
            MappedShard(path)
    save_file(tensors(), path)
    with pytest.raises(DataError, match="format: must be '1', got None"):
        MappedShard(path)
    with pytest.raises(ResourceError, match="could not be read"):
        MappedShard(tmp_path / "none")

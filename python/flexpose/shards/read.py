"""Finished data sets on disk; the files may be a stranger's, so everything in them is checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from flexpose import _rust
from flexpose.skeleton import Skeleton

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "KINDS",
    "DatasetPlan",
    "KeypointShard",
    "Kind",
    "ShardFile",
    "ShardIndex",
    "TarEntry",
    "list_tar",
    "open_dataset",
    "read_keypoint_shard",
    "read_plan",
]

Kind = Literal["webdataset", "npy", "png", "keypoints"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard of a finished data set.

    Attributes:
        file: name of the file, or of the folder of PNG files, in the data set's folder.
        first: number of its first pose among those that the plan draws.
        count: poses in it, >= 1.
        bytes: length of the file; of a folder, that of all its files.
        blake3: hash, 64 hexadecimal digits.
        poses: name of the file with its poses; `file` itself in a data set of keypoints.
        poses_bytes: length of that file.
    """

    file: str
    first: int
    count: int
    bytes: int
    blake3: str
    poses: str
    poses_bytes: int


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What ``plan.json`` says: see ``RenderPlan`` for how it is made.

    Attributes:
        kind: what the shards hold.
        config: the options of the rendering, by their names.
        count: poses that were to be drawn.
        bad: poses that were left out because they cannot be drawn.
        shards: first pose and one past the last of each shard.
        skeleton: of the poses.
        image: (channels, height, width) of the pictures, None where none are stored.
        labels: class names that the labels count, None if there are none.
        inputs: name, bytes, blake3 and poses of each input.
    """

    kind: Kind
    config: dict[str, Any]
    count: int
    bad: int
    shards: tuple[tuple[int, int], ...]
    skeleton: Skeleton
    image: tuple[int, int, int] | None
    labels: tuple[str, ...] | None
    inputs: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """A finished data set.

    Attributes:
        path: its folder.
        kind: what the shards hold.
        skeleton: of the poses.
        count: poses in all shards.
        shards: in the order of their poses. Some of the plan may be missing, if they were given up.
        plan: how it was made.
    """

    path: Path
    kind: Kind
    skeleton: Skeleton
    count: int
    shards: tuple[ShardFile, ...]
    plan: DatasetPlan

    def poses_path(self, shard: ShardFile) -> Path:
        """Where the poses of a shard are."""
        return self.path / shard.poses


@dataclass(frozen=True, eq=False, slots=True)
class KeypointShard:
    """The poses of a shard; see ``DrawnPoses`` for the arrays."""

    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    index: NDArray[np.int64]
    frame: NDArray[np.float64]
    label: NDArray[np.int32]
    id: NDArray[np.int64]


class TarEntry(NamedTuple):
    """A file in a tar shard: its name, where its content begins, and its length."""

    name: str
    offset: int
    size: int


def _plan(text: str) -> DatasetPlan:
    plan = json.loads(text)
    image = plan["image"]
    return DatasetPlan(
        kind=plan["kind"],
        config=plan["config"],
        count=plan["count"],
        bad=plan["bad"],
        shards=tuple((first, end) for first, end in plan["shards"]),
        skeleton=Skeleton.from_toml(plan["skeleton"]),
        image=None if image is None else (image["channels"], image["height"], image["width"]),
        labels=None if plan["labels"] is None else tuple(plan["labels"]),
        inputs=tuple(plan["inputs"]),
    )


def read_plan(out: str | PathLike[str]) -> DatasetPlan:
    """Read what a data set is to be, finished or not.

    Raises:
        UsageError: the folder is no data set.
        DataError: ``plan.json`` is not valid; names the field.
    """
    return _plan(_rust.read_dataset(str(out), False)[0])


def open_dataset(out: str | PathLike[str]) -> ShardIndex:
    """Read what a finished data set consists of. No shard is opened; see ``verify_dataset``.

    Args:
        out: the folder that ``flexpose render`` wrote.

    Returns:
        Its index.

    Raises:
        UsageError: the folder is no data set, or not a finished one.
        DataError: ``plan.json`` or ``index.json`` is not valid, or they contradict each other; names file and field.
    """
    plan_text, index_text = _rust.read_dataset(str(out), True)
    plan, index = _plan(plan_text), json.loads(index_text or "{}")
    shards = []
    for shard in index["shards"]:
        poses = shard.pop("poses") or shard
        shards.append(ShardFile(**shard, poses=poses["file"], poses_bytes=poses["bytes"]))
    return ShardIndex(Path(out), plan.kind, plan.skeleton, index["count"], tuple(shards), plan)


def read_keypoint_shard(path: str | PathLike[str], *, max_bytes: int = 1 << 30) -> KeypointShard:
    """Read the poses of a shard.

    Args:
        path: a ``.safetensors`` file of a data set.
        max_bytes: larger files are refused; the arrays together are as large as the file.

    Returns:
        The arrays.

    Raises:
        DataError: the file is not as it was written; names the field.
        ResourceError: the file cannot be read.
    """
    arrays = _rust.read_keypoint_shard(str(path), max_bytes)
    return KeypointShard(**{field.name: arrays[field.name] for field in fields(KeypointShard)})


def list_tar(
    path: str | PathLike[str], *, max_entry: int = 256 << 20, max_entries: int = 1 << 18
) -> list[TarEntry]:
    """List the files of a tar shard without extracting anything.

    Args:
        path: the archive.
        max_entry: bytes of one file; more is refused.
        max_entries: number of files; more are refused.

    Returns:
        The files, in their order.

    Raises:
        DataError: the archive holds anything but regular files with plain relative names, lies about a size, is torn,
            or goes beyond a limit.
        ResourceError: the file cannot be read.
    """
    return [TarEntry(*entry) for entry in _rust.list_tar(str(path), max_entry, max_entries)]

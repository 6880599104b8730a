"""Where a torch data set takes its poses from: a set in memory, a file, or a data set on disk."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet, read_poses
from flexpose.skeleton import Skeleton, map_joints

from .drawn import draw_poses
from .mapped import MappedShard, first_fault
from .read import ShardIndex, open_dataset
from .style import RenderStyle

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from .read import ShardFile

__all__ = ["FramedPoses", "PoseSource", "open_source"]

_OPEN_SHARDS = 256  # mapped at a time: each holds a file descriptor


@dataclass(frozen=True, slots=True, eq=False)
class FramedPoses:
    """N poses in the coordinates of their frames.

    Attributes:
        keypoints: [N, K, 2] float32, 0 where not labelled.
        visibility: [N, K] uint8.
        index: [N] int64, row of each in the input.
    """

    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    index: NDArray[np.int64]


class PoseSource(Protocol):
    """Poses by number. Cheap to pickle where they lie in files, and to be used after a fork as before it."""

    skeleton: Skeleton
    style: RenderStyle

    def __len__(self) -> int:
        """How many there are."""

    def take(self, rows: NDArray[np.int64]) -> FramedPoses:
        """The poses of some numbers from 0 to len(self) - 1, in that order."""


def open_source(
    source: str | PathLike[str] | PoseSet | ShardIndex,
    style: RenderStyle | None = None,
    skeleton: Skeleton | str | None = None,
) -> PoseSource:
    """Find out what holds the poses.

    Args:
        source: poses, a file that ``read_poses`` takes, or a folder that ``flexpose render`` wrote.
        style: how they are framed and drawn. None: as the data set was rendered; else the defaults.
        skeleton: the skeleton that is wanted; poses of another one are mapped. None: their own.

    Returns:
        The poses that can be drawn under ``style.missing``.

    Raises:
        UsageError: there is no such file, the skeletons do not fit, or the style asks for other frames than those
            that a data set on disk has.
        DataError: a file is not valid, or a pose cannot be framed.
    """
    if isinstance(source, PoseSet):
        return _SetSource(source, style or RenderStyle(), _loaded(skeleton))
    if isinstance(source, ShardIndex) or Path(source).is_dir():
        dataset = source if isinstance(source, ShardIndex) else open_dataset(source)
        wanted = _loaded(skeleton)
        if wanted is not None and wanted != dataset.skeleton:
            raise UsageError(
                f"skeleton must be {dataset.skeleton.name} as in {dataset.path}, got {wanted.name}"
            )
        return _ShardSource(dataset, style)
    return _FileSource(Path(source), style or RenderStyle(), _loaded(skeleton))


def _loaded(skeleton: Skeleton | str | None) -> Skeleton | None:
    from flexpose.skeleton import load_skeleton

    return load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton


class _SetSource:
    """Poses in memory."""

    def __init__(self, poses: PoseSet, style: RenderStyle, skeleton: Skeleton | None) -> None:
        self.style = style
        mapped = poses if skeleton is None or skeleton == poses.skeleton else map_joints(poses, skeleton)
        drawn = draw_poses([mapped], style)
        self.skeleton = drawn.skeleton
        self._framed = FramedPoses(drawn.keypoints, drawn.visibility, drawn.index)

    def __len__(self) -> int:
        return len(self._framed.index)

    def take(self, rows: NDArray[np.int64]) -> FramedPoses:
        framed = self._framed
        return FramedPoses(framed.keypoints[rows], framed.visibility[rows], framed.index[rows])


class _FileSource:
    """Poses of a file. Another process gets the path, and reads the file when it needs the first pose."""

    def __init__(self, path: Path, style: RenderStyle, skeleton: Skeleton | None) -> None:
        self.path, self.style = path.absolute(), style
        poses = read_poses(self.path, skeleton)
        self._read_as = poses.skeleton
        self._content = poses.content_hash()
        self._poses: _SetSource | None = _SetSource(poses, style, None)
        self.skeleton = self._poses.skeleton
        self._length = len(self._poses)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_poses": None}

    def __len__(self) -> int:
        return self._length

    def take(self, rows: NDArray[np.int64]) -> FramedPoses:
        if self._poses is None:
            poses = read_poses(self.path, self._read_as)
            if poses.content_hash() != self._content:
                raise DataError("has changed since it was first read", path=self.path)
            self._poses = _SetSource(poses, self.style, None)
        return self._poses.take(rows)


class _ShardSource:
    """Poses of a data set on disk, whatever pictures it holds: their poses travel with them."""

    def __init__(self, dataset: ShardIndex, style: RenderStyle | None) -> None:
        rendered = _rendered_style(dataset)
        self.dataset, self.style = dataset, style or rendered
        self._carried = self.style.joint_map(dataset.skeleton)
        self.skeleton = dataset.skeleton if self._carried is None else self._carried.target
        for name in ("frame", "margin", "missing"):
            if getattr(self.style, name) != getattr(rendered, name):
                expected, got = getattr(rendered, name), getattr(self.style, name)
                raise UsageError(f"style.{name} must be {expected!r} as in {dataset.path}, got {got!r}")
        self._starts = np.cumsum([0, *(shard.count for shard in dataset.shards)], dtype=np.int64)
        self._open: OrderedDict[int, MappedShard] = OrderedDict()
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, rows: NDArray[np.int64]) -> FramedPoses:
        n, k = len(rows), self.dataset.skeleton.num_keypoints
        keypoints = np.empty((n, k, 2), np.float32)
        visibility, index = np.empty((n, k), np.uint8), np.empty(n, np.int64)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        inside = rows - self._starts[shards]
        for number in np.unique(shards).tolist():
            places, tensors = np.flatnonzero(shards == number), self._shard(number).tensors
            keypoints[places] = tensors["keypoints"][inside[places]]
            visibility[places] = tensors["visibility"][inside[places]]
            index[places] = tensors["index"][inside[places]]
        fault = first_fault({"keypoints": keypoints, "visibility": visibility, "index": index})
        if fault:
            place, field, expected = fault
            path = self.dataset.path / self.dataset.shards[shards[place]].poses
            raise DataError(f"must be {expected}", path=path, record=int(inside[place]), field=field)
        keypoints[visibility == 0] = 0
        if self._carried is not None:
            keypoints, visibility = self._carried.apply(keypoints, visibility)
        return FramedPoses(keypoints, visibility, index)

    def _shard(self, number: int) -> MappedShard:
        if self._pid != os.getpid():  # a child of fork opens its own
            self._open, self._pid = OrderedDict(), os.getpid()
        if number not in self._open:
            about = self.dataset.shards[number]
            path = _checked_path(self.dataset, about)
            shard = MappedShard(path)
            if shard.tensors["visibility"].shape != (about.count, self.dataset.skeleton.num_keypoints):
                expected, got = (
                    [about.count, self.dataset.skeleton.num_keypoints],
                    list(shard.tensors["visibility"].shape),
                )
                raise DataError(
                    f"must be {expected} as in index.json, got {got}", path=path, field="visibility"
                )
            self._open[number] = shard
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


def _checked_path(dataset: ShardIndex, shard: ShardFile) -> Path:
    """Where the poses of a shard are, if they are there and as long as they should be."""
    path = dataset.poses_path(shard)
    if path.resolve().parent != dataset.path.resolve():
        raise DataError(f"must lie in {dataset.path}, and leads out of it", path=path)
    length = path.stat().st_size if path.is_file() else None
    if length != shard.poses_bytes:
        got = "none" if length is None else f"{length} bytes"
        raise DataError(f"must be a file of {shard.poses_bytes} bytes as in index.json, got {got}", path=path)
    return path


def _rendered_style(dataset: ShardIndex) -> RenderStyle:
    """How the pictures of a data set were, or would have been, drawn."""
    path, config = dataset.path / "plan.json", dataset.plan.config
    values = {}
    for name in (field.name for field in fields(RenderStyle)):
        if name not in config and name != "preset":  # which is there for the style openpose alone
            raise DataError("is missing", path=path, field=f"config.{name}")
        if name in config:
            values[name] = config[name]
    try:
        return RenderStyle(**values)
    except (UsageError, TypeError) as error:
        raise DataError(f"must be settings of a rendering: {error}", path=path, field="config") from error

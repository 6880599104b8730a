"""Poses on their way into a data set: framed, varied, and without those that cannot be drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose import _rust
from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet, frame_poses
from flexpose.poses.bad import BadRecord, BadRecords

from .read import ShardIndex, read_keypoint_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from flexpose.skeleton import JointMap, Skeleton

    from .augment import Augment
    from .style import RenderStyle

__all__ = ["DrawnPoses", "Source", "as_sources", "draw_poses"]

Source = PoseSet | ShardIndex
"""Where poses come from: a set in memory, or a finished data set."""


def as_sources(poses: Source | Sequence[Source]) -> list[Source]:
    """One source, or several."""
    return [poses] if isinstance(poses, PoseSet | ShardIndex) else list(poses)


_ROWS = 4096  # framed at a time: what float64 needs for it does not grow with the set


@dataclass(frozen=True, eq=False, slots=True)
class DrawnPoses:
    """M poses that will be drawn, of N in the input.

    Attributes:
        keypoints: [M, K, 2] float32, in [-1, 1] inside the frame; 0 where not labelled.
        visibility: [M, K] uint8, 0 not labelled, 1 occluded, 2 visible.
        index: [M] int64, row in the input, ascending; the rows of several inputs count on.
        id: [M] int64, the input's own number of the pose.
        frame: [M, 3] float64, centre x, centre y and half the side of the frame, in pixels of the input.
        label: [M] int32, number of the class name, -1 for none.
        labels: the class names, sorted; None if no input has any.
        bad: [B] int64, rows that were left out because they cannot be drawn.
        left_out: number of rows left out because joints are missing.
        skeleton: K keypoints.
        counts: poses of each input.
        first: number of the first pose here among all that are drawn.
    """

    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    index: NDArray[np.int64]
    id: NDArray[np.int64]
    frame: NDArray[np.float64]
    label: NDArray[np.int32]
    labels: tuple[str, ...] | None
    bad: NDArray[np.int64]
    left_out: int
    skeleton: Skeleton
    counts: tuple[int, ...]
    first: int = 0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def bones(self) -> NDArray[np.int64]:
        """[B, 2] 0-based ends of the bones."""
        return np.asarray(self.skeleton.bones, np.int64).reshape(-1, 2)

    @property
    def bone_colors(self) -> NDArray[np.uint8]:
        """[B, 3] RGB."""
        return np.ascontiguousarray(self.skeleton.bone_colors)

    @property
    def joint_colors(self) -> NDArray[np.uint8]:
        """[K, 3] RGB."""
        return np.ascontiguousarray(self.skeleton.joint_colors)

    def content_hash(self) -> str:
        """BLAKE3 of all numbers: equal poses, equal hash."""
        return _rust.hash_poses(self)

    def shards(self, first: int, end: int) -> DrawnPoses:
        """The poses `first` to `end`, which are numbers among all that are drawn."""
        rows = slice(first - self.first, end - self.first)
        parts = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return replace(self, **parts, first=first)


_ARRAYS = ("keypoints", "visibility", "index", "id", "frame", "label")


def draw_poses(
    sources: Sequence[Source],
    style: RenderStyle,
    *,
    augment: Augment | None = None,
    seed: int = 0,
    bad: BadRecords | None = None,
) -> DrawnPoses:
    """Decide which poses are drawn and where in their pictures.

    Args:
        sources: poses, or finished data sets, whose poses keep the frames that they have.
        style: framing, and what missing joints do.
        augment: varies each pose by the seed and its row.
        seed: of the variation.
        bad: takes the poses that cannot be framed; None: the first is an error.

    Returns:
        The poses, in the order of the input.

    Raises:
        UsageError: there is no source, or they have different skeletons or frames, or the style draws a skeleton that
            theirs cannot be carried over to.
        DataError: a pose misses joints that it must have, or more poses are bad than may be.
    """
    if not sources:
        raise UsageError("there must be poses to draw, got no input")
    skeleton = sources[0].skeleton
    for source in sources:
        if source.skeleton != skeleton:
            raise UsageError(
                f"inputs must have one skeleton, got {skeleton.name} and {source.skeleton.name}; name one by --skeleton"
            )
    carried = style.joint_map(skeleton)
    if carried is not None:
        skeleton = carried.target
    if bad is not None and not bad.total:  # the poses come from memory: no reader has counted them
        bad.add([], poses=sum(_length(source) for source in sources))
    names = _label_names(sources)
    parts: list[dict[str, NDArray[Any]]] = []
    bad_rows: list[int] = []
    offset = left_out = 0
    for source in sources:
        found: list[int] = []
        if isinstance(source, PoseSet):
            made = _framed(source, style, carried, _Unfit(source, bad, found))
        else:
            made = _stored(source, style, carried)
        drawn = 0
        for part, labels in made:
            part["index"] = part["index"] + offset
            part["label"] = _label_numbers(labels, names, len(part["index"]))
            drawn += len(part["index"])
            parts.append(_varied(part, skeleton, augment, seed))
        bad_rows += [row + offset for row in found]
        left_out += _length(source) - drawn - len(found)
        offset += _length(source)
    if bad is not None:
        bad.check()
    joined = {name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}
    return DrawnPoses(
        keypoints=joined["keypoints"],
        visibility=joined["visibility"],
        index=joined["index"],
        id=joined["id"],
        frame=joined["frame"],
        label=joined["label"],
        labels=names,
        bad=np.array(sorted(bad_rows), np.int64),
        left_out=left_out,
        skeleton=skeleton,
        counts=tuple(_length(source) for source in sources),
    )


def _length(source: Source) -> int:
    return source.count if isinstance(source, ShardIndex) else len(source)


def _label_names(sources: Sequence[Source]) -> tuple[str, ...] | None:
    tables = [source.plan.labels if isinstance(source, ShardIndex) else source.labels for source in sources]
    if all(table is None for table in tables):
        return None
    return tuple(sorted({name for table in tables for name in table or () if name}))


def _label_numbers(
    labels: Sequence[str] | None, names: tuple[str, ...] | None, count: int
) -> NDArray[np.int32]:
    if labels is None or names is None:
        return np.full(count, -1, np.int32)
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers.get(label, -1) for label in labels], np.int32)


@dataclass(frozen=True, slots=True)
class _Unfit:
    """Takes the rows of a source that cannot be drawn; without a place for them the first is an error."""

    source: PoseSet
    bad: BadRecords | None
    rows: list[int]

    def add(self, row: int, field: str | None, reason: str) -> None:
        if self.bad is None:
            raise DataError(reason, path=self.source.origin, record=row, field=field)
        self.rows.append(row)
        record = BadRecord(self.source.origin or "memory", row, field, reason)
        # It was counted as a pose before.
        self.bad.add([record], poses=-1)


def _framed(
    poses: PoseSet, style: RenderStyle, carried: JointMap | None, unfit: _Unfit
) -> Iterator[tuple[dict[str, NDArray[Any]], Sequence[str] | None]]:
    """Yield the poses that are drawn, some thousand at a time, with their labels."""
    for start in range(0, max(len(poses), 1), _ROWS):
        part = poses[start : start + _ROWS]
        if carried is not None:
            keypoints, visibility = carried.apply(part.keypoints, part.visibility)
            part = part.replace(keypoints=keypoints, visibility=visibility, skeleton=carried.target)
        rows = _with_joints(part, style, carried, start)
        while True:
            kept = part[rows]
            try:
                frames = frame_poses(kept, mode=style.frame, margin=style.margin)
            except DataError as error:
                if error.record is None:
                    raise
                # The framing counts the poses that it got; the file has others before and between them.
                reason = str(error).rsplit(f"{error.field}: ", 1)[-1]
                unfit.add(start + int(rows[error.record]), error.field, reason)
                rows = np.delete(rows, error.record)
                continue
            with np.errstate(over="ignore"):
                normalized = frames.normalize(kept.keypoints).astype(np.float32)
            normalized[kept.visibility == 0] = 0
            outside = _beyond_float(normalized, style.size_px)
            if not outside.any():
                break
            for row in rows[outside]:
                unfit.add(start + int(row), "keypoints", "must lie where float32 pixels of the picture reach")
            rows = rows[~outside]
        arrays: dict[str, NDArray[Any]] = {
            "keypoints": normalized,
            "visibility": np.ascontiguousarray(kept.visibility),
            "index": rows + start,
            "id": np.ascontiguousarray(kept.ids),
            "frame": np.column_stack([frames.center, frames.half]),
        }
        yield arrays, kept.labels


def _with_joints(
    part: PoseSet, style: RenderStyle, carried: JointMap | None, start: int
) -> NDArray[np.int64]:
    """Rows that have the joints that ``style.missing`` asks for; those that no pose can have are not asked for."""
    labelled = part.visibility > 0
    if carried is not None:
        labelled = labelled[:, carried.weights.any(axis=1)]
    complete = labelled.all(axis=1)
    if style.missing == "error" and not complete.all():
        row = int(np.flatnonzero(~complete)[0])
        message = f"must have all {labelled.shape[1]} joints labelled, got {labelled[row].sum()}"
        raise DataError(message, path=part.origin, record=start + row, field="visibility")
    keep = complete if style.missing != "skip-bone" else labelled.sum(axis=1) >= 2
    if style.frame == "root":
        keep = keep & (part.visibility[:, list(part.skeleton.root)] > 0).all(axis=1)
    return np.flatnonzero(keep).astype(np.int64)


def _beyond_float(normalized: NDArray[np.float32], size_px: int) -> NDArray[np.bool_]:
    """[N]: whether a pose has a joint whose pixels are infinite in float32."""
    limit = float(np.finfo(np.float32).max) / max(size_px, 2)
    beyond: NDArray[np.bool_] = np.any(~(np.abs(normalized) <= limit), axis=(1, 2))
    return beyond


def _stored(
    dataset: ShardIndex, style: RenderStyle, carried: JointMap | None
) -> Iterator[tuple[dict[str, NDArray[Any]], Sequence[str] | None]]:
    """Yield the poses of a data set as they are: framed, and with the rows of its own input counted anew."""
    framing = {name: dataset.plan.config.get(name) for name in ("frame", "margin", "missing")}
    wanted = {name: getattr(style, name) for name in framing}
    if framing != wanted:
        raise UsageError(
            f"{dataset.path}: its poses are framed already, {_named(framing)}; asked for {_named(wanted)}"
        )
    start = 0
    for shard in dataset.shards:
        read = read_keypoint_shard(dataset.poses_path(shard))
        keypoints, visibility = read.keypoints, read.visibility
        if carried is not None:
            keypoints, visibility = carried.apply(keypoints, visibility)
        names = dataset.plan.labels
        labels = None if names is None else [names[k] if k >= 0 else "" for k in read.label]
        rows = np.arange(start, start + len(read.index))
        start += len(read.index)
        arrays: dict[str, NDArray[Any]] = {
            "keypoints": keypoints,
            "visibility": visibility,
            "index": rows,
            "id": read.id,
            "frame": read.frame,
        }
        yield arrays, labels


def _named(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _varied(
    part: dict[str, NDArray[Any]], skeleton: Skeleton, augment: Augment | None, seed: int
) -> dict[str, NDArray[Any]]:
    if augment is not None:
        from .augment import augment_labelled

        part["keypoints"], part["visibility"] = augment_labelled(
            part["keypoints"], part["visibility"], skeleton, augment, seed, part["index"]
        )
    return part

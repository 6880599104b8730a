"""Render poses and publish the pictures whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexpose._atomic import atomic_path, atomic_write
from flexpose.errors import DataError, UsageError
from flexpose.poses import frame_poses
from flexpose.raster import encode_png, encode_pngs, image_grid, pixels_from_normalized, rasterize

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from numpy.typing import NDArray

    from flexpose.poses import Frames, PoseSet

    from .style import RenderStyle

__all__ = ["RenderReport", "write_grid", "write_pngs", "write_webdataset"]

_CHUNK = 256  # pictures in memory at a time: 12 MB at 128 px


@dataclass(frozen=True, slots=True)
class RenderReport:
    """What was written: the path, the poses drawn, and those left out for missing joints."""

    path: Path
    rendered: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Rendered:
    """One finished picture: its 0-based index in the input, the PNG, and the joints in its pixels."""

    index: int
    png: bytes
    keypoints: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which poses are drawn (indices into the input, ascending), and the square of each."""

    poses: PoseSet
    drawn: NDArray[np.int64]
    frames: Frames


def _plan(poses: PoseSet, style: RenderStyle) -> _Plan:
    """Decide under ``style.missing`` and frame all poses, so that bad ones are found before any work."""
    labelled = poses.visibility > 0
    complete = labelled.all(axis=1)
    if style.missing == "error" and not complete.all():
        record = int(np.flatnonzero(~complete)[0])
        message = f"must have all {labelled.shape[1]} joints labelled, got {labelled[record].sum()}"
        raise DataError(message, path=poses.origin, record=record, field="visibility")
    keep = complete if style.missing != "skip-bone" else labelled.sum(axis=1) >= 2
    if style.frame == "root":
        keep = keep & labelled[:, list(poses.skeleton.root)].all(axis=1)
    drawn = np.flatnonzero(keep)
    try:
        return _Plan(poses, drawn, frame_poses(poses[drawn], mode=style.frame, margin=style.margin))
    except DataError as error:
        if error.record is None:
            raise
        # frame_poses counts the poses it got; the user's file has others between them.
        message = str(error).rsplit(f"{error.field}: ", 1)[-1]
        record = int(drawn[error.record])
        raise DataError(message, path=error.path, record=record, field=error.field) from error


def _render(
    plan: _Plan, style: RenderStyle, workers: int | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield (indices, images [n, S, S, 3], keypoints [n, K, 2] in their pixels) in the order of the input."""
    for start in range(0, len(plan.drawn), _CHUNK):
        rows = slice(start, start + _CHUNK)
        indices = plan.drawn[rows]
        part = plan.poses[indices]
        keypoints = pixels_from_normalized(plan.frames[rows].normalize(part.keypoints), style.size_px)
        keypoints[part.visibility == 0] = 0
        images = rasterize(
            keypoints,
            part.visibility,
            part.skeleton,
            size_px=style.size_px,
            line_width_px=style.line_width_px,
            joint_radius_px=style.joint_radius_px,
            workers=workers,
        )
        yield indices, images, keypoints


def _pictures(plan: _Plan, style: RenderStyle, workers: int | None) -> Iterator[_Rendered]:
    """Yield the finished pictures in the order of the input, whatever the number of workers."""
    for indices, images, keypoints in _render(plan, style, workers):
        for index, png, joints in zip(indices, encode_pngs(images, workers=workers), keypoints, strict=True):
            yield _Rendered(int(index), png, joints)


def _report(path: str | PathLike[str], plan: _Plan) -> RenderReport:
    return RenderReport(Path(path), len(plan.drawn), len(plan.poses) - len(plan.drawn))


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path`, on failure it is removed."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path} is there already and is not an empty folder; name another one or remove it")
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_pngs(
    poses: PoseSet, folder: str | PathLike[str], style: RenderStyle, *, workers: int | None = None
) -> RenderReport:
    """Write one ``{index:08d}.png`` a pose into a new folder; the index is the pose's place in the input.

    Args:
        poses: N poses.
        folder: must not exist, or be empty; it appears only when every picture is in it.
        style: how they are drawn.
        workers: threads; None for as many as the process may use. The bytes do not depend on it.

    Returns:
        What was written.

    Raises:
        UsageError: the folder is not empty.
        DataError: a pose cannot be drawn (see ``RenderStyle.missing``).
    """
    path = Path(folder).absolute()
    plan = _plan(poses, style)
    with _new_folder(path) as temporary:
        for picture in _pictures(plan, style, workers):
            (temporary / f"{picture.index:08d}.png").write_bytes(picture.png)
    return _report(folder, plan)


def _member(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    # TarInfo's own defaults are what makes the shard reproducible: time, user and group 0, no names.
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, io.BytesIO(data)


def write_webdataset(
    poses: PoseSet, path: str | PathLike[str], style: RenderStyle, *, workers: int | None = None
) -> RenderReport:
    """Write one plain USTAR shard that WebDataset reads; equal poses and style give equal bytes.

    Each pose is two members, ``{index:08d}.json`` and ``{index:08d}.png``; the index is its place in the
    input. The JSON has ``id``, ``keypoints`` (in the picture's pixels, [0, 0] where not labelled), ``label``
    (if the poses have any), ``size`` (width, height), ``skeleton`` (its name) and ``visibility``.

    Args:
        poses: N poses.
        path: the tar file; an old one is replaced at the end, in one step.
        style: how they are drawn.
        workers: threads; None for as many as the process may use. The bytes do not depend on it.

    Returns:
        What was written.

    Raises:
        DataError: a pose cannot be drawn (see ``RenderStyle.missing``).
        ResourceError: the disk is full.
    """
    plan = _plan(poses, style)
    size = [style.size_px, style.size_px]
    with (
        atomic_path(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard,
    ):
        for picture in _pictures(plan, style, workers):
            about = {
                "id": int(poses.ids[picture.index]),
                "keypoints": picture.keypoints.astype(np.float64).round(4).tolist(),
                "size": size,
                "skeleton": poses.skeleton.name,
                "visibility": poses.visibility[picture.index].tolist(),
            }
            if poses.labels is not None:
                about["label"] = poses.labels[picture.index]
            text = json.dumps(about, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            shard.addfile(*_member(f"{picture.index:08d}.json", text.encode()))
            shard.addfile(*_member(f"{picture.index:08d}.png", picture.png))
    return _report(path, plan)


def write_grid(
    poses: PoseSet,
    path: str | PathLike[str],
    style: RenderStyle,
    *,
    columns: int = 8,
    workers: int | None = None,
) -> RenderReport:
    """Write one PNG with all poses side by side, row by row.

    Args:
        poses: N poses, at least one that can be drawn; keep N small, all pictures are in memory.
        path: the PNG file; an old one is replaced.
        style: how they are drawn.
        columns: pictures a row, >= 1.
        workers: threads; None for as many as the process may use.

    Returns:
        What was written.

    Raises:
        UsageError: `columns` is below 1.
        DataError: there is no pose to draw, or one cannot be drawn.
        ResourceError: the disk is full.
    """
    if columns < 1:
        raise UsageError(f"columns must be >= 1, got {columns}")
    plan = _plan(poses, style)
    if not len(plan.drawn):
        raise DataError(f"there must be a pose to draw, got {len(poses)} poses without labelled joints")
    images = np.concatenate([part for _, part, _ in _render(plan, style, workers)])
    atomic_write(path, encode_png(image_grid(images, min(columns, len(images)))))
    return _report(path, plan)

"""Render poses and publish the pictures whole or not at all."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose import _rust
from flexpose._atomic import atomic_write
from flexpose._cpus import allowed_threads
from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.poses.bad import BadRecords
from flexpose.raster import encode_png, image_grid

from .drawn import DrawnPoses, as_sources, draw_poses
from .plan import draft_render
from .style import draw_framed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from .augment import Augment
    from .drawn import Source
    from .plan import RenderPlan
    from .style import RenderStyle

__all__ = ["RenderReport", "running_threads", "write_grid", "write_shards", "write_webdataset"]

_MAX_WORKERS = 1024


@dataclass(frozen=True, slots=True)
class RenderReport:
    """What there is now.

    Attributes:
        path: the file or the folder.
        rendered: poses in what was to be written, also those that had been written before.
        left_out: poses left out because joints are missing.
        bad: poses left out because they cannot be drawn.
        bytes: of all files.
        shards: number of shards that this call was for.
        written: those written now; the others were finished before.
        complete: whether the whole data set is finished.
    """

    path: Path
    rendered: int
    left_out: int
    bad: int
    bytes: int
    shards: int
    written: int
    complete: bool


def running_threads(workers: int | None) -> int:
    """Threads that are started for so many workers: no more than the process has processors for.

    More would not be faster, and each has its own memory. The bytes do not depend on it.

    Raises:
        UsageError: `workers` is out of range.
    """
    if workers is None:
        return allowed_threads()
    if not 1 <= workers <= _MAX_WORKERS:
        raise UsageError(f"workers must be in [1, {_MAX_WORKERS}], got {workers}")
    return min(workers, allowed_threads())


@contextmanager
def _room_told(path: Path) -> Iterator[None]:
    """Add to an error about a full disk how much is needed and how much there is."""
    try:
        yield
    except ResourceError as error:
        if not hasattr(error, "needed"):
            raise
        folder = path.absolute()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        needed = "" if error.needed is None else f"about {error.needed} bytes needed, "
        raise ResourceError(f"{error} ({needed}{free} bytes free)") from None


def write_shards(
    plan: RenderPlan,
    poses: Source | Sequence[Source] | None = None,
    shard_range: range | None = None,
    *,
    workers: int | None = None,
    resume: bool = False,
    full: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RenderReport:
    """Write the shards of a published plan that are not there yet, and the index when the last one is.

    Args:
        plan: from ``plan_render``.
        poses: those that were given to it; None: the plan has them with it.
        shard_range: numbers of the shards to write, without gaps; None for all. Processes may write different shards of
            one data set at the same time.
        workers: threads; None for as many as the process may use, which is the most that run at all. The bytes do not
            depend on it.
        resume: keep the shards that are finished. Without it there must be none.
        full: with `resume`, hash the finished shards instead of looking at their lengths.
        progress: called some times a second with the number of poses done; what it raises ends the writing.

    Returns:
        What was written.

    Raises:
        UsageError: shards are finished already, or do not exist, or the poses are others.
        ResourceError: the disk is full, or another process writes these shards. What is published stays.
    """
    wanted = range(len(plan.shards)) if shard_range is None else shard_range
    if wanted.step != 1:
        raise UsageError(f"shard_range must have no gaps, got {wanted}")
    drawn = _poses_of(plan, poses)
    with _room_told(plan.out):
        told: dict[str, Any] = json.loads(
            _rust.write_shards(
                str(plan.out),
                drawn,
                shards=(wanted.start, wanted.stop),
                threads=running_threads(workers),
                resume=resume,
                full=full,
                progress=progress,
            )
        )
    rendered = sum(end - first for first, end in plan.shards[wanted.start : wanted.stop])
    return RenderReport(
        path=plan.out,
        rendered=rendered,
        left_out=plan.left_out,
        bad=_number_bad(plan),
        bytes=told["bytes"],
        shards=len(wanted),
        written=told["written"],
        complete=told["complete"],
    )


def _poses_of(plan: RenderPlan, poses: Source | Sequence[Source] | None) -> DrawnPoses:
    if plan.drawn is not None:
        return plan.drawn
    if poses is None:
        raise UsageError("poses must be given, for the plan came without them")
    bad = None if plan.bad is None else BadRecords(plan.bad.max_fraction)
    drawn = draw_poses(as_sources(poses), plan.style, augment=plan.augment, seed=plan.seed, bad=bad)
    if drawn.content_hash() != json.loads(plan.fields)["content"]:
        raise UsageError("poses must be those that the plan was made for, got others")
    return drawn


def _number_bad(plan: RenderPlan) -> int:
    return plan.bad.count if plan.bad else 0


def write_webdataset(
    poses: Source | Sequence[Source],
    path: str | PathLike[str],
    style: RenderStyle | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
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
        progress: called some times a second with the number of poses done; what it raises ends the writing.
        options: more of ``draft_render``.

    Returns:
        What was written.

    Raises:
        DataError: a pose cannot be drawn (see ``RenderStyle.missing``).
        ResourceError: the disk is full.
    """
    threads = running_threads(workers)
    plan = draft_render(poses, path, style, kind="webdataset", **options)
    with _room_told(plan.out):
        told: dict[str, Any] = json.loads(
            _rust.write_tar(str(path), plan.fields, plan.drawn, threads=threads, progress=progress)
        )
    return RenderReport(
        Path(path),
        plan.count,
        plan.left_out,
        _number_bad(plan),
        told["bytes"],
        shards=1,
        written=1,
        complete=True,
    )


def write_grid(
    poses: Source | Sequence[Source],
    path: str | PathLike[str],
    style: RenderStyle,
    *,
    columns: int = 8,
    workers: int | None = None,
    augment: Augment | None = None,
    seed: int = 0,
) -> RenderReport:
    """Write one PNG with all poses side by side, row by row.

    Args:
        poses: N poses, at least one that can be drawn; keep N small, all pictures are in memory.
        path: the PNG file; an old one is replaced.
        style: how they are drawn.
        columns: pictures a row, >= 1.
        workers: threads; None for as many as the process may use.
        augment: varies each pose by the seed and its row.
        seed: of the variation.

    Returns:
        What was written.

    Raises:
        UsageError: `columns` is below 1, or the style has a channel for each bone.
        DataError: there is no pose to draw, or one cannot be drawn.
        ResourceError: the disk is full.
    """
    if columns < 1:
        raise UsageError(f"columns must be >= 1, got {columns}")
    if style.style == "per-bone":
        raise UsageError("style must not be per-bone for a grid: a PNG has no channel for each bone")
    drawn = draw_poses(as_sources(poses), style, augment=augment, seed=seed)
    if not len(drawn):
        raise DataError(
            f"there must be a pose to draw, got {sum(drawn.counts)} poses without labelled joints"
        )
    images = draw_framed(drawn.keypoints, drawn.visibility, drawn.skeleton, style, workers=workers)
    images = np.broadcast_to(images, (*images.shape[:3], 3))  # grey is red, green and blue alike
    png = encode_png(image_grid(images, min(columns, len(images))))
    atomic_write(path, png)
    return RenderReport(
        Path(path), len(drawn), drawn.left_out, 0, len(png), shards=1, written=1, complete=True
    )

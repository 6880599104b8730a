"""`flexpose render`: poses as pictures."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import JsonOption, LimitOption, SeedOption, SkeletonOption, WorkersOption
from ._output import print_json, say
from ._progress import progress
from ._signals import terminate_as_interrupt

if TYPE_CHECKING:
    from flexpose.poses import PoseSet
    from flexpose.poses.bad import BadRecords
    from flexpose.shards import RenderPlan, RenderReport, ShardIndex

__all__ = ["read_inputs", "render_cli"]

_GRID_DEFAULT = 64


class _Format(StrEnum):
    webdataset = "webdataset"
    npy = "npy"
    png = "png"
    keypoints = "keypoints"


class _Style(StrEnum):
    flexpose = "flexpose"
    openpose = "openpose"
    keypointgan = "keypointgan"
    gray = "gray"
    per_bone = "per-bone"


class _Preset(StrEnum):
    sd15 = "sd15"
    sdxl_thick = "sdxl-thick"


class _Engine(StrEnum):
    local = "local"
    ray = "ray"


class _Frame(StrEnum):
    bbox = "bbox"
    keep = "keep"
    root = "root"


class _Missing(StrEnum):
    skip_bone = "skip-bone"
    drop_pose = "drop-pose"
    error = "error"


def render_cli(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            exists=True,
            help="Poses: COCO keypoint JSON, npz, or the folder of a finished data set; one or several.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="A folder for a data set, a .tar file, or a .png file (--grid).", show_default=False
        ),
    ],
    kind: Annotated[
        _Format | None,
        typer.Option(
            "--format",
            help="webdataset: tar with a JSON and a PNG a pose, the default; npy; png; keypoints: drawn when loaded.",
        ),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(help="Poses a shard, or bytes such as 256M; else 10000 poses, or 256M if that is less."),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="One picture with the first poses side by side.")
    ] = False,
    columns: Annotated[int, typer.Option(min=1, help="Pictures in a row of the grid.")] = 8,
    size: Annotated[int, typer.Option(min=1, max=8192, help="Side of the square picture, pixels.")] = 128,
    style: Annotated[
        _Style,
        typer.Option(
            help="flexpose: in colour; openpose: for ControlNet; keypointgan: soft lines; gray: one channel; "
            "per-bone: a channel for each bone, for npy."
        ),
    ] = _Style.flexpose,
    preset: Annotated[
        _Preset,
        typer.Option(
            help="The lines of --style openpose: for models of Stable Diffusion 1.5, or thick for SDXL."
        ),
    ] = _Preset.sd15,
    line_width: Annotated[float, typer.Option(help="Full width of a bone, pixels.")] = 2.0,
    joint_radius: Annotated[float, typer.Option(help="Radius of a joint's disc, pixels; 0 for none.")] = 2.0,
    frame: Annotated[
        _Frame,
        typer.Option(help="The pose's own box, the whole original image, or a square around the root."),
    ] = _Frame.bbox,
    margin: Annotated[float, typer.Option(help="Room around the pose, a share of its longer side.")] = 0.10,
    missing: Annotated[
        _Missing, typer.Option(help="An unlabelled joint: leave out its bones, leave out the pose, or stop.")
    ] = _Missing.skip_bone,
    max_bad_fraction: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of the poses that may be unusable; they go to OUT/bad.jsonl."
        ),
    ] = 0.0,
    augment: Annotated[
        str | None,
        typer.Option(help="Vary each pose, e.g. rotation=45,limb=135:225,scale=0.7:0.9/1.1:1.2,flip=0.5."),
    ] = None,
    seed: SeedOption = 0,
    skeleton: SkeletonOption = None,
    limit: LimitOption = None,
    workers: WorkersOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a data set of the same settings and inputs.")
    ] = False,
    verify: Annotated[
        str,
        typer.Option(
            metavar="quick|full", help="With --resume: look at lengths of what is there, or hash it."
        ),
    ] = "quick",
    shard_range: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Write the I-th of N parts of the shards; other processes do the others."
        ),
    ] = None,
    engine: Annotated[
        _Engine,
        typer.Option(help="ray: a task a shard on a Ray cluster, OUT on a disk that all nodes share."),
    ] = _Engine.local,
    ray_address: Annotated[
        str | None, typer.Option(help="Of the cluster; else RAY_ADDRESS, else a Ray on this machine alone.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many bytes and seconds it will take, and stop.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw poses as skeletons: a data set in shards, one tar file, or one grid.

    A data set that was interrupted, however it was, goes on with `--resume`; its bytes do not depend on that, nor on
    the number of workers.

    Example: [bold]flexpose render shots.json shots.tar --size 256[/]
    """
    from flexpose.poses.bad import BadRecords
    from flexpose.shards import RenderStyle, draft_render, write_grid, write_webdataset

    pen = RenderStyle(
        style=style.value,
        size_px=size,
        line_width_px=line_width,
        joint_radius_px=joint_radius,
        frame=frame.value,
        margin=margin,
        missing=missing.value,
        preset=preset.value,
    )
    single = _is_single(out, kind, grid=grid)
    on_ray = engine is _Engine.ray
    data_set = {
        "--shard-range": shard_range,
        "--resume": resume or None,
        "--shard-size": shard_size,
        "--engine ray": on_ray or None,
    }
    wrong = [name for name, value in data_set.items() if value is not None]
    if single and wrong:
        raise typer.BadParameter(f"{wrong[0]} is for data sets: name a folder, not one file")
    if verify not in {"quick", "full"}:
        raise typer.BadParameter(f"--verify must be quick or full, got {verify}")
    if on_ray and shard_range is not None:
        raise typer.BadParameter("--shard-range is for the engine local: Ray takes all shards")
    if ray_address is not None and not on_ray:
        raise typer.BadParameter("--ray-address is for --engine ray")
    if grid and dry_run:
        raise typer.BadParameter("--dry-run is not for --grid")
    variation = None
    if augment is not None:
        from flexpose.shards.augment import Augment

        variation = Augment.parse(augment)
    bad = BadRecords(max_bad_fraction) if max_bad_fraction else None
    with terminate_as_interrupt():
        sources = read_inputs(inputs, skeleton, bad, limit or (_GRID_DEFAULT if grid else None))
        if grid:
            report = write_grid(
                sources, out, pen, columns=columns, workers=workers, augment=variation, seed=seed
            )
        elif single and not dry_run:
            with progress() as shown:
                shown.start("render", sum(map(_length, sources)))
                report = write_webdataset(
                    sources,
                    out,
                    pen,
                    workers=workers,
                    augment=variation,
                    seed=seed,
                    bad=bad,
                    inputs=inputs[: len(sources)],
                    progress=shown.advance,
                )
        else:
            plan = draft_render(
                sources,
                out,
                pen,
                kind=(kind or _Format.webdataset).value,
                shard_size=shard_size,
                augment=variation,
                seed=seed,
                bad=bad,
                inputs=inputs[: len(sources)],
            )
            del sources  # the plan has what is drawn
            if dry_run:
                _tell_plan(plan, workers, as_json=as_json)
                return
            full = verify == "full"
            if on_ray:
                report = _write_on_ray(plan, ray_address, workers, resume=resume, full=full)
            else:
                report = _write(plan, shard_range, workers, resume=resume, full=full)
    _tell(report, as_json=as_json)


def _length(source: PoseSet | ShardIndex) -> int:
    from flexpose.poses import PoseSet

    return len(source) if isinstance(source, PoseSet) else source.count


def _is_single(out: Path, kind: _Format | None, *, grid: bool) -> bool:
    """Whether OUT is one file."""
    if grid:
        if kind is not None:
            raise typer.BadParameter("--grid is one PNG; leave out --format")
        return True
    if out.suffix == ".png":
        raise typer.BadParameter("one .png file is a grid: give --grid, or name a folder")
    if out.suffix == ".tar" and kind not in {None, _Format.webdataset}:
        raise typer.BadParameter(f"a .tar file is a webdataset; name a folder for --format {kind}")
    return out.suffix == ".tar"


def read_inputs(
    paths: list[Path], skeleton: str | None, bad: BadRecords | None, limit: int | None
) -> list[PoseSet | ShardIndex]:
    """Read all inputs, and take the first poses of them if there is a limit.

    Raises:
        UsageError: a path is neither a file of poses nor a finished data set.
        DataError: a file holds what it must not.
    """
    from flexpose.errors import UsageError
    from flexpose.poses import read_poses
    from flexpose.shards import open_dataset

    sources: list[PoseSet | ShardIndex] = []
    for path in paths:
        if limit is not None and limit <= 0:
            break
        if path.is_dir():
            dataset = open_dataset(path)
            if limit is not None:
                raise UsageError("limit must be left out for the folder of a data set")
            if skeleton is not None:
                raise UsageError("skeleton must be left out for the folder of a data set")
            sources.append(dataset)
            continue
        poses = read_poses(path, skeleton, bad=bad)[:limit]
        sources.append(poses)
        limit = None if limit is None else limit - len(poses)
    return sources


def _write(
    plan: RenderPlan, part: str | None, workers: int | None, *, resume: bool, full: bool
) -> RenderReport:
    from flexpose.shards import shard_range, write_shards

    wanted = None if part is None else shard_range(part, len(plan.shards))
    plan.publish(resume=resume, shared=part is not None)
    free = shutil.disk_usage(plan.out).free
    if plan.estimate.bytes > free and not resume:
        say(f"about {plan.estimate.bytes} bytes are needed, and {free} are free on the disk of {plan.out}")
    mine = plan.shards if wanted is None else plan.shards[wanted.start : wanted.stop]
    total = sum(end - first for first, end in mine)
    with progress() as shown:
        shown.start("render", total)
        report = write_shards(
            plan,
            shard_range=wanted,
            workers=workers,
            resume=resume,
            full=full,
            progress=shown.advance,
        )
        shown.advance(total)
    return report


def _write_on_ray(
    plan: RenderPlan, address: str | None, workers: int | None, *, resume: bool, full: bool
) -> RenderReport:
    from flexpose.shards.ray import render_on_ray

    plan.publish(resume=resume)
    with progress() as shown:
        shown.start("render", plan.count)
        return render_on_ray(
            plan, address=address, cpus_per_task=workers or 1, full=full, progress=shown.advance
        )


def _tell(report: RenderReport, *, as_json: bool) -> None:
    if report.left_out:
        say(f"{report.left_out} poses left out: joints are missing (see --missing)")
    if report.bad:
        say(f"{report.bad} poses left out: they cannot be used (see bad.jsonl)")
    if as_json:
        print_json(report)
    elif report.complete:
        typer.echo(f"{report.path}: {report.rendered} poses")
    else:
        typer.echo(
            f"{report.path}: {report.rendered} poses in {report.shards} shards; others are missing yet"
        )


def _tell_plan(plan: RenderPlan, workers: int | None, *, as_json: bool) -> None:
    from flexpose.shards import running_threads

    folder = plan.out.absolute()
    while not folder.exists():
        folder = folder.parent
    about = {
        "path": plan.out,
        "kind": plan.kind,
        "rendered": plan.count,
        "left_out": plan.left_out,
        "bad": plan.bad.count if plan.bad else 0,
        "shards": len(plan.shards),
        "shard_size": plan.shards[0][1] if plan.shards else 0,
        "bytes": plan.estimate.bytes,
        "free_bytes": shutil.disk_usage(folder).free,
        "seconds": round(plan.estimate.seconds / running_threads(workers), 3),
    }
    if as_json:
        print_json(about)
        return
    for name, value in about.items():
        typer.echo(f"{name}: {value}")

"""`flexpose render`: poses as pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ._options import InputPoses, JsonOption, LimitOption, SkeletonOption, WorkersOption
from ._output import print_json, say

__all__ = ["render_cli"]

_GRID_DEFAULT = 64


class _Format(StrEnum):
    png = "png"
    webdataset = "webdataset"


class _Frame(StrEnum):
    bbox = "bbox"
    keep = "keep"
    root = "root"


class _Missing(StrEnum):
    skip_bone = "skip-bone"
    drop_pose = "drop-pose"
    error = "error"


def render_cli(
    file: InputPoses,
    out: Annotated[
        Path, typer.Argument(help="A new folder (png), a .tar file (webdataset), or a .png file (--grid).")
    ],
    kind: Annotated[
        _Format | None, typer.Option("--format", help="png, or webdataset; else by the ending of OUT.")
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="One picture with the first poses side by side.")
    ] = False,
    columns: Annotated[int, typer.Option(min=1, help="Pictures in a row of the grid.")] = 8,
    size: Annotated[int, typer.Option(min=1, max=8192, help="Side of the square picture, pixels.")] = 128,
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
    skeleton: SkeletonOption = None,
    limit: LimitOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw poses as coloured skeletons: PNG files in a new folder, one tar shard, or one grid.

    Example: [bold]flexpose render shots.json shots.tar --size 256[/]
    """
    from flexpose.poses import read_poses
    from flexpose.shards import RenderStyle, write_grid, write_pngs, write_webdataset

    style = RenderStyle(
        size_px=size,
        line_width_px=line_width,
        joint_radius_px=joint_radius,
        frame=frame.value,
        margin=margin,
        missing=missing.value,
    )
    poses = read_poses(file, skeleton)
    if grid:
        if kind is not None:
            raise typer.BadParameter("--grid is one PNG; leave out --format")
        report = write_grid(poses[: limit or _GRID_DEFAULT], out, style, columns=columns, workers=workers)
    else:
        if kind is None:
            kind = _Format.webdataset if out.suffix == ".tar" else _Format.png
        if kind is _Format.png and out.suffix == ".png":
            raise typer.BadParameter("one .png file is a grid: give --grid, or name a folder")
        write = write_webdataset if kind is _Format.webdataset else write_pngs
        report = write(poses[:limit], out, style, workers=workers)
    if report.left_out:
        say(f"{report.left_out} poses left out: joints are missing (see --missing)")
    if as_json:
        print_json(report)
    else:
        typer.echo(f"{report.path}: {report.rendered} poses")

"""`flexpose poses`: look into pose files, convert and project them, choose guide poses, make up poses."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flexpose.errors import UsageError

from ._options import InputPoses, JsonOption, SeedOption, SkeletonOption
from ._output import print_json, print_table, say

if TYPE_CHECKING:
    from flexpose.poses import FewShotStrategy

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Inspect, convert, merge, project, split and make up poses.")


class _Strategy(StrEnum):
    stratified = "stratified"
    uniform = "uniform"
    kmeans = "kmeans"


OutputPoses = Annotated[Path, typer.Argument(dir_okay=False, help="File to write: .json (COCO) or .npz.")]


def _spread(values: dict[str, float] | None) -> str | None:
    if values is None:
        return None
    low, middle, high = (f"{values[key]:g}" for key in ("min", "median", "max"))
    return low if low == high else f"{low} to {high}, median {middle}"


@app.command("inspect")
def inspect_cli(file: InputPoses, skeleton: SkeletonOption = None, as_json: JsonOption = False) -> None:
    """Say what a file of poses holds: how many, which joints, how complete, which labels.

    Example: `flexpose poses inspect shots.json`
    """
    from flexpose.poses import read_poses, summarize

    about = summarize(read_poses(file, skeleton))
    if as_json:
        print_json({"path": file} | about)
        return
    outliers = about["bone_outliers"]
    rows: list[tuple[str, object]] = [
        ("skeleton", about["skeleton"]),
        ("poses", about["poses"]),
        ("with every joint", about["complete"]),
        ("with no joint", about["poses"] - about["labelled"]),
        ("without extent", about["no_extent"]),
        ("image width", _spread(about["image_width"])),
        ("image height", _spread(about["image_height"])),
        ("pose size, px", _spread(about["box_px"])),
        ("beyond the image", about["outside_image"]),
        ("equal to an earlier one", about["duplicates"]),
        ("with a far too long bone", outliers["poses"]),
    ]
    print_table(str(file), ["what", "value"], rows)
    counts = [[joint[key] for key in ("name", "visible", "occluded", "missing")] for joint in about["joints"]]
    print_table("Joints", ["name", "visible", "occluded", "missing"], counts)
    if about["labels"]:
        print_table("Labels", ["label", "poses"], list(about["labels"].items()))
    if outliers["poses"]:
        say(f"rows with a far too long bone, the first: {', '.join(map(str, outliers['rows']))}")


@app.command("convert")
def convert_cli(
    file: InputPoses, out: OutputPoses, skeleton: SkeletonOption = None, as_json: JsonOption = False
) -> None:
    """Write poses in another format (by the ending of OUT), and on another skeleton if one is named.

    Example: `flexpose poses convert person_keypoints.json poses.npz --skeleton body13`
    """
    from flexpose.poses import read_poses, write_poses

    poses = read_poses(file, skeleton)
    write_poses(poses, out)
    about = {"path": out, "poses": len(poses), "skeleton": poses.skeleton.name}
    if as_json:
        print_json(about)
    else:
        typer.echo(f"{out}: {len(poses)} poses, {poses.skeleton.name}")


@app.command("merge")
def merge_cli(
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, help="Two files or more, or data sets' folders.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="File to write: .json (COCO) or .npz.")],
    skeleton: SkeletonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put poses of several files into one, numbered anew: a source of several data sets.

    Example: `flexpose poses merge coco.json mpii.npz --skeleton body13 --out both.npz`
    """
    import numpy as np

    from flexpose.poses import PoseSet, read_poses, write_poses

    if len(files) < 2:
        raise UsageError(f"FILES must be two or more, got {len(files)}")
    parts = [read_poses(file, skeleton) for file in files]
    if len({part.skeleton for part in parts}) > 1:
        held = ", ".join(f"{file} {part.skeleton.name}" for file, part in zip(files, parts, strict=True))
        raise UsageError(f"the files hold poses of different skeletons ({held}): name one with --skeleton")
    poses = PoseSet.concat(parts)
    poses = poses.replace(ids=np.arange(1, len(poses) + 1))
    write_poses(poses, out)
    counts = {str(file): len(part) for file, part in zip(files, parts, strict=True)}
    if as_json:
        print_json({"path": out, "poses": len(poses), "skeleton": poses.skeleton.name, "files": counts})
    else:
        typer.echo(f"{out}: {len(poses)} poses, {poses.skeleton.name}")


def _range(name: str, text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    try:
        return float(low), float(high if colon else low)
    except ValueError:
        raise UsageError(f"{name} must be LOW:HIGH in degrees, got {text!r}") from None


@app.command("project")
def project_cli(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Poses in space: a BVH file, a folder with some, or npz with keypoints3d [N, K, 3].",
            show_default=False,
        ),
    ],
    out: OutputPoses,
    cameras: Annotated[int, typer.Option(min=1, help="Cameras around the subject.")] = 4,
    elevation: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="Degrees above the ground; seeded within.")
    ] = "0:30",
    azimuth: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="Degrees about the vertical; 0 looks from +z, 90 from +x.")
    ] = "0:360",
    focal: Annotated[
        float | None, typer.Option(help="Focal length in pixels; else 1.145 sides of the picture.")
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="Side of the picture in pixels.")] = 256,
    distance: Annotated[float, typer.Option(min=1, help="Of the cameras, in sizes of the subject.")] = 2.7,
    up: Annotated[str, typer.Option(help="The axis that points up in the file: y or z.")] = "y",
    stride: Annotated[int, typer.Option(min=1, help="Take each so many frames.")] = 1,
    rig: Annotated[
        Path | None,
        typer.Option(
            "--rig", exists=True, dir_okay=False, help='TOML with the rig\'s names: left_hip = "thigh.L".'
        ),
    ] = None,
    skeleton: Annotated[str, typer.Option(help="Skeleton that is wanted (name or TOML file).")] = "body13",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """See poses in space through virtual cameras; each joint counts as visible, whatever hides it.

    Example: `flexpose poses project walk.bvh walk.json --cameras 4 --elevation 0:20 --stride 10`
    """
    from typing import Literal

    from flexpose.poses import project_poses, read_points3d, write_poses
    from flexpose.poses.rigs import read_rig
    from flexpose.skeleton import load_skeleton

    poses = project_poses(
        read_points3d(
            file,
            up=cast("Literal['y', 'z']", up),
            stride=stride,
            rig=None if rig is None else read_rig(rig),
        ),
        cameras=cameras,
        elevation=_range("elevation", elevation),
        azimuth=_range("azimuth", azimuth),
        focal_px=focal,
        size_px=size,
        distance=distance,
        seed=seed,
        skeleton=load_skeleton(skeleton),
    )
    write_poses(poses, out)
    about = {"path": out, "poses": len(poses), "cameras": cameras, "skeleton": poses.skeleton.name}
    if as_json:
        print_json(about)
    else:
        typer.echo(f"{out}: {len(poses)} poses, {poses.skeleton.name}, {cameras} cameras")
    say("occlusion is not modelled: each joint counts as visible")


@app.command("datasets")
def datasets_cli(
    data_root: Annotated[
        Path | None,
        typer.Option(
            "--data-root", exists=True, file_okay=False, help="Say which of them are in this folder."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the data sets that are known by name: what to give, and where their owners give it.

    Example: `flexpose poses datasets --data-root data`
    """
    from flexpose.poses import dataset_file, list_datasets

    rows = []
    for dataset in list_datasets():
        found: Path | None = None
        if data_root is not None:
            with suppress(UsageError):
                found = dataset_file(dataset.name, data_root)
        rows.append(
            {
                "name": dataset.name,
                "give": dataset.give,
                "owner": dataset.owner,
                "licence": dataset.licence,
                "splits": list(dataset.splits),
                "found": found,
            }
        )
    if as_json:
        print_json(rows)
        return
    columns = ["name", "give", "owner", "licence"] + ([] if data_root is None else ["found"])
    print_table("Data sets", columns, [[row[key] for key in columns] for row in rows])


@app.command("split")
def split_cli(
    file: InputPoses,
    out_dir: Annotated[
        Path, typer.Argument(file_okay=False, help="Folder for the files; made if not there.")
    ],
    shots: Annotated[int | None, typer.Option("--shots", min=1, help="Guide poses in all.")] = None,
    shots_per_label: Annotated[
        int | None,
        typer.Option("--shots-per-label", min=1, help="Guide poses of each label; 2 if neither is given."),
    ] = None,
    strategy: Annotated[
        _Strategy | None, typer.Option(help="How they are chosen; else by label, or uniform with --shots.")
    ] = None,
    skeleton: SkeletonOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose a few guide poses: writes shots.json, rest.json and manifest.json (seed, rows, content hashes).

    Example: `flexpose poses split target.npz split/ --shots-per-label 2 --seed 1`
    """
    from flexpose.poses import read_poses, split_fewshot, write_poses

    poses = read_poses(file, skeleton)
    chosen = cast("FewShotStrategy | None", strategy and strategy.value)
    split = split_fewshot(poses, seed=seed, shots=shots, shots_per_label=shots_per_label, strategy=chosen)
    names = {
        "shots": out_dir / "shots.json",
        "rest": out_dir / "rest.json",
        "manifest": out_dir / "manifest.json",
    }
    write_poses(poses[split.shots], names["shots"])
    write_poses(poses[split.rest], names["rest"])
    split.write_manifest(names["manifest"])
    if as_json:
        print_json({"shots": len(split.shots), "rest": len(split.rest), "files": names})
        return
    typer.echo(f"{names['shots']}: {len(split.shots)} guide poses")
    typer.echo(f"{names['rest']}: {len(split.rest)} poses, the rest")
    typer.echo(str(names["manifest"]))


@app.command("synth")
def synth_cli(
    out: OutputPoses,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many poses.")],
    domain: Annotated[str, typer.Option(help="Whose poses: source or target.")] = "source",
    skeleton: SkeletonOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make up poses with a jointed figure: the data of the demo and of the tests.

    Example: `flexpose poses synth source.json -n 2000 --domain source`
    """
    from flexpose.poses import synth_poses, write_poses
    from flexpose.skeleton import load_skeleton

    wanted = None if skeleton is None else load_skeleton(skeleton)
    poses = synth_poses(count, seed=seed, domain=domain, skeleton=wanted)
    write_poses(poses, out)
    if as_json:
        print_json(
            {
                "path": out,
                "poses": len(poses),
                "skeleton": poses.skeleton.name,
                "domain": domain,
                "seed": seed,
            }
        )
    else:
        typer.echo(f"{out}: {len(poses)} poses, {poses.skeleton.name}")
    say("made up, for trying things out; no person was measured")

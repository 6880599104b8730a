"""`flexpose poses`: look into pose files, convert them, choose guide poses, make up poses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ._options import InputPoses, JsonOption, SeedOption, SkeletonOption
from ._output import print_json, print_table, say

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Inspect, convert, split and make up poses.")

OutputPoses = Annotated[Path, typer.Argument(dir_okay=False, help="File to write: .json (COCO) or .npz.")]


def _range(values: Any) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def _about(poses: Any) -> dict[str, Any]:
    """What `inspect` says about a pose set; every value is ready for JSON."""
    visibility, sizes = poses.visibility, poses.image_size
    labels: dict[str, int] = {}
    for label in poses.labels or ():
        labels[label] = labels.get(label, 0) + 1
    return {
        "poses": len(poses),
        "complete": int(poses.complete().sum()),
        "labelled": int((visibility > 0).any(axis=1).sum()),
        "skeleton": poses.skeleton.name,
        "joints": [
            {
                "name": name,
                "visible": int((visibility[:, joint] == 2).sum()),
                "occluded": int((visibility[:, joint] == 1).sum()),
                "missing": int((visibility[:, joint] == 0).sum()),
            }
            for joint, name in enumerate(poses.skeleton.names)
        ],
        "image_width": {"min": int(sizes[:, 0].min()), "max": int(sizes[:, 0].max())} if len(poses) else None,
        "image_height": {"min": int(sizes[:, 1].min()), "max": int(sizes[:, 1].max())}
        if len(poses)
        else None,
        "labels": dict(sorted(labels.items())),
    }


@app.command("inspect")
def inspect_cli(file: InputPoses, skeleton: SkeletonOption = None, as_json: JsonOption = False) -> None:
    """Say what a file of poses holds: how many, which joints, how complete, which labels.

    Example: `flexpose poses inspect shots.json`
    """
    from flexpose.poses import read_poses

    poses = read_poses(file, skeleton)
    about = _about(poses)
    if as_json:
        print_json({"path": file} | about)
        return
    rows: list[tuple[str, object]] = [
        ("skeleton", about["skeleton"]),
        ("poses", about["poses"]),
        ("with every joint", about["complete"]),
        ("with no joint", about["poses"] - about["labelled"]),
    ]
    if len(poses):
        rows += [
            ("image width", _range(poses.image_size[:, 0])),
            ("image height", _range(poses.image_size[:, 1])),
        ]
    print_table(str(file), ["what", "value"], rows)
    print_table(
        "Joints",
        ["name", "visible", "occluded", "missing"],
        [list(joint.values()) for joint in about["joints"]],
    )
    if about["labels"]:
        print_table("Labels", ["label", "poses"], list(about["labels"].items()))


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
        str | None, typer.Option(help="How they are chosen: stratified, uniform or kmeans.")
    ] = None,
    skeleton: SkeletonOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose a few guide poses: writes shots.json, rest.json and manifest.json (seed, rows, content hashes).

    Example: `flexpose poses split target.npz split/ --shots-per-label 2 --seed 1`
    """
    from flexpose.poses import read_poses, split_fewshot, write_poses

    if shots is not None and shots_per_label is not None:
        raise typer.BadParameter("give --shots or --shots-per-label, not both")
    poses = read_poses(file, skeleton)
    options: dict[str, Any] = {"seed": seed}
    if strategy is not None:
        options["strategy"] = strategy
    if shots is not None:
        options["shots"] = shots
    else:
        options["shots_per_label"] = 2 if shots_per_label is None else shots_per_label
    split = split_fewshot(poses, **options)
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
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make up poses with a jointed figure: the data of the demo and of the tests.

    Example: `flexpose poses synth source.json -n 2000 --domain source`
    """
    from flexpose.poses import write_poses
    from flexpose.poses.synth import synth_poses

    poses = synth_poses(count, seed=seed, domain=domain)
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

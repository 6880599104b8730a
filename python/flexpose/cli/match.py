"""`flexpose match` and `flexpose annotate`: poses for pictures that nobody labelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ._options import (
    ConfigOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    PresetOption,
    ResumeOption,
    RunArgument,
    SeedOverride,
    SetOption,
)
from ._output import print_json, print_table, say
from ._progress import progress
from ._settings import settings, show_settings

__all__ = ["annotate_cli", "match_cli"]

_Limit = Annotated[int | None, typer.Option(min=1, help="Take the first pictures only.")]
_Pictures = Annotated[
    Path,
    typer.Argument(
        exists=True,
        help="Folder of pictures with one person each, cropped; a folder a person below it, or an npz of JPEGs.",
        show_default=False,
    ),
]


def match_cli(
    pictures: _Pictures,
    poses: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Poses that such pictures show, of no picture in particular: those of `flexpose sample`.",
            show_default=False,
        ),
    ],
    run: RunArgument,
    like: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            help="A few poses labelled in such pictures: tells how large and where a pose lies in one.",
        ),
    ] = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    assignments: SetOption = None,
    seed: SeedOverride = None,
    limit: _Limit = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train an annotator on pictures without labels and on poses without pictures: writes RUN/annotator.safetensors.

    Pictures stay on this machine; reading them needs the extra `match` (Pillow).

    Example: `flexpose match crops sampled.json runs/annotator --like shots.json`
    """
    from flexpose.match import MATCH_PRESETS, MatchConfig, match, placement, read_pictures
    from flexpose.poses import map_joints, read_poses

    chosen = settings(
        MatchConfig,
        preset=preset,
        presets=MATCH_PRESETS,
        toml=config,
        assignments=assignments,
        options={"seed": seed},
    )
    prior = read_poses(poses)
    if like is not None:
        fill, center = placement(map_joints(read_poses(like), prior.skeleton))
        chosen = replace(chosen, fill=fill, center=center)
    if dry_run:
        show_settings(chosen)
        return
    with progress() as shown:
        written = match(
            read_pictures(pictures, chosen.size_px, limit=limit),
            prior,
            chosen,
            run,
            resume=resume,
            progress=shown,
            device=device,
        )
    if as_json:
        print_json({"run": run, "annotator": written})
    else:
        typer.echo(f"annotator: {written}")


def annotate_cli(
    pictures: _Pictures,
    annotator: Annotated[
        Path, typer.Argument(exists=True, help="Run folder or file of `match`.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", dir_okay=False, help="Poses: .json (COCO keypoints) or .npz.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(exists=True, help="Labels of the same pictures in the same order: tells the errors."),
    ] = None,
    device: DeviceOption = "auto",
    limit: _Limit = None,
    as_json: JsonOption = False,
) -> None:
    """Read the pose in each picture with an annotator of `match`; pose i is that of picture i by name.

    Example: `flexpose annotate crops runs/annotator --out annotated.json --labels labels.json`
    """
    from flexpose.match import annotate, load_annotator, read_pictures, score_annotations
    from flexpose.poses import read_poses, write_poses

    size = load_annotator(annotator)[0].config.size_px
    shown = read_pictures(pictures, size, limit=limit)
    found = annotate(shown, annotator, device=device)
    write_poses(found, out)
    scores = {}
    if labels is not None:
        known = read_poses(labels)
        scores = score_annotations(found, known if limit is None else known[:limit])
    if as_json:
        print_json({"poses": out, "pictures": list(shown.names), "scores": scores})
        return
    if scores:
        print_table(f"{len(found)} pictures", ["", "value"], [[k, f"{v:.4g}"] for k, v in scores.items()])
    say(f"written: {out}")

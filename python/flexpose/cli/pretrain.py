"""`flexpose pretrain`: the source generator."""

from __future__ import annotations

import typer

from ._options import (
    ConfigOption,
    DeviceOption,
    DryRunOption,
    InputPoses,
    JsonOption,
    PresetOption,
    ResumeOption,
    RunArgument,
    SeedOverride,
    SetOption,
)
from ._output import print_json
from ._settings import settings, show_settings
from ._world import joined

__all__ = ["pretrain_cli"]


def pretrain_cli(
    poses: InputPoses,
    run: RunArgument,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    assignments: SetOption = None,
    seed: SeedOverride = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn the distribution of many source poses: writes RUN/generator.safetensors.

    Several processes train together under torchrun: `torchrun --nproc-per-node 4 -m flexpose pretrain ...`.

    The presets learn to draw from RUN/beta.safetensors, which `flexpose train-beta` makes: run that first.

    Example: `flexpose pretrain person_keypoints_train2017.json runs/coco --preset cpu-hour`
    """
    from flexpose.poses import read_poses
    from flexpose.pretrain import PRESETS, PretrainConfig, pretrain

    chosen = settings(
        PretrainConfig,
        preset=preset,
        presets=PRESETS,
        toml=config,
        assignments=assignments,
        options={"seed": seed},
    )
    if dry_run:
        show_settings(chosen)
        return
    with joined(device) as (world, shown):
        source = read_poses(poses)
        written = pretrain(source, chosen, run, resume=resume, progress=shown, world=world)
    if not world.leads:
        return
    if as_json:
        print_json({"run": run, "generator": written})
    else:
        typer.echo(f"generator: {written}")

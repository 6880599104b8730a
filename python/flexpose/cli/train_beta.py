"""`flexpose train-beta`: the regressor that reads joints from pictures."""

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

__all__ = ["train_beta_cli"]


def train_beta_cli(
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
    """Train the reader of joints (beta): writes RUN/beta.safetensors, from which `flexpose pretrain` learns then.

    Both need the same drawing (size, lines, frame); presets of the same name have it.

    Example: `flexpose train-beta person_keypoints_train2017.json runs/coco --preset cpu-hour`
    """
    from flexpose.poses import read_poses
    from flexpose.pretrain import BETA_PRESETS, BetaConfig, train_beta

    chosen = settings(
        BetaConfig,
        preset=preset,
        presets=BETA_PRESETS,
        toml=config,
        assignments=assignments,
        options={"seed": seed},
    )
    if dry_run:
        show_settings(chosen)
        return
    with joined(device) as (world, shown):
        source = read_poses(poses)
        written = train_beta(source, chosen, run, resume=resume, progress=shown, world=world)
    if not world.leads:
        return
    if as_json:
        print_json({"run": run, "beta": written})
    else:
        typer.echo(f"beta: {written}")

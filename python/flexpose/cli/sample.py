"""`flexpose sample`: poses of the target domain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import (
    BetaOption,
    ConfigOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    SeedOverride,
    SetOption,
    SourceOption,
)
from ._output import print_json
from ._settings import settings, show_settings
from ._world import joined

__all__ = ["sample_cli"]

_ENDINGS = (".json", ".npz")


def sample_cli(
    run: Annotated[
        Path, typer.Argument(exists=True, help="Run folder of `adapt` or of `pretrain`, or a file of one.")
    ],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="File to write: .json (COCO) or .npz.")],
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="How many poses; 50,000 if unset.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="How far to go: 0 is the source, 1 the target.")
    ] = None,
    truncation: Annotated[
        float | None, typer.Option("--psi", help="Truncation; below 1 poses are more usual and less varied.")
    ] = None,
    plausible: Annotated[
        bool | None,
        typer.Option(
            "--plausible/--all",
            help="Bring bones and joint angles into the guide poses' ranges (if unset), or leave all as drawn.",
        ),
    ] = None,
    reject: Annotated[
        float | None,
        typer.Option(help="Share of the samples, the least self-consistent, that is drawn again."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side of the square that the poses are given in, pixels.")
    ] = None,
    source: SourceOption = None,
    beta: BetaOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    assignments: SetOption = None,
    seed: SeedOverride = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sample poses from an adapted generator, or from a source generator.

    Several processes draw the same poses sooner: `torchrun --nproc-per-node 4 -m flexpose sample ...`.

    Example: `flexpose sample runs/lab -n 10000 --out sampled.json --seed 1`
    """
    from flexpose.sample import SampleConfig, sample

    if out.suffix.lower() not in _ENDINGS:  # before the work, not after it
        raise typer.BadParameter(f"--out must end in {' or '.join(_ENDINGS)}, got {str(out)!r}")
    chosen = settings(
        SampleConfig,
        toml=config,
        assignments=assignments,
        options={
            "n": count,
            "seed": seed,
            "strength": strength,
            "truncation": truncation,
            "plausible": plausible,
            "reject": reject,
            "image_size": image_size,
        },
    )
    if dry_run:
        show_settings(chosen)
        return
    with joined(device) as (world, shown):
        poses = sample(run, chosen, out, source=source, beta=beta, progress=shown, world=world)
    if not world.leads:
        return
    if as_json:
        print_json({"path": out, "poses": len(poses), "skeleton": poses.skeleton.name, "seed": chosen.seed})
    else:
        typer.echo(f"{out}: {len(poses)} poses, {poses.skeleton.name}")

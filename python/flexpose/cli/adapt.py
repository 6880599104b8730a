"""`flexpose adapt`: carry the source generator over to a few guide poses."""

from __future__ import annotations

from typing import Annotated

import typer

from flexpose._methods import METHOD_SUMMARIES
from flexpose.errors import UsageError

from ._options import (
    BetaOption,
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
    SourceOption,
)
from ._output import print_json
from ._progress import progress
from ._settings import settings, show_settings
from ._world import refuse_processes

__all__ = ["adapt_cli"]

_METHODS = "; ".join(f"{name}: {summary}" for name, summary in METHOD_SUMMARIES.items())


def _layers(text: str | None) -> tuple[int, ...] | None:
    """Layer numbers from ``3`` or ``1,3``."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--layers must be numbers such as 3 or 1,3, got {text!r}") from None


def adapt_cli(
    shots: InputPoses,
    run: RunArgument,
    method: Annotated[str, typer.Option(help=f"How. {_METHODS}.")] = "flexpose",
    source: SourceOption = None,
    beta: BetaOption = None,
    device: DeviceOption = "auto",
    preset: PresetOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Style layers that change, from 1, coarse to fine; all if unset."),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of gradient descent; of flexpose none if unset."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None,
    seed: SeedOverride = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Adapt a source generator to a few guide poses: writes RUN/adapter.safetensors. No picture is read.

    Without `--source` it starts from the generator that comes with the package (`flexpose zoo list`).

    `--method` takes one of the methods that the paper compares itself with instead; each has the presets
    aligned (the paper's numbers) and tuned (what suits it; used if unset). `sample` reads the run of any.

    Example: `flexpose adapt shots.json runs/lab`
    """
    from flexpose.adapt import find_method
    from flexpose.poses import read_poses

    refuse_processes("adapt", "it takes half a minute on one processor")
    way = find_method(method)
    chosen = settings(
        way.config,
        preset=preset or "tuned",
        presets=way.presets,
        toml=config,
        assignments=assignments,
        options={"layers": _layers(layers), "iterations": iterations, "lr": learning_rate, "seed": seed},
    )
    if dry_run:
        show_settings(chosen)
        return
    with progress() as shown:
        guides = read_poses(shots)
        written = way.run(
            guides, chosen, run, source=source, beta=beta, resume=resume, progress=shown, device=device
        )
    if as_json:
        print_json({"run": run, written.stem: written, "shots": len(guides)})
    else:
        typer.echo(f"{written.stem}: {written}")

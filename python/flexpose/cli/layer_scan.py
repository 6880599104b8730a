"""`flexpose layer-scan`: which style layer can draw which change of the poses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexpose.errors import UsageError

from ._options import (
    BetaOption,
    ConfigOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    ResumeOption,
    SeedOverride,
    SetOption,
    SourceOption,
)
from ._output import print_json, print_table, say
from ._progress import progress
from ._settings import settings, show_settings

__all__ = ["layer_scan_cli"]


def layer_scan_cli(
    shots: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, help="Guide poses; without them poses of the source itself."
        ),
    ] = None,
    source: SourceOption = None,
    beta: BetaOption = None,
    device: DeviceOption = "auto",
    augment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="none|global|local|scale", help="How poses are varied; may be repeated. All if unset."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="SETS", help='Layer sets such as "3;1,3;all"; "each" is every layer alone.'),
    ] = None,
    way: Annotated[
        str | None, typer.Option(metavar="least-squares|descent", help="How tau is found.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Repeats; 3 if unset.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for tables, chart and finished cells."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    seed: SeedOverride = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure which style layers can draw the guide poses: as they are, rotated, with a leg turned, and scaled.

    Example: `flexpose layer-scan shots.json --out scan`
    """
    from flexpose.layer_scan import LayerScanConfig, layer_scan
    from flexpose.poses import read_poses

    chosen = settings(
        LayerScanConfig,
        toml=config,
        assignments=assignments,
        options={
            "augment": tuple(augment) if augment else None,
            "layers": layers,
            "way": way,
            "seeds": seeds,
            "seed": seed,
        },
    )
    if dry_run:
        show_settings(chosen)
        return
    if resume and out is None:
        raise UsageError("--resume needs the folder of the scan by --out")
    with progress() as shown:
        guides = None if shots is None else read_poses(shots)
        found = layer_scan(
            guides, chosen, source=source, beta=beta, out=out, resume=resume, progress=shown, device=device
        )
    if out is not None:
        try:
            found.plot(out)
        except UsageError as error:  # the tables do not need it
            say(f"no chart: {error}")
    if as_json:
        print_json(found.to_dict())
        return
    for title, headers, rows in found.tables():
        print_table(title, headers, rows)
    for line in found.recommendation():
        say(line)
    if out is not None:
        say(f"written: {out}")

"""`flexpose report`: one page that shows what runs did."""

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
from ._output import print_json, say
from ._progress import progress
from ._settings import settings, show_settings

__all__ = ["report_cli"]


def report_cli(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders of `adapt`, `pretrain`, `train-beta` or `layer-scan`.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="The page to write: .html.")],
    target: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Real poses of the target domain, to measure against."
        ),
    ] = None,
    shots: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The guide poses of a run; may be repeated, each run finds its own.",
        ),
    ] = None,
    source_poses: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Poses of the source, for the ways of not learning."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for the figures as PNG files.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Poses drawn from each generator; 3,000 if unset.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    source: SourceOption = None,
    beta: BetaOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    assignments: SetOption = None,
    seed: SeedOverride = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show runs on one HTML page: tables, curves, pictures and charts. It works offline and fetches nothing.

    Example: `flexpose report runs/lab --shots shots.json --target rest.json --out report.html`
    """
    from flexpose.poses import read_poses
    from flexpose.report import ReportConfig, report

    if out.suffix.lower() not in {".html", ".htm"}:  # before the work, not after it
        raise typer.BadParameter(f"--out must end in .html, got {str(out)!r}")
    chosen = settings(
        ReportConfig,
        toml=config,
        assignments=assignments,
        options={"samples": samples, "title": title, "seed": seed},
    )
    if dry_run:
        show_settings(chosen)
        return
    with progress() as shown:
        evidence = report(
            runs,
            chosen,
            out,
            target=None if target is None else read_poses(target),
            source_poses=None if source_poses is None else read_poses(source_poses),
            shots={str(path): read_poses(path) for path in shots or []},
            source=source,
            beta=beta,
            pictures=pictures,
            progress=shown,
            device=device,
        )
    if as_json:
        measured = {
            name: None if found.evaluation is None else found.evaluation.to_dict()
            for name, found in evidence.items()
        }
        print_json({"path": out, "runs": measured, "pictures": pictures})
        return
    typer.echo(f"{out}: {len(runs)} run{'s' if len(runs) > 1 else ''}")
    if pictures is not None:
        say(f"written: {pictures}")

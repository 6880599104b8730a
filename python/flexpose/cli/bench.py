"""`flexpose bench`: the paper's tables, on data that the user has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexpose.errors import UsageError

from ._options import DeviceOption, DryRunOption, JsonOption
from ._output import print_json, say
from ._progress import progress

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Re-run the comparisons of the paper.")


@app.callback()
def _bench() -> None:
    """Re-run the comparisons of the paper."""


def _sources(given: list[str] | None) -> dict[str, str | None]:
    """NAME=SOURCE options; the zoo's first stands for COCO unless another is named."""
    found: dict[str, str | None] = {"coco": None}
    for text in given or []:
        name, equals, source = text.partition("=")
        if not (name and equals and source):
            raise UsageError(f"--source must be NAME=SOURCE, got {text!r}")
        found[name] = source
    return found


@app.command("paper")
def paper_cli(
    table: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="table1, table2, table3, table4, fig4, fig5, fig6, fig9, or a TOML file of a grid; "
            "table2 and table3 need pictures of the target.",
        ),
    ],
    data_root: Annotated[
        Path,
        typer.Option(
            exists=True, file_okay=False, help="Folder of the data sets; see `flexpose poses datasets`."
        ),
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the cells and tables.")] = Path(
        "bench"
    ),
    row: Annotated[list[str] | None, typer.Option(help="Only this row or method; may be repeated.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Only this target; may be repeated.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SOURCE", help="Source for rows that ask for NAME; may be repeated."),
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(
            "--cells",
            exists=True,
            dir_okay=False,
            help="A cells.jsonl of cells that were measured elsewhere; may be repeated.",
        ),
    ] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="The table of the cells that are there; measure none.")
    ] = False,
    draws: Annotated[int | None, typer.Option(min=1, help="Draws of guide poses.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of training and sampling.")] = None,
    samples: Annotated[int | None, typer.Option(min=100, help="Poses sampled in each cell.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="See it run in minutes: one cell a row, training cut short.")
    ] = False,
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a table of the paper cell by cell, or make a figure; a second call goes on where the first one stopped.

    Example: `flexpose bench paper table1 --data-root data --out bench/table1 --target lab_cmu --draws 1 --seeds 1`
    """
    from dataclasses import asdict, replace

    from flexpose._atomic import atomic_write
    from flexpose.bench import FIGURES, cells_csv, charts, load_grid, markdown, run_figure, run_grid
    from flexpose.charts import save_png
    from flexpose.config import config_dict

    if table in FIGURES:
        if row or known or measured or draws or seeds or samples or dry_run:
            raise UsageError(
                "--row, --cells, --measured, --draws, --seeds, --samples and --dry-run are for tables, not for "
                f"{table}"
            )
        with progress() as shown:
            files = run_figure(
                table,
                data_root,
                out,
                targets=target,
                source=_sources(source)["coco"],
                quick=quick,
                progress=shown,
                device=device,
            )
        if as_json:
            print_json({"files": files})
        else:
            typer.echo("\n".join(map(str, files)))
        return
    grid = load_grid(table)
    if quick:
        grid = grid.quick()
    grid = replace(
        grid.only(rows=row, targets=target),
        draws=draws or grid.draws,
        seeds=seeds or grid.seeds,
        samples=samples or grid.samples,
    )
    if dry_run:
        number = len(grid.rows) * len(grid.targets) * grid.draws * grid.seeds
        print_json({"cells": number, "grid": config_dict(grid)})
        return
    with progress() as shown:
        cells, notes = run_grid(
            grid,
            data_root,
            out,
            sources=_sources(source),
            known=known or (),
            measure=not measured,
            progress=shown,
            device=device,
        )
    if quick:
        notes.append("A quick run: training was cut short, and no figure here says anything of a method.")
    text = markdown(grid, cells, notes)
    atomic_write(out / "table.md", text.encode())
    atomic_write(out / "cells.csv", cells_csv(grid, cells).encode())
    drawn = charts(grid, cells)
    if drawn:
        try:
            save_png(out / "fd.png", drawn)
        except UsageError as error:
            say(str(error))
    if as_json:
        print_json({"cells": [asdict(cell) for cell in cells], "notes": notes})
    else:
        typer.echo(text, nl=False)

"""`flexpose adapters`: what can be done with finished adaptations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import JsonOption, SourceOption
from ._output import print_json

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Work with finished adaptations: mix two, export one as a source."
)

AdapterArgument = Annotated[Path, typer.Argument(exists=True, help="Run folder of `adapt`, or its adapter.")]
OutArgument = Annotated[Path, typer.Argument(file_okay=False, help="Folder to make.")]


@app.command("mix")
def mix_cli(
    first: AdapterArgument,
    second: AdapterArgument,
    out: OutArgument,
    amount: Annotated[float, typer.Option(help="0 is the first, 1 the second, 0.5 their average.")] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Mix two adaptations of one source: a domain between both.

    Example: `flexpose adapters mix runs/lab runs/field runs/both --amount 0.3`
    """
    from flexpose.adapt import mix_adapters

    written = mix_adapters(first, second, out, amount=amount)
    if as_json:
        print_json({"adapter": written, "amount": amount})
    else:
        typer.echo(f"adapter: {written}")


@app.command("export")
def export_cli(
    run: AdapterArgument,
    out: OutArgument,
    source: SourceOption = None,
    strength: Annotated[float, typer.Option(help="How far to go: 0 is the source, 1 the target.")] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Multiply tau into its source: OUT is a source of its own, at the source's speed, that needs no adapter.

    Example: `flexpose adapters export runs/lab runs/lab-merged`
    """
    from flexpose.adapt import export_adapter

    written = export_adapter(run, out, source=source, strength=strength)
    if as_json:
        print_json({"generator": written, "strength": strength})
    else:
        typer.echo(f"generator: {written}")

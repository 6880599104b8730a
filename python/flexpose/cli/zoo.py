"""`flexpose zoo`: the sources that come with the package."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from flexpose.zoo import DEFAULT, list_zoo, zoo_source

from ._options import JsonOption
from ._output import print_json

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The sources that come with the package: list, show, verify.")

NameArgument = Annotated[str, typer.Argument(help="Name of a source; `flexpose zoo list` has them.")]


@app.command("list")
def list_cli(as_json: JsonOption = False) -> None:
    """List the sources; adapt starts from the first where none is named.

    Example: `flexpose zoo list`
    """
    rows = [zoo_source(name) for name in list_zoo()]
    if as_json:
        print_json([{"name": row.name, "file": row.file, **row.card} for row in rows])
        return
    for row in rows:
        card = row.card
        default = ", the default" if row.name == DEFAULT else ""
        typer.echo(
            f"{row.name}: {card['skeleton']}, {card['size_px']} px, {card['data']['name']}, "
            f"{row.file.stat().st_size / 1e6:.1f} MB, {card['licence']}{default}"
        )


@app.command("show")
def show_cli(name: NameArgument = DEFAULT, as_json: JsonOption = False) -> None:
    """Show the card of a source: data, licence, attribution, command, settings, figures.

    Example: `flexpose zoo show coco-body13-64`
    """
    source = zoo_source(name)
    if as_json:
        print_json({"name": source.name, "file": source.file, **source.card})
        return
    for key, value in source.card.items():
        typer.echo(f"{key}: {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  {key}: {_plain(inner)}" for key, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value)


@app.command("verify")
def verify_cli(
    names: Annotated[list[str] | None, typer.Argument(help="Names of sources; all if none is named.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Read sources whole and compare them with their cards.

    Example: `flexpose zoo verify`
    """
    sources = [zoo_source(name) for name in names or list_zoo()]
    for source in sources:
        source.verify()
    if as_json:
        print_json([{"name": source.name, "sha256": source.card["sha256"]} for source in sources])
        return
    for source in sources:
        typer.echo(f"{source.name}: as its card says")

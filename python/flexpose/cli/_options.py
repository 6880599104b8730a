"""Options that several commands have, written once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from flexpose.errors import UsageError

__all__ = [
    "BetaOption",
    "ConfigOption",
    "DeviceOption",
    "DryRunOption",
    "InputPoses",
    "JsonOption",
    "LimitOption",
    "PresetOption",
    "ResumeOption",
    "RunArgument",
    "SeedOption",
    "SeedOverride",
    "SetOption",
    "SkeletonOption",
    "SourceOption",
    "WorkersOption",
    "parse_settings",
]

InputPoses = Annotated[
    Path,
    typer.Argument(
        exists=True,
        help="Poses: COCO keypoint JSON, npz, or a data set's own file or folder (flexpose poses datasets).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same result.")]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="PATH|NAME",
        help="Run folder or generator file of `pretrain`, or a name of the zoo.",
    ),
]
SkeletonOption = Annotated[
    str | None,
    typer.Option(
        "--skeleton", help="Skeleton to read as (name or TOML file); else by the file's joint names."
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Threads; else as many as this process may use.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take the first poses only.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", exists=True, dir_okay=False, help="TOML file; options on the command line win."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any field of the configuration; may be repeated."),
]

BetaOption = Annotated[
    Path | None,
    typer.Option(
        "--beta", exists=True, help="Run folder or file of `train-beta`; else beside the generator."
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to compute; auto is the first card that computes, else the processor.",
    ),
]
SeedOverride = Annotated[
    int | None, typer.Option("--seed", min=0, help="The same seed gives the same result; 0 if none is set.")
]
PresetOption = Annotated[str | None, typer.Option("--preset", help="Named settings to start from.")]
RunArgument = Annotated[Path, typer.Argument(file_okay=False, help="The run's folder.", show_default=False)]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run of the same settings.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved settings as JSON and stop.")
]


def parse_settings(settings: list[str] | None) -> dict[str, Any]:
    """The values of ``--set KEY=VALUE``: TOML values, or plain text where that is none.

    Raises:
        UsageError: an entry has no ``=`` or no key.
    """
    values: dict[str, Any] = {}
    for entry in settings or []:
        key, equals, text = entry.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set must be KEY=VALUE, got {entry!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        values[key.strip()] = value
    return values

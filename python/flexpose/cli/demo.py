"""`flexpose demo`: the whole job on made-up poses, by the commands that a user would type."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from ._output import say

__all__ = ["demo_cli"]


def _commands(folder: Path) -> list[list[str]]:
    """The commands, in their order."""
    source, target, run, adapted = (
        str(folder / name) for name in ("source.json", "target.json", "run", "adapted")
    )
    shots, rest = str(folder / "split" / "shots.json"), str(folder / "split" / "rest.json")
    sampled = str(folder / "sampled.json")
    lines = [
        ["poses", "synth", source, "-n", "4000", "--domain", "source", "--seed", "1"],
        ["poses", "synth", target, "-n", "4000", "--domain", "target", "--seed", "2"],
        ["poses", "split", target, str(folder / "split"), "--shots-per-label", "4", "--seed", "3"],
        ["render", shots, str(folder / "shots.png"), "--grid", "--size", "96"],
        ["train-beta", source, run, "--preset", "tiny", "--resume"],
        ["pretrain", source, run, "--preset", "tiny", "--resume"],
        ["adapt", shots, adapted, "--source", run, "--preset", "tiny", "--resume"],
        ["sample", adapted, "-n", "2000", "--out", sampled, "--seed", "4"],
        ["render", sampled, str(folder / "sampled.png"), "--grid", "--size", "96"],
    ]
    report = ["evaluate", sampled, rest, "--shots", shots, "--source", source]
    for ending in (".json", ".md"):
        report += ["--out", str(folder / f"report{ending}")]
    return [*lines, report]


def demo_cli(
    ctx: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(file_okay=False, help="Where everything goes; an interrupted demo goes on there."),
    ] = Path("demo"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands and stop.")] = False,
) -> None:
    """Do the whole job in a few minutes: make up poses, train, adapt to 16 guide poses, sample, evaluate.

    Example: `flexpose demo`
    """
    lines = _commands(folder)
    if dry_run:
        for line in lines:
            typer.echo(shlex.join(["flexpose", *line]))
        return
    flexpose = ctx.find_root().command
    begin = time.monotonic()
    for line in lines:
        say(f"\n$ {shlex.join(['flexpose', *line])}")
        # Not standalone: the code of a failed command comes back instead of ending the process.
        code = flexpose.main(args=line, prog_name="flexpose", standalone_mode=False)
        if code:
            raise typer.Exit(code)
    say(f"\ndone in {time.monotonic() - begin:.0f} s; look at")
    for name, what in (
        ("sampled.json", "the poses of the target domain that were made, COCO keypoint JSON"),
        ("sampled.png", "some of them drawn; shots.png are the guide poses they were made from"),
        ("report.md", "how near they are to real target poses, beside ways that learn nothing"),
    ):
        typer.echo(f"{folder / name}: {what}")

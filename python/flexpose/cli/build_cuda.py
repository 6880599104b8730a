"""`flexpose build-cuda`: make the kernels for NVIDIA cards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ._output import say

__all__ = ["build_cuda_cli"]


def _arches(wanted: list[str] | None) -> tuple[str, ...]:
    from flexpose.cuda.build import ARCHES, native_arch

    if not wanted:
        native = native_arch()
        return ARCHES if native is None else (native,)
    if wanted == ["all"]:
        return ARCHES
    return tuple(arch.strip() for text in wanted for arch in text.split(","))


def build_cuda_cli(
    arch: Annotated[
        list[str] | None,
        typer.Option(
            "--arch",
            help="Compute capability times ten (80, 90, ...), several with commas or by repeating, or `all`; "
            "else that of the card here, and `all` without a card.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Compilers at once; else one a CPU.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", file_okay=False, help="Folder for a copy of the module.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A compiler's warning ends the build.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Build even if it is built already.")] = False,
    ptxas_stats: Annotated[
        bool,
        typer.Option("--ptxas-stats", help="Print the registers and spills of each kernel; builds again."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print commands and compiler output.")] = False,
) -> None:
    """Make the kernels for NVIDIA cards, into a cache that every later run looks in.

    It needs nvcc (on the PATH, in CUDA_HOME, or from the extra `cuda-build`), a C++ compiler, and no card.

    Example: [bold]flexpose build-cuda --arch 90[/]
    """
    from flexpose.cuda.build import build
    from flexpose.cuda.ptxas import read_stats, table

    arches = _arches(arch)
    built = build(
        arches, jobs=jobs, out=out, strict=strict, verbose=verbose, force=force or ptxas_stats or verbose
    )
    if verbose:
        sys.stdout.write(built.log)
    if ptxas_stats:
        typer.echo(table(read_stats(built.log)))
    say(f"{built.module} ({', '.join(arches)})")

"""The command tree, the options that all commands share, and the way out."""

from __future__ import annotations

import errno
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flexpose._threads import calm_openmp, keep_memory

from . import adapters, bench, poses, shards, skeletons, zoo
from ._errors import report, traceback_wanted
from .adapt import adapt_cli
from .build_cuda import build_cuda_cli
from .demo import demo_cli
from .doctor import doctor_cli
from .evaluate import evaluate_cli
from .layer_scan import layer_scan_cli
from .match import annotate_cli, match_cli
from .pretrain import pretrain_cli
from .render import render_cli
from .report import report_cli
from .sample import sample_cli
from .train_beta import train_beta_cli

__all__ = ["app", "main"]

_PASS_ON = (typer.Exit, typer.Abort)


class _Group(TyperGroup):
    """Runs a command and turns what it raises into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _PASS_ON:
            raise
        except (Exception, KeyboardInterrupt) as error:
            # A usage error of the parser knows how to show itself; a closed pipe is nobody's mistake.
            if hasattr(error, "format_message") or getattr(error, "errno", None) == errno.EPIPE:
                raise
            code = report(error, with_traceback=traceback_wanted(bool(ctx.params.get("show_traceback"))))
            raise typer.Exit(code) from None


app = typer.Typer(
    name="flexpose",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from flexpose import __version__

        typer.echo(f"flexpose {__version__}")
        raise typer.Exit


# Those that compute with torch and do nothing else.
_COMPUTING = {
    "train-beta",
    "pretrain",
    "adapt",
    "sample",
    "bench",
    "layer-scan",
    "match",
    "annotate",
    "report",
    "demo",
}


@app.callback()
def _options(
    ctx: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
    show_traceback: Annotated[
        bool,
        typer.Option("--traceback", help="Show the traceback of an error (or set FLEXPOSE_TRACEBACK=1)."),
    ] = False,
) -> None:
    """Carry a pose prior over to a new domain from a dozen guide poses, without a single picture.

    The usual way: `adapt` to a few guide poses of the target, `sample`, `evaluate`. A source of your own
    comes from `train-beta` and then `pretrain`. `flexpose demo` does all of it on made-up poses.
    With pictures at hand, `match` trains an annotator on them and on the samples, and `annotate` applies it.

    Exit codes: 0 done, 1 a bug, 2 wrong usage, 3 bad data, 4 disk or memory, 5 device, 130 interrupted.
    """
    if ctx.invoked_subcommand in _COMPUTING:
        keep_memory()


_RUN, _DATA, _ABOUT = "The method", "Poses and pictures", "This installation"
app.command("train-beta", rich_help_panel=_RUN)(train_beta_cli)
app.command("pretrain", rich_help_panel=_RUN)(pretrain_cli)
app.command("adapt", rich_help_panel=_RUN)(adapt_cli)
app.add_typer(adapters.app, name="adapters", rich_help_panel=_RUN)
app.command("sample", rich_help_panel=_RUN)(sample_cli)
app.command("evaluate", rich_help_panel=_RUN)(evaluate_cli)
app.command("report", rich_help_panel=_RUN)(report_cli)
app.command("layer-scan", rich_help_panel=_RUN)(layer_scan_cli)
app.command("match", rich_help_panel=_RUN)(match_cli)
app.command("annotate", rich_help_panel=_RUN)(annotate_cli)
app.add_typer(bench.app, name="bench", rich_help_panel=_RUN)
app.command("demo", rich_help_panel=_RUN)(demo_cli)
app.add_typer(poses.app, name="poses", rich_help_panel=_DATA)
app.command("render", rich_help_panel=_DATA)(render_cli)
app.add_typer(shards.app, name="shards", rich_help_panel=_DATA)
app.add_typer(skeletons.app, name="skeletons", rich_help_panel=_DATA)
app.add_typer(zoo.app, name="zoo", rich_help_panel=_ABOUT)
app.command("doctor", rich_help_panel=_ABOUT)(doctor_cli)
app.command("build-cuda", rich_help_panel=_ABOUT)(build_cuda_cli)


def main() -> None:
    """The entry point of the command; ends the process with its exit code."""
    calm_openmp()
    try:
        app()
    except KeyboardInterrupt:  # before or after the command itself
        sys.exit(130)

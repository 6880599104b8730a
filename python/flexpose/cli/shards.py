"""`flexpose shards`: look after data sets that `flexpose render` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import JsonOption, LimitOption, SkeletonOption, WorkersOption
from ._output import print_json, print_table, say
from ._progress import progress
from ._signals import terminate_as_interrupt
from .render import read_inputs

if TYPE_CHECKING:
    from flexpose.shards import Mended, Problem

__all__ = ["app"]

_BAD_DATA = 3
_SHOWN = 20

app = typer.Typer(
    name="shards",
    no_args_is_help=True,
    help="Look after data sets that `render` wrote: info, verify, repair, merge.",
)

DatasetArgument = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="Folder of a data set.", show_default=False)
]


@app.command("info")
def info_cli(dataset: DatasetArgument, as_json: JsonOption = False) -> None:
    """Say what a data set holds, finished or not."""
    from flexpose.shards import read_plan, verify_dataset

    plan, state = read_plan(dataset), verify_dataset(dataset)
    about = {
        "path": dataset,
        "kind": plan.kind,
        "complete": state.complete,
        "skeleton": plan.skeleton.name,
        "poses": plan.count,
        "bad": plan.bad,
        "shards": state.shards,
        "missing_shards": state.missing,
        "bytes": state.bytes,
        "image": plan.image,
        "labels": plan.labels,
        "inputs": plan.inputs,
        "config": plan.config,
    }
    if as_json:
        print_json(about)
        return
    inputs = ", ".join(f"{source['name']} ({source['poses']} poses)" for source in plan.inputs)
    settings = ", ".join(f"{name} {value}" for name, value in plan.config.items() if value is not None)
    about |= {"inputs": inputs, "config": settings, "labels": plan.labels and ", ".join(plan.labels)}
    about["image"] = plan.image and " x ".join(map(str, plan.image))
    rows = [(name, value) for name, value in about.items() if value is not None]
    print_table("Data set", ("what", "value"), rows)


@app.command("verify")
def verify_cli(
    dataset: DatasetArgument,
    full: Annotated[
        bool, typer.Option("--full", help="Hash every file and open every entry, not only look at lengths.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare a data set with what was written down about it; exit code 3 if anything is missing or torn."""
    from flexpose.shards import read_plan, verify_dataset

    with terminate_as_interrupt(), progress() as shown:
        shown.start("verify", read_plan(dataset).count)
        found = verify_dataset(dataset, full=full, progress=shown.advance)
    _tell_problems(found.problems)
    if found.temporary:
        say(
            f"{len(found.temporary)} temporary files: somebody writes here, or died (see: flexpose shards repair)"
        )
    if as_json:
        print_json(found)
    else:
        state = "complete" if found.complete else f"not finished, {found.missing} shards are missing"
        typer.echo(
            f"{dataset}: {found.intact} of {found.shards} shards are intact, {found.poses} poses, "
            f"{found.bytes} bytes, {state}"
        )
    if found.problems or not found.complete:
        raise typer.Exit(_BAD_DATA)


@app.command("repair")
def repair_cli(
    dataset: DatasetArgument,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            exists=True,
            help="What it was rendered from: torn shards are written again; may be repeated.",
        ),
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Give up the shards that are torn or missing.")
    ] = False,
    skeleton: SkeletonOption = None,
    limit: LimitOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove torn shards and what dead processes left, then write them again (--input) or do without (--drop).

    Exit code 3 if the data set is not complete in the end.
    """
    from flexpose.shards import mend_dataset

    if inputs and drop:
        raise typer.BadParameter("give --input to write shards again, or --drop to give them up")
    with terminate_as_interrupt():
        mended = mend_dataset(dataset, drop=drop)
        _tell_problems(mended.torn)
        written = _write_again(dataset, inputs, skeleton, limit, workers) if inputs else 0
    complete = mended.complete or bool(inputs)
    if as_json:
        print_json(_told(mended, written, complete=complete))
    else:
        state = "complete" if complete else f"{len(mended.missing)} shards are missing"
        typer.echo(
            f"{dataset}: {len(mended.swept)} temporary files and {len(mended.torn)} torn shards removed, "
            f"{written} shards written, {state}"
        )
    if not complete:
        say("hint: write the missing shards with --input FILE, or give them up with --drop")
        raise typer.Exit(_BAD_DATA)


def _told(mended: Mended, written: int, *, complete: bool) -> dict[str, object]:
    return {
        "swept": mended.swept,
        "torn": [{"shard": bad.shard, "file": bad.file, "message": bad.message} for bad in mended.torn],
        "written": written,
        "missing": () if complete else mended.missing,
        "complete": complete,
    }


def _write_again(
    dataset: Path, inputs: list[Path], skeleton: str | None, limit: int | None, workers: int | None
) -> int:
    """Go on with the data set under its own settings; the number of shards written."""
    from flexpose.poses.bad import BadRecords
    from flexpose.shards import RenderStyle, plan_render, read_plan, write_shards

    plan = read_plan(dataset)
    config = dict(plan.config)
    text, seed, size = config.pop("augment"), config.pop("seed"), config.pop("shard_size")
    fraction = config.pop("max_bad_fraction")
    bad = BadRecords(fraction) if fraction else None
    augment = None
    if text is not None:
        from flexpose.shards.augment import Augment

        augment = Augment.parse(text)
    again = plan_render(
        read_inputs(inputs, skeleton, bad, limit),
        dataset,
        RenderStyle(**config),
        resume=True,
        kind=plan.kind,
        shard_size=size,
        augment=augment,
        seed=seed,
        bad=bad,
        inputs=inputs,
    )
    with progress() as shown:
        shown.start("render", again.count)
        return write_shards(again, workers=workers, resume=True, progress=shown.advance).written


@app.command("merge")
def merge_cli(
    dataset: Annotated[
        Path, typer.Argument(help="A data set whose shards are all there, or a new one.", show_default=False)
    ],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, file_okay=False, help="Finished data sets to unite in the new one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the index over the parts of one data set, or unite several finished ones in a new one.

    Example: [bold]flexpose shards merge both first second[/]
    """
    from flexpose.shards import finish_dataset, merge_datasets, open_dataset

    with terminate_as_interrupt():
        if sources:
            with progress() as shown:
                shown.start("merge", sum(open_dataset(source).count for source in sources))
                merge_datasets(sources, dataset, progress=shown.advance)
        else:
            finish_dataset(dataset)
    index = open_dataset(dataset)
    told = {"path": dataset, "kind": index.kind, "poses": index.count, "shards": len(index.shards)}
    if as_json:
        print_json(told)
    else:
        typer.echo(f"{dataset}: {index.count} poses in {len(index.shards)} shards")


def _tell_problems(problems: tuple[Problem, ...]) -> None:
    for problem in problems[:_SHOWN]:
        say(f"{problem.file}: {problem.message}")
    if len(problems) > _SHOWN:
        say(f"... and {len(problems) - _SHOWN} more")

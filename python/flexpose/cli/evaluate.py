"""`flexpose evaluate`: generated poses against real ones, beside what no learning gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import ConfigOption, DryRunOption, InputPoses, JsonOption, SeedOverride, SetOption
from ._output import print_table, say
from ._progress import progress
from ._settings import settings, show_settings

__all__ = ["evaluate_cli"]

_ENDINGS = (".json", ".md")


def evaluate_cli(
    generated: InputPoses,
    target: InputPoses,
    shots: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The guide poses; adds the ways of not learning."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The source poses; some ways of not learning need them."
        ),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", dir_okay=False, help="Write the report: .json or .md; may be repeated."),
    ] = None,
    baselines: Annotated[
        bool | None, typer.Option("--baselines/--no-baselines", help="Measure the ways of not learning, too.")
    ] = None,
    beta: Annotated[
        Path | None,
        typer.Option(exists=True, help="Run folder of `train-beta`; adds the floor of the measuring chain."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    seed: SeedOverride = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure generated poses against real target poses, beside samplers that learn nothing.

    Example: `flexpose evaluate sampled.json rest.json --shots shots.json --out report.md`
    """
    from flexpose._atomic import atomic_write
    from flexpose.evaluate import EvaluateConfig, evaluate
    from flexpose.poses import read_poses

    for path in out or []:
        if path.suffix not in _ENDINGS:
            raise typer.BadParameter(f"--out must end in {' or '.join(_ENDINGS)}, got {str(path)!r}")
    chosen = settings(
        EvaluateConfig, toml=config, assignments=assignments, options={"seed": seed, "baselines": baselines}
    )
    if dry_run:
        show_settings(chosen)
        return
    with progress() as shown:
        target_poses = read_poses(target)
        report = evaluate(
            read_poses(generated),
            target_poses,
            shots=None if shots is None else read_poses(shots),
            source=None if source is None else read_poses(source),
            config=chosen,
            progress=shown,
        )
        if beta is not None:
            from flexpose.pretrain.beta import reread_poses

            report.add_row("target drawn and read by beta", reread_poses(beta, target_poses))
    for path in out or []:
        text = report.to_json() if path.suffix == ".json" else report.to_markdown()
        atomic_write(path, text.encode())
    if as_json:
        typer.echo(report.to_json(), nl=False)
        return
    # One row a metric: the sets are few, the metrics many.
    headers, table = report.cells()
    rows = [[header, *(line[index] for line in table)] for index, header in enumerate(headers)]
    print_table(f"{generated} against {target}", rows[0], rows[1:])
    for note in report.notes:
        say(note)
    for path in out or []:
        say(f"written: {path}")

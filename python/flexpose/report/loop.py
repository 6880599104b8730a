"""Making a report: gather, draw, measure, lay out, publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._atomic import atomic_write
from .._device import find_device
from .._threads import compute_dtype
from ..charts import require_matplotlib
from ..errors import UsageError
from ..runs import Progress, versions
from .evidence import look, tsne
from .figures import tsne_chart
from .gather import gather_runs
from .page import element, page
from .sections import Pictures, evidence_section, overview, run_section, scan_section, tsne_section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from ..drawing import Drawing
    from ..poses import PoseSet
    from .config import ReportConfig
    from .evidence import Evidence
    from .gather import Run
    from .page import Html

__all__ = ["report"]


def report(
    runs: Sequence[str | PathLike[str]],
    config: ReportConfig,
    out: str | PathLike[str],
    *,
    target: PoseSet | None = None,
    source_poses: PoseSet | None = None,
    shots: Mapping[str, PoseSet] | None = None,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    pictures: str | PathLike[str] | None = None,
    progress: Progress | None = None,
    device: str = "auto",
) -> dict[str, Evidence]:
    """Publish one HTML page on runs; it holds everything it shows and fetches nothing.

    The same runs, poses and settings give the same page.

    Args:
        runs: folders or files of `adapt`, `pretrain`, `train_beta` and `layer_scan`.
        config: the settings.
        out: the page.
        target: real poses of the target domain; without them nothing is measured against real poses.
        source_poses: real poses of the source; some ways of not learning need them.
        shots: guide poses by the name of their file; each run takes those that it was adapted to.
        source: where the source of the adapters is, if it was moved.
        beta: see `flexpose.sample.load_sampler`.
        pictures: a folder for the figures as PNG.
        progress: told of each run.
        device: see `flexpose.sample.sample`.

    Returns:
        What was measured, by the name of the run.

    Raises:
        UsageError: a run is not there, guide poses are those of no run, a set is too small to be measured, or
            `pictures` without matplotlib.
        DataError: a file cannot be used.
        ResourceError: the page cannot be written.
    """
    progress = progress or Progress()
    if pictures is not None:
        require_matplotlib()  # before the work, not after it
    place = find_device(device)
    found = gather_runs(runs, source=source, beta=beta, device=place)
    guides = shots or {}
    _check_used(found, guides)
    drawing_runs = [run for run in found if run.sampler is not None]
    dtype: Any = compute_dtype(config.dtype, place)
    evidence: dict[str, Evidence] = {}
    for run in drawing_runs:
        progress.message(f"{run.name}: drawing {config.samples:,} samples")
        evidence[run.name] = look(
            run,
            config,
            target=target,
            source_poses=source_poses,
            shots=_own_shots(run, guides),
            dtype=dtype,
            progress=progress,
        )
    notes = _notes(found, evidence, target, source_poses)
    files = Pictures(None if pictures is None else Path(pictures))
    chart_parts: list[Html] = []
    sets = _sets(evidence, drawing_runs, source_poses)
    if config.tsne and len(sets) > 1:
        progress.message("t-SNE")
        try:
            chart_parts = tsne_section(tsne_chart(tsne(sets, config)), files)
        except UsageError as error:
            notes.append(f"The t-SNE chart is left out: {error}.")
            progress.message(notes[-1])
    body = [element("h1", config.title), element("ul", *(element("li", note) for note in notes))]
    if len(found) > 1:
        links = [element("li", element("a", run.name, href=f"#run-{run.slug}")) for run in found]
        body.append(element("nav", element("ul", *links), aria_label="Runs"))
    body.append(overview(found, evidence))
    for run in found:
        body.append(element("h2", run.name, id=f"run-{run.slug}"))
        if run.name in evidence:
            body += evidence_section(evidence[run.name], config, files)
        body += scan_section(run, files) + run_section(run, files)
    body += chart_parts
    told = ", ".join(f"{name} {value}" for name, value in versions().items())
    body.append(element("p", f"Seed {config.seed}. Versions: {told}.", class_="soft"))
    atomic_write(out, page(config.title, body).encode())
    return evidence


def _hash(drawing: Drawing, poses: PoseSet) -> str:
    return drawing.framed(poses).content_hash


def _own_shots(run: Run, guides: Mapping[str, PoseSet]) -> PoseSet | None:
    """The guide poses that a run was adapted to; those of a mixed adapter are the only ones given."""
    if run.sampler is None or run.kind != "adapted":
        return None
    if run.shots_hash is None:
        return next(iter(guides.values())) if len(guides) == 1 else None
    for poses in guides.values():
        if _hash(run.sampler.drawing, poses) == run.shots_hash:
            return poses
    return None


def _check_used(runs: Sequence[Run], guides: Mapping[str, PoseSet]) -> None:
    """Refuse guide poses of no run: their distances would be read as those of the right ones."""
    for name, poses in guides.items():
        if not any(_own_shots(run, {name: poses}) is not None for run in runs):
            raise UsageError(
                f"{name}: are not the guide poses of any of these runs; name the file that adapt was given"
            )


def _notes(
    runs: Sequence[Run],
    evidence: Mapping[str, Evidence],
    target: PoseSet | None,
    source_poses: PoseSet | None,
) -> list[str]:
    """What the page does not show, and why."""
    notes = []
    if evidence and target is None:
        notes.append("No target poses were given (--target): nothing is measured against real poses.")
    if evidence and target is not None and source_poses is None:
        notes.append(
            "No source poses were given (--source-poses): ways of not learning that need them are missing."
        )
    notes += [
        f"{name}: {1 - found.drawn.kept.mean():.0%} of the samples leave the guide poses' ranges of bones and joint "
        "angles; like flexpose sample, the figures leave them out. Pictures of the same noise show all."
        for name, found in evidence.items()
        if not found.drawn.kept.all()
    ]
    missing = [
        run.name
        for run in runs
        if run.kind == "adapted" and run.name in evidence and evidence[run.name].shots is None
    ]
    if missing:
        notes.append(
            f"The guide poses of {', '.join(missing)} were not given (--shots): no nearest guide poses, no ways of not "
            "learning."
        )
    return notes


def _sets(
    evidence: Mapping[str, Evidence], runs: Sequence[Run], source_poses: PoseSet | None
) -> dict[str, Any]:
    """Poses for the t-SNE by name: source, target, and what each run draws."""
    sets: dict[str, Any] = {}
    if not runs or runs[0].sampler is None:
        return sets
    first = evidence[runs[0].name]
    drawing = runs[0].sampler.drawing
    if len({run.sampler.drawing.skeleton.fingerprint for run in runs if run.sampler is not None}) > 1:
        return sets
    sets["source"] = first.before.given
    if source_poses is not None:
        sets["source"] = drawing.framed(source_poses).normalized
    if first.target is not None:
        sets["target"] = first.target
    for run in runs:
        if run.kind == "adapted":
            name = "adapted" if len(runs) == 1 else f"adapted: {run.name}"
            sets[name] = evidence[run.name].drawn.given
    if first.shots is not None and len(runs) == 1:
        sets["guide poses"] = first.shots
    return sets

"""Adaptation against every way of not learning, on real targets: several draws of guide poses, means and spreads.

    FLEXPOSE_DATA=... python benchmarks/adapt_quality.py WORK [--draws 5] [--samples 50000]
    FLEXPOSE_DATA=... python benchmarks/adapt_quality.py WORK --source RUN --source-poses mpii.npz --out OUT
    python benchmarks/adapt_quality.py --table-only

Each cell (target, draw, settings) is adapted, sampled and evaluated against the whole target without the guide poses,
and kept in ``WORK/cells.jsonl``: a second call does what is missing. The tables go to
``benchmarks/results/adapt_quality.md`` and ``.json``, or to OUT, with a chart a target beside them; ``--table-only``
makes tables and charts anew of the cells that are in the ``.json``. Targets are those of method work; penn_action
leaves out frames with a joint beyond half a box outside its person's box.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from flexpose.adapt import ADAPT_PRESETS, AdaptConfig, adapt
from flexpose.charts import Chart, Series, save_svg
from flexpose.config import make_config
from flexpose.evaluate import evaluate
from flexpose.poses import PoseSet, read_dataset, read_poses, split_fewshot
from flexpose.runs import versions
from flexpose.sample import SampleConfig, sample
from flexpose.zoo import DEFAULT, source_file
from harness import machine

RESULTS = Path(__file__).resolve().parent / "results"
SOURCE_POSES = "person_keypoints_train2017_body13.json"
TARGETS: dict[str, dict[str, Any]] = {
    "lab_cmu": {"shots_per_label": 2},
    "lab_bandai": {"shots_per_label": 2},
    "penn_action": {"shots_per_label": 2},
    "lsp": {"shots": 30},
}
# Rows of the table: the default, the paper's settings, and the default without each of its parts.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "layer 3 alone": {"layers": (3,)},
    "layers 3 to 6": {"layers": (3, 4, 5, 6)},
    "no rounds": {"rounds": 0},
    "plain Pose-mixup": {"variation": 0.0},
    "none from behind": {"behind": 0.0},
    "none from behind, none mirrored": {"flips": False},
    "covariance not shrunk": {"shrinkage": 0.0},
    "none of the source's own poses": {"source_part": 0.0},
    "as drawn": {"plausible": 0.0},
    "then 120 steps of gradient descent": {"iterations": 120, "lr": 0.01},
    "paper": ADAPT_PRESETS["paper"],
}
READING = "\n## Reading\n"
OURS = "adapted"
GOAL = ((0.5, 0.7), (1.0, 1.0))  # recall and precision at once
# Ours, the six that learn nothing, and the real target: told apart by their marks.
COLORS = ("#0072b2", *("#6b7178",) * 6, "#1c1d20")
COLUMNS = ("fd", "mmd2", "precision", "recall", "implausible", "worth", "copies")


def target_and_shots(name: str, data: Path, draw: int) -> tuple[PoseSet, PoseSet]:
    """A data set and guide poses of it; of "penn_action/squat", of that label alone and twelve of them."""
    whole, _, label = name.partition("/")
    target, how = read_dataset(whole, data), TARGETS[whole]
    if label:
        target, how = target[np.flatnonzero(np.array(target.labels) == label)], {"shots": 12}
    return target, target[split_fewshot(target, seed=draw, **how).shots]


def cell(given: argparse.Namespace, data: Path, name: str, draw: int, variant: str) -> dict[str, Any]:
    """Adapt, sample and evaluate once."""
    target, shots = target_and_shots(name, data, draw)
    config = make_config(AdaptConfig, {**VARIANTS[variant], "seed": draw})
    run = given.work / f"{name.replace('/', '_')}-{draw}-{variant.replace(' ', '_')}"
    begin = time.monotonic()
    adapt(shots, config, run, source=source_file(given.source), resume=(run / "adapt").exists())
    adapted = time.monotonic() - begin
    sampled = sample(run, SampleConfig(n=given.samples, seed=draw + 1000))
    alone = variant != "default"
    report = evaluate(
        sampled,
        target,
        shots=shots,
        source=None if alone else read_poses(data / given.source_poses),
        baselines=not alone,
        seeds=1,
        n_mmd=20_000,
    )
    rows = {}
    for row in report.to_dict()["rows"]:
        rows[row["name"]] = {key: value["mean"] for key, value in row["values"].items()}
        if row["worth_fd"] is not None:
            rows[row["name"]]["worth"] = row["worth_fd"]["poses"]
    return {
        "target": name,
        "draw": draw,
        "variant": variant,
        "shots": len(shots),
        "seconds": round(adapted, 1),
        "samples": given.samples,
        "rows": rows,
    }


def all_cells(
    given: argparse.Namespace, data: Path, steps: list[tuple[str, int, str]]
) -> list[dict[str, Any]]:
    """Those that are kept in the work folder, and the (target, draw, variant) that are missing."""
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / "cells.jsonl"
    cells = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(made["target"], made["draw"], made["variant"]) for made in cells}
    for step in steps:
        if step in done:
            continue
        cells.append(cell(given, data, *step))
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(cells[-1]) + "\n")
        values = cells[-1]["rows"]["generated"]
        print(*step, {key: round(values[key], 4) for key in COLUMNS[:4]}, flush=True)
    return cells


def by_draw(cells: list[dict[str, Any]], variant: str) -> dict[int, dict[str, float]]:
    """Figures of what a variant draws, by draw of guide poses."""
    return {made["draw"]: made["rows"]["generated"] for made in cells if made["variant"] == variant}


def groups(cells: list[dict[str, Any]]) -> dict[str, list[dict[str, float]]]:
    """A target's rows: the default, then those that learn nothing; for each its figures by draw."""
    found: dict[str, list[dict[str, float]]] = {}
    for made in cells:
        if made["variant"] == "default":
            for row, values in made["rows"].items():
                found.setdefault(OURS if row == "generated" else row, []).append(values)
    return found


def spread(numbers: list[float | None]) -> tuple[float, float] | None:
    """(mean, standard deviation) of those that are there; None where there are none."""
    there = [number for number in numbers if number is not None]
    if not there:
        return None
    return float(np.mean(there)), float(np.std(there, ddof=1)) if len(there) > 1 else 0.0


def text(found: tuple[float, float] | None) -> str:
    return "" if found is None else f"{found[0]:.3f} +- {found[1]:.3f}"


def table(cells: list[dict[str, Any]], out: Path) -> list[str]:
    """A section a target: every row's mean and spread over the draws, the chart, and the parts of the default."""
    lines: list[str] = []
    for name in TARGETS:
        mine = [made for made in cells if made["target"] == name]
        if not mine:
            continue
        lines += ["", f"## {name}, {mine[0]['shots']} guide poses", ""]
        rows = groups(mine)
        if rows:
            lines += [f"| | draws | {' | '.join(COLUMNS)} |", f"| --- | --- |{' --- |' * len(COLUMNS)}"]
        for row, values in rows.items():
            texts = [text(spread([value.get(key) for value in values])) for key in COLUMNS]
            lines.append(f"| {f'**{row}**' if row == OURS else row} | {len(values)} | {' | '.join(texts)} |")
        if rows:
            lines += ["", f"![FD, precision and recall of each row on {name}]({out.name}-{name}.svg)"]
        lines += parts_table(mine)
    return lines


def parts_table(cells: list[dict[str, Any]]) -> list[str]:
    """The default and what was run beside it; nothing where only the default was."""
    tried = [variant for variant in VARIANTS if by_draw(cells, variant)]
    if not {*tried} - {"default"}:
        return []
    default = by_draw(cells, "default")
    lines = ["", "Parts, with FD less the default's on the same draws:", ""]
    lines += [
        f"| | draws | fd less | {' | '.join(COLUMNS)} |",
        f"| --- | --- | --- |{' --- |' * len(COLUMNS)}",
    ]
    for variant in tried:
        mine = by_draw(cells, variant)
        shared = [mine[draw]["fd"] - default[draw]["fd"] for draw in mine if draw in default]
        texts = ["" if variant == "default" else text(spread([*shared]))]
        texts += [text(spread([value.get(key) for value in mine.values()])) for key in COLUMNS]
        lines.append(f"| {variant} | {len(mine)} | {' | '.join(texts)} |")
    return lines


def save_charts(cells: list[dict[str, Any]], out: Path) -> None:
    """A picture a target: FD of every row, and precision against recall by the same marks."""
    for name in TARGETS:
        mine = [made for made in cells if made["target"] == name]
        rows = groups(mine)
        if not rows:
            continue
        # The strongest of those that learn nothing is evaluated last; its mark must not be a cross as its spread is.
        ours, *others, real = rows
        names = (ours, *reversed(others), real)
        bars, points = [], []
        for place, row in enumerate(names):
            values = rows[row]
            fd, precision, recall = (
                spread([value.get(key) for value in values]) or (0.0, 0.0)
                for key in ("fd", "precision", "recall")
            )
            bars.append(Series(row, fd[:1], (float(place),), x_spread=fd[1:], kind="bars"))
            points.append(
                Series(
                    row, recall[:1], precision[:1], x_spread=recall[1:], y_spread=precision[1:], kind="points"
                )
            )
        shots = f"{name}, {mine[0]['shots']} guide poses"
        both = (
            Chart(f"{shots}: Frechet distance", "FD, less is better", "", tuple(bars), y_names=names),
            Chart(
                "precision and recall: the goal tinted, marks as at left",
                "recall",
                "precision",
                tuple(points),
                x_range=(0.0, 1.0),
                y_range=(0.0, 1.0),
                goal=GOAL,
            ),
        )
        save_svg(out.with_name(f"{out.name}-{name}.svg"), both, colors=COLORS)


def publish(found: dict[str, Any], out: Path) -> None:
    """Tables and charts of the cells."""
    cells = sorted(found["cells"], key=lambda made: made["draw"])
    draws = len({made["draw"] for made in cells})
    samples = max(made["samples"] for made in cells)
    poses = found.get("source_poses", SOURCE_POSES)
    own = "" if found["source"] == DEFAULT else f" --source {found['source']} --source-poses {poses}"
    head = [
        "# Adaptation against ways of not learning",
        "",
        f"Source `{found['source']}`; `python benchmarks/adapt_quality.py WORK{own} --draws {draws} "
        f"--samples {samples}`. Mean +- standard deviation over draws of guide poses (seed 0 on), {samples:,} samples "
        "against the whole target without the guide poses, in frame coordinates. The rows that are not adapted learn "
        f"nothing. In the charts the tinted corner is the goal: precision >= {GOAL[0][1]} and recall >= {GOAL[0][0]} "
        "at once.",
    ]
    tail = ["", f"Machine: {found['machine']}. Versions: {found['versions']}.", ""]
    file = out.with_suffix(".md")
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    reading = before[before.index(READING) :] if READING in before else ""  # written by hand: it stays
    file.write_text("\n".join(head + table(cells, out) + tail) + reading, encoding="utf-8")
    save_charts(cells, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument(
        "--table-only", action="store_true", help="tables and charts of the cells in the results"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "adapt_quality")
    parser.add_argument("--source", default=DEFAULT)
    parser.add_argument(
        "--source-poses",
        default=SOURCE_POSES,
        help="file of the data, what the source was trained on",
    )
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--variants", nargs="+", default=["default"], choices=list(VARIANTS))
    given = parser.parse_args()
    results = given.out.with_suffix(".json")
    if given.table_only:
        publish(json.loads(results.read_text(encoding="utf-8")), given.out)
        return
    if given.work is None:
        parser.error("name a folder for the runs, or --table-only")
    data = Path(os.environ["FLEXPOSE_DATA"])
    steps = [
        (name, draw, variant)
        for draw in range(given.draws)
        for name in given.targets
        for variant in given.variants
    ]
    cells = all_cells(given, data, steps)
    source = Path(given.source).name  # and no folder of this machine
    found = {
        "cells": cells,
        "source": source,
        "source_poses": given.source_poses,
        "versions": versions(),
        "machine": machine(),
    }
    results.write_text(json.dumps(found, default=str) + "\n", encoding="utf-8")
    publish(found, given.out)


if __name__ == "__main__":
    main()

"""Adaptation against every way of not learning, on real targets: several draws of guide poses, means and spreads.

    FLEXPOSE_DATA=... python benchmarks/adapt_quality.py WORK [--source SOURCE] [--draws 5] [--samples 50000]

Each cell (target, draw, settings) is adapted, sampled and evaluated against the whole target without the guide poses,
and kept in ``WORK/cells.jsonl``: a second call does what is missing. The table goes to
``benchmarks/results/adapt_quality.md`` and ``.json``. Targets are those of method work; penn_action leaves out frames
with a joint beyond half a box outside its person's box.
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
from flexpose.config import make_config
from flexpose.evaluate import evaluate
from flexpose.poses import PoseSet, read_poses, split_fewshot
from flexpose.runs import versions
from flexpose.sample import SampleConfig, sample
from flexpose.zoo import DEFAULT, source_file
from harness import machine

RESULTS = Path(__file__).resolve().parent / "results"
SOURCE_POSES = "person_keypoints_train2017_body13.json"
TARGETS: dict[str, dict[str, int]] = {
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
    "no mirrored guide poses": {"flips": False},
    "nothing rejected": {"plausible": 0.0},
    "then 120 steps of gradient descent": {"iterations": 120, "lr": 0.01},
    "paper": ADAPT_PRESETS["paper"],
}
READING = "\n## Reading\n"
COLUMNS = ("fd", "mmd2", "precision", "recall", "implausible", "worth", "copies")


def target_poses(data: Path, name: str) -> PoseSet:
    poses = read_poses(data / f"{name}.npz")
    if name != "penn_action":
        return poses
    with np.load(data / f"{name}.npz", allow_pickle=False) as arrays:
        box = arrays["bbox_xyxy"].astype(np.float64)
    size = box[:, 2:] - box[:, :2]
    low, high = (box[:, :2] - size / 2)[:, None], (box[:, 2:] + size / 2)[:, None]
    inside = ((poses.keypoints >= low) & (poses.keypoints <= high)).all(axis=2)
    return poses[(inside | (poses.visibility == 0)).all(axis=1)]


def cell(given: argparse.Namespace, data: Path, name: str, draw: int, variant: str) -> dict[str, Any]:
    """Adapt, sample and evaluate once."""
    target = target_poses(data, name)
    split = split_fewshot(target, seed=draw, **TARGETS[name])
    shots = target[split.shots]
    config = make_config(AdaptConfig, {**VARIANTS[variant], "seed": draw})
    run = given.work / f"{name}-{draw}-{variant.replace(' ', '_')}"
    begin = time.monotonic()
    adapt(shots, config, run, source=source_file(given.source), resume=(run / "adapt").exists())
    adapted = time.monotonic() - begin
    sampled = sample(run, SampleConfig(n=given.samples, seed=draw + 1000))
    alone = variant != "default"
    report = evaluate(
        sampled,
        target,
        shots=shots,
        source=None if alone else read_poses(data / SOURCE_POSES),
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


def table(cells: list[dict[str, Any]]) -> list[str]:
    """A table a target: mean and spread over the draws of every row, ours and those that learn nothing."""
    lines: list[str] = []
    for name in TARGETS:
        mine = [found for found in cells if found["target"] == name]
        if not mine:
            continue
        lines += ["", f"## {name}, {mine[0]['shots']} guide poses", ""]
        lines += [f"| | draws | {' | '.join(COLUMNS)} |", f"| --- | --- |{' --- |' * len(COLUMNS)}"]
        groups: dict[str, list[dict[str, float]]] = {}
        for found in mine:
            for row, values in found["rows"].items():
                if row == "generated":
                    groups.setdefault(f"**adapted: {found['variant']}**", []).append(values)
                elif found["variant"] == "default":
                    groups.setdefault(row, []).append(values)
        for row, values in groups.items():
            cells_of = []
            for key in COLUMNS:
                numbers = [value[key] for value in values if value.get(key) is not None]
                cells_of.append(
                    f"{np.mean(numbers):.3f} +- {np.std(numbers, ddof=1) if len(numbers) > 1 else 0:.3f}"
                    if numbers
                    else ""
                )
            lines.append(f"| {row} | {len(values)} | {' | '.join(cells_of)} |")
    return lines


def main() -> None:
    data = Path(os.environ["FLEXPOSE_DATA"])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--source", default=DEFAULT)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--variants", nargs="+", default=["default"], choices=list(VARIANTS))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / "cells.jsonl"
    cells = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(found["target"], found["draw"], found["variant"]) for found in cells}
    for draw in range(given.draws):
        for name in given.targets:
            for variant in given.variants:
                if (name, draw, variant) in done:
                    continue
                cells.append(cell(given, data, name, draw, variant))
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(cells[-1]) + "\n")
                values = cells[-1]["rows"]["generated"]
                print(name, draw, variant, {key: round(values[key], 4) for key in COLUMNS[:4]}, flush=True)
    found = {"cells": cells, "source": given.source, "versions": versions(), "machine": machine()}
    (RESULTS / "adapt_quality.json").write_text(json.dumps(found, default=str) + "\n", encoding="utf-8")
    head = [
        "# Adaptation against ways of not learning",
        "",
        f"Source `{given.source}`; `python benchmarks/adapt_quality.py WORK --draws {given.draws} "
        f"--samples {given.samples}`. Mean +- standard deviation over draws of guide poses (seed 0 on), "
        f"{given.samples:,} samples against the whole target without the guide poses, in frame coordinates. "
        "The rows that are not adapted learn nothing.",
    ]
    tail = ["", f"Machine: {found['machine']}. Versions: {found['versions']}.", ""]
    file = RESULTS / "adapt_quality.md"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    reading = before[before.index(READING) :] if READING in before else ""  # written by hand: it stays
    file.write_text("\n".join(head + table(cells) + tail) + reading, encoding="utf-8")


if __name__ == "__main__":
    main()

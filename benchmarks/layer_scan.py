"""Which style layer draws which change of the poses (Figs. 4, 9 and 10 of the paper), on a real source.

    FLEXPOSE_DATA=... python benchmarks/layer_scan.py WORK [--scans NAME ...]

Each scan is kept cell by cell in ``WORK/NAME``: a second call does what is missing. The tables of all scans that are
there go to ``benchmarks/results/layer_scan.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from flexpose.config import make_config
from flexpose.layer_scan import LayerScan, LayerScanConfig, layer_scan
from flexpose.poses import PoseSet, read_poses
from flexpose.pretrain.files import beta_of, load_beta, load_generator
from flexpose.runs import Progress
from flexpose.sample import read_keypoints
from flexpose.shards.augment import augment_poses
from flexpose.zoo import DEFAULT, source_file
from harness import machine

RESULTS = Path(__file__).resolve().parent / "results"
SHOTS = "lab_cmu_shots16.json"
READING = "\n## Reading\n"
# (what it asks, whether of the guide poses, settings)
SCANS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "shots": ("16 guide poses, each with an augmentation of its own, closed form", True, {"seeds": 5}),
    "shots-matched": (
        "16 guide poses drawn from the nearest of 1,000 codes of the source, closed form",
        True,
        {"codes": "matched", "seeds": 3},
    ),
    "source-set": (
        "300 poses of the source, one augmentation for all, closed form",
        False,
        {"poses": 300, "per": "set", "seeds": 2, "layers": "each;1,3;3,5;all"},
    ),
    "shots-descent": (
        "16 guide poses, each with an augmentation of its own, 40 steps of gradient descent",
        True,
        {
            "way": "descent",
            "iterations": 40,
            "seeds": 1,
            "layers": "each",
            "augment": ("global", "local"),
        },
    ),
}


class Told(Progress):
    """A line a cell."""

    def advance(self, done: int, **figures: float) -> None:
        """`done` cells are done; the figures are those of the last."""
        print(done, {name: round(value, 4) for name, value in figures.items()}, flush=True)


def section(title: str, found: LayerScan) -> list[str]:
    lines = ["", f"## {title[:1].upper()}{title[1:]}"]
    for measure, headers, rows in found.tables():
        lines += ["", f"{measure[:1].upper()}{measure[1:]}:", "", f"| {' | '.join(headers)} |"]
        lines += ["|" + " --- |" * len(headers), *(f"| {' | '.join(row)} |" for row in rows)]
    return [*lines, "", *(f"- {line}" for line in found.recommendation())]


def floor(source: str, shots: PoseSet, seeds: int = 5) -> dict[str, list[float]]:
    """What beta misreads, in pixels, when alpha itself draws the guide poses that are asked for."""
    generator, drawing, _ = load_generator(source_file(source))
    beta, _, _ = load_beta(beta_of(source_file(source)))
    poses = drawing.framed(shots).normalized
    config = LayerScanConfig()
    found: dict[str, list[float]] = {}
    for augment in config.augment:
        for seed in range(seeds):
            asked = augment_poses(
                poses, drawing.skeleton, config.augmentation(augment), seed, np.arange(len(poses))
            )
            wrong = read_keypoints(beta, drawing.images(asked)) - asked
            error = float(np.hypot(*np.moveaxis(wrong, -1, 0)).mean()) * generator.config.size_px / 2
            found.setdefault(augment, []).append(error)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--source", default=DEFAULT)
    parser.add_argument("--scans", nargs="+", default=list(SCANS), choices=list(SCANS))
    given = parser.parse_args()
    shots = read_poses(Path(os.environ["FLEXPOSE_DATA"]) / SHOTS)
    found: dict[str, LayerScan] = {}
    for name, (_, guided, settings) in SCANS.items():
        folder = given.work / name
        if name in given.scans or (folder / "layer-scan.json").exists():
            found[name] = layer_scan(
                shots if guided else None,
                make_config(LayerScanConfig, settings),
                source=given.source,
                out=folder,
                resume=(folder / "config.json").exists(),
                progress=Told(),
            )
    beta_px = floor(given.source, shots)
    data = {name: scan.to_dict() for name, scan in found.items()}
    data |= {"beta_px": beta_px, "machine": machine()}
    (RESULTS / "layer_scan.json").write_text(json.dumps(data) + "\n", encoding="utf-8")
    lines = [
        "# Which layer draws which change",
        "",
        f"Source `{given.source}`, guide poses `{SHOTS}`; `python benchmarks/layer_scan.py WORK`. Tau is free in the "
        "layers named and the identity elsewhere, and is fitted to the poses that are measured. Mean +- standard "
        "deviation over seeds. The codes' own pictures show the poses before the augmentation, but for the matched "
        "ones.",
    ]
    for name, scan in found.items():
        lines += section(SCANS[name][0], scan)
    notes = [f"- {note}" for scan in list(found.values())[:1] for note in scan.notes()[1:3]]
    read = ", ".join(f"{name} {np.mean(v):.2f} +- {np.std(v, ddof=1):.2f}" for name, v in beta_px.items())
    notes.append(
        f"- What beta misreads in alpha's own drawings of the augmented guide poses, pixels: {read}."
    )
    lines += ["", *notes, "", f"Machine: {data['machine']}."]
    file = RESULTS / "layer_scan.md"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    reading = before[before.index(READING) :] if READING in before else ""  # written by hand: it stays
    file.write_text("\n".join(lines) + "\n" + reading, encoding="utf-8")


if __name__ == "__main__":
    main()

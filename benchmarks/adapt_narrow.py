"""Adaptation to one action at a time: targets narrower than those that settings were chosen on.

    FLEXPOSE_DATA=... python benchmarks/adapt_narrow.py WORK [--draws 1] [--samples 5000] [--sets penn_action ...]

Every label of the data sets is a target of its own, with twelve guide poses; each cell is what
`benchmarks/adapt_quality.py` makes of it, beside the ways of not learning. Cells are kept in ``WORK/cells.jsonl``, and
a second call does what is missing. The table goes to ``benchmarks/results/adapt_narrow.md`` and ``.json``; what is
written below it by hand stays.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from adapt_quality import READING, RESULTS, SOURCE_POSES, all_cells
from flexpose.poses import read_dataset
from flexpose.runs import versions
from flexpose.zoo import DEFAULT
from harness import machine

SETS = ("penn_action", "lab_cmu", "lab_bandai")
OUT = RESULTS / "adapt_narrow.md"


def row(name: str, cells: list[dict[str, Any]]) -> tuple[float, str]:
    """FD as a share of the best way of not learning, and the target's line: means over the draws."""
    rows: dict[str, dict[str, float]] = {}
    for way in cells[0]["rows"]:
        values = [made["rows"][way] for made in cells]
        rows[way] = {
            key: float(np.mean([value[key] for value in values])) for key in ("fd", "precision", "recall")
        }
    ours = rows.pop("generated")
    rows = {way: values for way, values in rows.items() if not way.startswith("real")}
    best = min(rows, key=lambda way: rows[way]["fd"])
    share = ours["fd"] / rows[best]["fd"]
    numbers = [f"{ours['fd']:.3f}", f"{rows['source as it is']['fd']:.3f}", f"{rows[best]['fd']:.3f}"]
    texts = [name, *numbers, best, f"{share:.2f}", f"{ours['precision']:.2f}", f"{ours['recall']:.2f}"]
    return share, f"| {' | '.join(texts)} |"


def publish(found: dict[str, Any]) -> None:
    """The table of the cells, from the best share to the worst."""
    by_target: dict[str, list[dict[str, Any]]] = {}
    for made in found["cells"]:
        by_target.setdefault(made["target"], []).append(made)
    rows = sorted(row(name, cells) for name, cells in by_target.items())
    shares = [share for share, _ in rows]
    draws = len({made["draw"] for made in found["cells"]})
    lines = [
        "# Adaptation to single actions",
        "",
        f"Source `{DEFAULT}`, 12 guide poses of one label; `python benchmarks/adapt_narrow.py WORK --draws {draws} "
        f"--samples {found['cells'][0]['samples']}`, means over draws. FD of the adapted generator, of the source as "
        "it is, and of the best way of not learning, whichever that is; the share of the last; precision and recall.",
        "",
        "| target | adapted | source | best unlearned | which | x | P | R |",
        "|---|---|---|---|---|---|---|---|",
        *(line for _, line in rows),
        "",
        f"Ahead of every way of not learning on {sum(share < 1 for share in shares)} of {len(shares)}; median share "
        f"{np.median(shares):.2f}.",
        "",
        f"Machine: {found['machine']}. Versions: {found['versions']}.",
        "",
    ]
    before = OUT.read_text(encoding="utf-8") if OUT.exists() else ""
    reading = before[before.index(READING) :] if READING in before else ""
    OUT.write_text("\n".join(lines) + reading, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    given = parser.parse_args()
    given.source, given.source_poses = DEFAULT, SOURCE_POSES
    data = Path(os.environ["FLEXPOSE_DATA"])
    names = [
        f"{name}/{label}"
        for name in given.sets
        for label in sorted(set(read_dataset(name, data).labels or ()))
    ]
    steps = [(name, draw, "default") for draw in range(given.draws) for name in names]
    cells = all_cells(given, data, steps)
    found = {"cells": cells, "versions": versions(), "machine": machine()}
    OUT.with_suffix(".json").write_text(json.dumps(found, default=str) + "\n", encoding="utf-8")
    publish(found)


if __name__ == "__main__":
    main()

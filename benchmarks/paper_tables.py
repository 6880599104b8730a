"""Publish what `flexpose bench paper` measured: a page a table, and the cells that it is made of.

    FLEXPOSE_DATA=... python benchmarks/paper_tables.py table1 OUT [OUT ...] [--source NAME=RUN ...]

OUT are the folders of the command. Their cells join those of ``benchmarks/results/paper_TABLE.jsonl``, from which any
machine can go on: ``flexpose bench paper TABLE --cells benchmarks/results/paper_TABLE.jsonl ...``. The section Reading
of a page is written by hand and stays. ``--draws`` and ``--seeds`` keep cells off the page, not out of the file, while
their rows are not all there yet.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from flexpose.bench import load_grid, markdown, run_grid

RESULTS = Path(__file__).resolve().parent / "results"
READING = "\n## Reading\n"
MOST = 5  # draws and seeds that are looked for


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("out", type=Path, nargs="*")
    parser.add_argument("--source", action="append", default=[], metavar="NAME=RUN")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--draws", type=int, default=MOST)
    parser.add_argument("--seeds", type=int, default=MOST)
    given = parser.parse_args()
    page = RESULTS / f"paper_{given.table}.md"
    cells_file = page.with_suffix(".jsonl")
    known = [folder / "cells.jsonl" for folder in given.out] + [cells_file] * cells_file.exists()
    sources = {"coco": None} | dict(text.split("=", 1) for text in given.source)
    grid = replace(load_grid(given.table), samples=given.samples, draws=MOST, seeds=MOST)
    with tempfile.TemporaryDirectory() as folder:
        data = os.environ["FLEXPOSE_DATA"]
        cells, _ = run_grid(grid, data, folder, sources=sources, known=known, measure=False)
        lines = (Path(folder) / "cells.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    reading = before[before.index(READING) :] if READING in before else READING
    shown = [cell for cell in cells if cell.draw < given.draws and cell.seed < given.seeds]
    page.write_text(markdown(grid, shown) + reading, encoding="utf-8")
    cells_file.write_text("".join(sorted(lines)), encoding="utf-8")
    print(f"{page.name}: {len(shown)} cells of {len(cells)}")


if __name__ == "__main__":
    main()

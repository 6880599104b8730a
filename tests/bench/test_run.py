"""A grid from end to end on a tiny source: cells are measured once, kept, and put into tables."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from flexpose.bench import Cell, Grid, Row, Target, cells_csv, charts, markdown, run_grid
from flexpose.bench import run as module
from flexpose.errors import ConfigError, DataError, UsageError
from flexpose.poses import PoseSet, write_poses
from flexpose.pretrain import load_beta, load_generator, pretrain, train_beta
from flexpose.pretrain.files import save_generator

from .. import tiny
from ..reference.vgg import thin_vgg16

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid(
    title="A table",
    about="Of nothing.",
    targets=(Target(name="lab_cmu", shots=12), Target(name="lsp", shots=14)),
    rows=(
        Row(name="as it is", method="none"),
        Row(name="mixed", method="mixup", paper={"fd": 1.25}),
        Row(name="few", method="mixup", shots=5),
        Row(name="elsewhere", method="mixup", source="mpii"),
    ),
    columns=("fd", "precision"),
    draws=2,
    seeds=1,
    samples=150,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    train_beta(tiny.source_poses(), tiny.BETA, folder)
    pretrain(tiny.source_poses(), tiny.PRETRAIN, folder)
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Reads made-up targets, and counts what is adapted."""
    calls: list[tuple[str, int]] = []
    adapt_by = module.adapt_by

    def counting(method: str, shots: PoseSet, *given: Any, **options: Any) -> Path:
        calls.append((method, len(shots)))
        return adapt_by(method, shots, *given, **options)

    def read(name: str, root: Path) -> PoseSet:
        assert name in {"lab_cmu", "lsp"}
        return tiny.target_poses(400)

    monkeypatch.setattr(module, "adapt_by", counting)
    monkeypatch.setattr(module, "read_dataset", read)
    return calls


def test_cells_are_measured_once(source: Path, tmp_path: Path, counted: list[tuple[str, int]]) -> None:
    out = tmp_path / "bench"
    cells, notes = run_grid(GRID, tmp_path, out, sources={"coco": source})
    assert notes == ["elsewhere: no source 'mpii' was given"]
    # Draw by draw, and within it target by target.
    assert [(c.draw, c.target, c.row, c.shots) for c in cells[:6]] == [
        (0, "lab_cmu", "as it is", 12),
        (0, "lab_cmu", "mixed", 12),
        (0, "lab_cmu", "few", 5),
        (0, "lsp", "as it is", 14),
        (0, "lsp", "mixed", 14),
        (0, "lsp", "few", 5),
    ]
    assert len(counted) == len(cells) == 12
    assert all(c.failed is None and np.isfinite(c.values["fd"]) for c in cells)
    assert json.loads((out / "grid.json").read_text())["grid"]["title"] == "A table"

    again, _ = run_grid(GRID, tmp_path, out, sources={"coco": source})
    assert again == cells
    assert len(counted) == 12
    # Another grid with a row of the same content under another name, and one more draw.
    renamed = replace(GRID, rows=(replace(GRID.rows[1], name="other name"),), draws=3)
    more, _ = run_grid(renamed, tmp_path, out, sources={"coco": source})
    assert len(counted) == 12 + 2
    assert {c.row for c in more} == {"other name"}
    assert [c.values for c in more[:2]] == [c.values for c in cells if c.row == "mixed"][:2]
    # Other settings are another cell.
    run_grid(
        replace(renamed, rows=(replace(GRID.rows[1], shots=7),), draws=1),
        tmp_path,
        out,
        sources={"coco": source},
    )
    assert counted[-2:] == [("mixup", 7), ("mixup", 7)]


@pytest.mark.parametrize("part", ["beta", "generator"])
def test_another_source_in_its_place_is_another_cell(
    source: Path, tmp_path: Path, counted: list[tuple[str, int]], part: str
) -> None:
    """A cell is what one generator draws and one beta reads."""
    folder = shutil.copytree(source, tmp_path / "source")
    grid = replace(GRID, rows=GRID.rows[:1], targets=GRID.targets[:1], draws=1)
    cells, _ = run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": folder})
    shutil.rmtree(folder)
    shutil.copytree(source, folder)
    if part == "beta":
        (folder / "beta.safetensors").unlink()
        train_beta(tiny.source_poses(), replace(tiny.BETA, seed=5, steps=3), tmp_path / "new")
        shutil.copy(tmp_path / "new" / "beta.safetensors", folder)
    else:
        generator, drawing, _ = load_generator(source)
        with torch.no_grad():
            generator.synthesis.const.add_(0.5)
        save_generator(folder / "generator.safetensors", generator, drawing)
    more, _ = run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": folder})
    assert len(counted) == 2
    assert more[0].values != cells[0].values
    recorded = json.loads((tmp_path / "out" / "grid.json").read_text())["sources"]["coco"]
    assert recorded == {
        "generator": load_generator(folder)[2]["hash"],
        "beta": load_beta(folder)[2]["hash"],
    }
    run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": source})
    assert len(counted) == 2, "what was measured of the first source is kept"


def test_another_file_of_features_is_another_cell(
    source: Path, tmp_path: Path, counted: list[tuple[str, int]]
) -> None:
    file = tmp_path / "vgg16.safetensors"
    settings = {"features": ["vgg16"], "features_file": str(file), "iterations": 1, "mixed": 4, "batch": 4}
    row = Row(name="vgg", method="affine-layers", settings=settings)
    grid = replace(GRID, rows=(row,), targets=GRID.targets[:1], draws=1)
    for seed in (0, 1, 0):
        save_file(thin_vgg16(seed), file)
        (cell,), _ = run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": source})
        assert cell.failed is None
    assert len(counted) == 2


def test_other_poses_of_a_target_are_another_cell(
    source: Path, tmp_path: Path, counted: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = replace(GRID, rows=GRID.rows[:1], targets=GRID.targets[:1], draws=1)
    for count in (60, 50, 60):
        monkeypatch.setattr(module, "read_dataset", lambda *_, n=count: tiny.target_poses(n))
        run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": source})
    assert len(counted) == 2


@pytest.mark.parametrize("what", ["default", "version"])
def test_what_an_older_version_measured_is_measured_again(
    what: str, source: Path, tmp_path: Path, counted: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default that changes is in no row, and yet makes another cell."""
    grid = replace(GRID, rows=GRID.rows[:1], targets=GRID.targets[:1], draws=1)
    run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": source})
    if what == "version":
        monkeypatch.setattr(module, "__version__", "99.0")
    else:
        plain = module.method_config
        monkeypatch.setattr(module, "method_config", lambda *given: replace(plain(*given), dtype="float32"))
    run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": source})
    assert len(counted) == 2


def test_a_wrong_setting_stops_a_grid_before_it_begins(
    source: Path, tmp_path: Path, counted: list[tuple[str, int]]
) -> None:
    rows = (GRID.rows[0], replace(GRID.rows[0], name="wrong", settings={"nonsense": 1}))
    with pytest.raises(ConfigError, match="nonsense"):
        run_grid(replace(GRID, rows=rows), tmp_path, tmp_path, sources={"coco": source})
    assert not counted


def test_a_line_that_was_cut_off_is_measured_again(
    source: Path, tmp_path: Path, counted: list[tuple[str, int]]
) -> None:
    grid = replace(GRID, rows=GRID.rows[:1], targets=GRID.targets[:1])
    cells, _ = run_grid(grid, tmp_path, tmp_path, sources={"coco": source})
    ledger = tmp_path / "cells.jsonl"
    whole = ledger.read_text()
    ledger.write_text(whole[:-40])
    again, _ = run_grid(grid, tmp_path, tmp_path, sources={"coco": source})
    assert [c.values for c in again] == [c.values for c in cells]
    assert len(counted) == 3
    assert len(run_grid(grid, tmp_path, tmp_path, sources={"coco": source})[0]) == 2
    assert len(counted) == 3
    ledger.write_text("{}\n" + whole)
    with pytest.raises(DataError, match=r"cells\.jsonl.*is no cell"):
        run_grid(grid, tmp_path, tmp_path, sources={"coco": source})


def test_cells_of_another_machine_are_taken_over(
    source: Path, tmp_path: Path, counted: list[tuple[str, int]]
) -> None:
    parts = [replace(GRID, rows=GRID.rows[:1], targets=(target,)) for target in GRID.targets]
    files = []
    for number, part in enumerate(parts):
        run_grid(part, tmp_path, tmp_path / str(number), sources={"coco": source})
        files.append(tmp_path / str(number) / "cells.jsonl")
    with files[0].open("a") as cut:  # it is still being written there
        cut.write('{"key": "ab')
    before = files[0].read_bytes()
    whole = replace(GRID, rows=GRID.rows[:2])
    cells, _ = run_grid(whole, tmp_path, tmp_path / "all", sources={"coco": source}, known=files)
    assert len(counted) == 4 + 4, "the second row alone"
    assert [c.row for c in cells].count("as it is") == 4
    assert files[0].read_bytes() == before
    there, notes = run_grid(
        replace(whole, draws=3), tmp_path, tmp_path / "all", sources={"coco": source}, measure=False
    )
    assert there == cells
    assert notes == ["4 of 12 cells are not measured yet"]
    assert len(counted) == 8
    # They are this folder's own now, and nothing that the grid does not ask for.
    again, _ = run_grid(whole, tmp_path, tmp_path / "all", sources={"coco": source})
    assert again == cells
    assert len((tmp_path / "all" / "cells.jsonl").read_text().splitlines()) == len(cells) == 8
    with pytest.raises(UsageError, match=r"gone\.jsonl: no such file"):
        run_grid(whole, tmp_path, tmp_path / "all", sources={"coco": source}, known=["gone.jsonl"])


def test_a_method_that_fails_is_a_result(
    source: Path, tmp_path: Path, counted: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "sample", lambda *_, **__: (_ for _ in ()).throw(DataError("lost its numbers"))
    )
    grid = replace(GRID, rows=GRID.rows[:1], targets=GRID.targets[:1], draws=1)
    cells, _ = run_grid(grid, tmp_path, tmp_path, sources={"coco": source})
    assert (cells[0].failed, cells[0].values) == ("lost its numbers", {})
    assert "- as it is on lab_cmu, draw 0: lost its numbers" in markdown(grid, cells)


def test_sources_must_be_given(source: Path, tmp_path: Path) -> None:
    grid = replace(GRID, rows=GRID.rows[3:])
    with pytest.raises(UsageError, match=r"sources must have one of \['mpii'\], got \['coco'\]"):
        run_grid(grid, tmp_path, tmp_path, sources={"coco": source})


def test_a_data_set_that_is_not_there(source: Path, tmp_path: Path) -> None:
    grid = replace(GRID, targets=GRID.targets[:1])
    with pytest.raises(UsageError, match="lab_cmu"):
        run_grid(grid, tmp_path, tmp_path / "out", sources={"coco": source})
    write_poses(tiny.target_poses(100), tmp_path / "lab_cmu.npz")
    cells, _ = run_grid(
        replace(grid, rows=GRID.rows[:1], draws=1), tmp_path, tmp_path / "out", sources={"coco": source}
    )
    assert len(cells) == 1


# --- tables


def made_up(row: str, target: str, draw: int, fd: float) -> Cell:
    return Cell(f"{row}{target}{draw}", row, target, draw, 0, 12, 3.0, {"fd": fd, "precision": 0.5})


CELLS = [
    made_up("mixed", "lab_cmu", 0, 1.0),
    made_up("mixed", "lab_cmu", 1, 2.0),
    made_up("few", "lsp", 0, 0.25),
]


def test_markdown_has_means_spreads_and_the_papers_numbers() -> None:
    text = markdown(GRID, CELLS, ["A note."])
    lines = text.splitlines()
    assert "|  | n | shots | fd | precision | fd (paper) | seconds |" in lines
    assert "| mixed | 2 | 12 | 1.500 ± 0.707 | 0.500 ± 0.000 | 1.25 | 3 |" in lines
    assert "| few | 1 | 12 | 0.250 | 0.500 |  | 3 |" in lines
    assert lines.index("## lab_cmu") < lines.index("## lsp")
    assert "- A note." in lines
    assert "as it is" not in text


def test_csv_has_every_cell() -> None:
    rows = list(csv.DictReader(io.StringIO(cells_csv(GRID, CELLS))))
    assert [float(row["fd"]) for row in rows] == [1.0, 2.0, 0.25]
    assert [row["target"] for row in rows] == ["lab_cmu", "lab_cmu", "lsp"]


def test_charts_have_a_row_each() -> None:
    first, second = charts(GRID, CELLS)
    assert (first.title, first.y_names) == ("A table, lab_cmu", ("mixed",))
    assert first.series[0].x == (1.5,)
    assert first.series[0].x_spread == pytest.approx((0.5**0.5,))
    assert (second.y_names, second.series[0].x, second.series[0].x_spread) == (("few",), (0.25,), (0.0,))

"""Grids: what their files may say, and that those of the package name methods and settings that exist."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flexpose.adapt import METHODS
from flexpose.bench import Grid, Row, Target, list_grids, load_grid
from flexpose.bench.grid import MEAN, PICTURE_COLUMNS, REAL
from flexpose.bench.pictures import match_config
from flexpose.config import make_config
from flexpose.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = (Row(name="a"), Row(name="b", method="mixup", settings={"seed": 1}, quick={"seed": 2}))
TARGETS = (Target(name="lsp", shots=30), Target(name="lab_cmu", shots_per_label=2))
GRID = Grid(title="t", about="", targets=TARGETS, rows=ROWS)


@pytest.mark.parametrize("name", list_grids())
def test_the_packages_grids_can_be_run(name: str) -> None:
    grid = load_grid(name)
    for rows in (grid.rows, grid.quick().rows):
        for row in rows:
            if row.method in {REAL, MEAN}:
                continue
            method = METHODS[row.method]
            make_config(method.config, {**method.presets[row.preset], **row.settings})
        match_config(grid.match, 0)
        match_config(grid.quick().match, 0)


def test_the_paper_s_tables_are_there() -> None:
    assert list_grids() == ("table1", "table2", "table3", "table4")
    table1 = load_grid("table1")
    assert not {*table1.columns} & {*PICTURE_COLUMNS}, "tables without pictures have no columns of theirs"
    # Table 1 of the paper: four methods, FD and MMD2.
    paper = {row.method: row.paper for row in table1.rows if row.paper}
    assert paper["freezed"] == {"mmd2": 0.081, "fd": 3.77}
    assert paper["adagan"] == {"mmd2": 0.052, "fd": 2.67}
    assert paper["lora"] == {"mmd2": 0.035, "fd": 1.36}
    assert paper["flexpose"] == {"mmd2": 0.029, "fd": 0.80}
    assert {row.preset for row in table1.rows} == {"aligned", "tuned"}


def test_a_grid_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "t"\nabout = ""\nsamples = 200\ntargets = [{ name = "lsp", shots = 12 }]\n'
        'rows = [{ name = "x", method = "lora", settings = { rank = 4 } }]\n'
    )
    grid = load_grid(path)
    assert (grid.rows[0].settings, grid.samples, grid.targets[0].shots) == ({"rank": 4}, 200, 12)
    path.write_text('title = "t"\nabout = ""\ntargets = []\nrows = [{ name = "x" }]\n')
    with pytest.raises(ConfigError, match=r"targets must have names of their own, got \[\]"):
        load_grid(path)
    with pytest.raises(
        UsageError, match="one of table1, table2, table3, table4 or a TOML file, got 'table9'"
    ):
        load_grid("table9")
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read as TOML"):
        load_grid(tmp_path / "absent.toml")


def test_parts_of_a_grid() -> None:
    assert [row.name for row in GRID.only(rows=["mixup"]).rows] == ["b"]
    assert [row.name for row in GRID.only(rows=["a"], targets=["lsp"]).rows] == ["a"]
    assert [target.name for target in GRID.only(targets=["lab_cmu"]).targets] == ["lab_cmu"]
    with pytest.raises(UsageError, match="rows must be among a, b, flexpose, mixup, got c"):
        GRID.only(rows=["c"])
    with pytest.raises(UsageError, match="targets must be among lab_cmu, lsp, got h36m"):
        GRID.only(targets=["h36m"])


def test_a_quick_grid_is_a_cell_a_row() -> None:
    quick = GRID.quick()
    assert (quick.draws, quick.seeds, len(quick.targets)) == (1, 1, 1)
    assert [row.settings for row in quick.rows] == [{}, {"seed": 2}]
    assert quick.match == {}


def test_annotators_of_a_quick_grid_are_tiny() -> None:
    """Also where a grid leaves their settings to the defaults."""
    grid = replace(GRID, targets=(Target(name="x", shots=3, pictures=True),))
    for settings in ({}, {"preset": "cpu-hour", "steps": 9000}):
        assert replace(grid, match=settings).quick().match == {"preset": "tiny"}


@pytest.mark.parametrize("method", [REAL, MEAN])
def test_rows_that_adapt_nothing_are_for_targets_with_pictures(method: str) -> None:
    rows = [{"name": "it", "method": method}]
    shown, bare = {"name": "x", "shots": 3, "pictures": True}, {"name": "y", "shots": 3}
    values = {"title": "t", "about": "", "rows": rows}
    make_config(Grid, values | {"targets": [shown]})
    for targets in ([bare], [shown, bare]):
        with pytest.raises(ConfigError, match="rows it are for targets with pictures alone"):
            make_config(Grid, values | {"targets": targets})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"columns": ("fd", "fid")}, "columns must be among .*, got fid"),
        ({"rows": (ROWS[0], ROWS[0])}, "rows must have names of their own"),
    ],
)
def test_wrong_grids(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(Grid, {"title": "t", "about": "", "targets": TARGETS, "rows": ROWS} | change)


def test_a_target_says_its_guide_poses_once() -> None:
    with pytest.raises(ConfigError, match="x: give shots or shots_per_label"):
        make_config(Target, {"name": "x", "shots": 3, "shots_per_label": 2})

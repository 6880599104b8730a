"""`bench paper`: a table cell by cell, and the figures, on poses that the tests make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flexpose.bench import FIGURES
from flexpose.cli import app
from flexpose.poses import write_poses
from flexpose.pretrain import pretrain, train_beta

from .. import tiny

GRID = """
title = "A table"
about = "Of two rows."
samples = 200
targets = [{ name = "lab_cmu", shots_per_label = 2 }]
rows = [{ name = "as it is", method = "none" }, { name = "mixed", method = "mixup" }]
"""


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["bench", "paper", *map(str, arguments)], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets, a grid of two rows on one of them, and a source that least squares can work with."""
    folder = tmp_path_factory.mktemp("bench")
    write_poses(tiny.target_poses(400), folder / "lab_cmu.npz")
    write_poses(tiny.source_poses(), folder / "coco_train2017.npz")
    (folder / "grid.toml").write_text(GRID)
    train_beta(tiny.source_poses(), tiny.BETA, folder / "source")
    pretrain(tiny.source_poses(), replace(tiny.LESSONS, noise="none"), folder / "source")
    return folder


def on(folder: Path, *rest: object) -> list[object]:
    return ["--data-root", folder, "--source", f"coco={folder / 'source'}", *rest]


def test_a_table(folder: Path, tmp_path: Path) -> None:
    sizes = ["--draws", 2, "--seeds", 1, "--samples", 150]
    out, _ = run(folder / "grid.toml", *on(folder, "--out", tmp_path / "one", *sizes))
    assert out == (tmp_path / "one" / "table.md").read_text()
    assert out.startswith("# A table")
    assert "| mixed | 2 | " in out
    rows = (tmp_path / "one" / "cells.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in rows[1:]] == [
        ["lab_cmu", "as it is", "0"],
        ["lab_cmu", "mixed", "0"],
        ["lab_cmu", "as it is", "1"],
        ["lab_cmu", "mixed", "1"],
    ]
    assert (tmp_path / "one" / "fd.png").stat().st_size > 1000
    # Another folder, with the cells of the first one: nothing is measured, which no run folder shows.
    known = ["--cells", tmp_path / "one" / "cells.jsonl"]
    again, _ = run(folder / "grid.toml", *on(folder, "--out", tmp_path / "two", *known, *sizes, "--json"))
    assert [cell["row"] for cell in json.loads(again)["cells"]] == ["as it is", "mixed"] * 2
    assert not (tmp_path / "two" / "runs").exists()
    assert (tmp_path / "two" / "table.md").read_text() == out
    more = ["--out", tmp_path / "two", "--draws", 3, "--seeds", 1, "--samples", 150, "--measured"]
    there, _ = run(folder / "grid.toml", *on(folder, *more))
    assert there.startswith(out.rstrip())
    assert "- 2 of 6 cells are not measured yet" in there


def test_a_part_of_a_table_before_it_is_measured(folder: Path, tmp_path: Path) -> None:
    chosen = ["--row", "mixup", "--draws", 3, "--seeds", 2, "--samples", 700, "--dry-run"]
    shown = json.loads(run(folder / "grid.toml", *on(folder, "--out", tmp_path / "out", *chosen))[0])
    assert shown["cells"] == 6
    assert [row["name"] for row in shown["grid"]["rows"]] == ["mixed"]
    assert shown["grid"]["samples"] == 700
    assert not (tmp_path / "out").exists()
    quick = json.loads(run("table1", *on(folder, "--quick", "--dry-run"))[0])
    assert (quick["grid"]["draws"], quick["grid"]["samples"]) == (1, 1000)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["grid.toml", "--row", "nothing"], "rows must be among as it is, mixed, mixup, none"),
        (["grid.toml", "--target", "lsp"], "targets must be among lab_cmu"),
        (["grid.toml", "--source", "coco"], "--source must be NAME=SOURCE, got 'coco'"),
        (["table9"], "grid must be one of table1, table2, table3, table4 or a TOML file, got 'table9'"),
        (["fig9", "--samples", 500], "--samples and --dry-run are for tables, not for fig9"),
    ],
    ids=str,
)
def test_what_is_refused(folder: Path, tmp_path: Path, arguments: list[object], told: str) -> None:
    what = folder / "grid.toml" if arguments[0] == "grid.toml" else arguments[0]
    given = ["--data-root", folder, "--out", tmp_path / "out", *arguments[1:]]
    message = run(what, *given, code=2)[1]
    assert told in " ".join(message.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["fig4", "fig5", "fig9"])
def test_a_figure(folder: Path, tmp_path: Path, name: str) -> None:
    given = on(folder, "--out", tmp_path / "out", "--quick")
    given += [] if name == "fig9" else ["--target", "lab_cmu"]
    (file,) = json.loads(run(name, *given, "--json")[0])["files"]
    text = Path(file).read_text(encoding="utf-8")
    if name == "fig5":
        assert "t-SNE" in text
        assert list((tmp_path / "out" / "lab_cmu-pictures").glob("*.png"))
    else:
        assert "| free layers | " + ("global" if name == "fig9" else "none") in text
    assert FIGURES["fig6"] is FIGURES["fig5"], "two parts of one page"
    # What was finished is kept: the second call makes the same file.
    assert run(name, *given)[0].split() == [file]

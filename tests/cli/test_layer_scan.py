"""`layer-scan`: options reach the settings, tables and files agree, and the chart is an extra."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.poses import write_poses

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    tiny.train_source(folder / "source")
    write_poses(tiny.target_poses(), folder / "shots.json")
    return folder


QUICK = [
    "--way",
    "descent",
    "--set",
    "codes=matched",
    "--set",
    "iterations=1",
    "--set",
    "pool=64",
    "--seeds",
    1,
]
QUICK += ["--layers", "1;3", "--augment", "none", "--augment", "scale"]


def test_options_reach_the_settings() -> None:
    shown = json.loads(run("layer-scan", *QUICK, "--seed", 7, "--dry-run")[0])
    wanted = {
        "layers": "1;3",
        "augment": ["none", "scale"],
        "way": "descent",
        "seeds": 1,
        "seed": 7,
        "pool": 64,
    }
    assert {key: shown[key] for key in wanted} == wanted
    assert "augment" in run("layer-scan", "--augment", "turn", "--dry-run", code=2)[1]
    assert "--resume needs the folder" in run("layer-scan", "--resume", code=2)[1]


def test_tables_files_and_json_agree(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = ["layer-scan", folder / "shots.json", "--source", folder / "source", *QUICK]
    found = json.loads(run(*start, "--out", tmp_path / "a", "--json")[0])
    assert (tmp_path / "a" / "layer-scan.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "a" / "layer-scan.json").read_text(encoding="utf-8")) == found
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    table, told = run(*start, "--out", tmp_path / "b")
    assert "no chart: matplotlib is not installed: install the extra [report] of flexpose-pda" in told
    assert not (tmp_path / "b" / "layer-scan.png").exists()
    assert (tmp_path / "b" / "layer-scan.csv").read_bytes() == (
        tmp_path / "a" / "layer-scan.csv"
    ).read_bytes()
    for cell in found["cells"]:
        assert f"{cell['loss']:.4f}" in table
        assert f"{cell['error_px']:.2f}" in table
    again = run(*start, "--out", tmp_path / "b", "--resume")[0]
    assert again == table

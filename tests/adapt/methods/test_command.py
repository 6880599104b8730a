"""`flexpose adapt --method`: options reach the method's own settings, and its run is written and sampled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from flexpose._methods import METHOD_SUMMARIES
from flexpose.adapt import METHODS
from flexpose.cli import app
from flexpose.poses import read_poses, write_poses

from ... import tiny

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    path = tmp_path / "shots.npz"
    write_poses(tiny.target_poses(), path)
    return path


def test_help_lists_every_method() -> None:
    text = run("adapt", "--help")
    assert all(f"{name}:" in text for name in METHOD_SUMMARIES)


@pytest.mark.parametrize("name", list(METHODS))
def test_dry_run_shows_the_methods_own_settings(name: str, shots: Path) -> None:
    start = ["adapt", shots, shots.parent / "run", "--method", name, "--dry-run", "--seed", 4]
    for preset in ("aligned", "tuned"):
        shown = json.loads(run(*start, "--preset", preset))
        assert {key: shown[key] for key in METHODS[name].presets[preset]} == json.loads(
            json.dumps(METHODS[name].presets[preset])
        )
        assert shown["seed"] == 4
    assert json.loads(run(*start)) == json.loads(run(*start, "--preset", "tuned"))
    assert not (shots.parent / "run").exists()


def test_options_and_assignments(shots: Path) -> None:
    start = ["adapt", shots, shots.parent / "run", "--dry-run", "--method"]
    shown = json.loads(
        run(*start, "lora", "--layers", "3", "--iterations", 7, "--lr", 0.5, "--set", "rank=2")
    )
    assert (shown["layers"], shown["iterations"], shown["lr"], shown["rank"]) == ([3], 7, 0.5, 2)
    assert "method must be one of flexpose, affine-layers" in run(*start, "magic", code=2)
    assert "layers: unknown key; known are seed, dtype" in run(*start, "kde", "--layers", "3", code=2)
    assert "--preset must be one of aligned, tuned" in run(*start, "kde", "--preset", "paper", code=2)


def test_a_run_is_written_and_sampled(shots: Path, source: Path) -> None:
    folder = shots.parent
    told = json.loads(run("adapt", shots, folder / "run", "--method", "kde", "--source", source, "--json"))
    assert told == {
        "run": str(folder / "run"),
        "sampler": str(folder / "run" / "sampler.safetensors"),
        "shots": 6,
    }
    run("sample", folder / "run", "-n", 20, "--out", folder / "sampled.npz")
    assert len(read_poses(folder / "sampled.npz")) == 20
    assert "strength must be 1" in run(
        "sample", folder / "run", "--out", folder / "s.npz", "--strength", 0.5, code=2
    )

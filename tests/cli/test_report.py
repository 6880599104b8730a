"""`report`: options reach the settings, and the page, the JSON and the messages are right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from flexpose.adapt import adapt
from flexpose.cli import app
from flexpose.poses import synth_poses, target_domain, write_poses

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout, " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    tiny.train_source(folder / "source")
    adapt(tiny.target_poses(), tiny.ADAPT, folder / "adapted", source=folder / "source")
    write_poses(tiny.target_poses(), folder / "shots.npz")  # npz keeps every bit of the coordinates
    write_poses(synth_poses(40, seed=9, domain=target_domain()), folder / "target.npz")
    return folder


QUICK = ["--samples", 30, "--set", "tsne=0", "--set", "n_pr=20", "--set", "n_baseline=20", "--set", "seeds=2"]


def test_options_reach_the_settings(folder: Path) -> None:
    shown = json.loads(
        run("report", folder, "--out", "r.html", *QUICK, "--title", "T", "--seed", 3, "--dry-run")[0]
    )
    assert (shown["samples"], shown["tsne"], shown["title"], shown["seed"]) == (30, 0, "T", 3)
    assert "--out must end in .html" in run("report", folder, "--out", "r.pdf", code=2)[1]
    assert "samples must be >= 1" in run("report", folder, "--out", "r.html", "--set", "samples=0", code=2)[1]


def test_page_and_json(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    poses = ["--target", folder / "target.npz", "--shots", folder / "shots.npz"]
    found = json.loads(
        run("report", folder / "adapted", *poses, "--out", out, *QUICK, "--title", "<T>", "--json")[0]
    )
    assert found["path"] == str(out)
    rows = found["runs"]["adapted"]["rows"]
    html = out.read_text(encoding="utf-8")
    assert "<h1>&lt;T&gt;</h1>" in html
    for row in rows:
        assert f"{row['values']['fd']['mean']:.4f}" in html


def test_what_is_missing_is_wrong_usage(folder: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "r.html"]
    assert "no such run" in run("report", tmp_path / "nowhere", *out, code=2)[1]
    assert "nowhere.npz" in run("report", folder / "adapted", *out, "--target", "nowhere.npz", code=2)[1]
    told = run("report", folder / "adapted", *out, "--shots", folder / "target.npz", code=2)[1]
    assert "are not the guide poses of any of these runs" in told
    assert not (tmp_path / "r.html").exists()

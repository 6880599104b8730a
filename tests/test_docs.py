"""What the documents say to type is there, and the example of the README runs."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.poses import synth_poses, write_poses

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def lines(name: str, program: str) -> list[list[str]]:
    """Each command line of a document that starts with `program`, in a block or between backticks."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [line for block in blocks(name, "") for line in block.splitlines()]
    found += re.findall(r"`([^`\n]+)`", text)
    return [shlex.split(line, comments=True) for line in found if line.startswith(f"{program} ")]


COMMANDS = [line for name in DOCUMENTS for line in lines(name, "flexpose")]
TARGETS = sorted({line[1] for name in DOCUMENTS for line in lines(name, "make") if "=" not in line[1]})


def test_documents_show_commands_and_targets() -> None:
    assert len(COMMANDS) >= 8
    assert {"demo", "test"} <= set(TARGETS)


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_command_and_options_exist(line: list[str]) -> None:
    result = CliRunner().invoke(app, [*line[1:], "--help"], prog_name="flexpose")
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.stdout
    if len(line) > 1 and not line[1].startswith("-"):
        assert f"flexpose {line[1]}" in result.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example, _ = blocks("README.md", "python")
    write_poses(synth_poses(600, seed=1), tmp_path / "sampled.json")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    names = runpy.run_path(str(script))
    assert names["images"].shape == (600, 256, 256, 3)
    assert names["images"].any()
    assert names["distance"] > 0


def test_training_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, example = blocks("README.md", "python")
    write_poses(synth_poses(100, seed=1), tmp_path / "sampled.json")
    monkeypatch.chdir(tmp_path)
    # One epoch in this process is enough to see that it is written as it must be.
    assert "range(10)" in example
    short = example.replace("range(10)", "range(1)").replace("num_workers=2", "num_workers=0")
    (tmp_path / "example.py").write_text(short, encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "example.py"))
    assert names["batch"].image.shape == (36, 3, 128, 128)
    assert names["batch"].image.min() == -1


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in target or (ROOT / target).exists(), target

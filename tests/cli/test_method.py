"""`pretrain`, `train-beta`, `adapt`, `sample`, `evaluate`: options reach the settings, and the whole way works."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import flexpose.adapt
import flexpose.evaluate
import flexpose.pretrain
import flexpose.sample
from flexpose.cli import app
from flexpose.poses import read_poses, synth_poses, write_poses

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "poses.npz"
    write_poses(synth_poses(30, seed=1), path)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text("lr = 0.5\nbatch = 7\n", encoding="utf-8")
    return path


COMMANDS = {
    "pretrain": (["POSES", "RUN"], flexpose.pretrain.PRESETS),
    "train-beta": (["POSES", "RUN"], flexpose.pretrain.BETA_PRESETS),
    "adapt": (["POSES", "RUN", "--source", "HERE"], flexpose.adapt.ADAPT_PRESETS),
}


def filled(arguments: list[str], file: Path) -> list[str]:
    places = {"POSES": str(file), "RUN": str(file.parent / "run"), "HERE": str(file.parent)}
    return [places.get(part, part) for part in arguments]


@pytest.mark.parametrize("command", list(COMMANDS))
def test_settings_come_from_preset_file_assignment_and_option(command: str, file: Path, config: Path) -> None:
    arguments, presets = COMMANDS[command]
    start = [command, *filled(arguments, file), "--dry-run"]
    for name, preset in presets.items():
        shown = json.loads(run(*start, "--preset", name))
        assert {key: shown[key] for key in preset} == json.loads(json.dumps(preset))
    shown = json.loads(run(*start, "--preset", "tiny", "--config", config, "--set", "batch=9", "--seed", 11))
    assert (shown["lr"], shown["batch"], shown["seed"]) == (0.5, 9, 11)
    assert not (file.parent / "run").exists()


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        (["--set", "colour=1"], "colour: unknown key"),
        (["--set", "batch=-1"], "batch must be > 0"),
        (["--set", "batch=many"], "batch"),
        (["--preset", "huge"], "--preset must be one of"),
        (["--set", "batch"], "KEY=VALUE"),
    ],
)
def test_wrong_settings_are_wrong_usage(command: str, file: Path, wrong: list[str], part: str) -> None:
    assert part in run(command, *filled(COMMANDS[command][0], file), *wrong, code=2)
    assert not (file.parent / "run").exists()


def test_sizes_that_no_network_has_are_wrong_usage(file: Path) -> None:
    start = ["train-beta", *filled(COMMANDS["train-beta"][0], file)]
    assert "width must be a multiple of 8, got 4" in run(*start, "--set", "width=4", code=2)
    start = ["pretrain", *filled(COMMANDS["pretrain"][0], file)]
    assert "size_px must be a power of two" in run(*start, "--set", "size_px=24", code=2)
    assert not (file.parent / "run").exists()


def test_adapt_options_reach_the_settings(file: Path) -> None:
    start = ["adapt", *filled(COMMANDS["adapt"][0], file), "--dry-run"]
    shown = json.loads(run(*start, "--layers", "1,3", "--iterations", 5, "--lr", 0.25))
    assert (shown["layers"], shown["iterations"], shown["lr"]) == ([1, 3], 5, 0.25)
    assert "--layers must be numbers" in run(*start, "--layers", "third", code=2)


def test_sample_options_reach_the_settings(tmp_path: Path) -> None:
    start = ["sample", tmp_path, "--dry-run"]
    options = ["-n", 5, "--strength", 0.5, "--psi", 0.7, "--reject", 0.25, "--image-size", 99, "--seed", 3]
    shown = json.loads(run(*start, "--out", "x.npz", *options))
    wanted = {"n": 5, "strength": 0.5, "truncation": 0.7, "reject": 0.25, "image_size": 99, "seed": 3}
    assert {key: shown[key] for key in wanted} == wanted
    assert "--out must end in" in run(*start, "--out", "x.txt", code=2)


def test_evaluate_writes_the_report_in_each_format(tmp_path: Path) -> None:
    for name, domain, seed in [("a", "source", 1), ("b", "target", 2), ("shots", "target", 3)]:
        write_poses(synth_poses(60, seed=seed, domain=domain), tmp_path / f"{name}.npz")
    quick = ["--set", "n_pr=20", "--set", "n_baseline=20", "--set", "seeds=2"]
    files = [tmp_path / "a.npz", tmp_path / "b.npz", "--shots", tmp_path / "shots.npz"]
    out = ["--out", tmp_path / "r.json", "--out", tmp_path / "r.md"]
    report = json.loads(run("evaluate", *files, *quick, *out, "--json"))
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["rows"] == report["rows"]
    assert (tmp_path / "r.md").read_text(encoding="utf-8").startswith("# Evaluation")
    text = run("evaluate", *files, *quick)
    for row in report["rows"]:
        assert row["name"] in text
    alone = json.loads(run("evaluate", *files, *quick, "--no-baselines", "--json"))
    assert {row["kind"] for row in alone["rows"]} == {"generated", "real"}
    assert "--out must end in" in run("evaluate", *files, "--out", "report.pdf", code=2)


TINY = {
    "pretrain": [
        *("size_px=16", "z_dim=32", "w_dim=48", "mapping_layers=3", "channel_base=64", "channel_max=8"),
        *("flow_steps=2", "flow_batch=8", "flow_width=8", "mapping_steps=2", "mapping_batch=8", "pairs=40"),
        *("pose_layers=1", "lessons=[[8, 0.032], [16, 0.032]]", "stages=[[8, 0.032], [16, 0.064]]"),
        *("fade_kimg=0.03", "batch=16", "checkpoint_kimg=0.032"),
    ],
    "train-beta": ["size_px=16", "width=8", "steps=6", "batch=8", "checkpoint_steps=3"],
    "adapt": ["iterations=4", "batch=8", "mixed=300", "checkpoint_iterations=2"],
}
LISTENING: list[bool] = []
READ: list[str] = []


def _note_read(event: str, arguments: tuple[Any, ...]) -> None:
    if not LISTENING or event != "open" or not isinstance(arguments[0], str):
        return
    name, mode = arguments[:2]
    writes = isinstance(mode, str) and any(letter in mode for letter in "wxa+")
    if not writes and ".tmp-" not in name:  # a file of our own is opened once more to be synced
        READ.append(name)


def test_the_whole_way_reads_no_picture(tmp_path: Path) -> None:
    write_poses(synth_poses(60, seed=1), tmp_path / "source.npz")
    write_poses(synth_poses(6, seed=2, domain="target"), tmp_path / "shots.npz")
    (tmp_path / "picture.png").write_bytes(b"nobody looks at this")
    settings = {
        name: [part for value in values for part in ("--set", value)] for name, values in TINY.items()
    }
    sys.addaudithook(_note_read)
    LISTENING.append(True)
    try:
        source, adapted = tmp_path / "run", tmp_path / "adapted"
        early = run("pretrain", tmp_path / "source.npz", source, *settings["pretrain"], code=2)
        run("train-beta", tmp_path / "source.npz", source, *settings["train-beta"])
        run("pretrain", tmp_path / "source.npz", source, *settings["pretrain"])
        told = run("adapt", tmp_path / "shots.npz", adapted, "--source", source, *settings["adapt"], "--json")
        run("sample", adapted, "-n", 10, "--out", tmp_path / "sampled.json", "--seed", 1)
    finally:
        LISTENING.clear()
    assert "run `flexpose train-beta`" in " ".join(early.split())
    assert json.loads(told)["shots"] == 6
    assert len(read_poses(tmp_path / "sampled.json")) == 10
    assert any(name.endswith("shots.npz") for name in READ)  # the hook does hear
    pictures = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
    assert [name for name in READ if name.lower().endswith(pictures)] == []
    # A second run in the folder is refused, and a resumed one has nothing left to do.
    again = ["pretrain", tmp_path / "source.npz", source, *settings["pretrain"]]
    before = (source / "generator.safetensors").read_bytes()
    assert "--resume" in run(*again, code=2)
    run(*again, "--resume")
    assert (source / "generator.safetensors").read_bytes() == before
    assert "cannot resume" in run(*again, "--resume", "--set", "lr=0.1", code=2)


def test_demo_lists_commands_that_exist() -> None:
    lines = [line.split() for line in run("demo", "somewhere", "--dry-run").splitlines()]
    assert [line[1] for line in lines] == [
        *(
            "poses",
            "poses",
            "poses",
            "render",
            "train-beta",
            "pretrain",
            "adapt",
            "sample",
            "render",
            "evaluate",
        )
    ]


def test_demo_stops_at_the_first_failure(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "source.json").mkdir()
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "demo")], prog_name="flexpose")
    assert result.exit_code not in {0, 1}
    assert "poses synth" in result.stderr
    assert "--domain target" not in result.stderr

"""Source training end to end on a tiny schedule: what it leaves, and kills at any step."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flexpose.checkpoint import Checkpoints
from flexpose.errors import ConfigError, DataError, Interrupted, UsageError
from flexpose.poses import PoseSet
from flexpose.pretrain import pretrain
from flexpose.runs import Progress
from flexpose.skeleton import load_skeleton

from .. import tiny
from .runs import assert_same_run, run

pytestmark = pytest.mark.usefixtures("beta_there")


# --- what a run leaves


def test_files_of_a_run(unbroken: Path) -> None:
    folder = unbroken / "pretrain"
    assert {p.name for p in folder.iterdir()} - {".lock"} == {
        "config.json",
        "stats.jsonl",
        "checkpoints",
        "grid-source.png",
        "grid-000000kimg.png",
    }
    assert {p.name for p in (folder / "checkpoints").glob("*.safetensors")} == {
        "000000012.safetensors",
        "000000015.safetensors",
    }
    assert not list(unbroken.rglob("*.tmp-*"))


def test_stats_of_a_run(unbroken: Path) -> None:
    first, *rest = tiny.stats(unbroken / "pretrain" / "stats.jsonl")
    assert first == {"step": 0, "poses": 60, "dropped": 0, "shown": 57, "held_out": 3}
    last = rest[-1]
    assert (last["step"], last["phase"], last["resolution"], last["fade"]) == (15, "game", 16, 1.0)
    assert last["kimg"] == pytest.approx(tiny.PRETRAIN.total_kimg) == pytest.approx(0.044)
    assert {"loss_flow", "mapping_rmse_px", "loss_drawing", "error_px"} <= last.keys()
    assert {"loss_g", "loss_d", "real", "fake", "r1"} <= last.keys()


def test_grids_are_pictures_of_the_right_size(unbroken: Path) -> None:
    from PIL import Image

    for name in ("grid-source.png", "grid-000000kimg.png"):
        with Image.open(unbroken / "pretrain" / name) as image:
            assert image.mode == "RGB"
            assert image.size == (9 * 16 + 8, 4 * 16 + 3)
            pixels = np.asarray(image)
        assert pixels.std() > 5


def test_every_step_is_told(tmp_path: Path, unbroken: Path) -> None:
    watch = tiny.Watch()
    run(tmp_path, progress=watch)
    assert watch.steps == list(range(16))
    names = [set(figures) for figures in watch.figures]
    assert names[1:5] == [{"loss_flow"}] * 2 + [{"mapping_rmse_px"}] * 2
    assert names[5:10] == [{"loss_drawing"}] * 2 + [{"loss_drawing", "error_px"}] * 3
    assert "loss_g" not in names[10], "first the judge learns alone"
    assert all({"loss_g", "loss_d", "real", "fake"} <= name for name in names[11:])
    # Lazy regularisation on every second step: steps 10, 12 and 14, counted from 0.
    assert [i - 1 for i, name in enumerate(names) if "r1" in name] == [10, 12, 14]
    assert any("w_dim should be above 26, twice the keypoints, got 8" in text for text in watch.messages)
    assert any("z_dim 8 has room for 4 of the 26 coordinates" in text for text in watch.messages)
    assert_same_run(tmp_path, unbroken)  # a run is a function of its poses and settings


def test_the_run_leaves_the_random_state_alone(tmp_path: Path, unbroken: Path) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    run(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_run(tmp_path, unbroken)


def test_seeds_differ(tmp_path: Path, unbroken: Path) -> None:
    run(tmp_path, config=replace(tiny.PRETRAIN, seed=1))
    mine, theirs = (load_file(folder / "generator.safetensors") for folder in (tmp_path, unbroken))
    assert not torch.equal(mine["synthesis.const"], theirs["synthesis.const"])


def test_incomplete_poses_are_left_out_and_counted(tmp_path: Path) -> None:
    poses = tiny.source_poses()
    visibility = poses.visibility.copy()
    visibility[::10, 4] = 0
    keypoints = poses.keypoints.copy()
    keypoints[::10, 4] = 0
    short = replace(tiny.PRETRAIN, lessons=(), stages=((16, 0.004),))
    pretrain(poses.replace(keypoints=keypoints, visibility=visibility), short, tmp_path)
    first = tiny.stats(tmp_path / "pretrain" / "stats.jsonl")[0]
    assert (first["poses"], first["dropped"]) == (54, 6)


def test_poses_that_are_no_numbers_never_get_here() -> None:
    keypoints = tiny.source_poses().keypoints.copy()
    keypoints[3, 2, 1] = np.nan
    with pytest.raises(DataError) as caught:
        PoseSet(keypoints, skeleton=load_skeleton("body13"))
    assert (caught.value.record, caught.value.field) == (3, "keypoints")


# --- kills and resumes


def test_killed_again_and_again(tmp_path: Path, unbroken: Path) -> None:
    """In each phase, at its last step and at its first, before and after a checkpoint, and at the last step."""
    for step in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 15):
        with pytest.raises(tiny.Killed):
            run(tmp_path, resume=True, progress=tiny.KillAt(step))
        assert not (tmp_path / "generator.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_at_most_one_interval_of_checkpoints_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(tiny.Killed):
        run(tmp_path, progress=tiny.KillAt(8))
    watch = tiny.Watch()
    run(tmp_path, resume=True, progress=watch)
    assert watch.steps == list(range(6, 16))


def test_every_step_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """What the lessons leave each other is all in it."""
    config = replace(tiny.PRETRAIN, checkpoint_kimg=0.004, stages=())
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
        shutil.copy(tmp_path / "beta.safetensors", folder)
    run(whole, config=config)
    for step in (2, 3, 4, 5, 6, 8, 9):
        with pytest.raises(tiny.Killed):
            run(broken, config=config, resume=True, progress=tiny.KillAt(step))
    run(broken, config=config, resume=True)
    assert_same_run(broken, whole)


@pytest.mark.parametrize("rename", range(1, 4))
def test_killed_while_a_checkpoint_is_published(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, rename: int
) -> None:
    original, calls = Path.replace, 0

    def killed(self: Path, target: Path) -> Path:
        nonlocal calls
        if "000000006" in str(target) or (calls and "latest" in str(target)):
            calls += 1
            if calls == rename:
                raise tiny.Killed
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(tiny.Killed):
            run(tmp_path)
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_a_torn_line_of_stats_and_left_over_files(tmp_path: Path, unbroken: Path) -> None:
    with pytest.raises(tiny.Killed):
        run(tmp_path, progress=tiny.KillAt(8))
    folder = tmp_path / "pretrain"
    with (folder / "stats.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 7, "lo')
    (folder / "checkpoints" / ".000000009.tmp-1.safetensors").write_bytes(b"half")
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import tests.tiny as tiny
from flexpose.pretrain import pretrain

class Kill(tiny.Watch):
    def advance(self, done, **figures):
        if figures and done == 8:
            os.kill(os.getpid(), signal.SIGKILL)

pretrain(tiny.source_poses(), tiny.PRETRAIN, {folder!r}, progress=Kill())
"""


def test_a_real_kill(tmp_path: Path, unbroken: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    code = KILLED.format(tests=root, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "generator.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step(tmp_path: Path, unbroken: Path, number: signal.Signals) -> None:
    class Send(Progress):
        def advance(self, done: int, **figures: float) -> None:
            if figures and done == 7:
                os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="--resume"):
        run(tmp_path, progress=Send())
    _, header = Checkpoints(tmp_path / "pretrain" / "checkpoints").latest() or ({}, {})
    assert header["step"] == 7, "nothing is lost, in the middle of the drawing lessons"
    assert not (tmp_path / "generator.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(unbroken, folder)
    watch = tiny.Watch()
    run(folder, resume=True, progress=watch)
    assert watch.steps == [15]
    assert_same_run(folder, unbroken)


def test_resume_where_nothing_is_begins(tmp_path: Path, unbroken: Path) -> None:
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_a_second_run_in_the_same_folder_is_refused(unbroken: Path) -> None:
    before = (unbroken / "generator.safetensors").read_bytes()
    with pytest.raises(UsageError, match="holds a run already"):
        run(unbroken)
    assert (unbroken / "generator.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"lr": 0.001}, "config.lr"), ({"seed": 5}, "config.seed"), ({"batch": 5}, "config.batch")],
)
def test_resume_with_other_settings_is_refused(unbroken: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        run(unbroken, config=replace(tiny.PRETRAIN, **changes), resume=True)


def test_resume_with_other_poses_is_refused(unbroken: Path) -> None:
    with pytest.raises(ConfigError, match=r"inputs\.poses"):
        pretrain(tiny.source_poses()[:-1], tiny.PRETRAIN, unbroken, resume=True)

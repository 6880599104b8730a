"""Source training end to end on a tiny schedule: what it leaves, kills at any step, numbers that get lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flexpose.checkpoint import Checkpoints, content_hash, read_header
from flexpose.drawing import Drawing
from flexpose.errors import ConfigError, DataError, Interrupted, UsageError
from flexpose.models import Generator
from flexpose.poses import PoseSet
from flexpose.pretrain import load_generator, pretrain
from flexpose.pretrain.data import PoseBatches
from flexpose.pretrain.loop import _Trainer, save_generator
from flexpose.runs import Progress
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable


def run(folder: Path, **options: Any) -> Path:
    return pretrain(tiny.source_poses(), options.pop("config", tiny.PRETRAIN), folder, **options)


def assert_same_run(folder: Path, unbroken: Path) -> None:
    """Bit for bit the same generator, and the same curve."""
    name = "generator.safetensors"
    mine, theirs = load_file(folder / name), load_file(unbroken / name)
    assert mine.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert torch.equal(mine[key], tensor), key
    assert (folder / name).read_bytes() == (unbroken / name).read_bytes()
    assert tiny.stats(folder / "pretrain" / "stats.jsonl") == tiny.stats(
        unbroken / "pretrain" / "stats.jsonl"
    )


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
        "000000009.safetensors",
        "000000012.safetensors",
    }
    assert not list(unbroken.rglob("*.tmp-*"))


def test_stats_of_a_run(unbroken: Path) -> None:
    first, *rest = tiny.stats(unbroken / "pretrain" / "stats.jsonl")
    assert first == {"step": 0, "poses": 60, "dropped": 0, "shown": 57, "held_out": 3}
    last = rest[-1]
    assert (last["step"], last["resolution"], last["fade"]) == (12, 16, 1.0)
    assert last["kimg"] == pytest.approx(0.048)
    assert {"loss_drawing", "loss_g", "loss_d", "real", "fake", "r1"} <= last.keys()


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
    assert watch.steps == list(range(13))
    names = [set(figures) for figures in watch.figures]
    assert names[1:6] == [{"loss_drawing"}] * 5
    assert "loss_g" not in names[6], "first the judge learns alone"
    assert all({"loss_g", "loss_d", "real", "fake"} <= name for name in names[7:])
    # Lazy regularisation on every second step: steps 6, 8 and 10, counted from 0.
    assert [i - 1 for i, name in enumerate(names) if "r1" in name] == [6, 8, 10]
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
    short = replace(tiny.PRETRAIN, warmup=(), stages=((16, 0.004),))
    pretrain(poses.replace(keypoints=keypoints, visibility=visibility), short, tmp_path)
    first = tiny.stats(tmp_path / "pretrain" / "stats.jsonl")[0]
    assert (first["poses"], first["dropped"]) == (54, 6)


def test_poses_that_are_no_numbers_never_get_here() -> None:
    keypoints = tiny.source_poses().keypoints.copy()
    keypoints[3, 2, 1] = np.nan
    with pytest.raises(DataError) as caught:
        PoseSet(keypoints, skeleton=load_skeleton("body13"))
    assert (caught.value.record, caught.value.field) == (3, "keypoints")


# --- the generator file


def test_generator_comes_back(unbroken: Path) -> None:
    generator, drawing, header = load_generator(unbroken)
    other, *_ = load_generator(unbroken / "generator.safetensors")
    assert generator.config == tiny.PRETRAIN.generator_config()
    assert (drawing.size_px, drawing.skeleton) == (16, load_skeleton("body13"))
    assert header["hash"] == content_hash(load_file(unbroken / "generator.safetensors"))
    assert header["facts"]["num_poses"] == 57
    assert header["facts"]["kimg"] == tiny.PRETRAIN.total_kimg
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())
    z = torch.randn(2, 8)
    assert torch.equal(generator(z), other(z))
    checkpoint = load_file(unbroken / "pretrain" / "checkpoints" / "000000012.safetensors")
    assert torch.equal(checkpoint["G_ema/synthesis.const"], generator.synthesis.const), "the averaged weights"
    assert not torch.equal(checkpoint["G/synthesis.const"], generator.synthesis.const)


def rewrite(path: Path, header: Callable[[dict[str, Any]], None] | None = None, **tensors: Any) -> None:
    """Change a file's tensors or header, and leave the rest as it is."""
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["flexpose"])
    changed = {k: v for k, v in (load_file(path) | tensors).items() if v is not None}
    if header is not None:
        header(metadata)
    save_file(changed, str(path), metadata={"flexpose": json.dumps(metadata)})


@pytest.fixture
def copied(unbroken: Path, tmp_path: Path) -> Path:
    path = tmp_path / "generator.safetensors"
    shutil.copy(unbroken / "generator.safetensors", path)
    return path


def test_a_changed_bit_is_refused(copied: Path) -> None:
    raw = bytearray(copied.read_bytes())
    raw[-1] ^= 1  # of the last tensor's last number
    copied.write_bytes(raw)
    with pytest.raises(DataError, match="not those whose hash the header holds") as caught:
        load_generator(copied)
    assert (caught.value.path, caught.value.field) == (copied, "hash")


def set_size(**sizes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["generator"].update(sizes)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda header: header.update(kind="beta"), "kind"),
        (lambda header: header.pop("generator"), "generator"),
        (lambda header: header.update(generator=[16]), "generator"),
        (set_size(size_px=15), "generator"),
        (set_size(colour="red"), "generator"),
        (set_size(size_px="big"), "generator"),
        (set_size(z_dim=9), "mapping.layers.0.weight"),
        (set_size(w_dim=9), None),
        (set_size(mapping_layers=3), None),
        (set_size(size_px=32), None),
        # A stranger's header must not make this machine allocate what the file does not hold.
        (set_size(z_dim=1 << 45), "mapping.layers.0.weight"),
        (set_size(w_dim=1 << 30), None),
        (set_size(channel_base=1 << 40, channel_max=1 << 40), None),
        (set_size(size_px=1 << 40, channel_base=1 << 41), None),
        (set_size(mapping_layers=1 << 40), "generator"),
        (lambda header: header.pop("drawing"), "drawing"),
        (lambda header: header.update(drawing=7), "drawing"),
        (lambda header: header["drawing"].update(skeleton_fingerprint="0"), "skeleton"),
        (lambda header: header["drawing"].update(size_px=32), "drawing"),
        (lambda header: header.pop("hash"), "hash"),
        (lambda header: header.update(hash="0" * 64), "hash"),
    ],
)
def test_header_that_does_not_fit(
    copied: Path, change: Callable[[dict[str, Any]], None], field: str | None
) -> None:
    rewrite(copied, change)
    with tiny.bounded_memory(), pytest.raises(DataError) as caught:
        load_generator(copied)
    assert caught.value.path == copied
    assert field is None or caught.value.field == field


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"synthesis.const": None}, "missing"),
        ({"more": torch.zeros(1)}, "unknown"),
        ({"synthesis.const": torch.zeros(1, 8, 8, 8)}, r"expected \[1, 8, 4, 4\], got \[1, 8, 8, 8\]"),
        ({"synthesis.const": torch.full((1, 8, 4, 4), float("nan"))}, "NaN"),
    ],
)
def test_tensors_that_do_not_fit(copied: Path, tensors: dict[str, Any], message: str) -> None:
    rewrite(copied, **tensors)
    with pytest.raises(DataError, match=message):
        load_generator(copied)


def test_no_generator_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "generator.safetensors"):
        with pytest.raises(UsageError, match="no such file"):
            load_generator(path)


def test_save_generator_says_what_it_wrote(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = Generator(tiny.PRETRAIN.generator_config())
    drawing = Drawing(load_skeleton("body13"), 16)
    digest = save_generator(tmp_path / "g.safetensors", generator, drawing, note=3)
    again, _, header = load_generator(tmp_path / "g.safetensors")
    assert header["hash"] == digest == content_hash(again.state_dict())
    assert header["facts"] == {"note": 3}


# --- kills and resumes


def test_killed_again_and_again(tmp_path: Path, unbroken: Path) -> None:
    """In both lessons, between them and the game, before and after a checkpoint, and at the last step."""
    for step in (1, 2, 4, 5, 7, 9, 10, 12):
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
    assert watch.steps == [6, 7, 8, 9, 10, 11, 12]


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
    assert header["step"] == 7, "nothing is lost"
    assert not (tmp_path / "generator.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(unbroken, folder)
    watch = tiny.Watch()
    run(folder, resume=True, progress=watch)
    assert watch.steps == [12]
    assert_same_run(folder, unbroken)


def test_resume_where_nothing_is_begins(tmp_path: Path, unbroken: Path) -> None:
    run(tmp_path / "new", resume=True)
    assert_same_run(tmp_path / "new", unbroken)


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


# --- numbers that get lost


def spoil(monkeypatch: pytest.MonkeyPatch, at: int, *, before: bool, value: float = float("nan")) -> None:
    """Put `value` into a weight of the generator before or after the 0-based step `at`."""
    original = _Trainer.step

    def step(self: _Trainer, number: int) -> dict[str, float]:
        def put() -> None:
            with torch.no_grad():
                self.G.synthesis.const[0, 0, 0, 0] = value

        if number == at and before:
            put()
        figures = original(self, number)
        if number == at and not before:
            put()
        return figures

    monkeypatch.setattr(_Trainer, "step", step)


@pytest.mark.parametrize("at", [1, 7])
def test_lost_numbers_end_the_run_and_name_step_and_tensor(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with monkeypatch.context() as patch:
        spoil(patch, at, before=True)
        with pytest.raises(DataError, match=f"at step {at}") as caught:
            run(tmp_path)
    assert "first lost tensor: G/" in str(caught.value)
    assert str(tmp_path / "pretrain" / "checkpoints") in str(caught.value)
    assert not (tmp_path / "generator.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize("at", [5, 11])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_lost_weights_behind_a_good_loss_are_never_written(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, at: int, value: float
) -> None:
    """A gradient that is no number spoils the weights only after the loss was taken: at a checkpoint, at the end."""
    with monkeypatch.context() as patch:
        spoil(patch, at, before=False, value=value)
        with pytest.raises(DataError, match=f"at step {at}") as caught:
            run(tmp_path)
    assert "synthesis.const" in str(caught.value)
    assert not (tmp_path / "generator.safetensors").exists()
    latest = Checkpoints(tmp_path / "pretrain" / "checkpoints").latest()
    assert latest is not None
    assert latest[1]["step"] == {5: 3, 11: 9}[at]
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


# --- what is learned


def test_lessons_teach_drawing() -> None:
    """Eighty steps of lessons bring the loss of held-out codes well below that of the first steps."""
    config = replace(tiny.PRETRAIN, warmup=((8, 0.8),), stages=((16, 0.008),), batch=10, warmup_lr=0.03)
    drawing = Drawing(load_skeleton("body13"), 16)
    poses = drawing.framed(tiny.source_poses()).normalized
    with torch.random.fork_rng(devices=[]):
        trainer = _Trainer(config, PoseBatches(poses, drawing, 10, 0, flips=True))
        losses = [trainer.step(step)["loss_drawing"] for step in range(80)]
    assert np.median(losses[-10:]) < 0.5 * np.median(losses[:10])


def test_the_judge_learns_to_tell_pictures_from_noise() -> None:
    """With the generator left alone, real pictures score higher than its own after a few steps."""
    config = replace(
        tiny.PRETRAIN, warmup=(), stages=((16, 1.0),), batch=10, judge_first_kimg=1.0, lr=0.01, fade_kimg=0.0
    )
    drawing = Drawing(load_skeleton("body13"), 16)
    poses = drawing.framed(tiny.source_poses()).normalized
    with torch.random.fork_rng(devices=[]):
        trainer = _Trainer(config, PoseBatches(poses, drawing, 10, 0, flips=True))
        before = {name: p.clone() for name, p in trainer.G.named_parameters()}
        figures = [trainer.step(step) for step in range(25)]
    assert np.mean([f["real"] - f["fake"] for f in figures[-5:]]) > 1
    assert all("loss_g" not in f for f in figures)
    for name, parameter in trainer.G.named_parameters():
        assert torch.equal(parameter, before[name])


def test_average_follows_the_weights() -> None:
    """EMA: after its half-life of pictures the average has come half of the way."""
    config = replace(tiny.PRETRAIN, ema_half_life_kimg=0.04, ema_rampup=1e9, batch=4)
    drawing = Drawing(load_skeleton("body13"), 16)
    poses = drawing.framed(tiny.source_poses()).normalized
    with torch.random.fork_rng(devices=[]):
        trainer = _Trainer(config, PoseBatches(poses, drawing, 4, 0, flips=True))
    with torch.no_grad():
        trainer.G_ema.synthesis.const.fill_(0.0)
        trainer.G.synthesis.const.fill_(1.0)
        trainer.G.mapping.w_avg.fill_(3.0)
    for step in range(10):  # 40 pictures
        trainer._average(step)
    torch.testing.assert_close(trainer.G_ema.synthesis.const, torch.full((1, 8, 4, 4), 0.5))
    assert (trainer.G_ema.mapping.w_avg == 3).all(), "buffers are copied"


def test_paper_s_schedule_without_lessons(tmp_path: Path) -> None:
    stages, mixing = ((8, 0.008), (16, 0.008)), 0.9
    config = replace(
        tiny.PRETRAIN, warmup=(), stages=stages, noise="random", style_mixing=mixing, dtype="bfloat16"
    )
    file = run(tmp_path, config=config)
    assert read_header(file, "generator")["facts"]["config"]["warmup"] == []
    assert "loss_drawing" not in tiny.stats(tmp_path / "pretrain" / "stats.jsonl")[-1]

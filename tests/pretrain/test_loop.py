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
from flexpose.pretrain import load_generator, pretrain, train_beta
from flexpose.pretrain.data import PoseBatches, images_to_tensor
from flexpose.pretrain.files import save_generator
from flexpose.pretrain.lessons import pyramid_loss
from flexpose.pretrain.loop import _Trainer
from flexpose.runs import Progress
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _beta(tmp_path: Path, unbroken: Path) -> None:
    """What the drawing lessons need to find in the folder of a run."""
    shutil.copy(unbroken / "beta.safetensors", tmp_path)


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
    checkpoint = load_file(unbroken / "pretrain" / "checkpoints" / "000000015.safetensors")
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
        (set_size(mapping_layers=2), None),
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


# --- the beta of the drawing lessons


def test_lessons_without_a_beta_say_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    with pytest.raises(UsageError) as caught:
        run(folder)
    assert str(caught.value) == (
        f"the drawing lessons need {folder / 'beta.safetensors'}: run `flexpose train-beta` into {folder} first, "
        "or set keypoint_weight = 0"
    )
    assert not folder.exists(), "nothing was begun"


@pytest.mark.parametrize("changes", [{"keypoint_weight": 0.0}, {"lessons": ()}])
def test_who_reads_no_joints_needs_no_beta(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tmp_path / "bare"
    watch = tiny.Watch()
    run(folder, config=replace(tiny.PRETRAIN, **changes), progress=watch)
    assert (folder / "generator.safetensors").exists()
    assert not any("error_px" in figures for figures in watch.figures)
    record = json.loads((folder / "pretrain" / "config.json").read_text(encoding="utf-8"))
    assert set(record["inputs"]) == {"poses", "skeleton"}


def test_a_beta_for_other_pictures_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    other = replace(tiny.BETA, line_width_px=1.5, margin=0.2, steps=1)
    file = train_beta(tiny.source_poses(), other, folder)
    with pytest.raises(UsageError) as caught:
        run(folder)
    assert str(caught.value) == (
        f"{file} and a generator of these settings were trained on different pictures: "
        "line_width_px 1.5 and 2.0, margin 0.2 and 0.1"
    )
    assert not (folder / "pretrain").exists()


def test_a_broken_beta_is_refused(tmp_path: Path) -> None:
    (tmp_path / "beta.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="no safetensors file"):
        run(tmp_path)


def test_resume_with_another_beta_is_refused(tmp_path: Path, unbroken: Path) -> None:
    with pytest.raises(tiny.Killed):
        run(tmp_path, progress=tiny.KillAt(8))
    record = json.loads((tmp_path / "pretrain" / "config.json").read_text(encoding="utf-8"))
    assert record["inputs"]["beta"] == read_header(unbroken / "beta.safetensors")["hash"]
    train_beta(tiny.source_poses(), replace(tiny.BETA, steps=2), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "beta.safetensors", tmp_path)
    with pytest.raises(ConfigError, match=r"inputs\.beta"):
        run(tmp_path, resume=True)
    shutil.copy(unbroken / "beta.safetensors", tmp_path)
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_poses_that_are_all_the_same_cannot_be_lessons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need poses that differ"):
        pretrain(tiny.source_poses()[np.zeros(5, np.int64)], replace(tiny.PRETRAIN, flips=False), tmp_path)
    assert not (tmp_path / "generator.safetensors").exists()


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


@pytest.mark.parametrize("at", [5, 11])
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


def test_lost_numbers_of_the_flow_are_named(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _Trainer.step

    def step(self: _Trainer, number: int) -> dict[str, float]:
        assert self.lessons is not None
        if number == 1:
            with torch.no_grad():
                self.lessons.flow.velocity.outlet.bias[0] = float("nan")
        return original(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(_Trainer, "step", step)
        with pytest.raises(DataError, match=r"at step 1: .*first lost tensor: lessons/flow/velocity/"):
            run(tmp_path)
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize("at", [5, 14])
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
    assert latest[1]["step"] == {5: 3, 14: 12}[at]
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


# --- what is learned


def test_lessons_teach_which_poses_there_are_and_to_draw_them() -> None:
    """In the end the generator draws, of codes that it never saw, the poses that the flow gives for them."""
    config = replace(
        tiny.PRETRAIN,
        z_dim=8,
        w_dim=48,
        flow_steps=150,
        flow_batch=64,
        flow_width=32,
        flow_lr=0.005,
        mapping_steps=300,
        mapping_batch=64,
        pairs=2000,
        channel_max=16,
        lessons=((8, 0.8), (16, 2.4)),
        stages=(),
        batch=16,
        keypoint_weight=0.0,
    )
    drawing = Drawing(load_skeleton("body13"), 16)
    poses = drawing.framed(tiny.source_poses()).normalized
    with torch.random.fork_rng(devices=[]):
        trainer = _Trainer(config, PoseBatches(poses, drawing, 16, 0, flips=True))
        figures = [trainer.step(step) for step in range(trainer.schedule.steps)]
    lessons = trainer.lessons
    assert lessons is not None
    mapped, drawn = ([f[key] for f in figures if key in f] for key in ("mapping_rmse_px", "loss_drawing"))
    assert np.median(mapped[-20:]) < 0.5 * np.median(mapped[:20])
    assert np.median(drawn[-20:]) < 0.6 * np.median(drawn[50:60]), "from the first steps at 16 px on"
    rng = np.random.default_rng(11)
    starts = lessons.code.starts(64, rng)
    targets = images_to_tensor(drawing.images(lessons.code.decode(lessons.flow.transport(starts))))
    with torch.no_grad():
        images = trainer.G_ema(torch.from_numpy(lessons.code.latents(starts, rng)))
    own = pyramid_loss(images, targets).item()
    others = pyramid_loss(images, targets.roll(1, 0)).item()
    assert own < 0.6 * others


def test_the_judge_learns_to_tell_pictures_from_noise() -> None:
    """With the generator left alone, real pictures score higher than its own after a few steps."""
    config = replace(
        tiny.PRETRAIN, lessons=(), stages=((16, 1.0),), batch=10, judge_first_kimg=1.0, lr=0.01, fade_kimg=0.0
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
    config = replace(tiny.PRETRAIN, lessons=(), ema_half_life_kimg=0.04, ema_rampup=1e9, batch=4)
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
        tiny.PRETRAIN, lessons=(), stages=stages, noise="random", style_mixing=mixing, dtype="bfloat16"
    )
    file = run(tmp_path, config=config)
    assert read_header(file, "generator")["facts"]["config"]["lessons"] == []
    last = tiny.stats(tmp_path / "pretrain" / "stats.jsonl")[-1]
    assert not last.keys() & {"loss_flow", "mapping_rmse_px", "loss_drawing", "error_px"}


def test_lessons_alone(tmp_path: Path) -> None:
    """Without a game: the joined generator is what is written, and truncation has a mean to pull to."""
    file = run(tmp_path, config=replace(tiny.PRETRAIN, stages=()))
    generator, _, header = load_generator(file)
    assert header["facts"]["kimg"] == pytest.approx(0.02)
    last = tiny.stats(tmp_path / "pretrain" / "stats.jsonl")[-1]
    assert (last["step"], last["phase"]) == (9, "drawing")
    assert "loss_g" not in last
    checkpoint = load_file(tmp_path / "pretrain" / "checkpoints" / "000000009.safetensors")
    head, embed = (
        {kind: checkpoint[f"lessons/joints_ema/{name}.{kind}"].double() for kind in ("weight", "bias")}
        for name in ("head", "embed")
    )
    # Equalised weights are divided by the root of the number of inputs: 8 to head, 26 to embed, 8 to the layer.
    weight = embed["weight"] @ head["weight"] / np.sqrt(26 * 8) * np.sqrt(8)
    bias = embed["weight"] @ head["bias"] / np.sqrt(26) + embed["bias"]
    torch.testing.assert_close(generator.mapping.layers[1].weight.double(), weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(generator.mapping.layers[1].bias.double(), bias, rtol=1e-5, atol=1e-6)
    w = generator.map(torch.randn(4000, 8))
    assert ((w.mean(0) - generator.mapping.w_avg).abs() < 5 * w.std(0) * np.sqrt(2 / 4000) + 1e-6).all()
    assert generator.mapping.w_avg.any()

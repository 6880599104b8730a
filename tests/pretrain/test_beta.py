"""beta: it learns to read, its file is bound to its pictures, and kills leave no trace."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flexpose.checkpoint import Checkpoints, read_header
from flexpose.drawing import Drawing
from flexpose.errors import ConfigError, DataError, Interrupted, UsageError
from flexpose.pretrain import beta as module
from flexpose.pretrain import load_beta, train_beta
from flexpose.pretrain.augment import stretch_and_turn
from flexpose.pretrain.beta import _spoil, read_images, reread_poses
from flexpose.pretrain.data import PoseBatches, step_seed
from flexpose.runs import Progress
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run(folder: Path, **options: Any) -> Path:
    return train_beta(tiny.source_poses(), options.pop("config", tiny.BETA), folder, **options)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a beta and no generator."""
    folder = tmp_path_factory.mktemp("beta")
    run(folder)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A beta that has learned to read a little."""
    folder = tmp_path_factory.mktemp("trained")
    config = replace(tiny.BETA, steps=200, batch=32, lr=0.03, holdout=0.4, checkpoint_steps=1000)
    run(folder, config=config)
    return folder


def assert_same_run(folder: Path, unbroken: Path) -> None:
    name = "beta.safetensors"
    assert (folder / name).read_bytes() == (unbroken / name).read_bytes()
    assert tiny.stats(folder / "train-beta" / "stats.jsonl") == tiny.stats(
        unbroken / "train-beta" / "stats.jsonl"
    )


# --- what is learned


def errors_px(beta: Any, drawing: Any, poses: np.ndarray) -> np.ndarray:
    read = read_images(beta, drawing.images(poses))
    return np.linalg.norm(read.astype(np.float64) - poses, axis=-1) * drawing.size_px / 2


def test_it_reads_poses_that_it_never_saw_better_than_their_mean_says(trained: Path) -> None:
    beta, drawing, header = load_beta(trained)
    poses = drawing.framed(tiny.target_poses(40)).normalized
    seen = drawing.framed(tiny.source_poses()).normalized
    errors = errors_px(beta, drawing, poses)
    guess = np.linalg.norm(seen.mean(0) - poses, axis=-1) * 16 / 2
    assert errors.mean() < 0.87 * guess.mean()
    read = read_images(beta, drawing.images(poses))
    for axis in range(2):
        assert np.abs(read - poses)[..., axis].mean() < np.abs(seen.mean(0) - poses)[..., axis].mean()
    for exchanged in (read[..., ::-1], read[:, drawing.skeleton.flip_index]):  # x and y, left and right
        assert (
            np.linalg.norm(exchanged - poses, axis=-1).mean() > np.linalg.norm(read - poses, axis=-1).mean()
        )
    assert header["facts"]["held_out"]["mean_px"] < guess.mean()


def test_held_out_error_is_that_of_the_held_out_poses(trained: Path) -> None:
    from flexpose.pretrain.data import holdout_split

    beta, drawing, header = load_beta(trained)
    poses = drawing.framed(tiny.source_poses()).normalized
    _, held = holdout_split(60, 0.4, 0)
    errors = errors_px(beta, drawing, poses[held])
    facts = header["facts"]["held_out"]
    assert facts["mean_px"] == pytest.approx(errors.mean(), abs=1e-3)
    assert facts["median_px"] == pytest.approx(np.median(errors), abs=1e-3)
    assert facts["p95_px"] == pytest.approx(np.quantile(errors, 0.95), abs=1e-3)
    last = tiny.stats(trained / "train-beta" / "stats.jsonl")[-1]
    assert (last["poses"], last["held_out_mean_px"]) == (24, facts["mean_px"])


@pytest.mark.parametrize("step", [0, 5])
def test_a_step_by_hand(step: int) -> None:
    """Distance in the picture, on spoiled pictures of the source's poses and, at odd steps, of varied ones."""
    drawing = Drawing(load_skeleton("body13"), 16)
    batches = PoseBatches(drawing.framed(tiny.source_poses()).normalized, drawing, 8, 3, flips=True)
    config = replace(tiny.BETA, seed=3, lr=0.5)
    trainer = module._Trainer(batches, config)
    before = copy.deepcopy(trainer.beta)
    loss = trainer.step(step)["loss"]
    poses = batches.poses(step)
    if step % 2:
        poses = stretch_and_turn(poses, drawing.skeleton, np.random.default_rng((3, 12, step)))
    torch.manual_seed(step_seed(3, 11, step))
    images = _spoil(torch.from_numpy(drawing.images(poses)) / 127.5 - 1)
    read = before(images).normalized.detach().numpy().astype(np.float64)
    assert loss == pytest.approx(np.linalg.norm(read - poses, axis=-1).mean(), rel=1e-4)
    # A hundred steps of warming up, and a cosine over all twelve.
    rate = 0.5 * (step + 1) / 100 * (0.5 + 0.5 * np.cos(np.pi * step / 12))
    assert trainer.optimiser.param_groups[0]["lr"] == pytest.approx(rate)
    moved = (trainer.beta.merge.weight - before.merge.weight).abs().max().item()
    assert moved == pytest.approx(rate, rel=0.01), "Adam's first step goes by the rate"


# --- the file


def test_files_of_a_run(alone: Path) -> None:
    folder = alone / "train-beta"
    assert {p.name for p in folder.iterdir()} - {".lock"} == {"config.json", "stats.jsonl", "checkpoints"}
    assert {p.name for p in (folder / "checkpoints").glob("*.safetensors")} == {
        "000000009.safetensors",
        "000000012.safetensors",
    }


def test_beta_comes_back(alone: Path) -> None:
    beta, drawing, header = load_beta(alone)
    assert (beta.config.size_px, beta.config.num_keypoints, beta.config.width) == (16, 13, 8)
    assert (drawing.size_px, drawing.skeleton.name) == (16, "body13")
    assert header["facts"]["config"]["steps"] == 12
    assert not any(p.requires_grad for p in beta.parameters())
    assert load_beta(alone / "beta.safetensors")[2] == header


def test_it_reads_the_pictures_of_the_generator_beside_it(tmp_path: Path, unbroken: Path) -> None:
    """Whatever the settings say: the two must share their pen."""
    shutil.copy(unbroken / "generator.safetensors", tmp_path)
    run(tmp_path, config=replace(tiny.BETA, size_px=64, line_width_px=9.0, frame="root", steps=1))
    _, drawing, _ = load_beta(tmp_path)
    theirs = read_header(unbroken / "generator.safetensors")["drawing"]
    assert drawing.header() == theirs
    assert theirs["size_px"] == 16


def test_a_broken_generator_beside_it_is_no_reason_to_guess(tmp_path: Path) -> None:
    (tmp_path / "generator.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError):
        run(tmp_path)


@pytest.fixture
def copied(alone: Path, tmp_path: Path) -> Path:
    path = tmp_path / "beta.safetensors"
    shutil.copy(alone / "beta.safetensors", path)
    return path


def test_a_changed_bit_is_refused(copied: Path) -> None:
    raw = bytearray(copied.read_bytes())
    raw[-1] ^= 1
    copied.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        load_beta(copied)
    assert caught.value.field == "hash"


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["flexpose"])
    change(header)
    save_file(load_file(path), str(path), metadata={"flexpose": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda h: h.update(kind="generator"), "kind"),
        (lambda h: h.pop("regressor"), "regressor"),
        (lambda h: h["regressor"].update(width=12), "regressor"),
        (lambda h: h["regressor"].update(width=16), "log_temperature"),
        (lambda h: h["regressor"].update(width=1 << 40), None),
        (lambda h: h["regressor"].update(num_keypoints=17), "maps.weight"),
        (lambda h: h["regressor"].update(size_px=1 << 50), "regressor"),
        (lambda h: h["regressor"].update(size_px=24), "drawing"),
        (lambda h: h["drawing"].update(size_px=24), "drawing"),
        (lambda h: h.pop("drawing"), "drawing"),
        (lambda h: h.pop("hash"), "hash"),
    ],
)
def test_header_that_does_not_fit(
    copied: Path, change: Callable[[dict[str, Any]], Any], field: str | None
) -> None:
    rewrite(copied, change)
    with tiny.bounded_memory(), pytest.raises(DataError) as caught:
        load_beta(copied)
    assert caught.value.path == copied
    assert field in {None, "log_temperature", caught.value.field}


def test_no_beta_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_beta(tmp_path)


# --- reading


def test_reading_does_not_depend_on_how_pictures_are_batched(trained: Path) -> None:
    beta, drawing, _ = load_beta(trained)
    images = drawing.images(drawing.framed(tiny.source_poses()).normalized[:11])
    whole = read_images(beta, images)
    np.testing.assert_allclose(read_images(beta, images, batch=4), whole, atol=1e-5)
    assert read_images(beta, images[:0]).shape == (0, 13, 2)


def test_rereading_poses(trained: Path) -> None:
    beta, drawing, _ = load_beta(trained)
    poses = tiny.source_poses()
    normalized = drawing.framed(poses).normalized
    expected = read_images(beta, drawing.images(normalized))
    np.testing.assert_allclose(reread_poses(trained, poses), expected, atol=0.05)
    some = reread_poses(trained, poses, limit=20, seed=3)
    assert some.shape == (20, 13, 2)
    np.testing.assert_array_equal(some, reread_poses(trained, poses, limit=20, seed=3))
    distance = np.abs(some[:, None] - expected[None]).max((2, 3))
    assert (distance.min(1) < 0.05).all(), "each is one of the poses"
    assert len(set(distance.argmin(1).tolist())) > 15


def test_spoiled_pictures_stay_pictures_and_some_stay_clean() -> None:
    torch.manual_seed(0)
    images = torch.rand(400, 3, 8, 8) * 2 - 1
    spoiled = _spoil(images)
    assert spoiled.shape == images.shape
    assert spoiled.isfinite().all()
    assert (spoiled - images).abs().mean() < 0.3
    change = (spoiled - images).abs().amax((1, 2, 3))
    assert (change > 0.01).float().mean() > 0.5
    torch.manual_seed(0)
    images = torch.rand(400, 3, 8, 8) * 2 - 1
    assert torch.equal(_spoil(images), spoiled)


# --- kills and resumes


def test_killed_again_and_again(tmp_path: Path, alone: Path) -> None:
    for step in (1, 4, 6, 8, 12):
        with pytest.raises(tiny.Killed):
            run(tmp_path, resume=True, progress=tiny.KillAt(step))
        assert not (tmp_path / "beta.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, alone)


def test_killed_before_the_figures_are_taken(
    tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Any:
        raise tiny.Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "_errors_px", killed)
        with pytest.raises(tiny.Killed):
            run(tmp_path)
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, alone)


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path, alone: Path) -> None:
    shutil.copytree(alone, tmp_path / "copy")
    run(tmp_path / "copy", resume=True)
    assert_same_run(tmp_path / "copy", alone)


def test_a_signal_ends_the_run_after_its_step(tmp_path: Path, alone: Path) -> None:
    class Send(Progress):
        def advance(self, done: int, **figures: float) -> None:
            if figures and done == 7:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(tmp_path, progress=Send())
    assert (Checkpoints(tmp_path / "train-beta" / "checkpoints").latest() or ({}, {}))[1]["step"] == 7
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, alone)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"lr": 0.5}, "config.lr"), ({"width": 16}, "config.width"), ({"seed": 1}, "config.seed")],
)
def test_resume_with_other_settings_is_refused(alone: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        run(alone, config=replace(tiny.BETA, **changes), resume=True)


def test_resume_with_other_poses_is_refused(alone: Path) -> None:
    with pytest.raises(ConfigError, match=r"inputs\.poses"):
        train_beta(tiny.source_poses()[:-1], tiny.BETA, alone, resume=True)


def test_resume_with_other_pictures_is_refused(tmp_path: Path, unbroken: Path) -> None:
    """A generator that came after the kill would change what the rest of the training sees."""
    config = replace(tiny.BETA, size_px=24)
    with pytest.raises(tiny.Killed):
        run(tmp_path, config=config, progress=tiny.KillAt(4))
    shutil.copy(unbroken / "generator.safetensors", tmp_path)
    with pytest.raises(ConfigError, match=r"inputs\.drawing"):
        run(tmp_path, config=config, resume=True)


# --- numbers that get lost


@pytest.mark.parametrize(
    ("at", "before", "kept"), [(1, True, None), (7, True, 6), (5, False, 3), (11, False, 9)]
)
def test_lost_numbers_are_never_written(
    tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch, at: int, before: bool, kept: int | None
) -> None:
    original = module._Trainer.step

    def step(self: Any, number: int) -> dict[str, float]:
        def put() -> None:
            with torch.no_grad():
                self.beta.maps.weight[0, 0] = float("nan")

        if number == at and before:
            put()
        figures = original(self, number)
        if number == at and not before:
            put()
        return figures

    with monkeypatch.context() as patch:
        patch.setattr(module._Trainer, "step", step)
        with pytest.raises(DataError, match=f"at step {at}"):
            run(tmp_path)
    assert not (tmp_path / "beta.safetensors").exists()
    latest = Checkpoints(tmp_path / "train-beta" / "checkpoints").latest()
    assert (None if latest is None else latest[1]["step"]) == kept
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, alone)

"""Adaptation end to end: what it changes, what it refuses, kills at any iteration."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flexpose.adapt import AdaptConfig, adapt, read_adapter
from flexpose.adapt import loop as module
from flexpose.adapt.training_poses import guide_poses, joined_poses, mixed_poses, paired_codes
from flexpose.checkpoint import Checkpoints
from flexpose.errors import ConfigError, DataError, Interrupted, UsageError
from flexpose.poses import PoseSet, mixup_poses
from flexpose.pretrain import load_beta, load_generator, train_beta
from flexpose.runs import Progress
from flexpose.sample import draw_images, latents, read_keypoints
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(source: Path) -> Any:
    def call(
        folder: Path, shots: PoseSet | None = None, config: AdaptConfig = tiny.ADAPT, **options: Any
    ) -> Path:
        shots = tiny.target_poses() if shots is None else shots
        return adapt(shots, config, folder, **({"source": source} | options))

    return call


def assert_same_run(folder: Path, unbroken: Path) -> None:
    """Bit for bit the same tau, and the same curve; the way to the source is the folder's own."""
    mine, header = read_adapter(folder)
    theirs, their_header = read_adapter(unbroken)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[name], tensor)
    header.pop("source")
    their_header.pop("source")
    assert header == their_header
    assert tiny.stats(folder / "adapt" / "stats.jsonl") == tiny.stats(unbroken / "adapt" / "stats.jsonl")
    for name in ("grid-adapted.png", "grid-source.png", "grid-shots.png"):
        assert (folder / "adapt" / name).read_bytes() == (unbroken / "adapt" / name).read_bytes()


# --- what a run leaves


def test_files_of_a_run(unbroken: Path) -> None:
    assert {p.name for p in unbroken.iterdir()} == {"adapter.safetensors", "adapt"}
    assert {p.name for p in (unbroken / "adapt").iterdir()} - {".lock"} == {
        "config.json",
        "stats.jsonl",
        "checkpoints",
        "grid-shots.png",
        "grid-source.png",
        "grid-adapted.png",
    }
    first, last = tiny.stats(unbroken / "adapt" / "stats.jsonl")
    assert first == {"step": 0, "shots": 6, "dropped": 0, "bank": 18, "layers": {"3": 8}}
    assert last["step"] == 12
    assert last["loss"] > 0


def test_only_the_free_blocks_change(tmp_path: Path, source: Path, run: Any) -> None:
    before = (source / "generator.safetensors").read_bytes(), (source / "beta.safetensors").read_bytes()
    file = run(tmp_path, config=replace(tiny.ADAPT, layers=(5, 2)))
    assert set(load_file(file)) == {"blocks.2", "blocks.5"}
    transfer, header = read_adapter(file)
    assert header["layers"] == [2, 5]
    for layer in range(1, 7):
        identity = torch.equal(transfer.matrix(layer), torch.eye(transfer.style_dims[layer - 1]))
        assert identity == (layer not in {2, 5})
    assert before == (
        (source / "generator.safetensors").read_bytes(),
        (source / "beta.safetensors").read_bytes(),
    )
    assert tiny.stats(tmp_path / "adapt" / "stats.jsonl")[0]["layers"] == {"2": 4, "5": 16}


def test_loss_falls(tmp_path: Path, run: Any) -> None:
    watch = tiny.Watch()
    run(
        tmp_path,
        config=replace(tiny.ADAPT, iterations=60, batch=18, checkpoint_iterations=100),
        progress=watch,
    )
    losses = [figures["loss"] for figures in watch.figures[1:]]
    assert watch.steps == list(range(61))
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])


def test_first_loss_is_that_of_the_source(tmp_path: Path, source: Path, run: Any) -> None:
    """At birth tau is the identity: the loss is the distance of the source's pictures from the drawn poses."""
    watch = tiny.Watch()
    config = replace(tiny.ADAPT, features=("pyramid",))
    run(tmp_path, config=config, progress=watch)
    generator, drawing, _ = load_generator(source)
    beta, *_ = load_beta(source)
    framed = drawing.framed(tiny.target_poses())
    codes, poses, _ = codes_of((generator, beta, drawing, framed), config)
    rows = np.random.default_rng((config.seed, 21, 0)).integers(0, len(poses), config.batch)
    drawn = generator.synthesize(generator.styles(codes[rows])).detach().double().numpy()
    wanted = drawing.images(poses).astype(np.float64) / 127.5 - 1
    terms = []
    for factor in (1, 2, 4):
        side = 16 // factor
        shape = (-1, 3, side, factor, side, factor)
        a, b = drawn.reshape(shape).mean((3, 5)), wanted.reshape(shape).mean((3, 5))
        terms.append(((a - b[rows]) ** 2).mean() / b.var(0, ddof=1).mean())
    assert watch.figures[1]["loss"] == pytest.approx(np.mean(terms), rel=1e-4)


def test_batches_are_drawn_anew_from_the_whole_set(
    tmp_path: Path, run: Any, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, beta, drawing, _ = parts
    _, poses, _ = codes_of(parts, tiny.ADAPT)
    pictures = torch.from_numpy(drawing.images(poses)) / 127.5 - 1
    features = module.Gamma(tiny.ADAPT.features, beta, dtype=torch.float32).targets(pictures, 8)
    seen: list[torch.Tensor] = []
    original = module.Gamma.distance

    def spy(self: Any, images: torch.Tensor, targets: Any) -> torch.Tensor:
        seen.append(targets[0])
        return original(self, images, targets)

    monkeypatch.setattr(module.Gamma, "distance", spy)
    run(tmp_path)
    rows = []
    for step, targets in enumerate(seen):
        rows.append(np.random.default_rng((0, 21, step)).integers(0, 18, 8))
        torch.testing.assert_close(targets, features[0][rows[-1]])
    assert len(rows) == 12
    assert len({tuple(batch) for batch in rows}) == 12
    assert set(np.concatenate(rows)) == set(range(18))


@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_rate(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, decay: Any) -> None:
    rates: list[float] = []
    original = torch.optim.Adam.step

    def spy(self: Any, *rest: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        assert self.param_groups[0]["betas"] == (0.9, 0.999)
        return original(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    run(tmp_path, config=replace(tiny.ADAPT, lr_decay=decay))
    cosine = 0.05 * (0.5 + 0.5 * np.cos(np.pi * np.arange(12) / 12))
    assert rates == pytest.approx(cosine.tolist() if decay == "cosine" else [0.05] * 12)


def test_a_run_is_a_function_of_its_inputs(tmp_path: Path, unbroken: Path, run: Any) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    run(tmp_path)
    assert_same_run(tmp_path, unbroken)
    assert torch.equal(torch.get_rng_state(), before)


def test_seed_matters(tmp_path: Path, unbroken: Path, run: Any) -> None:
    run(tmp_path, config=replace(tiny.ADAPT, seed=1))
    assert not torch.equal(read_adapter(tmp_path)[0].matrix(3), read_adapter(unbroken)[0].matrix(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"pairing": "random"},
        {"pairing": "match-mix"},
        {"pairing": "match-mix", "mixed": 0},
        {"mixed": 0},
        {"mixup_space": "angles"},
        {"mixup_beta": 0.5},
        {"flips": True},
        {"form": "raw", "lr": 0.01},
        {"lr_decay": "none"},
        {"layers": (1, 2, 3, 4, 5, 6)},
        {"features": ("keypoints",)},
        {"dtype": "bfloat16"},
        {"batch": 100},
    ],
    ids=str,
)
def test_every_setting_runs(tmp_path: Path, unbroken: Path, run: Any, changes: dict[str, Any]) -> None:
    run(tmp_path, config=replace(tiny.ADAPT, **({"iterations": 3} | changes)))
    transfer, _ = read_adapter(tmp_path)
    layer = transfer.layers[0]
    assert not torch.equal(transfer.matrix(layer), torch.eye(len(transfer.matrix(layer))))
    mixed, shots = changes.get("mixed", 12), 12 if changes.get("flips") else 6
    assert tiny.stats(tmp_path / "adapt" / "stats.jsonl")[0]["bank"] == shots + mixed


# --- the training set


@pytest.fixture
def parts(source: Path) -> tuple[Any, Any, Any, Any]:
    generator, drawing, _ = load_generator(source)
    return generator, load_beta(source)[0], drawing, drawing.framed(tiny.target_poses())


def codes_of(parts: Any, config: AdaptConfig) -> tuple[torch.Tensor, np.ndarray, Any]:
    generator, beta, drawing, framed = parts
    shots = guide_poses(framed, drawing, config)
    mixes = mixed_poses(shots, drawing, config, Progress())
    poses = joined_poses(shots, mixes)
    return paired_codes(generator, beta, shots, poses, mixes, config, torch.float32), poses, mixes


def test_poses_are_the_shots_and_their_mixes(parts: Any) -> None:
    _, _, drawing, framed = parts
    shots = guide_poses(framed, drawing, tiny.ADAPT)
    poses = joined_poses(shots, mixed_poses(shots, drawing, tiny.ADAPT, Progress()))
    np.testing.assert_array_equal(shots, framed.normalized)
    np.testing.assert_array_equal(poses[:6], framed.normalized)
    expected = mixup_poses(framed.normalized, 12, seed=0)
    np.testing.assert_array_equal(poses[6:], expected)
    assert mixed_poses(shots, drawing, replace(tiny.ADAPT, mixed=0), Progress()) is None
    flipped = guide_poses(framed, drawing, replace(tiny.ADAPT, flips=True))
    np.testing.assert_allclose(flipped[6:, :, 0], -flipped[:6][:, drawing.skeleton.flip_index, 0])
    np.testing.assert_allclose(flipped[6:, :, 1], flipped[:6][:, drawing.skeleton.flip_index, 1])


def test_random_pairing_gives_each_pose_a_code_of_its_own(parts: Any) -> None:
    codes, poses, _ = codes_of(parts, replace(tiny.ADAPT, pairing="random"))
    assert codes.shape == (len(poses), 8)
    assert len(torch.unique(codes, dim=0)) == len(poses)


def test_matched_codes_come_from_the_pool_and_draw_what_is_nearest(parts: Any) -> None:
    generator, beta, *_ = parts
    codes, poses, _ = codes_of(parts, replace(tiny.ADAPT, pool=100))
    pool = generator.map(latents(100, 8, 0, stream=20))
    where = [int((pool - code).abs().sum(1).argmin()) for code in codes]
    assert len(set(where)) == len(poses), "no code answers twice"
    torch.testing.assert_close(pool[where], codes)
    drawn = read_keypoints(beta, draw_images(generator, pool))
    distance = ((drawn[None] - drawn[None].mean(2, keepdims=True)
                 - poses[:, None] + poses[:, None].mean(2, keepdims=True)) ** 2).sum((2, 3))  # fmt: skip
    mine = distance[np.arange(len(poses)), where].sum()
    rng = np.random.default_rng(0)
    others = [distance[np.arange(len(poses)), rng.permutation(100)[: len(poses)]].sum() for _ in range(200)]
    assert mine < min(others)


def test_match_mix_mixes_the_codes_as_the_poses(parts: Any) -> None:
    codes, poses, mixes = codes_of(parts, replace(tiny.ADAPT, pairing="match-mix"))
    own = codes[:6]
    for k in range(12):
        share, i, j = mixes.weight[k], mixes.first[k], mixes.second[k]
        torch.testing.assert_close(codes[6 + k], float(share) * own[i] + float(1 - share) * own[j])
        np.testing.assert_allclose(poses[6 + k], share * poses[i] + (1 - share) * poses[j], atol=1e-6)


def test_mixes_with_short_limbs_are_told(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flexpose.adapt.training_poses.shrunken_mix_fraction", lambda *_: 0.4)
    watch = tiny.Watch()
    run(tmp_path, config=replace(tiny.ADAPT, iterations=1), progress=watch)
    assert any("40%" in text and "angles" in text for text in watch.messages)


# --- what is refused


@pytest.mark.parametrize("layers", [(7,), (3, 99)])
def test_layers_that_the_generator_does_not_have(tmp_path: Path, run: Any, layers: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="layers must be from 1 to 6, got"):
        run(tmp_path / "run", config=replace(tiny.ADAPT, layers=layers))
    assert not (tmp_path / "run").exists()


def test_one_guide_pose_is_too_few(tmp_path: Path, run: Any) -> None:
    with pytest.raises(UsageError, match="at least 2 fully labelled poses, got 1 of 1"):
        run(tmp_path / "run", tiny.target_poses(1))
    assert not (tmp_path / "run").exists()


def hide(poses: PoseSet, rows: list[int]) -> PoseSet:
    visibility, keypoints = poses.visibility.copy(), poses.keypoints.copy()
    visibility[rows, 4] = 0
    keypoints[rows, 4] = 0
    return poses.replace(visibility=visibility, keypoints=keypoints)


def test_incomplete_guide_poses_are_left_out_and_counted(tmp_path: Path, run: Any) -> None:
    with pytest.raises(UsageError, match="got 1 of 6"):
        run(tmp_path / "few", hide(tiny.target_poses(), [0, 1, 2, 3, 4]))
    run(tmp_path / "enough", hide(tiny.target_poses(), [1, 3]), replace(tiny.ADAPT, iterations=1))
    first = tiny.stats(tmp_path / "enough" / "adapt" / "stats.jsonl")[0]
    assert (first["shots"], first["dropped"], first["bank"]) == (4, 2, 16)


def test_guide_poses_that_are_no_numbers_never_get_here() -> None:
    keypoints = tiny.target_poses().keypoints.copy()
    keypoints[1, 2] = np.inf
    with pytest.raises(DataError) as caught:
        PoseSet(keypoints, skeleton=load_skeleton("body13"))
    assert (caught.value.record, caught.value.field) == (1, "keypoints")


def test_no_source_and_no_beta(tmp_path: Path, source: Path, run: Any) -> None:
    with pytest.raises(UsageError, match="none: no such file"):
        run(tmp_path / "run", source=tmp_path / "none")
    (tmp_path / "lone").mkdir()
    shutil.copy(source / "generator.safetensors", tmp_path / "lone")
    with pytest.raises(UsageError, match=r"beta\.safetensors: no such file"):
        run(tmp_path / "run", source=tmp_path / "lone")
    run(tmp_path / "run", config=replace(tiny.ADAPT, iterations=1), source=tmp_path / "lone", beta=source)


def test_beta_of_other_pictures_is_refused(tmp_path: Path, run: Any) -> None:
    train_beta(tiny.source_poses(), replace(tiny.BETA, line_width_px=1.0, steps=1), tmp_path / "beta")
    with pytest.raises(
        UsageError, match="generator and beta were trained on different pictures: line_width_px"
    ):
        run(tmp_path / "run", beta=tmp_path / "beta")


# --- kills and resumes


def test_killed_again_and_again(tmp_path: Path, unbroken: Path, run: Any) -> None:
    for step in (1, 2, 4, 7, 9, 10, 12):
        with pytest.raises(tiny.Killed):
            run(tmp_path, resume=True, progress=tiny.KillAt(step))
        assert not (tmp_path / "adapter.safetensors").exists()
    watch = tiny.Watch()
    run(tmp_path, resume=True, progress=watch)
    assert watch.steps == [9, 10, 11, 12], "no more than an interval of checkpoints is done again"
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_steps(tmp_path: Path, run: Any, seed: int) -> None:
    """With a rate that decays and records that lie across the kills."""
    config = replace(tiny.ADAPT, iterations=45, batch=4, lr_decay="cosine", checkpoint_iterations=7)
    run(tmp_path / "whole", config=config)
    for step in sorted(np.random.default_rng(seed).integers(1, 46, 4).tolist()):
        with pytest.raises(tiny.Killed):
            run(tmp_path / "broken", config=config, resume=True, progress=tiny.KillAt(step))
    run(tmp_path / "broken", config=config, resume=True)
    assert_same_run(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step(
    tmp_path: Path, unbroken: Path, run: Any, number: signal.Signals
) -> None:
    class Send(Progress):
        def advance(self, done: int, **figures: float) -> None:
            if figures and done == 8:
                os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="--resume"):
        run(tmp_path, progress=Send())
    assert (Checkpoints(tmp_path / "adapt" / "checkpoints").latest() or ({}, {}))[1]["step"] == 8
    assert not (tmp_path / "adapter.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path, unbroken: Path, run: Any) -> None:
    shutil.copytree(unbroken, tmp_path / "copy")
    run(tmp_path / "copy", resume=True)
    assert_same_run(tmp_path / "copy", unbroken)


def test_a_second_run_in_the_same_folder_is_refused(unbroken: Path, run: Any) -> None:
    with pytest.raises(UsageError, match="holds a run already"):
        run(unbroken)


def test_resume_with_other_settings_or_shots_is_refused(unbroken: Path, run: Any) -> None:
    with pytest.raises(ConfigError, match=r"config\.lr"):
        run(unbroken, config=replace(tiny.ADAPT, lr=0.2), resume=True)
    with pytest.raises(ConfigError, match=r"inputs\.shots"):
        run(unbroken, tiny.target_poses(7), resume=True)


def test_resume_on_another_source_or_beta_is_refused(
    tmp_path: Path, unbroken: Path, source: Path, run: Any
) -> None:
    other = tmp_path / "other"
    train_beta(tiny.source_poses(), replace(tiny.BETA, steps=2), other)
    with pytest.raises(ConfigError, match=r"inputs\.beta") as caught:
        run(unbroken, beta=other, resume=True)
    assert "inputs.source" not in str(caught.value), "the two sources are the same"
    from flexpose.pretrain import pretrain

    pretrain(tiny.source_poses(), replace(tiny.PRETRAIN, lessons=()), tmp_path / "third")
    with pytest.raises(ConfigError, match=r"inputs\.source"):
        run(unbroken, source=tmp_path / "third", beta=source, resume=True)


# --- numbers that get lost


@pytest.mark.parametrize(("at", "kept"), [(1, None), (7, 6)])
def test_lost_numbers_are_never_written(
    tmp_path: Path, unbroken: Path, run: Any, monkeypatch: pytest.MonkeyPatch, at: int, kept: int | None
) -> None:
    """A gradient that is no number comes out of one iteration; the next one's loss tells."""
    original, calls = torch.autograd.backward, 0

    def backward(loss: torch.Tensor, *rest: Any) -> None:
        nonlocal calls
        original(loss * float("nan") if calls == at else loss, *rest)
        calls += 1

    with monkeypatch.context() as patch:
        patch.setattr(torch.autograd, "backward", backward)
        with pytest.raises(DataError, match=f"at step {at + 1}: .*first lost tensor: tau/blocks.3"):
            run(tmp_path)
    assert not (tmp_path / "adapter.safetensors").exists()
    latest = Checkpoints(tmp_path / "adapt" / "checkpoints").latest()
    assert (None if latest is None else latest[1]["step"]) == kept
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)

"""What source training teaches, on tiny schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flexpose.checkpoint import read_header
from flexpose.drawing import Drawing
from flexpose.pretrain import load_generator
from flexpose.pretrain.data import PoseBatches, images_to_tensor
from flexpose.pretrain.lessons import pyramid_loss
from flexpose.pretrain.loop import _Trainer
from flexpose.skeleton import load_skeleton

from .. import tiny
from .runs import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("beta_there")


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

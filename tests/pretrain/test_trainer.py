"""One step of each kind, its losses and gradients computed a second time from the formulas."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from flexpose.drawing import Drawing
from flexpose.pretrain.data import PoseBatches, step_seed
from flexpose.pretrain.loop import _Trainer
from flexpose.pretrain.warmup import PoseCode, pyramid_loss
from flexpose.skeleton import load_skeleton

from .. import tiny

DRAWING = Drawing(load_skeleton("body13"), 16)


def trainer(**changes: Any) -> _Trainer:
    settings = {"warmup": (), "stages": ((8, 0.04), (16, 0.04)), "judge_first_kimg": 0.0, "style_mixing": 0.0}
    config = replace(tiny.PRETRAIN, **(settings | changes))
    poses = DRAWING.framed(tiny.source_poses()).normalized
    with torch.random.fork_rng(devices=[]):
        made = _Trainer(config, PoseBatches(poses, DRAWING, config.batch, config.seed, flips=True))
    with torch.no_grad():
        for network in (made.G, made.D):
            for name, parameter in network.named_parameters():
                if name.endswith("bias"):
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


def draws(made: _Trainer, step: int, count: int) -> list[torch.Tensor]:
    """The first `count` batches of z of a step without style mixing."""
    torch.manual_seed(step_seed(made.config.seed, 1, step))
    codes = []
    for _ in range(count):
        codes.append(torch.randn(made.config.batch, made.config.z_dim))
        torch.rand([])  # whether to mix
    return codes


def pictures(generator: Any, z: torch.Tensor, resolution: int, fade: float) -> torch.Tensor:
    return generator.synthesize(
        generator.styles(generator.map(z)), noise="none", last_resolution=resolution, fade=fade
    )


@pytest.mark.parametrize(
    ("step", "resolution", "fade"), [(0, 8, 1.0), (3, 8, 1.0), (10, 16, 0.5), (15, 16, 1.0)]
)
def test_generator_s_step(step: int, resolution: int, fade: float) -> None:
    """Non-saturating loss; Adam's first step with beta1 = 0 goes by the rate against the sign of the gradient."""
    made = trainer()
    assert made.schedule.at(step) == (resolution, pytest.approx(fade))
    before, judge = copy.deepcopy(made.G), copy.deepcopy(made.D)
    (z, _) = draws(made, step, 2)
    loss = -F.logsigmoid(judge(pictures(before, z, resolution, fade), fade=fade)).mean()
    gradients = torch.autograd.grad(loss, list(before.parameters()), allow_unused=True)
    figures = made.step(step)
    assert figures["loss_g"] == pytest.approx(loss.item(), rel=1e-5)
    moved = 0
    for (name, old), new, gradient in zip(
        before.named_parameters(), made.G.parameters(), gradients, strict=True
    ):
        if gradient is None:
            assert torch.equal(old, new), f"{name} takes no part at {resolution} px"
            continue
        rate = made.config.lr * (made.config.mapping_lr_multiplier if name.startswith("mapping.") else 1)
        clear = gradient.abs() > 1e-5
        moved += int(clear.sum())
        torch.testing.assert_close(
            (new - old)[clear], -rate * gradient.sign()[clear], rtol=0.02, atol=2e-7, msg=name
        )
    assert moved > 500


@pytest.mark.parametrize(("step", "r1"), [(3, False), (2, True), (10, True), (14, True)])
def test_judge_s_gradient(monkeypatch: pytest.MonkeyPatch, step: int, r1: bool) -> None:
    """Logistic loss, and on every second step R1 with gamma by the number of pixels, twice its weight."""
    made = trainer(judge_first_kimg=10.0, r1_gamma=3.0)
    resolution, fade = made.schedule.at(step)
    judge = copy.deepcopy(made.D)
    (z,) = draws(made, step, 1)
    with torch.no_grad():
        fakes = pictures(made.G, z, resolution, fade)
    reals = made._reals(step, resolution, fade).requires_grad_()
    real, fake = judge(reals, fade=fade), judge(fakes, fade=fade)
    loss = -(F.logsigmoid(real) + F.logsigmoid(-fake)).mean()
    penalty = (
        torch.autograd.grad(judge(reals, fade=fade).sum(), reals, create_graph=True)[0]
        .square()
        .sum((1, 2, 3))
        .mean()
    )
    total = loss + (2 * 3.0 * (resolution / 16) ** 2 / 2 * penalty if r1 else 0)
    expected = torch.autograd.grad(total, list(judge.parameters()), allow_unused=True)
    monkeypatch.setattr(made.opt_d, "step", lambda: None)
    figures = made.step(step)
    assert figures["loss_d"] == pytest.approx(loss.item(), rel=1e-5)
    assert figures["real"] == pytest.approx(real.mean().item(), rel=1e-4, abs=1e-6)
    assert figures["fake"] == pytest.approx(fake.mean().item(), rel=1e-4, abs=1e-6)
    assert ("r1" in figures) == r1
    if r1:
        assert figures["r1"] == pytest.approx(penalty.item(), rel=1e-4)
    for parameter, gradient in zip(made.D.parameters(), expected, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


def test_no_r1_where_its_weight_is_nothing() -> None:
    assert "r1" not in trainer(r1_gamma=0.0).step(0)


def test_rate_of_the_judge_follows_lazy_regularisation() -> None:
    """StyleGAN2, appendix B: c = k / (k + 1) scales the rate and is the power of the betas."""
    made = trainer(r1_every=16)
    (group,) = made.opt_d.param_groups
    assert group["lr"] == pytest.approx(0.0025 * 16 / 17)
    assert group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))


def test_lesson(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the codes are real poses', half random; the targets are the poses that the codes stand for."""
    made = trainer(warmup=((8, 0.02), (16, 0.02)))
    step = 6
    assert made.schedule.at(step) == (16, 1.0)
    code = PoseCode(made.batches.with_mirrored(), 8)
    rng = np.random.default_rng((0, 5, step))
    real = code.latents(made.batches.poses(step)[:2], rng)
    z = np.concatenate([real, rng.standard_normal((2, 8), np.float32)])
    targets = torch.from_numpy(DRAWING.images(code.poses(z))) / 127.5 - 1
    expected = pyramid_loss(pictures(made.G, torch.from_numpy(z), 16, 1.0), targets)
    gradients = torch.autograd.grad(expected, list(made.G.parameters()), allow_unused=True)
    before = copy.deepcopy(made.D.state_dict())
    monkeypatch.setattr(made.opt_g, "step", lambda: None)
    assert made.step(step)["loss_drawing"] == pytest.approx(expected.item(), rel=1e-5)
    for parameter, gradient in zip(made.G.parameters(), gradients, strict=True):
        if gradient is not None:
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4)
    assert {group["lr"] for group in made.opt_g.param_groups} == {made.schedule.warmup_lr(step)}
    for name, tensor in made.D.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_game_forgets_the_lessons_moments() -> None:
    made = trainer(warmup=((8, 0.012),))
    for step in range(3):
        made.step(step)
    assert all(state["step"] == 3 for state in made.opt_g.state.values())
    made.step(3)
    assert all(state["step"] == 1 for state in made.opt_g.state.values())


def test_mean_code_is_tracked() -> None:
    made = trainer(judge_first_kimg=10.0)
    before = torch.randn(8)
    made.G.mapping.w_avg.copy_(before)
    (z,) = draws(made, 0, 1)
    expected = before + 0.005 * (made.G.mapping(z).mean(0) - before)
    made.step(0)
    torch.testing.assert_close(made.G.mapping.w_avg, expected)
    assert torch.equal(made.G_ema.mapping.w_avg, made.G.mapping.w_avg)


@pytest.mark.parametrize(("resolution", "used"), [(8, 4), (16, 6)])
def test_styles_are_mixed_at_a_cut(monkeypatch: pytest.MonkeyPatch, resolution: int, used: int) -> None:
    """The first code up to the cut, the second from there on; every cut within the layers in use occurs."""
    made = trainer(style_mixing=0.999)
    seen: list[torch.Tensor] = []
    original = made.G.styles
    monkeypatch.setattr(made.G, "styles", lambda w: (seen.append(w.detach()), original(w))[1])
    cuts = set()
    for seed in range(60):
        torch.manual_seed(seed)
        one = torch.randn(4, 8)
        torch.rand([])
        other = torch.randn(4, 8)
        torch.manual_seed(seed)
        made._fakes(resolution, 1.0)
        w = seen[-1]
        if w.ndim == 2:
            continue
        assert w.shape == (4, 7, 8)
        first, second = made.G.mapping(one), made.G.mapping(other)
        own = [torch.allclose(w[:, i], first, atol=1e-6) for i in range(7)]
        assert [torch.allclose(w[:, i], second, atol=1e-6) for i in range(7)] == [not mine for mine in own]
        cut = sum(own)
        assert own == [True] * cut + [False] * (7 - cut)
        cuts.add(cut)
    assert cuts == set(range(1, used)), "each code has a layer at least"


def test_without_mixing_there_is_one_code(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(style_mixing=0.0)
    seen: list[torch.Tensor] = []
    original = made.G.styles
    monkeypatch.setattr(made.G, "styles", lambda w: (seen.append(w), original(w))[1])
    for _ in range(10):
        made._fakes(16, 1.0)
    assert {w.ndim for w in seen} == {2}


@pytest.mark.parametrize("fade", [0.25, 0.75, 1.0])
def test_real_pictures_fade_in_as_the_drawn_ones_do(fade: float) -> None:
    made = trainer()
    full = made.batches.images(3, 16).numpy()
    coarse = full.reshape(4, 3, 8, 2, 8, 2).mean((3, 5)).repeat(2, 2).repeat(2, 3)
    np.testing.assert_allclose(
        made._reals(3, 16, fade).numpy(), coarse + fade * (full - coarse), rtol=1e-5, atol=1e-6
    )

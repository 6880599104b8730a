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
from flexpose.models import Regressor, RegressorConfig
from flexpose.pretrain.data import PoseBatches, step_seed
from flexpose.pretrain.loop import _Trainer
from flexpose.skeleton import load_skeleton

from .. import tiny

DRAWING = Drawing(load_skeleton("body13"), 16)


def trainer(**changes: Any) -> _Trainer:
    settings = {
        "lessons": (),
        "stages": ((8, 0.04), (16, 0.04)),
        "judge_first_kimg": 0.0,
        "style_mixing": 0.0,
    }
    config = replace(tiny.PRETRAIN, **(settings | changes))
    poses = DRAWING.framed(tiny.source_poses()).normalized
    with torch.random.fork_rng(devices=[]):
        beta = Regressor(RegressorConfig(size_px=16, num_keypoints=13, width=8)).requires_grad_(False)
        batches = PoseBatches(poses, DRAWING, config.batch, config.seed, flips=True)
        made = _Trainer(config, batches, beta)
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
    assert made.schedule.at(step)[2:] == (resolution, pytest.approx(fade))
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
    _, _, resolution, fade = made.schedule.at(step)
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


# --- phases


# Steps: flow 0 and 1, mapping 2 and 3, drawing 4 and 5 at 8 px, 6 and 7 at 16 px; the game from 8 on, or none.
PHASES: dict[str, Any] = {"lessons": ((8, 0.008), (16, 0.008)), "ema_rampup": 1.0}


def parts(made: _Trainer) -> dict[str, dict[str, torch.Tensor]]:
    assert made.lessons is not None
    modules = {
        "G": made.G,
        "D": made.D,
        "G_ema": made.G_ema,
        "joints": made.lessons.joints,
        "joints_ema": made.lessons.joints_ema,
        "flow": made.lessons.flow.velocity,
    }
    return {name: copy.deepcopy(dict(module.state_dict())) for name, module in modules.items()}


def test_each_phase_trains_its_own_part() -> None:
    made = trainer(**PHASES)
    moved, figures = [], []
    for step in range(9):
        before = parts(made)
        figures.append(set(made.step(step)))
        after = parts(made)
        moved.append(
            {
                name
                for name, tensors in after.items()
                if any(not torch.equal(tensor, before[name][key]) for key, tensor in tensors.items())
            }
        )
    # The average of G is made equal to G at the first step, when the biases of this test are new to it.
    assert moved[0] == {"flow", "G_ema"}
    assert moved[1] == {"flow"}
    assert moved[2:4] == [{"G", "joints", "G_ema", "joints_ema"}] * 2
    assert moved[4:8] == [{"G", "joints", "G_ema", "joints_ema"}] * 4
    assert moved[8] - {"joints_ema"} == {"G", "D", "G_ema"}
    assert figures[:4] == [{"loss_flow"}] * 2 + [{"mapping_rmse_px"}] * 2
    assert figures[4:6] == [{"loss_drawing"}] * 2
    assert figures[6:8] == [{"loss_drawing", "error_px"}] * 2
    assert {"loss_g", "loss_d", "real", "fake"} <= figures[8]


def test_lessons_are_told_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(**PHASES)
    assert made.lessons is not None
    seen: list[Any] = []
    monkeypatch.setattr(made.lessons.flow, "step", lambda step: seen.append(("flow", step)) or 0.0)
    monkeypatch.setattr(made.lessons, "mapping_step", lambda step: seen.append(("mapping", step)) or 0.0)

    def drawing(step: int, resolution: int, *, share: float, since: int) -> dict[str, float]:
        seen.append((step, resolution, pytest.approx(share), since))
        return {}

    monkeypatch.setattr(made.lessons, "drawing_step", drawing)
    for step in range(8):
        made.step(step)
    cosine = [0.5 + 0.5 * np.cos(np.pi * i / 4) for i in range(4)]
    assert seen == [
        *(("flow", 0), ("flow", 1), ("mapping", 0), ("mapping", 1)),
        *((4, 8, cosine[0], 0), (5, 8, cosine[1], 1), (6, 16, cosine[2], 0), (7, 16, cosine[3], 1)),
    ]


@pytest.mark.parametrize("stages", [(), ((16, 0.008),)])
def test_the_halves_are_joined_at_the_end_of_the_lessons(stages: Any) -> None:
    """What both networks draw from z is what head and embed make of it, from that step on."""
    made = trainer(**PHASES, stages=stages)
    lessons = made.lessons
    assert lessons is not None
    for step in range(8):
        made.step(step)
        halves = ((made.G, lessons.joints), (made.G_ema, lessons.joints_ema))
        z = torch.randn(5, 8)
        for generator, joints in halves:
            w = generator.mapping.finish(joints.embed(joints.head(generator.mapping(z, stop=1))), 2)
            assert torch.allclose(w, generator.map(z), atol=1e-4) == (step == 7)
    for generator, _ in halves:
        w = torch.cat([generator.map(torch.randn(500, 8)) for _ in range(8)])
        torch.testing.assert_close(generator.mapping.w_avg, w.mean(0), rtol=0, atol=0.1)
        assert generator.mapping.w_avg.any()


def test_the_average_of_the_lessons_counts_their_pictures() -> None:
    """Until the first picture it is G itself; then its half-life is all pictures so far, but not more than is set."""
    made = trainer(**PHASES, ema_half_life_kimg=0.01)
    assert made.lessons is not None
    for step in range(4):
        made.step(step)
    for name, tensor in made.G_ema.state_dict().items():
        assert torch.equal(tensor, made.G.state_dict()[name])
    for step, half_life in ((4, 4), (5, 8), (6, 10)):
        old = [p.clone() for p in (*made.G_ema.parameters(), *made.lessons.joints_ema.parameters())]
        made.step(step)
        new = [*made.G_ema.parameters(), *made.lessons.joints_ema.parameters()]
        now = [*made.G.parameters(), *made.lessons.joints.parameters()]
        keep = 0.5 ** (4 / half_life)
        for before, average, value in zip(old, new, now, strict=True):
            torch.testing.assert_close(average, keep * before + (1 - keep) * value, rtol=1e-4, atol=1e-6)


def test_the_game_has_moments_of_its_own() -> None:
    made = trainer(**PHASES)
    for step in range(8):
        made.step(step)
    assert not made.opt_g.state
    assert not made.opt_d.state
    made.step(8)
    assert made.opt_g.state
    assert all(state["step"] == 1 for state in made.opt_g.state.values())


def test_what_a_grid_shows() -> None:
    """Thirty-six pictures of the average from codes that never change, with the halves joined for it."""
    made = trainer(**PHASES)
    lessons = made.lessons
    assert lessons is not None
    for step in range(7):
        made.step(step)
    z = torch.from_numpy(np.random.default_rng((0, 4)).standard_normal((36, 8), np.float32))
    joints = lessons.joints_ema
    with torch.no_grad():
        w = made.G_ema.mapping.finish(joints.embed(joints.head(made.G_ema.mapping(z, stop=1))), 2)
        images = made.G_ema.synthesize(made.G_ema.styles(w)).numpy()
    pixels = np.clip(np.round((images + 1) * 127.5), 0, 255).transpose(0, 2, 3, 1)
    grid = made.grid(6)
    assert grid.shape == (4 * 16 + 3, 9 * 16 + 8, 3)
    for i in (0, 8, 9, 35):
        row, column = divmod(i, 9)
        tile = grid[17 * row : 17 * row + 16, 17 * column : 17 * column + 16]
        np.testing.assert_allclose(tile.astype(float), pixels[i], atol=1)
    assert made.grid(4).shape == (4 * 8 + 3, 9 * 8 + 8, 3)


# --- codes and pictures of the game


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

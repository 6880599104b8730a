"""The drawing lessons: losses, gradients and rates from formulas, the two halves of the mapping network made one."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from flexpose.drawing import Drawing
from flexpose.errors import DataError
from flexpose.models import Generator, Regressor, RegressorConfig
from flexpose.models.layers import EqualLinear
from flexpose.pretrain.augment import stretch_and_turn
from flexpose.pretrain.code import PoseCode
from flexpose.pretrain.data import PoseBatches
from flexpose.pretrain.lessons import Lessons, _spread_hinges, pyramid_loss
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path

DRAWING = Drawing(load_skeleton("body13"), 16)
POSES = DRAWING.framed(tiny.source_poses()).normalized


def make(*, beta: bool = True, poses: np.ndarray = POSES, **changes: Any) -> Lessons:
    config = replace(tiny.PRETRAIN, **({"w_dim": 12, "mapping_layers": 4, "pose_layers": 2} | changes))
    torch.manual_seed(4)
    generator = Generator(config.generator_config())
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    average = copy.deepcopy(generator)
    batches = PoseBatches(poses, DRAWING, config.batch, config.seed, flips=True)
    code = PoseCode(batches.with_mirrored(), config.z_dim)
    reader = Regressor(RegressorConfig(size_px=16, num_keypoints=13, width=8)).eval().requires_grad_(False)
    lessons = Lessons(config, generator, average, batches, code, reader if beta else None, torch.float32)
    with torch.no_grad():
        lessons.joints.head.bias.normal_()
    return lessons


def changed(lessons: Lessons, before: dict[str, torch.Tensor]) -> set[str]:
    """The tensors that are no longer what they were."""
    return {name for name, tensor in everything(lessons).items() if not torch.equal(tensor, before[name])}


def everything(lessons: Lessons) -> dict[str, torch.Tensor]:
    parts = {"G": lessons.G, "G_ema": lessons.G_ema, "joints": lessons.joints, "flow": lessons.flow.velocity}
    return {
        f"{part}.{name}": tensor.clone()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


# --- the loss of pictures


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    while True:
        total += ((a - b) ** 2).mean() / b.var(0, ddof=1).mean()
        if a.shape[2] == 4:
            return total
        n, c, h, w = a.shape
        a, b = (x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5)) for x in (a, b))


@pytest.mark.parametrize("side", [4, 8, 16])
def test_loss_is_the_sum_over_halvings(side: int) -> None:
    rng = np.random.default_rng(side)
    a, b = rng.standard_normal((2, 3, 3, side, side))
    got = pyramid_loss(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert got == pytest.approx(by_hand(a, b), rel=1e-6)
    assert pyramid_loss(torch.from_numpy(a), torch.from_numpy(a)).item() == 0


def test_loss_of_targets_that_are_all_the_same_is_finite() -> None:
    images = torch.zeros(3, 3, 8, 8, requires_grad=True)
    loss = pyramid_loss(images, torch.ones(3, 3, 8, 8))
    loss.backward()
    assert loss.isfinite()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_coarse_levels_see_a_limb_that_does_not_overlap() -> None:
    """The loss falls as soon as two dots share a cell of some level, before they meet."""
    target = torch.zeros(2, 1, 16, 16)
    target[0, 0, 8, 2] = 1
    losses = []
    for column in (14, 0, 3):
        images = torch.zeros(2, 1, 16, 16)
        images[0, 0, 8, column] = 1
        losses.append(pyramid_loss(images, target).item())
    assert losses[0] > losses[1] > losses[2] > 0


# --- joints between the layers


@pytest.mark.parametrize(("size", "width"), [(3, 12), (3, 14), (26, 60)])
def test_units_bend_at_evenly_spaced_values_of_one_coordinate(size: int, width: int) -> None:
    torch.manual_seed(0)
    layer = EqualLinear(size, width, activate=True)
    random = layer.weight.detach().clone()
    _spread_hinges(layer)
    each = width // size

    def before_activation(x: torch.Tensor) -> torch.Tensor:
        y = layer(x) / math.sqrt(2)
        return torch.where(y < 0, y / 0.2, y).detach()

    # A line along each coordinate: every unit is a straight line of its own coordinate, and the others do not move it.
    at, base = torch.linspace(-3, 3, 7), before_activation(torch.zeros(1, size))
    for coordinate in range(size):
        x = torch.zeros(7, size)
        x[:, coordinate] = at
        moved = before_activation(x) - base
        own = slice(coordinate * each, (coordinate + 1) * each)
        others = [unit for unit in range(size * each) if not own.start <= unit < own.stop]
        assert moved[:, others].abs().max() == 0
        slopes = moved[-1, own] / 3
        torch.testing.assert_close(moved[:, own], at[:, None] * slopes)
        torch.testing.assert_close(slopes, torch.tensor([-4 / 3, 4 / 3] * each)[:each], rtol=1e-4, atol=0)
        bends = -base[0, own] / slopes
        cells = (torch.arange(each) + 0.5) / each
        torch.testing.assert_close(bends, 6 * cells - 3, rtol=1e-4, atol=1e-5)
    assert torch.equal(layer.weight[size * each :], random[size * each :])


def test_a_narrow_layer_stays_random() -> None:
    torch.manual_seed(0)
    layer = EqualLinear(26, 25, activate=True)
    before = layer.weight.detach().clone()
    _spread_hinges(layer)
    assert torch.equal(layer.weight, before)


def test_joints_are_measured_from_the_mean_in_units_of_the_spread() -> None:
    lessons = make()
    both = lessons.batches.with_mirrored().astype(np.float64).reshape(len(POSES) * 2, 26)
    expected = (both - both.mean(0)) / both.std(0).mean()
    np.testing.assert_allclose(lessons._units(lessons.poses).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("mapping_layers", "pose_layers"), [(4, 2), (3, 1), (2, 1), (5, 4)])
def test_join_is_head_then_embed(mapping_layers: int, pose_layers: int) -> None:
    """G(z) after it is what the first layers, head, embed and the last layers make of z, for G and for its average."""
    lessons = make(mapping_layers=mapping_layers, pose_layers=pose_layers)
    halves = ((lessons.G, lessons.joints), (lessons.G_ema, lessons.joints_ema))
    for generator, joints in halves:
        generator.double()
        joints.double()
        with torch.no_grad():
            for parameter in (*generator.mapping.parameters(), *joints.parameters()):
                parameter.normal_(std=0.7)
    z = torch.randn(9, 8, dtype=torch.float64)
    lessons.join()
    results = []
    for generator, joints in halves:
        x = z / z.square().mean(1, keepdim=True).sqrt()
        for layer in generator.mapping.layers[:pose_layers]:
            x = layer(x)
        x = joints.embed(joints.head(x))
        for layer in generator.mapping.layers[pose_layers + 1 :]:
            x = layer(x)
        # The normalisation's epsilon of 1e-8 is all that the formula leaves out.
        torch.testing.assert_close(generator.map(z), x, rtol=1e-6, atol=1e-6)
        hidden = generator.mapping(z, stop=pose_layers)
        w = generator.mapping.finish(joints.embed(joints.head(hidden)), pose_layers + 1)
        torch.testing.assert_close(generator.map(z), w, rtol=1e-12, atol=1e-12)
        results.append(w)
    assert not torch.allclose(*results), "each half has its own joints"
    with torch.no_grad():
        before = [p.clone() for p in lessons.G.parameters()]
        lessons.join()
    assert all(torch.equal(a, b) for a, b in zip(before, lessons.G.parameters(), strict=True))


def test_join_takes_the_mean_of_w() -> None:
    """What truncation pulls to: the mean over many other codes is within five standard errors of both."""
    lessons = make()
    lessons.join()
    for generator in (lessons.G, lessons.G_ema):
        with torch.no_grad():
            w = generator.map(torch.randn(4096, 8))
        error = 5 * w.std(0) * math.sqrt(2 / 4096)
        assert ((w.mean(0) - generator.mapping.w_avg).abs() < error + 1e-6).all()
        assert generator.mapping.w_avg.norm() > 0.1


@pytest.mark.parametrize("keep", [0.0, 0.75])
def test_average_of_the_joints(keep: float) -> None:
    lessons = make()
    old = copy.deepcopy(lessons.joints_ema)
    lessons.average(keep)
    for average, before, value in zip(
        lessons.joints_ema.parameters(), old.parameters(), lessons.joints.parameters(), strict=True
    ):
        torch.testing.assert_close(average, keep * before + (1 - keep) * value)


# --- the second lesson


def test_mapping_step_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Squared error between what the head reads from the first layers and the flow's pose, in units."""
    lessons = make()
    step = 1
    rng = np.random.default_rng((0, 8, step))
    starts, poses = lessons.flow.pairs(40)
    rows = rng.integers(0, 40, 8)
    x = torch.from_numpy(lessons.code.latents(starts[rows], rng))
    layers = [*lessons.G.mapping.layers[:2], lessons.joints.head]
    for layer in layers:
        x = layer(x)
    target = (poses[rows].reshape(8, 26) - lessons.mean.numpy()) / lessons.scale
    loss = ((x - torch.from_numpy(target)) ** 2).mean()
    parameters = [p for layer in layers for p in layer.parameters()]
    gradients = torch.autograd.grad(loss, parameters)
    monkeypatch.setattr(lessons.opt_mapping, "step", lambda: None)
    rmse_px = math.sqrt(loss.item()) * lessons.scale * 8  # a unit of the frame is 8 of the 16 px
    assert lessons.mapping_step(step) == pytest.approx(rmse_px, rel=1e-5)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_the_mapping_lesson_moves_the_first_layers_and_the_head_alone() -> None:
    lessons = make()
    before = everything(lessons)
    lessons.mapping_step(0)
    assert changed(lessons, before) == {
        *(f"G.mapping.layers.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")),
        *("joints.head.weight", "joints.head.bias"),
    }


def test_mapping_learns_the_poses_of_the_flow() -> None:
    lessons = make(w_dim=32, mapping_steps=250, mapping_batch=40, mapping_lr=0.02)
    errors = [lessons.mapping_step(step) for step in range(250)]
    poses = lessons.pairs()[1]
    mean_alone = float((poses - poses.mean(0)).std()) * 8
    assert np.median(errors[-20:]) < 0.35 * mean_alone < 0.5 * errors[0]


def test_rates_of_the_mapping_lesson() -> None:
    lessons = make(mapping_steps=1000, mapping_lr=0.5)
    seen = []
    for step in (0, 74, 149, 500, 999):
        lessons.mapping_step(step)
        (group,) = lessons.opt_mapping.param_groups
        seen.append(group["lr"])
    share = [0.5 + 0.5 * math.cos(math.pi * step / 1000) for step in (0, 74, 149)]
    # Begins slowly, a cosine then, never below a fiftieth.
    expected = [share[0] / 150, share[1] / 2, share[2], 0.5, 0.02]
    assert seen == pytest.approx([0.5 * rate for rate in expected])


def test_pairs_are_made_once_and_of_the_settings_number(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = make(pairs=33)
    starts, poses = lessons.pairs()
    assert (starts.shape, poses.shape) == ((33, 4), (33, 13, 2))
    monkeypatch.setattr(lessons.flow, "pairs", None)
    assert lessons.pairs()[0] is starts


# --- the third lesson


@pytest.mark.parametrize(("batch", "parts"), [(2, (1, 0, 1)), (3, (1, 0, 2)), (8, (4, 2, 2)), (9, (4, 2, 3))])
def test_poses_to_draw(batch: int, parts: tuple[int, int, int]) -> None:
    """Half as the flow makes them, a quarter of the source, the rest of the source but bent and turned."""
    lessons = make(batch=batch)
    poses = lessons.drawing_poses(6)
    assert poses.shape == (batch, 13, 2)
    made, source = ({pose.tobytes() for pose in some} for some in (lessons.pairs()[1], lessons.poses))
    kinds = ["made" if p.tobytes() in made else "source" if p.tobytes() in source else "bent" for p in poses]
    assert kinds == [
        kind for kind, n in zip(("made", "source", "bent"), parts, strict=True) for _ in range(n)
    ]
    assert np.abs(poses[batch // 2 :]).max() < 1.06
    np.testing.assert_array_equal(poses, lessons.drawing_poses(6))
    assert not np.array_equal(poses, lessons.drawing_poses(7))


def test_bent_poses_are_those_of_the_source_that_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = make(batch=8)
    given: list[np.ndarray] = []

    def keep(poses: np.ndarray, skeleton: Any, rng: np.random.Generator) -> np.ndarray:
        given.append(poses.copy())
        return stretch_and_turn(poses, skeleton, rng)

    monkeypatch.setattr("flexpose.pretrain.lessons.stretch_and_turn", keep)
    lessons.drawing_poses(0)
    source = {pose.tobytes() for pose in lessons.poses}
    assert len(given[0]) == 2
    assert all(pose.tobytes() in source for pose in given[0])


def smooth_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Huber's loss over 0.05: a parabola up to 0.05, a line beyond."""
    d = (a - b).abs()
    return torch.where(d < 0.05, d**2 / 0.1, d - 0.025).mean()


@pytest.mark.parametrize(
    ("resolution", "beta", "weight"), [(8, True, 10.0), (16, True, 10.0), (16, True, 2.5), (16, False, 10.0)]
)
def test_drawing_step_by_hand(
    monkeypatch: pytest.MonkeyPatch, resolution: int, beta: bool, weight: float
) -> None:
    """The pyramid loss to alpha's picture, and at full size the joints that beta reads; clipped to length 5."""
    lessons = make(beta=beta, keypoint_weight=weight, batch=8)
    step = 3
    poses = lessons.drawing_poses(step)
    targets = torch.from_numpy(DRAWING.images(poses)) / 127.5 - 1
    if resolution == 8:
        targets = targets.reshape(8, 3, 8, 2, 8, 2).mean((3, 5))
    w = lessons.joints.embed(lessons._units(poses))
    w = lessons.G.mapping.layers[3](w)
    images = lessons.G.synthesize(lessons.G.styles(w), noise="none", last_resolution=resolution)
    drawn = pyramid_loss(images, targets)
    loss = drawn
    if beta and resolution == 16:
        assert lessons.beta is not None
        read = lessons.beta(images).normalized
        loss = drawn + weight * smooth_l1(read, torch.from_numpy(poses))
    modules = {"embed": lessons.joints.embed, "last": lessons.G.mapping.layers[3]}
    modules |= {"affine": lessons.G.affine, "synthesis": lessons.G.synthesis}
    parameters = {f"{a}.{b}": p for a, module in modules.items() for b, p in module.named_parameters()}
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    length = math.sqrt(sum(float(g.double().square().sum()) for g in gradients if g is not None))
    assert length > 5, "there is something to clip"
    monkeypatch.setattr(lessons.opt_drawing, "step", lambda: None)
    figures = lessons.drawing_step(step, resolution, share=0.5, since=14)
    assert figures["loss_drawing"] == pytest.approx(drawn.item(), rel=1e-5)
    assert ("error_px" in figures) == (beta and resolution == 16)
    if "error_px" in figures:
        error = np.linalg.norm(read.detach().numpy() - poses, axis=-1).mean() * 8
        assert figures["error_px"] == pytest.approx(error, rel=1e-4)
    used = 0
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is None:
            assert parameter.grad is None, name
            continue
        used += 1
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, gradient * (5 / length), rtol=2e-3, atol=1e-5, msg=name)
    assert used > 20
    assert all(p.grad is None for p in lessons.mapped)
    (group,) = lessons.opt_drawing.param_groups
    assert group["lr"] == pytest.approx(0.06 * 0.5 * 15 / 150)


def test_short_gradients_are_not_made_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = make(beta=False, batch=8)
    monkeypatch.setattr("flexpose.pretrain.lessons.pyramid_loss", lambda a, b: 1e-4 * pyramid_loss(a, b))
    monkeypatch.setattr(lessons.opt_drawing, "step", lambda: None)
    lessons.drawing_step(3, 16, share=1.0, since=0)
    short = [p.grad.clone() for p in lessons.drawing if p.grad is not None]
    length = math.sqrt(sum(float(g.square().sum()) for g in short))
    assert 0 < length < 0.1
    poses = lessons.drawing_poses(3)
    images = lessons.G.synthesize(
        lessons.G.styles(lessons.G.mapping.finish(lessons.joints.embed(lessons._units(poses)), 3)),
        noise="none",
    )
    loss = 1e-4 * pyramid_loss(images, lessons.batches.drawn(poses))
    expected = [g for g in torch.autograd.grad(loss, lessons.drawing, allow_unused=True) if g is not None]
    for gradient, other in zip(short, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=2e-3, atol=1e-9)


def test_the_drawing_lesson_leaves_mapping_and_beta_alone() -> None:
    lessons = make()
    assert lessons.beta is not None
    reader = {name: tensor.clone() for name, tensor in lessons.beta.state_dict().items()}
    before = everything(lessons)
    lessons.drawing_step(0, 16, share=1.0, since=0)
    moved = changed(lessons, before)
    assert {"joints.embed.weight", "G.mapping.layers.3.weight", "G.synthesis.const"} <= moved
    assert {name.split(".")[0] for name in moved} == {"G", "joints"}
    still = {"joints.head", "G.mapping.layers.0", "G.mapping.layers.1", "G.mapping.layers.2"}
    assert not {name.rpartition(".")[0] for name in moved} & still
    assert all(torch.equal(tensor, reader[name]) for name, tensor in lessons.beta.state_dict().items())


@pytest.mark.parametrize(
    ("share", "since", "factor"),
    [(1.0, 149, 1.0), (1.0, 10_000, 1.0), (0.3, 74, 0.15), (0.001, 500, 0.02), (0.0, 0, 0.02 / 150)],
)
def test_rates_of_the_drawing_lesson(share: float, since: int, factor: float) -> None:
    lessons = make(lessons_lr=0.5)
    lessons.drawing_step(0, 8, share=share, since=since)
    assert lessons.opt_drawing.param_groups[0]["lr"] == pytest.approx(0.5 * factor)


# --- state


def test_lessons_go_on_from_a_state(tmp_path: Path) -> None:
    def steps(lessons: Lessons) -> list[float]:
        lessons.average(0.5)
        drawn = lessons.drawing_step(5, 16, share=1.0, since=3)
        return [lessons.flow.step(4), lessons.mapping_step(2), drawn["loss_drawing"], drawn["error_px"]]

    one, other = make(), make()
    one.flow.step(0)
    one.mapping_step(1)
    one.drawing_step(2, 8, share=1.0, since=0)
    one.average(0.5)
    state = {name: tensor.clone() for name, tensor in one.state().items()}
    networks = copy.deepcopy(one.G.state_dict())
    expected = steps(one)
    other.load(state, tmp_path)
    other.G.load_state_dict(networks)
    assert steps(other) == expected
    for name, tensor in one.state().items():
        assert torch.equal(tensor, other.state()[name]), name


def test_poses_that_are_all_the_same_are_refused() -> None:
    lone = np.repeat(POSES[:1], 5, 0)
    lone[..., 0] = 0  # a mirror image is the same, too
    lone = (lone + lone[:, DRAWING.skeleton.flip_index]) / 2
    with pytest.raises(DataError, match="need poses that differ, got 10 that are the same"):
        make(poses=lone)

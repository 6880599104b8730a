"""The flow of poses: its step by hand, its pairing by brute force, its integration in closed form, what it learns."""

from __future__ import annotations

import copy
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from flexpose.errors import DataError
from flexpose.pretrain import flow as module
from flexpose.pretrain.code import PoseCode
from flexpose.pretrain.flow import PoseFlow, Velocity

if TYPE_CHECKING:
    from pathlib import Path

CENTRES = np.array([[-0.6, -0.3], [0.7, -0.2], [0.0, 0.5]])


def mixture(n: int, seed: int) -> np.ndarray:
    """[n, 1, 2]: poses of one joint around three places; nothing lies between them."""
    rng = np.random.default_rng(seed)
    points = CENTRES[rng.integers(0, 3, n)] + rng.normal(0, 0.06, (n, 2)) * [1.5, 0.5]
    return points[:, None].astype(np.float32)


def make(**changes: Any) -> PoseFlow:
    torch.manual_seed(3)
    poses = mixture(2000, 1)
    code = PoseCode(poses, changes.pop("z_dim", 8))
    settings = {"width": 16, "lr": 0.01, "steps": 400, "batch": 5, "seed": 2} | changes
    return PoseFlow(code, code.encode(poses), **settings)


def wide(flow: PoseFlow) -> PoseFlow:
    """The same with an outlet that is not zero, so that every weight has a gradient."""
    with torch.no_grad():
        flow.velocity.outlet.weight.normal_(std=0.3)
    return flow


# --- a step


def drawn(flow: PoseFlow, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, ends and times of a step, as its seed gives them."""
    rng = np.random.default_rng((flow.seed, 6, step))
    starts = flow.code.starts(flow.batch, rng)
    ends = flow.codes[rng.integers(0, len(flow.codes), flow.batch)]
    return starts, ends, rng.random((flow.batch, 1), np.float32)


def cheapest(starts: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> tuple[int, ...]:
    """For each start its end, by trying them all."""

    def cost(order: tuple[int, ...]) -> float:
        return float((weights * (starts - ends[list(order)]).astype(np.float64) ** 2).sum())

    return min(permutations(range(len(starts))), key=cost)


@pytest.mark.parametrize("step", [0, 7, 200])
def test_a_step_by_hand(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Starts and ends that transport pairs at the least cost; the squared error of the velocity between them."""
    flow = wide(make())
    before = copy.deepcopy(flow.velocity)
    starts, ends, time = drawn(flow, step)
    # An axis counts as its spread does, beside the widest.
    weights = (flow.code.std / flow.code.std.max()).astype(np.float32)
    order = cheapest(starts, ends, weights)
    assert order != tuple(range(5)), "the pairing has something to do"
    x0, x1 = torch.from_numpy(starts), torch.from_numpy(ends[list(order)])
    t = torch.from_numpy(time)  # of the starts in the order in which they were drawn
    error = before(x0 * (1 - t) + x1 * t, t) - (x1 - x0)
    loss = (error**2 * torch.from_numpy(weights)).mean()
    gradients = torch.autograd.grad(loss, list(before.parameters()))
    monkeypatch.setattr(flow.optimiser, "step", lambda: None)
    assert flow.step(step) == pytest.approx(loss.item(), rel=1e-5)
    for parameter, gradient in zip(flow.velocity.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)
    rate = 0.01 * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * step / 400))
    assert [group["lr"] for group in flow.optimiser.param_groups] == [pytest.approx(rate)]


def test_narrow_axes_weigh_little_in_the_pairing() -> None:
    """Pairs that the weighted cost joins and the plain one does not."""
    flow = make()
    assert flow.code.std[1] < 0.8 * flow.code.std[0]
    weights = flow.code.std / flow.code.std.max()
    orders = [
        (cheapest(*drawn(flow, step)[:2], weights), cheapest(*drawn(flow, step)[:2], np.ones(2)))
        for step in range(20)
    ]
    assert any(weighted != plain for weighted, plain in orders)


@pytest.mark.parametrize(("step", "keep"), [(0, 1 / 20), (19, 20 / 39), (50_000, 0.999)])
def test_average_follows_the_weights(step: int, keep: float) -> None:
    flow = wide(make(steps=100_000))
    old = [p.clone() for p in flow.average.parameters()]
    flow.step(step)
    for average, before, value in zip(
        flow.average.parameters(), old, flow.velocity.parameters(), strict=True
    ):
        torch.testing.assert_close(average, keep * before + (1 - keep) * value, rtol=1e-4, atol=1e-6)


def test_steps_go_on_from_a_state(tmp_path: Path) -> None:
    flow = make()
    for step in range(3):
        flow.step(step)
    state = {name: tensor.clone() for name, tensor in flow.state().items()}
    expected = [flow.step(step) for step in range(3, 6)]
    torch.manual_seed(99)
    again = make(seed=2)
    again.load(state, tmp_path)
    assert [again.step(step) for step in range(3, 6)] == expected
    assert flow.state().keys() == again.state().keys()
    for name, tensor in flow.state().items():
        assert torch.equal(tensor, again.state()[name]), name
    x = flow.code.starts(9, np.random.default_rng(0))
    np.testing.assert_array_equal(flow.transport(x), again.transport(x))
    with pytest.raises(DataError):
        make(width=24).load(state, tmp_path)


# --- integration


class Field(nn.Module):
    """A velocity that is known."""

    def __init__(self, velocity: Any) -> None:
        super().__init__()
        self.velocity = velocity

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        assert x.shape == (len(time), 2)
        assert time.shape == (len(x), 1)
        result: Tensor = self.velocity(x, time)
        return result


MATRIX = torch.tensor([[0.3, -1.2], [0.8, -0.4]])


@pytest.mark.parametrize(
    ("velocity", "end"),
    [
        (lambda x, t: torch.ones_like(x) * torch.tensor([1.0, -2.0]), lambda x: x + np.array([1, -2])),
        # The middle of a step is exact for what grows evenly in time.
        (lambda x, t: 2 * t.expand_as(x), lambda x: x + 1),
        # Of x' = A x eight steps of the midpoint rule make (I + hA + (hA)^2 / 2)^8.
        (
            lambda x, t: x @ MATRIX.T,
            lambda x: (
                x
                @ np.linalg.matrix_power(
                    np.eye(2) + MATRIX.numpy() / 8 + (MATRIX.numpy() / 8) @ (MATRIX.numpy() / 8) / 2, 8
                ).T
            ),
        ),
        (lambda x, t: 3 * t.square().expand_as(x), lambda x: x + 3 / 8 * sum(((i + 0.5) / 8) ** 2 for i in range(8))),
    ],
    ids=["constant", "in time", "linear", "square of time"],
)  # fmt: skip
def test_transport_is_the_midpoint_rule(monkeypatch: pytest.MonkeyPatch, velocity: Any, end: Any) -> None:
    flow = make()
    monkeypatch.setattr(flow, "average", Field(velocity))
    x = np.random.default_rng(0).standard_normal((11, 2)).astype(np.float32)
    for chunk in (4096, 4):
        monkeypatch.setattr(module, "_CHUNK", chunk)
        got = flow.transport(x)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, end(x.astype(np.float64)), rtol=1e-5, atol=1e-5)


def test_velocity_knows_the_time() -> None:
    torch.manual_seed(0)
    velocity = Velocity(2, 16)
    x = torch.zeros(9, 2)
    assert (velocity(x, torch.rand(9, 1)) == velocity.outlet.bias).all(), "an untrained flow moves all alike"
    nn.init.normal_(velocity.outlet.weight)
    apart = velocity(x, torch.linspace(0, 1, 9)[:, None])
    assert torch.cdist(apart, apart).add(torch.eye(9)).min() > 1e-3


# --- what it learns


@pytest.fixture(scope="module")
def trained() -> PoseFlow:
    flow = make(steps=500, batch=96, width=32)
    for step in range(500):
        flow.step(step)
    return flow


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """2 E|a - b| - E|a - a'| - E|b - b'|, Szekely and Rizzo: 0 only where both are of one distribution."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    within = [cdist(x, x).sum() / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(2 * cdist(a, b).mean() - sum(within))


def test_it_reaches_a_mixture(trained: PoseFlow) -> None:
    made = trained.pairs(1500)[1]
    fresh = mixture(1500, 77)
    normal = np.random.default_rng(5).multivariate_normal(
        fresh[:, 0].mean(0), np.cov(fresh[:, 0].T), size=1500
    )
    assert made.shape == (1500, 1, 2)
    best = abs(energy_distance(mixture(1500, 78), fresh))
    assert best < 0.003
    assert energy_distance(made, fresh) < 0.1 * energy_distance(normal, fresh)
    # Each place has its share, and few points lie between the places.
    distance = cdist(made[:, 0], CENTRES)
    np.testing.assert_allclose(np.bincount(distance.argmin(1), minlength=3) / 1500, 1 / 3, atol=0.06)
    assert (distance.min(1) > 0.3).mean() < 0.05 < 0.2 < (cdist(normal, CENTRES).min(1) > 0.3).mean()


def test_transport_is_deterministic(trained: PoseFlow) -> None:
    x = trained.code.starts(700, np.random.default_rng(0))
    kept = x.copy()
    once = trained.transport(x)
    np.testing.assert_array_equal(trained.transport(x), once)
    np.testing.assert_array_equal(x, kept)


def test_pairs_are_starts_and_where_they_end(trained: PoseFlow) -> None:
    starts, poses = trained.pairs(300)
    again = trained.pairs(300)
    np.testing.assert_array_equal(starts, again[0])
    np.testing.assert_array_equal(poses, again[1])
    np.testing.assert_array_equal(poses, trained.code.decode(trained.transport(starts)))
    # Starts are as long as parts of z are: here two of eight coordinates.
    assert (np.linalg.norm(starts, axis=1) < np.sqrt(8)).all()
    assert np.corrcoef(starts.T)[0, 1] == pytest.approx(0, abs=0.2)


def test_the_flow_bends_little(trained: PoseFlow) -> None:
    """Starts that are near each other end at the same place: a mapping network has to follow this."""
    starts, poses = trained.pairs(600)
    place = cdist(poses[:, 0], CENTRES).argmin(1)
    distance = cdist(starts, starts) + 1e9 * np.eye(600)
    same = place[distance.argmin(1)] == place
    assert same.mean() > 0.9

"""A flow from z to the codes of the source poses: the teacher of the mapping network.

In the space of joints the distribution of the source is easily learned, in minutes, by flow matching: a network gives
the velocity at which a straight line from noise to a pose passes a point. Noise and poses are paired by optimal
transport within a batch, so that the map from noise to pose bends as little as can be, and a mapping network can
follow it. This is ours, not the paper's, which leaves all to the adversarial game.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from .._distributed import ALONE
from ..checkpoint import flat, flat_optimiser, load_module, load_optimiser, take

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .._distributed import World
    from .code import PoseCode

__all__ = ["PoseFlow", "Velocity"]

_FREQUENCIES = 8
_BLOCKS = 4
_INTEGRATION_STEPS = 8
_CHUNK = 4096


class Velocity(nn.Module):
    """[N, D] points and times [N, 1] in [0, 1] -> [N, D] velocities; residual blocks of width `width`."""

    frequencies: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.inlet = nn.Linear(size + 1 + 2 * _FREQUENCIES, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(_BLOCKS)
        )
        self.outlet = nn.Linear(width, size)
        nn.init.zeros_(self.outlet.weight)
        steps = 2.0 ** torch.arange(_FREQUENCIES) * (math.pi / 2)
        self.register_buffer("frequencies", steps, persistent=False)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Velocity at `x` and `time`."""
        angles = time * self.frequencies
        h = self.inlet(torch.cat([x, time, angles.sin(), angles.cos()], 1))
        for block in self.blocks:
            h = h + block(h)
        velocity: Tensor = self.outlet(h)
        return velocity


class PoseFlow:
    """Flow matching from the first coordinates of z to the codes of poses.

    Args:
        code: the code of the source poses.
        codes: [M, D] float32 codes of all of them.
        width: of the velocity network.
        lr: Adam's rate at its highest.
        steps: length of the training.
        batch: pairs a step.
        seed: of all that is random in it.
        world: the processes that train it together.

    Source: flow matching, arXiv:2210.02747, Eq. 23 with no noise at the end; pairs by transport within a batch,
    arXiv:2302.00482, section 3.2.3.
    """

    def __init__(
        self,
        code: PoseCode,
        codes: NDArray[np.float32],
        *,
        width: int,
        lr: float,
        steps: int,
        batch: int,
        seed: int,
        world: World = ALONE,
    ) -> None:
        self.code, self.codes, self.world = code, codes, world
        self.lr, self.steps, self.batch, self.seed = lr, steps, batch, seed
        self.velocity = Velocity(code.size, width).to(world.device)
        self.average = copy.deepcopy(self.velocity).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.velocity.parameters(), lr=lr)
        # An axis along which poses spread little weighs little, in the pairing and in the loss.
        self._weights = (code.std / code.std.max()).astype(np.float32)

    def state(self) -> dict[str, Tensor]:
        """All that changes in training."""
        tensors = flat("velocity", self.velocity.state_dict()) | flat("average", self.average.state_dict())
        return tensors | flat_optimiser("optimiser", self.optimiser)

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        """Go on from a `state`."""
        load_module(self.velocity, take(tensors, "velocity"), path=path)
        load_module(self.average, take(tensors, "average"), path=path)
        load_optimiser(self.optimiser, take(tensors, "optimiser"))

    def step(self, step: int) -> float:
        """Train for one step; returns the loss."""
        rate = self.lr * (0.5 + 0.5 * math.cos(math.pi * step / self.steps)) * min(1.0, (step + 1) / 100)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng((self.seed, 6, step))
        start = self.code.starts(self.batch, rng)
        end = self.codes[rng.integers(0, len(self.codes), self.batch)]
        time = rng.random((self.batch, 1), np.float32)
        # The squared distances but for the terms that are the same for every pairing.
        first, second = linear_sum_assignment(-(start * self._weights) @ end.T)
        own = self.world.share(self.batch)
        x0, x1, t = (self._tensor(rows[own]) for rows in (start[first], end[second], time))
        error = self.velocity(torch.lerp(x0, x1, t), t) - (x1 - x0)
        loss = (error.square() * self._tensor(self._weights)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        part = len(x0) / self.batch
        figures = self.world.average_step(self.velocity.parameters(), {"loss": loss}, part)
        self.optimiser.step()
        keep = min(0.999, (step + 1) / (step + 20))
        with torch.no_grad():
            for average, value in zip(self.average.parameters(), self.velocity.parameters(), strict=True):
                average.lerp_(value, 1 - keep)
        return figures["loss"]

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(self.world.device)

    @torch.no_grad()
    def transport(self, starts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Codes [N, D] that the flow carries `starts` [N, D] to."""
        ends = []
        length = 1 / _INTEGRATION_STEPS
        for begin in range(0, len(starts), _CHUNK):
            x = self._tensor(starts[begin : begin + _CHUNK])
            for i in range(_INTEGRATION_STEPS):
                time = torch.full((len(x), 1), i * length, device=x.device)
                middle = x + self.average(x, time) * (length / 2)
                x = x + self.average(middle, time + length / 2) * length
            ends.append(x.cpu().numpy())
        return np.concatenate(ends) if ends else starts[:0]

    def pairs(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Starts [count, D] and the poses [count, K, 2] that they stand for; the same at every call.

        Sixteen passes of the velocity network a pair: some minutes of one core for 300,000 pairs and a width of 384.
        """
        starts = self.code.starts(count, np.random.default_rng((self.seed, 7)))
        own = self.world.share(math.ceil(count / _CHUNK))
        ends = self.world.gather(self.transport(starts[own.start * _CHUNK : own.stop * _CHUNK]))
        return starts, self.code.decode(ends)

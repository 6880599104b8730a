"""Drawing lessons: the generator learns from teachers what is known already.

How a pose is drawn need not be found out by an adversarial game: alpha is known. Nor which poses there are: a flow in
the space of joints says it. So a pose is put between the layers of the mapping network. Its first layers learn what
the flow does, from z to joints; the layers after them and the synthesis network learn to draw any joints. In the end
both halves are joined by multiplying two matrices, and what remains is a plain generator. This is ours, not the
paper's.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._distributed import ALONE
from ..checkpoint import flat, flat_optimiser, load_module, load_optimiser, take
from ..errors import DataError
from ..models.layers import EqualLinear
from .augment import stretch_and_turn
from .flow import PoseFlow

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .._distributed import World
    from ..models import Generator, Regressor
    from .code import PoseCode
    from .config import PretrainConfig
    from .data import PoseBatches

__all__ = ["Lessons", "pyramid_loss"]

_HINGE_SLOPE = 4.0
_ADAM_BETAS = (0.9, 0.99)
_MAX_GRADIENT = 5.0
_WARM_STEPS = 150
_LOWEST_SHARE = 0.02  # of the highest rate
_MEAN_OF = 4096  # codes


def pyramid_loss(images: Tensor, targets: Tensor, batch: Tensor | None = None) -> Tensor:
    """Mean squared difference summed over the pictures and their halvings down to 4x4, each relative to its scale.

    The coarse levels tell where a limb has to go when it does not overlap the target's yet. The scale is that of
    `batch`, of which the targets may be a part, or of the targets.
    """
    total = torch.zeros((), device=images.device)
    while True:
        scale = (targets if batch is None else batch).var(0).mean().clamp_min(1e-6)
        total = total + F.mse_loss(images, targets) / scale
        if images.shape[2] <= 4:
            return total
        images, targets = F.avg_pool2d(images, 2), F.avg_pool2d(targets, 2)
        batch = None if batch is None else F.avg_pool2d(batch, 2)


class _Joints(nn.Module):
    """The pose between the mapping network's layers: `head` reads it, `embed` takes it up again."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.head = EqualLinear(width, size)
        self.embed = EqualLinear(size, width, activate=True)
        _spread_hinges(self.embed)


@torch.no_grad()
def _spread_hinges(layer: EqualLinear) -> None:
    """Let the units of `layer` bend at evenly spaced values of one coordinate each; those left over stay random.

    Random units see sums of all coordinates, from which the place of a single joint is hard to tell.
    """
    width, size = layer.weight.shape
    each = width // size
    for coordinate in range(size):
        for i in range(each):
            unit = coordinate * each + i
            slope = _HINGE_SLOPE if i % 2 else -_HINGE_SLOPE
            centre = 3 * (2 * (i + 0.5) / each - 1)
            layer.weight[unit] = 0
            layer.weight[unit, coordinate] = slope / 3 / layer.weight_gain
            layer.bias[unit] = -slope * centre / 3


class Lessons:
    """The three lessons and their state.

    Args:
        config: the settings.
        generator: G, trained in place.
        average: the moving average of G; `join` puts the mapping network together in it, too.
        batches: the source poses.
        code: their code.
        beta: reads the joints of what G draws, frozen; None leaves that term out.
        dtype: type of the convolutions.
        world: the processes that train together; each takes its rows of every batch.

    Raises:
        DataError: the poses are all the same.
    """

    def __init__(
        self,
        config: PretrainConfig,
        generator: Generator,
        average: Generator,
        batches: PoseBatches,
        code: PoseCode,
        beta: Regressor | None,
        dtype: torch.dtype,
        world: World = ALONE,
    ) -> None:
        self.world = world
        self.config, self.G, self.G_ema = config, generator, average
        self.batches, self.code, self.beta, self.dtype = batches, code, beta, dtype
        self.poses = batches.with_mirrored()
        if code.size == 0:
            raise DataError(
                f"the drawing lessons need poses that differ, got {len(self.poses)} that are the same"
            )
        flattened = self.poses.reshape(len(self.poses), -1)
        self.flow = PoseFlow(
            code,
            code.encode(self.poses),
            width=config.flow_width,
            lr=config.flow_lr,
            steps=config.flow_steps,
            batch=config.flow_batch,
            seed=config.seed,
            world=world,
        )
        self.joints = _Joints(config.w_dim, flattened.shape[1]).to(world.device)
        self.joints_ema = copy.deepcopy(self.joints).requires_grad_(False)
        self.mean = torch.from_numpy(flattened.mean(0)).to(world.device)
        self.scale = float(flattened.std(0).mean())
        layers = generator.mapping.layers
        first, after = layers[: config.pose_layers], layers[config.pose_layers + 1 :]
        self.mapped = [*first.parameters(), *self.joints.head.parameters()]
        self.drawing = [
            *self.joints.embed.parameters(),
            *after.parameters(),
            *generator.affine.parameters(),
            *generator.synthesis.parameters(),
        ]
        # A parameter of the fixed noise never gets a gradient here; Adam passes over those without one.
        self.opt_mapping = torch.optim.Adam(self.mapped, lr=config.mapping_lr, betas=_ADAM_BETAS)
        self.opt_drawing = torch.optim.Adam(self.drawing, lr=config.lessons_lr, betas=_ADAM_BETAS)
        self._pairs: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def state(self) -> dict[str, Tensor]:
        """All that changes in the lessons but for G and its average."""
        tensors = flat("flow", self.flow.state())
        tensors |= flat("joints", self.joints.state_dict()) | flat("joints_ema", self.joints_ema.state_dict())
        return (
            tensors
            | flat_optimiser("opt_mapping", self.opt_mapping)
            | flat_optimiser("opt_drawing", self.opt_drawing)
        )

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        """Go on from a `state`."""
        self.flow.load(take(tensors, "flow"), path)
        load_module(self.joints, take(tensors, "joints"), path=path)
        load_module(self.joints_ema, take(tensors, "joints_ema"), path=path)
        load_optimiser(self.opt_mapping, take(tensors, "opt_mapping"))
        load_optimiser(self.opt_drawing, take(tensors, "opt_drawing"))

    def pairs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Starts of z [P, D] and the poses [P, K, 2] that the finished flow gives for them.

        Made at the first step after the flow's, and again where a resumed run needs them: no checkpoint holds them.
        They take 4 P (D + 2 K) bytes, about 60 MB for 300,000 pairs of 13 joints.
        """
        if self._pairs is None:
            self._pairs = self.flow.pairs(self.config.pairs)
        return self._pairs

    def _units(self, poses: NDArray[np.float32]) -> Tensor:
        return (self._tensor(poses.reshape(len(poses), -1)) - self.mean) / self.scale

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(self.world.device)

    def mapping_step(self, step: int) -> float:
        """One step of the second lesson, from z to joints; returns the root mean squared error in pixels."""
        config = self.config
        share = 0.5 + 0.5 * math.cos(math.pi * step / config.mapping_steps)
        self._set_rate(self.opt_mapping, config.mapping_lr, share, step)
        rng = np.random.default_rng((config.seed, 8, step))
        starts, poses = self.pairs()
        rows = rng.integers(0, len(starts), config.mapping_batch)
        own = self.world.share(config.mapping_batch)
        z = self._tensor(self.code.latents(starts[rows], rng)[own])
        hidden = self.G.mapping(z, stop=config.pose_layers)
        loss = F.mse_loss(self.joints.head(hidden), self._units(poses[rows[own]]))
        self.opt_mapping.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        figures = self.world.average_step(self.mapped, {"loss": loss}, len(z) / config.mapping_batch)
        self.opt_mapping.step()
        return math.sqrt(figures["loss"]) * self.scale * config.size_px / 2

    def drawing_poses(self, step: int) -> NDArray[np.float32]:
        """[batch, K, 2]: half as the flow makes them, a quarter as they are in the source, a quarter bent and turned.

        An adapted generator draws poses that the source does not have.
        """
        rng = np.random.default_rng((self.config.seed, 9, step))
        half = self.config.batch // 2
        quarter = self.config.batch // 4
        _, made = self.pairs()
        taken = [
            self.poses[rng.integers(0, len(self.poses), n)]
            for n in (quarter, self.config.batch - half - quarter)
        ]
        bent = stretch_and_turn(taken[1], self.batches.drawing.skeleton, rng)
        return np.concatenate([made[rng.integers(0, len(made), half)], taken[0], bent])

    def drawing_step(self, step: int, resolution: int, *, share: float, since: int) -> dict[str, float]:
        """One step of the third lesson at `resolution`.

        Args:
            step: its number in the run, for what is random.
            resolution: side of the pictures.
            share: of the highest rate that the schedule is at.
            since: steps at this resolution so far; its new layers begin slowly.
        """
        config = self.config
        self._set_rate(self.opt_drawing, config.lessons_lr, share, since)
        poses, own = self.drawing_poses(step), self.world.share(config.batch)
        batch = self.batches.drawn(poses, resolution).to(self.world.device)
        poses, targets = poses[own], batch[own]
        w = self.G.mapping.finish(self.joints.embed(self._units(poses)), config.pose_layers + 1)
        images = self.G.synthesize(
            self.G.styles(w), noise="none", dtype=self.dtype, last_resolution=resolution
        )
        loss = pyramid_loss(images, targets, *([batch] if self.world.size > 1 else []))
        means = {"loss_drawing": loss}
        if self.beta is not None and resolution == config.size_px:
            read = self.beta(images, dtype=self.dtype).normalized
            truth = self._tensor(poses)
            means["error_px"] = (read.detach() - truth).norm(dim=-1).mean()
            loss = loss + config.keypoint_weight * F.smooth_l1_loss(read, truth, beta=0.05)
        self.opt_drawing.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        figures = self.world.average_step(self.drawing, means, len(poses) / config.batch)
        if "error_px" in figures:
            figures["error_px"] *= config.size_px / 2
        torch.nn.utils.clip_grad_norm_(self.drawing, _MAX_GRADIENT)
        self.opt_drawing.step()
        return figures

    def _set_rate(self, optimiser: torch.optim.Optimizer, high: float, share: float, since: int) -> None:
        for group in optimiser.param_groups:
            group["lr"] = high * max(share, _LOWEST_SHARE) * min(1.0, (since + 1) / _WARM_STEPS)

    @torch.no_grad()
    def average(self, keep: float) -> None:
        """Move the average of `head` and `embed` as G's average moves."""
        for average, value in zip(self.joints_ema.parameters(), self.joints.parameters(), strict=True):
            average.lerp_(value, 1 - keep)

    @torch.no_grad()
    def join(self) -> None:
        """Make G and its average whole.

        `head` and `embed` become one layer of the mapping network, and w's mean, to which truncation pulls, is taken.
        """
        z = np.random.default_rng((self.config.seed, 15)).standard_normal((_MEAN_OF, self.config.z_dim))
        for generator, joints in ((self.G, self.joints), (self.G_ema, self.joints_ema)):
            layer: Any = generator.mapping.layers[self.config.pose_layers]
            head, embed = joints.head, joints.embed
            taken = embed.weight * embed.weight_gain
            layer.weight.copy_(taken @ (head.weight * head.weight_gain) / layer.weight_gain)
            layer.bias.copy_(taken @ head.bias + embed.bias)
            generator.mapping.w_avg.copy_(generator.map(layer.weight.new_tensor(z)).mean(0))

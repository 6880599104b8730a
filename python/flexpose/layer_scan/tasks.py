"""What a scan asks: codes, the poses that they shall draw, and how near a transfer brings them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..adapt.least_squares import solve_transfer
from ..adapt.pairing import match_poses
from ..errors import DataError, UsageError
from ..models import PoseEncoder, Transfer
from ..models.prefix import Prefix
from ..pretrain.data import images_to_tensor
from ..sample.draw import draw_images, latents, map_codes, read_keypoints
from ..shards.augment import augment_poses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ..adapt.features import Gamma
    from ..adapt.vgg import Vgg16
    from ..drawing import Drawing
    from ..models import Generator, Regressor
    from .config import AugmentName, LayerScanConfig

__all__ = ["Networks", "Pool", "Task", "measure", "solve", "task_of", "train_transfer"]

_POOL_STREAM = 24
_BATCH_STREAM = 25


@dataclass(frozen=True)
class Networks:
    """The frozen networks of a source, and how it draws."""

    generator: Generator
    beta: Regressor
    drawing: Drawing
    dtype: Any
    vgg: Vgg16 | None = None  # for Gamma

    def read(self, codes: Tensor, transfer: Transfer | None = None) -> NDArray[np.float32]:
        """The poses [N, K, 2] that beta reads in the pictures of codes."""
        images = draw_images(self.generator, codes, transfer=transfer, dtype=self.dtype)
        return read_keypoints(self.beta, images, dtype=self.dtype)


@dataclass(frozen=True)
class Task:
    """Codes, and what tau shall make of them.

    Attributes:
        codes: [N, w_dim].
        asked: [N, K, 2] float32, the poses that shall be drawn, in frame coordinates.
        images: uint8 [N, 3, S, S], the pictures wanted.
        wanted: [N, w_dim], codes that draw them without tau; None where the source's codes tell no poses.
    """

    codes: Tensor
    asked: NDArray[np.float32]
    images: NDArray[np.uint8]
    wanted: Tensor | None


@dataclass(frozen=True)
class Pool:
    """Codes of the source, made once for a repeat.

    Attributes:
        codes: [N, w_dim].
        poses: [N, K, 2] float32, what beta reads in their pictures.
        encoder: from poses to codes; None where the source does not tell them.
    """

    codes: Tensor
    poses: NDArray[np.float32]
    encoder: PoseEncoder | None

    @classmethod
    def draw(cls, networks: Networks, n: int, seed: int) -> Pool:
        """Draw n codes and read their pictures."""
        z = latents(n, networks.generator.config.z_dim, seed, stream=_POOL_STREAM)
        codes = map_codes(networks.generator, z).clone()
        poses = networks.read(codes)
        try:
            return cls(codes, poses, PoseEncoder.fit(networks.generator, z, poses))
        except UsageError:
            return cls(codes, poses, None)


def task_of(
    networks: Networks,
    pool: Pool,
    shots: NDArray[np.float32] | None,
    augment: AugmentName,
    config: LayerScanConfig,
    seed: int,
) -> Task:
    """Find codes for the poses and vary the poses.

    Args:
        networks: of the source.
        pool: codes of the source.
        shots: [N, K, 2] guide poses in frame coordinates; None for the source's own poses.
        augment: how they are varied.
        config: the settings.
        seed: of the variation.

    Raises:
        UsageError: the settings need the way back from poses to codes, which this source does not have.
    """
    encoder = pool.encoder
    if encoder is None and (config.way == "least-squares" or (shots is not None and config.codes == "own")):
        raise UsageError(
            "the source's codes tell no poses: it was not trained by lessons, or pool is too small; scan by "
            "way=descent, and guide poses with codes=matched"
        )
    if shots is None:
        codes, poses = pool.codes[: config.poses], pool.poses[: config.poses]
    elif encoder is None or config.codes == "matched":
        codes, poses = pool.codes[torch.from_numpy(match_poses(shots, pool.poses))], shots
    else:
        codes, poses = encoder.encode(shots), shots
    # One index for all is one draw for all.
    indices = np.arange(len(poses)) if config.per == "pose" else np.zeros(len(poses), np.int64)
    asked = augment_poses(poses, networks.drawing.skeleton, config.augmentation(augment), seed, indices)
    images = networks.drawing.images(asked)
    return Task(codes, asked, images, None if encoder is None else encoder.encode(asked))


def train_transfer(
    networks: Networks,
    gamma: Gamma,
    task: Task,
    targets: Sequence[Tensor],
    layers: Sequence[int],
    config: LayerScanConfig,
    seed: int,
    check: Callable[[], None],
) -> Transfer:
    """The tau of some layers by gradient descent on the perceptual loss, from the identity.

    Args:
        networks: of the source.
        gamma: the loss.
        task: what is asked.
        targets: features of the pictures wanted.
        layers: the free layers.
        config: the settings.
        seed: of the batches.
        check: called in each step; what it raises ends the training.

    Raises:
        DataError: the loss is no number any more.

    Source: FlexPose, arXiv:2412.13463, Eq. 5 and 6.
    """
    generator, n = networks.generator, len(task.codes)
    with torch.no_grad():
        styles = generator.styles(task.codes)
    transfer = Transfer.for_generator(generator, layers)
    prefix = Prefix(generator.synthesis, styles, min(layers), dtype=networks.dtype)
    optimiser = torch.optim.Adam(transfer.parameters(), lr=config.lr)
    for step in range(config.iterations):
        rng = np.random.default_rng((seed, _BATCH_STREAM, step))
        rows = torch.from_numpy(rng.permutation(n)[: config.batch])
        images = generator.synthesis(
            transfer([style[rows] for style in styles]), dtype=networks.dtype, start=prefix.rows(rows)
        )
        loss = gamma.distance(images, [level[rows] for level in targets])
        if not math.isfinite(loss.item()):
            raise DataError(
                f"the descent of layers {list(layers)} lost its numbers at step {step}; lower lr below {config.lr}"
            )
        for group in optimiser.param_groups:
            group["lr"] = config.lr * (0.5 + 0.5 * math.cos(math.pi * step / config.iterations))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        check()
    return transfer.requires_grad_(False)


def solve(networks: Networks, task: Task, layers: Sequence[int]) -> Transfer:
    """The tau of some layers in closed form, from the codes to those that draw the poses asked for."""
    if task.wanted is None:
        raise UsageError("way=least-squares needs codes of the poses asked for")
    return solve_transfer(networks.generator, task.codes, task.wanted, layers)


@torch.no_grad()
def measure(
    networks: Networks,
    gamma: Gamma,
    task: Task,
    targets: Sequence[Tensor],
    codes: Tensor,
    transfer: Transfer | None,
    batch: int,
) -> dict[str, float]:
    """How near the pictures of codes are to those wanted.

    Returns:
        ``loss``, the perceptual loss; ``error_px``, the mean distance of the joints that beta reads to those asked
        for, in pixels of the source's pictures; ``error``, the same in half frame sides.
    """
    images = draw_images(networks.generator, codes, transfer=transfer, dtype=networks.dtype)
    total = 0.0
    for begin in range(0, len(images), batch):
        part = slice(begin, begin + batch)
        drawn = images_to_tensor(images[part]).to(networks.generator.device)
        loss = gamma.distance(drawn, [level[part] for level in targets])
        total += loss.item() * len(images[part])
    read = read_keypoints(networks.beta, images, dtype=networks.dtype)
    error = float(np.hypot(*np.moveaxis(read - task.asked, -1, 0)).mean())
    return {
        "loss": total / len(images),
        "error_px": error * networks.generator.config.size_px / 2,
        "error": error,
    }

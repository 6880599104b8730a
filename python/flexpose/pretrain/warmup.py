"""Drawing lessons: before the adversarial training the generator learns to draw, with teacher.

alpha is known, so a generator of drawn poses need not find out by adversarial play how a pose is drawn. A few
coordinates of z are read as a pose by a linear code of the source set (its principal axes, whitened), and the
generator is trained to draw that pose. What the code cannot hold, that poses are not Gaussian, is left to the
discriminator. This is ours, not the paper's; without warm-up stages it is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["PoseCode", "pyramid_loss"]

_MIN_STD = 1e-4
_MAX_SHARE = 0.8  # of z's squared length that the pose may take


class PoseCode:
    """A linear code of poses in the first coordinates of the normalised z.

    Args:
        normalized: [N, K, 2] source poses in frame coordinates.
        z_dim: width of z; as many principal axes are used as fit into half of it.
    """

    def __init__(self, normalized: NDArray[np.float32], z_dim: int) -> None:
        flat = normalized.reshape(len(normalized), -1).astype(np.float64)
        self.mean = flat.mean(0)
        centred = flat - self.mean
        values, vectors = np.linalg.eigh(centred.T @ centred / max(1, len(flat) - 1))
        order = np.argsort(values)[::-1][: max(1, z_dim // 2)]
        std = np.sqrt(np.maximum(values[order], 0))
        keep = std > _MIN_STD
        self.axes, self.std = vectors[:, order][:, keep], std[keep]
        self.z_dim, self.shape = z_dim, normalized.shape[1:]

    @property
    def size(self) -> int:
        """How many coordinates of z hold the pose."""
        return len(self.std)

    def latents(self, poses: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Z [N, z_dim] of length sqrt(z_dim) whose first coordinates are the code of the poses, the rest random."""
        code = (poses.reshape(len(poses), -1) - self.mean) @ self.axes / self.std
        limit = np.sqrt(_MAX_SHARE * self.z_dim)
        code *= np.minimum(1, limit / np.maximum(np.linalg.norm(code, axis=1, keepdims=True), 1e-12))
        rest = rng.standard_normal((len(poses), self.z_dim - self.size))
        left = np.sqrt(self.z_dim - (code**2).sum(1, keepdims=True))
        rest *= left / np.linalg.norm(rest, axis=1, keepdims=True)
        return np.concatenate([code, rest], 1).astype(np.float32)

    def poses(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """The poses [N, K, 2] that z [N, z_dim] stands for."""
        unit = z / np.sqrt((z.astype(np.float64) ** 2).mean(1, keepdims=True))
        flat = self.mean + (unit[:, : self.size] * self.std) @ self.axes.T
        return np.asarray(flat.reshape(len(z), *self.shape), np.float32)


def pyramid_loss(images: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference summed over the pictures and their halvings down to 4x4, each relative to its scale.

    The coarse levels tell where a limb has to go when it does not overlap the target's yet.
    """
    total = torch.zeros(())
    while True:
        scale = targets.var(0).mean().clamp_min(1e-6)
        total = total + F.mse_loss(images, targets) / scale
        if images.shape[2] <= 4:
            return total
        images, targets = F.avg_pool2d(images, 2), F.avg_pool2d(targets, 2)

"""Poses as short vectors, and the part of z that stands for a pose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PoseCode"]

_MIN_STD = 1e-4


class PoseCode:
    """The principal coordinates of poses, each with unit variance over the source set.

    Args:
        normalized: [N, K, 2] source poses in frame coordinates.
        z_dim: width of z; as many axes are used as fit into half of it.

    Attributes:
        std: [D] float64, spread of the poses along each axis, the widest first.
        left_out: how far a joint is off without the other axes, in the mean square, frame units.
    """

    def __init__(self, normalized: NDArray[np.float32], z_dim: int) -> None:
        flat = normalized.reshape(len(normalized), -1).astype(np.float64)
        self.mean = flat.mean(0)
        centred = flat - self.mean
        values, vectors = np.linalg.eigh(centred.T @ centred / max(1, len(flat) - 1))
        falling = np.argsort(values)[::-1]
        order, rest = falling[: max(1, z_dim // 2)], falling[max(1, z_dim // 2) :]
        self.left_out = float(np.sqrt(2 * np.maximum(values[rest], 0).sum() / len(values)))
        std = np.sqrt(np.maximum(values[order], 0))
        keep = std > _MIN_STD
        self.axes, self.std = vectors[:, order][:, keep], std[keep]
        self.z_dim, self.shape = z_dim, normalized.shape[1:]

    @property
    def size(self) -> int:
        """D, the number of coordinates."""
        return len(self.std)

    def encode(self, poses: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, D] codes of poses [N, K, 2]."""
        return np.asarray((poses.reshape(len(poses), -1) - self.mean) @ self.axes / self.std, np.float32)

    def decode(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, K, 2] poses of codes [N, D]."""
        flat = self.mean + (codes * self.std) @ self.axes.T
        return np.asarray(flat.reshape(len(codes), *self.shape), np.float32)

    def starts(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """The first D coordinates of random z as the mapping network normalises them, [count, D].

        Their lengths spread less than those of normal ones, so they and not normal ones stand for z.
        """
        z = rng.standard_normal((count, self.z_dim), np.float32)
        length = np.linalg.norm(z, axis=1, keepdims=True)
        return np.asarray(z[:, : self.size] * (math.sqrt(self.z_dim) / length), np.float32)

    def latents(self, starts: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Normalised z [N, z_dim] that begin with `starts` [N, D]; the rest is random."""
        rest = rng.standard_normal((len(starts), self.z_dim - self.size))
        left = np.sqrt(self.z_dim - (starts.astype(np.float64) ** 2).sum(1, keepdims=True))
        rest *= left / np.linalg.norm(rest, axis=1, keepdims=True)
        return np.concatenate([starts, rest], 1).astype(np.float32)

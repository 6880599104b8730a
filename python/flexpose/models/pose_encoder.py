"""From poses to codes: the way back through a generator that learned to draw given joints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import UsageError
from .layers import EqualLinear

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .generator import Generator

__all__ = ["PoseEncoder"]

_GAP = 0.05  # of neighbouring singular values; storage in bfloat16 leaves 0.01 where zeros were
_LEAST_NOISE = 1e-10  # frame units squared: readings without any error leave a matrix to invert
_LEAST_RATIO = 4  # poses for each coefficient of the fit


@dataclass(frozen=True, eq=False)
class PoseEncoder:
    """A pose for a latent code, and a code in W for any pose, without drawing.

    Source training by lessons puts the pose between two layers of the mapping network and multiplies both into
    one of rank 2 K in the end. That rank gives the place away: the layer's 2 K numbers are an affine function of
    the joints that the generator then draws.

    Attributes:
        generator: its mapping network is used.
        layer: 0-based number of the mapping layer through which the pose passes.
        take: [2 K, width] orthonormal rows, what of that layer's input is the pose.
        matrix: [2 K, 2 K], of the affine map from the layer's numbers to coordinates.
        offset: [2 K].
        center: [2 K], the layer's mean numbers.
        gain: [2 K, 2 K], from coordinates to the layer's most likely numbers, both from their means.
        noise: variance of a coordinate that is read about the one that is meant, frame units squared.
    """

    generator: Generator
    layer: int
    take: Tensor
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    center: NDArray[np.float64]
    gain: NDArray[np.float64]
    noise: float

    @classmethod
    def fit(cls, generator: Generator, z: Tensor, poses: NDArray[np.floating]) -> PoseEncoder:
        """Find the layer, and fit its numbers to poses that were read from what the generator draws.

        Args:
            generator: G.
            z: [N, z_dim].
            poses: [N, K, 2] in frame coordinates, the poses that G draws for z.

        Raises:
            UsageError: no layer of the mapping network has rank 2 K, or there are too few poses.
        """
        size = 2 * poses.shape[1]
        if len(poses) < _LEAST_RATIO * (size + 1):
            raise UsageError(f"poses must be at least {_LEAST_RATIO * (size + 1)}, got {len(poses)}")
        layer, take = _pose_layer(generator, size)
        with torch.no_grad():
            code = _numbers(generator, z, layer, take)
        known = np.concatenate([code, np.ones((len(code), 1))], 1)
        read = poses.reshape(len(poses), -1).astype(np.float64)
        fitted = np.linalg.lstsq(known, read, rcond=None)[0]
        matrix, offset = fitted[:-1].T, fitted[-1]
        # The inverse as a linear Gaussian model has it: where the source hardly varies, a pose says more of how
        # it was read than of its code, and the plain inverse would leave all that the generator has ever seen.
        noise = float(np.square(read - known @ fitted).mean())
        spread = np.cov(code.T) @ matrix.T
        evidence = matrix @ spread + max(noise, _LEAST_NOISE) * np.eye(size)
        gain = np.linalg.solve(evidence, spread.T).T
        return cls(generator, layer, take, matrix, offset, code.mean(0), gain, noise)

    @torch.no_grad()
    def decode(self, z: Tensor) -> NDArray[np.float64]:
        """The poses [N, K, 2] that G means to draw for z [N, z_dim]."""
        code = _numbers(self.generator, z, self.layer, self.take)
        poses = code @ self.matrix.T + self.offset
        return np.asarray(poses.reshape(len(poses), -1, 2), np.float64)

    @torch.no_grad()
    def encode(self, poses: NDArray[np.floating]) -> Tensor:
        """Codes w [N, w_dim] from which G draws poses [N, K, 2], or what comes nearest among those it can draw."""
        code = torch.from_numpy(self._code(poses)).to(self.take.device)
        return self.generator.mapping.finish((code @ self.take).float(), self.layer)

    def reachable(self, poses: NDArray[np.floating]) -> NDArray[np.float64]:
        """The poses [N, K, 2] that G means to draw for the codes of poses [N, K, 2]."""
        drawn = self._code(poses) @ self.matrix.T + self.offset
        return np.asarray(drawn.reshape(poses.shape), np.float64)

    def _code(self, poses: NDArray[np.floating]) -> NDArray[np.float64]:
        middle = self.offset + self.matrix @ self.center
        off = poses.reshape(len(poses), -1).astype(np.float64) - middle
        return np.asarray(self.center + off @ self.gain.T, np.float64)


def _numbers(generator: Generator, z: Tensor, layer: int, take: Tensor) -> NDArray[np.float64]:
    """[N, 2 K], what of the input of a mapping layer is the pose."""
    entering = generator.mapping(z.to(generator.device), stop=layer).double() @ take.T
    return np.asarray(entering.cpu().numpy(), np.float64)


@torch.no_grad()
def _pose_layer(generator: Generator, size: int) -> tuple[int, Tensor]:
    """(number, take) of the mapping layer of rank `size`."""
    for number, layer in enumerate(generator.mapping.layers):
        if not isinstance(layer, EqualLinear) or min(layer.weight.shape) <= size:
            continue
        _, values, right = torch.linalg.svd(layer.weight.double(), full_matrices=False)
        if values[size] < _GAP * values[size - 1]:
            return number, right[:size]
    raise UsageError(
        f"no layer of the source's mapping network has rank {size}: it was not trained by lessons, or with a w_dim of "
        f'{size} or less, and its codes tell no poses; adapt it with start="identity"'
    )

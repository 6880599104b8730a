"""Gamma of Eq. 5: what makes two pictures comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ..models.regressor import Regressor

__all__ = ["FeatureName", "Gamma"]

FeatureName = Literal["beta", "keypoints", "pyramid"]

_PYRAMID_SIDES = 4  # the smallest picture of the pyramid


class Gamma:
    """Features of pictures, and the distance between them.

    "beta": activations of beta's encoder. "pyramid": the picture and its halvings down to 4x4. "keypoints": the
    coordinates that beta reads, the end of the same network; unlike pixels they tell how far a limb is off when the
    two drawings of it do not overlap.

    Each level's squared difference is averaged over its elements and divided by the variance of that level over
    the target pictures, so that all levels weigh the same, whatever the resolution.
    """

    def __init__(self, names: Sequence[FeatureName], beta: Regressor, *, dtype: torch.dtype) -> None:
        self.names, self.beta, self.dtype = tuple(names), beta, dtype
        self.weights: list[float] = []

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Levels of features of [N, 3, S, S] in [-1, 1]."""
        levels: list[Tensor] = []
        if "pyramid" in self.names:
            level = images
            while True:
                levels.append(level)
                if level.shape[2] <= _PYRAMID_SIDES:
                    break
                level = F.avg_pool2d(level, 2)
        if "beta" in self.names or "keypoints" in self.names:
            encoded = self.beta.features(images, dtype=self.dtype)
            if "beta" in self.names:
                levels.extend(encoded)
            if "keypoints" in self.names:
                levels.append(self.beta.read(self.beta.heatmaps(encoded)).normalized)
        return levels

    @torch.no_grad()
    def targets(self, images: Tensor, batch: int) -> list[Tensor]:
        """Features of all target pictures, computed once; sets the weights of the levels."""
        parts = [self(images[begin : begin + batch]) for begin in range(0, len(images), batch)]
        levels = [torch.cat(level) for level in zip(*parts, strict=True)]
        self.weights = [1 / max(level.float().var(0).mean().item(), 1e-6) for level in levels]
        return levels

    def distance(self, images: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Mean over the levels of the weighted mean squared difference; the loss of Eq. 5 on a batch."""
        terms = [
            F.mse_loss(mine.float(), theirs.float()) * weight
            for mine, theirs, weight in zip(self(images), targets, self.weights, strict=True)
        ]
        return torch.stack(terms).mean()

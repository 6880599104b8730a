"""Gamma of Eq. 5: what makes two pictures comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch.nn import functional as F

from ..errors import ConfigError, UsageError
from .vgg import Vgg16, read_vgg16

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from ..models.regressor import Regressor

__all__ = ["FeatureName", "Gamma", "check_features", "read_features"]

FeatureName = Literal["beta", "keypoints", "pyramid", "vgg16", "lpips"]

_PYRAMID_SIDES = 4  # the smallest picture of the pyramid
_OF_VGG = {"vgg16", "lpips"}


def check_features(names: Sequence[FeatureName], file: Path | None) -> None:
    """Raise ConfigError where there are no names, or names that need a file without one, or a file for nothing."""
    if not names:
        raise ConfigError(f"features must name at least one of {', '.join(get_args(FeatureName))}")
    needing = sorted({*names} & _OF_VGG)
    if needing and file is None:
        raise ConfigError(
            f"features_file must name a safetensors file where features has {' or '.join(needing)}: nothing is "
            "downloaded"
        )
    if file is not None and not needing:
        raise ConfigError(
            f"features_file is for the features vgg16 and lpips, got features {', '.join(names)}"
        )


def read_features(names: Sequence[FeatureName], file: Path | None) -> Vgg16 | None:
    """The network that Gamma needs beside beta, or None; see `flexpose.adapt.vgg.read_vgg16` for the errors."""
    return None if file is None else read_vgg16(file, heads="lpips" in names)


class Gamma:
    """Features of pictures, and the distance between them.

    "beta": activations of beta's encoder. "pyramid": the picture and its halvings down to 4x4. "keypoints": the
    coordinates that beta reads, the end of the same network; unlike pixels they tell how far a limb is off when the
    two drawings of it do not overlap. "vgg16": activations at the ends of VGG16's five blocks. "lpips": the same,
    compared as LPIPS 0.1 does, as one level whose mean squared difference is LPIPS. Both look at the pictures in
    their own size, of 16 px at least, not at the 224 px that VGG16 was trained on.

    Each level's squared difference is averaged over its elements and divided by the variance of that level over
    the target pictures, so that all levels weigh the same, whatever the resolution. For LPIPS, whose taps and
    channels have weights of their own, this is a division by half of the mean LPIPS between two target pictures.

    Features by VGG16 are seven times the numbers that the others are together, so those of the target pictures are
    computed again for each batch instead of being kept.

    Args:
        names: what is compared.
        beta: of the source, frozen; None where no name needs it.
        dtype: type of the activations.
        vgg: of `read_features`; taken over.
        device: where the pictures are; None: where beta is.

    Raises:
        UsageError: a name needs beta, and there is none.
    """

    def __init__(
        self,
        names: Sequence[FeatureName],
        beta: Regressor | None,
        *,
        dtype: torch.dtype,
        vgg: Vgg16 | None = None,
        device: torch.device | None = None,
    ) -> None:
        if beta is None and {"beta", "keypoints"} & {*names}:
            raise UsageError(f"features beta and keypoints need a beta, got {', '.join(names)} without one")
        self.names, self.beta, self.dtype = tuple(names), beta, dtype
        if device is None and beta is not None:
            device = beta.log_temperature.device
        self.vgg = None if vgg is None else vgg.compute(device or torch.device("cpu"), dtype)
        self.weights: list[float] = []

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Levels of features of [N, 3, S, S] in [-1, 1]."""
        return self._light(images) + self._heavy(images)

    def _light(self, images: Tensor) -> list[Tensor]:
        """The levels that are kept of target pictures."""
        levels: list[Tensor] = []
        if "pyramid" in self.names:
            level = images
            while True:
                levels.append(level)
                if level.shape[2] <= _PYRAMID_SIDES:
                    break
                level = F.avg_pool2d(level, 2)
        if self.beta is not None and {"beta", "keypoints"} & {*self.names}:
            encoded = self.beta.features(images, dtype=self.dtype)
            if "beta" in self.names:
                levels.extend(encoded)
            if "keypoints" in self.names:
                levels.append(self.beta.read(self.beta.heatmaps(encoded)).normalized)
        return levels

    def _heavy(self, images: Tensor) -> list[Tensor]:
        """The levels that are not."""
        if self.vgg is None:
            return []
        taps = self.vgg(images)
        lpips = [self.vgg.lpips(taps)] if "lpips" in self.names else []
        return (taps if "vgg16" in self.names else []) + lpips

    @torch.no_grad()
    def targets(self, images: Tensor, batch: int) -> list[Tensor]:
        """What `distance` needs of all target pictures, one row each, computed once; sets the weights of the levels."""
        batches = torch.split(images, batch)
        levels = [torch.cat(level) for level in zip(*map(self._light, batches), strict=True)]
        variances = [level.float().var(0).mean().item() for level in levels]
        if self.vgg is not None:
            variances += _variances(map(self._heavy, batches))
            levels.append(images)
        self.weights = [1 / max(variance, 1e-6) for variance in variances]
        return levels

    @torch.no_grad()
    def of(self, images: Tensor) -> list[Tensor]:
        """What `distance` needs of target pictures [N, 3, S, S] of which nothing is kept."""
        return self._light(images) + ([] if self.vgg is None else [images])

    def distance(self, images: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Mean over the levels of the weighted mean squared difference; the loss of Eq. 5 on a batch."""
        wanted = list(targets)
        if self.vgg is not None:
            with torch.no_grad():
                wanted[-1:] = self._heavy(wanted[-1])
        terms = [
            F.mse_loss(mine.float(), theirs.float()) * weight
            for mine, theirs, weight in zip(self(images), wanted, self.weights, strict=True)
        ]
        return torch.stack(terms).mean()


def _variances(batches: Iterable[list[Tensor]]) -> list[float]:
    """The variance over all rows of each level, its mean over the elements; one batch is held at a time."""
    count = 0
    sums: dict[int, tuple[Tensor | float, Tensor | float]] = {}
    for levels in batches:
        count += len(levels[0])
        for number, level in enumerate(levels):
            wide, (first, second) = level.double(), sums.get(number, (0.0, 0.0))
            sums[number] = first + wide.sum(0), second + wide.square().sum(0)
    spreads = ((second - first * first / count) / max(count - 1, 1) for first, second in sums.values())
    return [float(torch.as_tensor(spread).mean()) for spread in spreads]

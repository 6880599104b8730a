"""beta: images to keypoints, through heat maps and a separable soft-argmax."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import STRICT
from ..errors import ConfigError, UsageError

__all__ = ["Keypoints", "NormConv2d", "Regressor", "RegressorConfig"]

_GRID_LIMIT = 1.1  # an expectation cannot reach the end of its grid, so the grid goes beyond the picture
_GROUPS = 8
_MAX_SIZE_PX = 8192  # no weight's shape tells it, so a stranger's file could ask for any


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RegressorConfig:
    """Sizes of beta."""

    size_px: int = 64
    num_keypoints: int = 13
    width: int = 32

    def __post_init__(self) -> None:
        if self.size_px < 16 or self.size_px % 8:
            raise ConfigError(f"size_px must be a multiple of 8, >= 16, got {self.size_px}")
        if self.size_px > _MAX_SIZE_PX:
            raise ConfigError(f"size_px must be <= {_MAX_SIZE_PX}, got {self.size_px}")
        if self.num_keypoints < 1:
            raise ConfigError(f"num_keypoints must be >= 1, got {self.num_keypoints}")
        if self.width < _GROUPS or self.width % _GROUPS:
            raise ConfigError(f"width must be a multiple of {_GROUPS}, got {self.width}")


class Keypoints(NamedTuple):
    """What beta reads.

    Attributes:
        normalized: [N, K, 2] float32, frame coordinates, (x, y).
        peak: [N, K] float32, the largest probability along an axis, the smaller of both axes.
    """

    normalized: Tensor
    peak: Tensor


class NormConv2d(nn.Module):
    """3x3 convolution, group normalisation, ReLU; the input's type is the type of the computation."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, kernel_size: int = 3) -> None:
        super().__init__()
        fan_in = in_channels * kernel_size**2
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.randn(shape) * math.sqrt(2 / fan_in))
        self.scale = nn.Parameter(torch.ones(out_channels))
        self.shift = nn.Parameter(torch.zeros(out_channels))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to [N, in, H, W]."""
        dtype = x.dtype
        y = F.conv2d(x, self.weight.to(dtype), stride=self.stride, padding=self.weight.shape[2] // 2)
        return F.relu(F.group_norm(y, _GROUPS, self.scale.to(dtype), self.shift.to(dtype)))


class Regressor(nn.Module):
    """Images [N, 3, S, S] in [-1, 1] -> keypoints in frame coordinates.

    Heat maps at a quarter of the resolution; along each axis the mean of a map over the other axis goes through a
    softmax with a learned temperature, and the coordinate is its expectation over a grid on [-1.1, 1.1].

    Source: the regressor of Jakab et al. 2020 (KeypointGAN), arXiv:1907.02055, section 3.3; beta of FlexPose, Eq. 2.
    """

    grid: Tensor

    def __init__(self, config: RegressorConfig) -> None:
        super().__init__()
        self.config = config
        c = config.width
        self.stage2 = nn.Sequential(NormConv2d(12, c), NormConv2d(c, c))
        self.stage4 = nn.Sequential(NormConv2d(c, 2 * c, stride=2), NormConv2d(2 * c, 2 * c))
        self.stage8 = nn.Sequential(
            NormConv2d(2 * c, 4 * c, stride=2), NormConv2d(4 * c, 4 * c), NormConv2d(4 * c, 4 * c)
        )
        self.widen = NormConv2d(4 * c, 2 * c, kernel_size=1)
        self.merge = NormConv2d(4 * c, 2 * c)
        self.maps = nn.Conv2d(2 * c, config.num_keypoints, 1)
        self.log_temperature = nn.Parameter(torch.zeros([]))
        cells = config.size_px // 4
        self.register_buffer("grid", torch.linspace(-_GRID_LIMIT, _GRID_LIMIT, cells), persistent=False)

    def _check(self, image: Tensor) -> None:
        size = self.config.size_px
        if image.ndim != 4 or image.shape[1:] != (3, size, size):
            raise UsageError(f"image must be [N, 3, {size}, {size}], got {list(image.shape)}")

    def features(self, image: Tensor, *, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Activations at a half, a quarter and an eighth of the resolution: the encoder as Gamma of Eq. 5."""
        self._check(image)
        x = F.pixel_unshuffle(image.to(dtype), 2).contiguous(memory_format=torch.channels_last)
        half = self.stage2(x)
        quarter = self.stage4(half)
        return [half, quarter, self.stage8(quarter)]

    def heatmaps(self, features: list[Tensor]) -> Tensor:
        """[N, K, S / 4, S / 4] float32 logits from `features`."""
        _, quarter, eighth = features
        up = F.interpolate(self.widen(eighth), scale_factor=2, mode="nearest")
        merged = self.merge(torch.cat([quarter, up], 1))
        return F.conv2d(merged, self.maps.weight.to(merged.dtype), self.maps.bias.to(merged.dtype)).float()  # type: ignore[union-attr]

    def read(self, heatmaps: Tensor) -> Keypoints:
        """Soft-argmax of logits [N, K, h, w]."""
        scale = self.log_temperature.exp() * heatmaps.shape[3]
        along_x = (heatmaps.mean(2) * scale).softmax(-1)
        along_y = (heatmaps.mean(3) * scale).softmax(-1)
        normalized = torch.stack([along_x @ self.grid, along_y @ self.grid], -1)
        return Keypoints(normalized, torch.minimum(along_x.amax(-1), along_y.amax(-1)))

    def forward(self, image: Tensor, *, dtype: torch.dtype = torch.float32) -> Keypoints:
        """Read keypoints from [N, 3, S, S]; `dtype` is the type of the convolutions."""
        return self.read(self.heatmaps(self.features(image, dtype=dtype)))

"""D: StyleGAN2's residual discriminator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .layers import EqualConv2d, EqualLinear
from .synthesis import channels_at

__all__ = ["GROUP_SIZE", "Discriminator", "group_size"]

GROUP_SIZE = 4
"""Pictures whose features the discriminator compares with each other, at most."""


class _Block(nn.Module):
    """Two 3x3 convolutions and a skip, halving the resolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = EqualConv2d(in_channels, in_channels, 3)
        self.conv1 = EqualConv2d(in_channels, out_channels, 3, down=2)
        self.skip = EqualConv2d(in_channels, out_channels, 1, down=2, activate=False, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        half = math.sqrt(0.5)
        main: Tensor = self.conv1(self.conv0(x), gain=half)
        short: Tensor = self.skip(x, gain=half)
        return main + short


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def group_size(count: int, most: int = GROUP_SIZE) -> int:
    """How many of `count` pictures are compared with each other: the largest divisor up to `most`."""
    return max(size for size in range(1, most + 1) if count % size == 0)


def _minibatch_std(x: Tensor, most: int) -> Tensor:
    """Append one map: the mean spread of the features over groups of the batch (arXiv:1710.10196, section 3)."""
    n, c, h, w = x.shape
    group = group_size(n, most)
    y = x.to(_at_least_float32(x)).reshape(group, n // group, c, h, w)
    spread = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))  # [N / group]
    channel = spread.repeat(group).reshape(n, 1, 1, 1).expand(n, 1, h, w)
    return torch.cat([x, channel.to(x.dtype)], 1)


class Discriminator(nn.Module):
    """Images [N, 3, S, S] -> logits [N], for S = size_px or any lower power of two from 8 on.

    Source: StyleGAN2, arXiv:1912.04958, Fig. 7c (residual), appendix B.
    """

    def __init__(
        self, size_px: int, channel_base: int, channel_max: int, *, group_size: int = GROUP_SIZE
    ) -> None:
        super().__init__()
        self.size_px, self.group_size = size_px, group_size
        self.resolutions = [2**i for i in range(int(math.log2(size_px)), 2, -1)]
        width = {r: channels_at(r, channel_base, channel_max) for r in [*self.resolutions, 4]}
        self.from_rgb = nn.ModuleList(EqualConv2d(3, width[r], 1) for r in self.resolutions)
        self.blocks = nn.ModuleList(_Block(width[r], width[r // 2]) for r in self.resolutions)
        self.conv = EqualConv2d(width[4] + 1, width[4], 3)
        self.dense = EqualLinear(width[4] * 16, width[4], activate=True)
        self.out = EqualLinear(width[4], 1)

    def forward(self, image: Tensor, *, dtype: torch.dtype = torch.float32, fade: float = 1.0) -> Tensor:
        """Judge images.

        Args:
            image: [N, 3, S, S].
            dtype: type of the activations.
            fade: below 1 the first block is mixed with what the block after it would see of the halved picture
                (progressive growing, arXiv:1710.10196, Fig. 2).

        Raises:
            UsageError: another shape, or a fade where there is no coarser block.
        """
        side = image.shape[-1]
        if image.ndim != 4 or image.shape[1:] != (3, side, side) or side not in self.resolutions:
            raise UsageError(
                f"image must be [N, 3, S, S] with S one of {self.resolutions}, got {list(image.shape)}"
            )
        if fade < 1 and side == self.resolutions[-1]:
            raise UsageError(f"fade must be 1 at the coarsest resolution, {side}, got {fade}")
        first = self.resolutions.index(side)
        x = image.to(dtype, memory_format=torch.channels_last)
        y = self.from_rgb[first](x)
        for i, block in enumerate(self.blocks[first:], first):
            y = block(y)
            if i == first and fade < 1:
                small = nn.functional.avg_pool2d(x, 2)
                y = torch.lerp(self.from_rgb[i + 1](small), y, fade)
        y = self.conv(_minibatch_std(y, self.group_size))
        logits: Tensor = self.out(self.dense(y.flatten(1).to(_at_least_float32(y))))
        return logits[:, 0]

"""Zero insertion, FIR filtering and decimation with StyleGAN2's [1, 3, 3, 1] filter."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from ..errors import UsageError
from .frozen import PLAIN

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["fir_kernel", "upfirdn2d"]

_TAPS = (1.0, 3.0, 3.0, 1.0)


def _depthwise_kernel(channels: int, gain: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    kernel = fir_kernel(dtype=torch.float64) * gain
    return kernel.to(device, dtype).expand(channels, 1, *kernel.shape).contiguous()


@lru_cache(maxsize=64)
def _kept_kernel(channels: int, gain: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    # In the cache for the life of the process: never a tensor of a torch.inference_mode block.
    with torch.inference_mode(False):
        return _depthwise_kernel(channels, gain, dtype, device)


def fir_kernel(*, dtype: torch.dtype = torch.float32) -> Tensor:
    """[4, 4] separable low-pass filter that sums to one; all its values are exact in bfloat16.

    Source: StyleGAN2, arXiv:1912.04958, filter [1, 3, 3, 1].
    """
    taps = torch.tensor(_TAPS, dtype=dtype)
    return torch.outer(taps, taps) / taps.sum().square()


def upfirdn2d(
    x: Tensor, *, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """Insert zeros, pad, filter and keep every `down`-th pixel, each channel by itself.

    The filter is applied in both directions at once: taken apart it is slower by a third in bfloat16 and by two
    thirds in float32, because every pass goes through the memory (64 px, 128 channels, two cores).

    Args:
        x: [N, C, H, W].
        up: zeros are inserted so that the sides grow `up`-fold; the filter's gain is `up` squared then.
        down: every `down`-th pixel of the filtered picture is kept.
        padding: (before, after) on both axes, applied after the zeros are in.
        gain: factor of the result; multiples of a power of two keep the filter exact in bfloat16.

    Returns:
        [N, C, (H * up + before + after - 4) // down + 1, ...].

    Raises:
        UsageError: `x` has another rank.
    """
    if x.ndim != 4:
        raise UsageError(f"x must be [N, C, H, W], got {list(x.shape)}")
    n, c, h, w = x.shape
    if up > 1:
        spread = x.new_zeros(n, c, h, up, w, up)
        spread[:, :, :, 0, :, 0] = x
        x = spread.reshape(n, c, h * up, w * up)
    before, after = padding
    # While torch traces, tensors are of other types and sizes may be symbols.
    make = _kept_kernel if type(x) in PLAIN and not torch.compiler.is_compiling() else _depthwise_kernel
    kernel = make(c, gain * up * up, x.dtype, x.device)
    if before != after:
        x, before = F.pad(x, (before, after, before, after)), 0
    # Stride 1 and a slice: the backward of a strided depthwise convolution has no fast path on a CPU.
    return F.conv2d(x, kernel, padding=before, groups=c)[:, :, ::down, ::down]

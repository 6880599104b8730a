"""StyleGAN2's filter [1, 3, 3, 1]: zero insertion, filtering and decimation in plain torch operators."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from ..errors import UsageError
from .frozen import PLAIN

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TAPS", "fir_kernel", "plain_filter", "result_size", "upfirdn2d_ref"]

TAPS = (1.0, 3.0, 3.0, 1.0)


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
    taps = torch.tensor(TAPS, dtype=dtype)
    return torch.outer(taps, taps) / taps.sum().square()


def result_size(x: Tensor, up: int, down: int, padding: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the filtered `x`.

    Raises:
        UsageError: `x` has another rank or is too small, or a factor is.
    """
    if x.ndim != 4:
        raise UsageError(f"x must be [N, C, H, W], got {list(x.shape)}")
    if up < 1 or down < 1:
        raise UsageError(f"up and down must be at least 1, got {up} and {down}")
    height, width = ((side * up + sum(padding) - len(TAPS)) // down + 1 for side in x.shape[2:])
    if height < 1 or width < 1:
        raise UsageError(f"x must be large enough for the filter, got {list(x.shape)} with padding {padding}")
    return height, width


def plain_filter(x: Tensor, up: int, down: int, before: int, size: tuple[int, int], gain: float) -> Tensor:
    """Filter to a size: [N, C, *size] whose pixel o is made of the four from ``o * down - before`` on.

    The filter is applied in both directions at once: with stride 1 oneDNN's depthwise convolution is faster than two
    passes, each of which goes through the memory.
    """
    n, c, h, w = x.shape
    if up > 1:
        spread = x.new_zeros(n, c, h, up, w, up)
        spread[:, :, :, 0, :, 0] = x
        x = spread.reshape(n, c, h * up, w * up)
    # While torch traces, tensors are of other types and sizes may be symbols.
    make = _kept_kernel if type(x) in PLAIN and not torch.compiler.is_compiling() else _depthwise_kernel
    kernel = make(c, gain, x.dtype, x.device)
    below, right = (
        (count - 1) * down + len(TAPS) - before - side for count, side in zip(size, x.shape[2:], strict=True)
    )
    pad = before
    if not before == below == right >= 0:
        x, pad = F.pad(x, (before, right, before, below)), 0
    # Stride 1 and a slice: the backward of a strided depthwise convolution has no fast path on a CPU.
    return F.conv2d(x, kernel, padding=pad, groups=c)[:, :, ::down, ::down]


def upfirdn2d_ref(
    x: Tensor, *, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """The definition of `flexpose.ops.upfirdn2d`, whose arguments it takes."""
    return plain_filter(x, up, down, padding[0], result_size(x, up, down, padding), gain * up * up)

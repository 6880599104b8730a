"""The modulated convolution on a CPU: one weight in channels_last for oneDNN, a slice of the batch at a time.

A slice's tensors stay in the caches, so that an image costs the same in a batch of any size. (Above 32 MiB every
temporary would even come fresh from the system and fault in page by page, which costs more than what is computed.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from .fir import upfirdn2d_ref
from .frozen import energy_of, kept
from .shared_conv import FEW, LRELU_SLOPE, demodulation, finish, fir_padding, offset_like
from .winograd import winograd_conv2d, winograd_suits

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["cpu_modulated_conv2d"]

_SLICE_BYTES = 4 << 20


def _packed(weight: Tensor, dtype: torch.dtype, up: int) -> Tensor:
    def make() -> Tensor:
        taken = weight.detach().to(dtype)
        return (taken.transpose(0, 1) if up == 2 else taken).contiguous(memory_format=torch.channels_last)

    return kept(weight, ("cpu", dtype, up), make)


def _to_few(x: Tensor, weight: Tensor, styles: Tensor, factors: Tensor) -> Tensor:
    """1x1 convolution to a few channels, colours: a small weight for each sample, and the input is read once."""
    n, i, h, w = x.shape
    weights = weight.flatten(1)[None].to(styles.dtype) * styles[:, None] * factors[:, :, None]
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, i)
    return torch.bmm(weights.to(x.dtype), pixels.transpose(1, 2)).reshape(n, -1, h, w)


def cpu_modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    bias: Tensor | None,
    demodulate: bool,
    up: int,
    leaky: bool,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """The operator's forward pass; it is not differentiated."""
    (n, i, h, w), (o, k) = x.shape, (weight.shape[0], weight.shape[2])
    factors = demodulation(styles, energy_of(weight, styles.dtype)) if demodulate else styles.new_ones(n, o)
    if winograd_suits(x, weight, up):
        slope = LRELU_SLOPE if leaky else 1.0
        return winograd_conv2d(
            x, weight, styles, factors, noise, bias, up=up, slope=slope, gain=gain, clamp=clamp
        )
    if k == 1 and up == 1 and o <= FEW:
        y = _to_few(x, weight, styles, factors)
        return finish(y, noise, bias, leaky, gain, clamp)
    packed = _packed(weight, x.dtype, up)
    # lrelu(y) * g = lrelu(y * g) for g > 0: the gain rides along in the factor and the offset, in one pass.
    inner = gain if gain > 0 else 1.0
    scale = (factors * inner).to(x.dtype).reshape(n, o, 1, 1)
    offset = offset_like(noise, bias, x, inner).expand(n, -1, -1, -1)
    scaled = styles.to(x.dtype).reshape(n, i, 1, 1)
    y = torch.empty((n, o, h * up, w * up), dtype=x.dtype, memory_format=torch.channels_last)
    step = max(1, _SLICE_BYTES // (max(i, o * up * up) * h * w * x.element_size()))
    pad = k // 2
    for begin in range(0, n, step):
        part = slice(begin, begin + step)
        u = x[part] * scaled[part]
        if up == 1:
            c = F.conv2d(u, packed, padding=pad)
        else:
            c = F.conv_transpose2d(u, packed, stride=2, padding=max(pad - 1, 0))
            c = upfirdn2d_ref(c, padding=fir_padding(k), gain=4.0)
        out = torch.addcmul(offset[part], c, scale[part], out=y[part])
        if leaky:
            F.leaky_relu_(out, LRELU_SLOPE)
        if gain != inner:
            out.mul_(gain)
        if clamp is not None:
            out.clamp_(-clamp, clamp)
    return y

"""3x3 convolutions by Winograd's minimal filtering: kernels for `flexpose._rust.convolve`, and when it is faster.

oneDNN computes the plain sum, on AVX-512 without matrix tiles at a higher rate than torch's matrix products reach (115
against 91 GFLOP/s in float32, 234 against 211 in bfloat16, one Zen 4 core). To be faster one must multiply less: 16
products for 36 in bfloat16, 36 for 144 in float32.

Source: Lavin and Gray 2015, arXiv:1509.09308.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import _rust
from .fir import fir_kernel
from .frozen import kept
from .layout import as_array, as_floats

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "fast_types",
    "weight_gradient_suits",
    "winograd_conv2d",
    "winograd_suits",
    "winograd_weight_gradient",
]

# G of the points 0, 1, -1, infinity; and of 0, a, -a, b, -b, infinity with a^2 = 1/2 and b^2 = 2.
_A, _B = math.sqrt(1 / 2), math.sqrt(2)
_SMALL = ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1))
_LARGE = (
    (1, 0, 0),
    (-2 / 3, -2 / 3 * _A, -1 / 3),
    (-2 / 3, 2 / 3 * _A, -1 / 3),
    (1 / 6, _B / 6, 1 / 3),
    (1 / 6, -_B / 6, 1 / 3),
    (0, 0, 1),
)
_COLUMNS = 32  # output channels that the kernel takes together
_LEAST_PIXELS = 8 * 8  # below, reading the transformed kernels costs more than it saves


@lru_cache(maxsize=1)
def fast_types() -> frozenset[torch.dtype]:
    """Types for which this is faster than oneDNN here: not where the processor has matrix tiles."""
    levels = _rust.convolution_levels()
    found = set()
    if "avx512" in levels:
        found.add(torch.float32)
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if "avx512_bf16" in levels and not (tiles is not None and tiles()):
        found.add(torch.bfloat16)
    return frozenset(found)


def winograd_suits(x: Tensor, weight: Tensor, up: int, *, adjoint: bool = False) -> bool:
    """Whether it can compute this convolution on this CPU, or the one with the adjoint weight, faster than oneDNN.

    The rule is not measured on the spot: a resumed run must add up its numbers in the order of the first one.
    """
    o, i, k, _ = weight.shape
    if adjoint:
        o, i = i, o
    return (
        x.device.type == "cpu"
        and k == 3
        and x.dtype in fast_types()
        and i % 16 == 0
        and o % _COLUMNS == 0
        and x.shape[2] * x.shape[3] >= _LEAST_PIXELS
        # Doubling by 3x3 kernels for each of the four pixels pays with large tiles alone.
        and (up == 1 or x.dtype == torch.float32)
    )


def weight_gradient_suits(x: Tensor, outputs: int) -> bool:
    """Whether it can compute a 3x3 weight's gradient on this CPU faster than oneDNN, by as fixed a rule."""
    return (
        x.device.type == "cpu"
        and x.dtype in fast_types()
        and x.shape[1] % _COLUMNS == 0
        and outputs % _COLUMNS == 0
        and x.shape[2] * x.shape[3] >= _LEAST_PIXELS
    )


def _doubling(weight: Tensor) -> Tensor:
    """[O, I, 3, 3] -> [4 O, I, 3, 3]: zero insertion, kernel and FIR in one, for each of the four new pixels."""
    o, i = weight.shape[:2]
    taps = (fir_kernel(dtype=weight.dtype) * 4).to(weight.device)[None, None]
    # The kernel about an input pixel, filtered: 6x6. Old pixel h meets new pixel 2 h + a - 2 at its row a.
    spread = torch.nn.functional.conv_transpose2d(weight.reshape(o * i, 1, 3, 3), taps).reshape(o, i, 6, 6)
    # New pixel 2 h + p reads the old pixels h - 1, h, h + 1 through the rows p + 4, p + 2 and p.
    rows = [torch.tensor([p + 4, p + 2, p]) for p in (0, 1)]
    phases = [spread[:, :, rows[py]][:, :, :, rows[px]] for py in (0, 1) for px in (0, 1)]
    return torch.stack(phases).reshape(4 * o, i, 3, 3)


def _transformed(weight: Tensor, dtype: torch.dtype, up: int, adjoint: bool) -> Tensor:
    """The kernels as `_rust.convolve` reads them."""
    exact = weight.detach().to(torch.float32 if dtype == torch.bfloat16 else torch.float64)
    if adjoint:
        exact = exact.transpose(0, 1).flip(2, 3)
    if up == 2:
        exact = _doubling(exact)
    o, i = exact.shape[:2]
    g = torch.tensor(_SMALL if dtype == torch.bfloat16 else _LARGE, dtype=exact.dtype)
    u = torch.kron(g, g) @ exact.reshape(o * i, 9).T  # [A * A, O * I]
    u = u.to(dtype).reshape(-1, o // _COLUMNS, _COLUMNS, i).transpose(2, 3)
    if dtype == torch.bfloat16:  # two inputs a word
        u = u.reshape(*u.shape[:2], i // 2, 2, _COLUMNS).transpose(3, 4)
    return u.contiguous()


def winograd_conv2d(
    x: Tensor,
    weight: Tensor,
    pre: Tensor,
    post: Tensor,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    up: int = 1,
    slope: float = 1.0,
    gain: float = 1.0,
    clamp: float | None = None,
    adjoint: bool = False,
) -> Tensor:
    """``act(post conv(pre x) + noise + bias) gain`` in one pass, for sizes of which `winograd_suits` is true.

    Args:
        x: [N, I, H, W], float32 or bfloat16.
        weight: [O, I, 3, 3].
        pre: [N, I].
        post: [N, O].
        noise: broadcastable to [N, 1, H * up, W * up].
        bias: [O].
        up: 1, or 2 for twofold upsampling with the filter.
        slope: of the activation below zero, at most 1.
        gain: factor after the activation.
        clamp: limit of the absolute value.
        adjoint: convolve with the weight, [I, O, 3, 3] then, transposed and turned by half a circle.

    Returns:
        [N, O, H * up, W * up] in channels_last and the type of `x`.
    """
    (n, _, h, w), o = x.shape, post.shape[1]
    key = ("winograd", x.dtype, up, adjoint)
    kernels = kept(weight, key, lambda: _transformed(weight, x.dtype, up, adjoint))
    words = (kernels.view(torch.int32) if x.dtype == torch.bfloat16 else kernels).numpy()
    if noise is not None:
        images = noise.shape[0] if noise.ndim == 4 else 1
        noise = noise.expand(images, 1, h * up, w * up).reshape(-1)
    y = torch.empty((n, o, h * up, w * up), dtype=x.dtype, memory_format=torch.channels_last)
    _rust.convolve(
        as_array(x),
        (words.view(np.uint32) if x.dtype == torch.bfloat16 else words).reshape(-1),
        as_floats(pre),
        as_floats(post),
        as_floats(noise),
        as_floats(bias),
        as_array(y),
        up=up,
        slope=slope,
        gain=gain,
        clamp=math.inf if clamp is None else clamp,
        workers=torch.get_num_threads(),
    )
    return y


def winograd_weight_gradient(x: Tensor, gradient: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """The gradient of the weight in ``post conv(pre x)``, for sizes of which `weight_gradient_suits` is true.

    Args:
        x: [N, I, H, W], float32 or bfloat16.
        gradient: [N, O, H, W] of the result, in the type of `x`.
        pre: [N, I].
        post: [N, O].

    Returns:
        [O, I, 3, 3] float32 in channels_last.
    """
    shape = (gradient.shape[1], x.shape[1], 3, 3)
    of_weight = torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last)
    _rust.weight_gradient(
        as_array(x),
        as_array(gradient),
        as_floats(pre),
        as_floats(post),
        as_array(of_weight),
        workers=torch.get_num_threads(),
    )
    return of_weight

"""`flexpose::upfirdn2d`: zero insertion, the [1, 3, 3, 1] filter and decimation, as torch knows it.

The operator is its own adjoint: with up and down changed for each other and another padding it is its gradient, and so
it can be differentiated as often as one likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .choice import cuda_kernels, plain_choice
from .fir import TAPS, plain_filter, result_size
from .layout import memory_format
from .separable import separable_filter, separable_suits

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["upfirdn2d"]


def _forward(
    x: torch.Tensor, up: int, down: int, before: int, height: int, width: int, gain: float
) -> torch.Tensor:
    if x.numel() == 0:
        return _fake(x, up, down, before, height, width, gain)
    size, name = (height, width), plain_choice(x)
    if name == "cuda" and up <= 2 and down <= 2:
        y = _on_card(x, up, down, before, size, gain)
    elif name == "cpu" and separable_suits(x, up, down):
        y = separable_filter(x, up, down, before, size, gain)
    else:
        with torch.autocast(x.device.type, enabled=False):
            y = plain_filter(x, up, down, before, size, gain)
    return y.contiguous(memory_format=memory_format(x))


def _on_card(x: Tensor, up: int, down: int, before: int, size: tuple[int, int], gain: float) -> Tensor:
    # The kernel pads both axes alike: enough for the one that needs more, and the other is cut.
    after = max(
        (count - 1) * down + len(TAPS) - before - side * up
        for count, side in zip(size, x.shape[2:], strict=True)
    )
    y: Tensor = cuda_kernels().filter_and_activate(x, up=up, down=down, padding=(before, after), gain=gain)
    return y[:, :, : size[0], : size[1]]


def _fake(x: Tensor, up: int, down: int, before: int, height: int, width: int, gain: float) -> Tensor:
    shape = (*x.shape[:2], height, width)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.up, ctx.down, ctx.before, _, _, ctx.gain = inputs
    ctx.size = x.shape[2:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    # The taps are the same from either end.
    before = len(TAPS) - 1 - ctx.before
    of_x = _upfirdn2d(gradient, ctx.down, ctx.up, before, *ctx.size, ctx.gain)
    return of_x, None, None, None, None, None, None


_upfirdn2d = torch.library.custom_op("flexpose::upfirdn2d", _forward, mutates_args=())
_upfirdn2d.register_fake(_fake)
_upfirdn2d.register_autograd(_backward, setup_context=_setup)


def upfirdn2d(
    x: Tensor, *, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """Insert zeros, pad, filter and keep every `down`-th pixel, each channel by itself.

    It runs on the back end of `flexpose.ops.choice` and can be differentiated any number of times.

    Args:
        x: [N, C, H, W]; its type is the type of the computation.
        up: zeros are inserted so that the sides grow `up`-fold; the filter's gain is `up` squared then.
        down: every `down`-th pixel of the filtered picture is kept.
        padding: (before, after) on both axes, applied after the zeros are in; negative values crop.
        gain: factor of the result; multiples of a power of two keep the filter exact in bfloat16.

    Returns:
        [N, C, (H * up + before + after - 4) // down + 1, ...] in the type and the memory format of `x`.

    Raises:
        UsageError: `x` has another rank or is too small, or a factor is below 1.
        DeviceError: the back end that was asked for by name cannot run here.

    Source: StyleGAN2, arXiv:1912.04958, filter [1, 3, 3, 1]. Reference: `flexpose.ops.fir.upfirdn2d_ref`.
    """
    size = result_size(x, up, down, padding)
    result: Tensor = _upfirdn2d(x, up, down, padding[0], *size, float(gain * up * up))
    return result

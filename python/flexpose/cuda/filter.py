"""Filtering with [1, 3, 3, 1] and the pointwise end of a layer on a card, and the gradient of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from . import load
from ._call import address, dense, dtype_name, epilogue, launching, same_device, wide, wide_dtype

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["activation_gradient", "filter_and_activate"]


def filter_and_activate(
    x: Tensor,
    *,
    filtered: bool = True,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float | None = None,
    bias: Tensor | None = None,
    activation: str = "linear",
    activation_gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`flexpose.ops.upfirdn2d` and then bias, activation, gain and clamp, in one pass and without autograd.

    Its adjoint (of the filter) is itself, with `up` and `down` changed for each other, and the padding
    ``(3 - before, 3 - after)`` for ``down`` 1, to the size that went in.

    Args:
        x: [N, C, H, W].
        filtered: apply the filter; without it, and with the defaults of the rest, this is bias_act.
        up: zeros are inserted so that the sides grow `up`-fold.
        down: every `down`-th pixel is kept.
        padding: (before, after) on both axes; negative values crop.
        gain: of the filter; None is `up` squared.
        bias: [C].
        activation: "linear" or "lrelu" (slope 0.2).
        activation_gain: None is 1 for linear and sqrt(2) for lrelu.
        clamp: limit of the absolute value of the result.

    Returns:
        [N, C, (H * up + before + after - taps) // down + 1, ...] in channels_last; taps is 4, or 1 without the filter.

    Raises:
        UsageError: a shape, a type or an option is wrong.
        DeviceError: the kernels cannot be used here, or CUDA reports an error.
    """
    import torch

    module = load.kernels()
    if x.ndim != 4:
        raise UsageError(f"x must be [N, C, H, W], got {list(x.shape)}")
    n, c, h, w = x.shape
    if bias is not None and bias.shape != (c,):
        raise UsageError(f"bias must be [{c}], got {list(bias.shape)}")
    if up not in {1, 2} or down not in {1, 2}:
        raise UsageError(f"up and down must be 1 or 2, got {up} and {down}")
    same_device(x, bias=bias)
    taps = 4 if filtered else 1
    out_h, out_w = ((side * up + sum(padding) - taps) // down + 1 for side in (h, w))
    if min(out_h, out_w) < 1:
        raise UsageError(f"x must be large enough for the filter, got {list(x.shape)} with padding {padding}")
    x = dense(x.detach())
    wide_bias = None if bias is None else wide(bias, wide_dtype(x))
    y = torch.empty((n, c, out_h, out_w), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    if y.numel() == 0:
        return y
    with launching(x) as stream:
        module.filter(
            dtype=dtype_name(x),
            taps=taps,
            up=up,
            down=down,
            before=padding[0],
            x_shape=(n, c, h, w),
            out_size=(out_h, out_w),
            gain=float(up * up) if gain is None else gain,
            x=address(x),
            y=address(y),
            epilogue=epilogue(
                module, None, wide_bias, activation=activation, gain=activation_gain, clamp=clamp
            ),
            stream=stream,
        )
    return y


def activation_gradient(
    grad_y: Tensor,
    y: Tensor,
    *,
    activation: str = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The gradient of what goes into the activation, from its result `y` alone; both [N, C, H, W].

    Summed over all but the channels it is the gradient for the bias.

    Raises:
        UsageError: a shape, a type or an option is wrong.
        DeviceError: the kernels cannot be used here, or CUDA reports an error.
    """
    import torch

    module = load.kernels()
    if y.ndim != 4 or grad_y.shape != y.shape or grad_y.dtype != y.dtype:
        raise UsageError(
            f"grad_y must be like y, [N, C, H, W] of {y.dtype}, got {list(grad_y.shape)} of {grad_y.dtype} "
            f"beside {list(y.shape)}"
        )
    same_device(y, grad_y=grad_y)
    y, grad_y = dense(y.detach()), dense(grad_y.detach())
    grad = torch.empty_like(y)
    if y.numel() == 0:
        return grad
    with launching(y) as stream:
        module.activation_gradient(
            dtype=dtype_name(y),
            shape=tuple(y.shape),
            y=address(y),
            grad_y=address(grad_y),
            grad=address(grad),
            epilogue=epilogue(module, None, None, activation=activation, gain=gain, clamp=clamp),
            stream=stream,
        )
    return grad

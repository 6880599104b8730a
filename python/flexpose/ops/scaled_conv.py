"""`flexpose::scaled_conv2d`: the 3x3 convolution between two scalings that the backward pass is made of.

Its gradient is the same operator with the weight's adjoint and the scalings swapped, so it can be differentiated again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .weight_gradient import weight_gradient
from .winograd import winograd_conv2d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["scaled_conv2d"]


def _forward(
    x: torch.Tensor, weight: torch.Tensor, pre: torch.Tensor, post: torch.Tensor, adjoint: bool
) -> torch.Tensor:
    return winograd_conv2d(x, weight, pre, post, adjoint=adjoint)


def _fake(x: Tensor, weight: Tensor, pre: Tensor, post: Tensor, adjoint: bool) -> Tensor:
    n, _, h, w = x.shape
    return x.new_empty((n, post.shape[1], h, w)).contiguous(memory_format=torch.channels_last)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.adjoint = inputs[4]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, pre, post = ctx.saved_tensors
    need_x, need_weight, need_pre, need_post, _ = ctx.needs_input_grad
    adjoint, wide = ctx.adjoint, pre.dtype
    of_x = of_weight = of_pre = of_post = None
    if need_pre:
        of_u = scaled_conv2d(gradient, weight, post, torch.ones_like(pre), not adjoint)
        of_pre = (of_u * x).sum((2, 3), dtype=wide)
    if need_x:
        of_x = scaled_conv2d(gradient, weight, post, pre, not adjoint)
    if need_weight:
        # The adjoint is the transposed convolution, where input and gradient change places.
        pair = (gradient, x, post, pre) if adjoint else (x, gradient, pre, post)
        of_weight = weight_gradient(*pair).to(weight.dtype)
    if need_post:
        c = scaled_conv2d(x, weight, pre, torch.ones_like(post), adjoint)
        of_post = (gradient * c).sum((2, 3), dtype=wide)
    return of_x, of_weight, of_pre, of_post, None


_scaled_conv2d = torch.library.custom_op("flexpose::scaled_conv2d", _forward, mutates_args=())
_scaled_conv2d.register_fake(_fake)
_scaled_conv2d.register_autograd(_backward, setup_context=_setup)


def scaled_conv2d(x: Tensor, weight: Tensor, pre: Tensor, post: Tensor, adjoint: bool) -> Tensor:
    """``post conv(pre x)`` with a 3x3 weight or its adjoint.

    Args:
        x: [N, I, H, W], of a kind that `winograd_suits` is true of.
        weight: [O, I, 3, 3], or [I, O, 3, 3] for the adjoint.
        pre: [N, I].
        post: [N, O].
        adjoint: whether to convolve with the weight transposed and turned by half a circle.

    Returns:
        [N, O, H, W] in channels_last and the type of `x`.
    """
    result: Tensor = _scaled_conv2d(x, weight, pre, post, adjoint)
    return result

"""`flexpose::weight_gradient`: the gradient of a 3x3 weight between two scalings, by minimal filtering.

It is linear in the input and in the gradient of the result, so its own gradients are convolutions with what comes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .winograd import winograd_weight_gradient

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["weight_gradient"]


def _forward(x: torch.Tensor, gradient: torch.Tensor, pre: torch.Tensor, post: torch.Tensor) -> torch.Tensor:
    return winograd_weight_gradient(x, gradient, pre, post)


def _fake(x: Tensor, gradient: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    shape = (gradient.shape[1], x.shape[1], 3, 3)
    return torch.empty(shape, dtype=torch.float32, device=x.device, memory_format=torch.channels_last)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
    from .scaled_conv import scaled_conv2d

    x, gradient, pre, post = ctx.saved_tensors
    need_x, need_gradient, need_pre, need_post = ctx.needs_input_grad
    of_x = of_gradient = of_pre = of_post = None
    if need_x or need_pre:
        back = scaled_conv2d(gradient, weight, post, torch.ones_like(pre), True)
        of_x = back * pre.to(x.dtype)[:, :, None, None] if need_x else None
        of_pre = (back * x).sum((2, 3), dtype=pre.dtype) if need_pre else None
    if need_gradient or need_post:
        made = scaled_conv2d(x, weight, pre, torch.ones_like(post), False)
        of_gradient = made * post.to(x.dtype)[:, :, None, None] if need_gradient else None
        of_post = (made * gradient).sum((2, 3), dtype=post.dtype) if need_post else None
    return of_x, of_gradient, of_pre, of_post


_weight_gradient = torch.library.custom_op("flexpose::weight_gradient", _forward, mutates_args=())
_weight_gradient.register_fake(_fake)
_weight_gradient.register_autograd(_backward, setup_context=_setup)


def weight_gradient(x: Tensor, gradient: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """The gradient of the weight in ``post conv(pre x)``.

    Args:
        x: [N, I, H, W], of a kind that `weight_gradient_suits` is true of.
        gradient: [N, O, H, W] of the result, in the type of `x`.
        pre: [N, I].
        post: [N, O].

    Returns:
        [O, I, 3, 3] float32 in channels_last.
    """
    result: Tensor = _weight_gradient(x, gradient, pre, post)
    return result

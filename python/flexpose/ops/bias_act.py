"""`flexpose::bias_act`: bias, activation, gain and limit in one operator whose gradient needs its result alone.

Leaky ReLU keeps the sign, so the result tells its own derivative, and where it is at its limit there is none. The
second derivative is zero: the gradient, `flexpose::activation_gradient`, is linear in what comes in and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from ..errors import UsageError
from .choice import cuda_kernels, plain_choice
from .layout import memory_format
from .shared_conv import LRELU_SLOPE, activation_gain, finish

if TYPE_CHECKING:
    from torch import Tensor

    from .shared_conv import Activation

__all__ = ["activation_gradient", "bias_act", "bias_act_ref"]


def _forward(
    x: torch.Tensor, bias: torch.Tensor | None, leaky: bool, gain: float, clamp: float | None
) -> torch.Tensor:
    if x.numel() and plain_choice(x) == "cuda":
        y: Tensor = cuda_kernels().filter_and_activate(
            _picture(x),
            filtered=False,
            bias=bias,
            activation="lrelu" if leaky else "linear",
            activation_gain=gain,
            clamp=clamp,
        )
        return y.reshape(x.shape).contiguous(memory_format=memory_format(x))
    y = _fake(x, bias, leaky, gain, clamp)
    # lrelu(z) * g = lrelu(z * g) for g > 0, in the pass that adds the bias.
    inner = gain if gain > 0 else 1.0
    if bias is None:
        torch.mul(x, inner, out=y)
    else:
        torch.add((bias * inner).to(x.dtype).reshape(-1, *(1,) * (x.ndim - 2)), x, alpha=inner, out=y)
    if leaky:
        F.leaky_relu_(y, LRELU_SLOPE)
    if gain != inner:
        y.mul_(gain)
    if clamp is not None:
        y.clamp_(-clamp, clamp)
    return y


def _fake(x: Tensor, bias: Tensor | None, leaky: bool, gain: float, clamp: float | None) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, bias, *ctx.options = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(output)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    of_x = _activation_gradient(gradient, y, *ctx.options)
    of_bias = None
    if ctx.needs_input_grad[1]:
        over = [axis for axis in range(y.ndim) if axis != 1]
        # torch adds short types in float32 within the picture; the pictures are added in the type of the bias.
        of_bias = of_x.sum(over[1:]) if len(over) > 1 else of_x
        of_bias = of_bias.to(ctx.bias_dtype).sum(0)
    return of_x if ctx.needs_input_grad[0] else None, of_bias, None, None, None


def _gradient(
    gradient: torch.Tensor, y: torch.Tensor, leaky: bool, gain: float, clamp: float | None
) -> torch.Tensor:
    if y.numel() and plain_choice(y) == "cuda":
        found: Tensor = cuda_kernels().activation_gradient(
            _picture(gradient),
            _picture(y),
            activation="lrelu" if leaky else "linear",
            gain=gain,
            clamp=clamp,
        )
        return found.reshape(y.shape).contiguous(memory_format=memory_format(y))
    if leaky:
        of_x: Tensor = torch.ops.aten.leaky_relu_backward(gradient, y if gain > 0 else -y, LRELU_SLOPE, True)
        if gain != 1:
            of_x.mul_(gain)
    else:
        of_x = gradient * gain
    if clamp is not None:
        # The limit as it stands in y: a short type has rounded it, and may have rounded it down.
        of_x.masked_fill_(y.abs() >= y.new_full((), clamp), 0.0)
    return of_x.contiguous(memory_format=memory_format(y))


def _fake_gradient(gradient: Tensor, y: Tensor, leaky: bool, gain: float, clamp: float | None) -> Tensor:
    return torch.empty(y.shape, dtype=y.dtype, device=y.device, memory_format=memory_format(y))


def _setup_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, y, *ctx.options = inputs
    ctx.save_for_backward(y)


def _backward_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    return _activation_gradient(gradient, y, *ctx.options), None, None, None, None


def _picture(x: Tensor) -> Tensor:
    """As [N, C, H, W]."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], -1, 1)


_activation_gradient = torch.library.custom_op("flexpose::activation_gradient", _gradient, mutates_args=())
_activation_gradient.register_fake(_fake_gradient)
_activation_gradient.register_autograd(_backward_gradient, setup_context=_setup_gradient)

_bias_act = torch.library.custom_op("flexpose::bias_act", _forward, mutates_args=())
_bias_act.register_fake(_fake)
_bias_act.register_autograd(_backward, setup_context=_setup)


def activation_gradient(
    gradient: Tensor, y: Tensor, *, leaky: bool, gain: float, clamp: float | None
) -> Tensor:
    """The gradient of what goes into the activation, from that of its result `y` and from `y` itself."""
    result: Tensor = _activation_gradient(gradient, y, leaky, gain, clamp)
    return result


def _check(x: Tensor, bias: Tensor | None, activation: str, clamp: float | None) -> None:
    if x.ndim < 2:
        raise UsageError(f"x must be [N, C, ...], got {list(x.shape)}")
    if bias is not None and bias.shape != x.shape[1:2]:
        raise UsageError(f"bias must be [{x.shape[1]}], got {list(bias.shape)}")
    if activation not in {"linear", "lrelu"}:
        raise UsageError(f"activation must be 'linear' or 'lrelu', got {activation!r}")
    if clamp is not None and not clamp >= 0:
        raise UsageError(f"clamp must not be negative, got {clamp}")


def bias_act_ref(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The definition of `bias_act`, in torch's operators one after the other. Takes and returns what that does."""
    _check(x, bias, activation, clamp)
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 2))
    return finish(x, None, None, activation == "lrelu", activation_gain(activation, gain), clamp)


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias, activate, scale and limit.

    It runs on the back end of `flexpose.ops.choice`. Gradients, once and twice, reach `x` and `bias`; for them the
    result is kept, and not `x`.

    Args:
        x: [N, C, ...]; its type is the type of the computation.
        bias: [C].
        activation: "lrelu" (slope 0.2) or "linear".
        gain: factor after the activation; None is sqrt(2) for lrelu and 1 for linear.
        clamp: limit of the absolute value of the result; what is limited passes no gradient.

    Returns:
        [N, C, ...] in the type and the memory format of `x`.

    Raises:
        UsageError: a shape or an option is wrong.
        DeviceError: the back end that was asked for by name cannot run here.

    Source: StyleGAN2, arXiv:1912.04958, appendix B. Reference: `bias_act_ref`.
    """
    _check(x, bias, activation, clamp)
    limit = None if clamp is None else float(clamp)
    result: Tensor = _bias_act(x, bias, activation == "lrelu", activation_gain(activation, gain), limit)
    return result

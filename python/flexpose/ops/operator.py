"""`flexpose::modulated_conv2d` as torch knows it: one operator with a fake kernel and a differentiable backward.

With u = s x, c = conv(w, u), d = (s^2 E + eps)^-1/2 and z = d c + noise + bias, the result is y = act(z), limited. The
backward pass needs neither c nor z: leaky ReLU is homogeneous, so that the sum of act'(z) z is the sum of y. It is
written in operators that torch can differentiate again, and does nothing for inputs that ask for no gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .bias_act import activation_gradient
from .choice import fused_backward, pick
from .frozen import energy_of, weight_as
from .layout import memory_format
from .scaled_conv import scaled_conv2d
from .shared_conv import FEW, demodulation, fir_padding, offset_like
from .upfirdn import upfirdn2d
from .weight_gradient import weight_gradient
from .winograd import weight_gradient_suits, winograd_suits

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["run_operator"]


def _forward(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    noise: torch.Tensor | None,
    bias: torch.Tensor | None,
    demodulate: bool,
    up: int,
    leaky: bool,
    gain: float,
    clamp: float | None,
) -> torch.Tensor:
    if x.numel() == 0 or weight.shape[0] == 0:
        return _fake(x, weight, styles, noise, bias, demodulate, up, leaky, gain, clamp)
    run = pick(x, weight, up)
    y = run(x, weight, styles, noise, bias, demodulate, up, leaky, gain, clamp)
    return y.contiguous(memory_format=memory_format(x))


def _fake(
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
    n, _, h, w = x.shape
    return torch.empty(
        (n, weight.shape[0], h * up, w * up),
        dtype=x.dtype,
        device=x.device,
        memory_format=memory_format(x),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, styles, noise, bias = inputs[:5]
    ctx.options = inputs[5:]
    ctx.save_for_backward(x, weight, styles, noise, bias, output)


def _conv_backward(
    gradient: Tensor, u: Tensor, weight: Tensor, up: int, mask: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of u and the weight of ``convolve(u, weight, up)``, as the mask asks; the former does not read u."""
    k = weight.shape[2]
    pad = k // 2
    if up == 1:
        of_u, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient, u, weight, None, [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, [*mask, False]
        )
        return of_u, of_weight
    before, after = fir_padding(k)
    filtered = upfirdn2d(gradient, padding=(3 - before, 3 - after), gain=4.0)
    pad = max(pad - 1, 0)
    of_u, of_weight, _ = torch.ops.aten.convolution_backward(
        filtered, u, weight.transpose(0, 1), None, [2, 2], [pad, pad], [1, 1], True, [0, 0], 1, [*mask, False]
    )
    return of_u, None if of_weight is None else of_weight.transpose(0, 1)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, styles, noise, bias, y = ctx.saved_tensors
    demodulate, up, leaky, gain, clamp = ctx.options
    need = ctx.needs_input_grad[:5]
    if gradient.numel() == 0:
        zeros = [
            t.new_zeros(t.shape) if wanted else None
            for t, wanted in zip(ctx.saved_tensors, need, strict=False)
        ]
        return (*zeros, None, None, None, None, None)
    need_x, need_weight, need_styles, need_noise, need_bias = need
    n, i = styles.shape
    wide = styles.dtype
    gradient = gradient.to(y.dtype)
    own = None
    if not (need_weight or need_noise or need_bias or torch.is_grad_enabled()):
        own = fused_backward(x, weight, up)
    if own is not None:
        of_x, of_styles = own(
            gradient,
            x,
            weight,
            styles,
            y,
            demodulate=demodulate,
            up=up,
            noise=noise,
            bias=bias,
            activation="lrelu" if leaky else "linear",
            gain=gain,
            clamp=clamp,
            need_x=need_x,
            need_styles=need_styles,
        )
        of_styles = None if of_styles is None else of_styles.to(wide)
        return of_x, None, of_styles, None, None, None, None, None, None, None

    if clamp is not None:
        gradient = activation_gradient(gradient, y, leaky=False, gain=1.0, clamp=clamp)
    slope = gradient  # times act'(z), without the gain
    if leaky:
        sign = y.detach() if gain > 0 else -y.detach()
        slope = activation_gradient(gradient, sign, leaky=True, gain=1.0, clamp=None)

    of_x = of_weight = of_styles = of_noise = of_bias = None
    if need_noise:
        of_noise = slope.sum(1, keepdim=True).to(wide).sum_to_size(_four(noise.shape)).reshape(noise.shape)
        of_noise = (of_noise * gain).to(noise.dtype)
    if need_bias:
        of_bias = (_sums(slope).to(wide).sum(0) * gain).to(bias.dtype)

    factors = None
    if demodulate:
        energy = energy_of(weight, wide)
        factors = demodulation(styles, energy)
        if need_styles or need_weight:
            # d L / d log d = sum of the gradient of z times d c, where d c = z - noise - bias.
            of_log = gradient * y
            if noise is not None or bias is not None:
                of_log = torch.addcmul(of_log, slope, offset_like(noise, bias, y), value=-gain)
            of_log = _sums(of_log).to(wide)
            of_power = of_log * factors.square() * -0.5  # of s^2 E
            if need_styles:
                of_styles = 2 * styles * (of_power @ energy)
            if need_weight:
                of_energy = of_power.T @ styles.square()
                of_weight = 2 * weight * of_energy[:, :, None, None].to(weight.dtype)

    if need_x or need_styles or need_weight:
        post = styles.new_ones(n, weight.shape[0]) if factors is None else factors
        post = post * gain if gain != 1 else post
        fast = up == 1 and winograd_suits(slope, weight, 1, adjoint=True)
        of_u = None
        if weight.shape[2] == 1 and up == 1 and weight.shape[0] <= FEW and not (need_styles or need_weight):
            # From a few channels, colours: a small weight for each sample, and the input's gradient is written once.
            of_x = _from_few(slope, weight, styles, post)
            need_x = False
        elif fast and need_x and not need_styles:
            of_x = scaled_conv2d(slope, weight, post, styles, True)
        elif fast and need_styles:
            of_u = scaled_conv2d(slope, weight, post, torch.ones_like(styles), True)
        if need_weight and up == 1 and weight.shape[2] == 3 and weight_gradient_suits(x, weight.shape[0]):
            minimal = weight_gradient(x, slope, styles, post).to(weight.dtype)
            of_weight = minimal if of_weight is None else of_weight + minimal
            need_weight = False
        rest = (not fast and (need_x or need_styles), need_weight)
        if any(rest):
            u = x * styles.to(x.dtype).reshape(n, i, 1, 1) if need_weight else x
            of_c = slope * post.to(x.dtype).reshape(n, -1, 1, 1)
            plain, direct = _conv_backward(of_c, u, weight_as(weight, x.dtype), up, rest)
            of_u = plain if rest[0] else of_u
            if direct is not None:
                direct = direct.to(weight.dtype)
                of_weight = direct if of_weight is None else of_weight + direct
        if of_u is not None:
            if need_x:
                of_x = of_u * styles.to(x.dtype).reshape(n, i, 1, 1)
            if need_styles:
                inner = _sums(of_u * x).to(wide)
                of_styles = inner if of_styles is None else of_styles + inner
    return of_x, of_weight, of_styles, of_noise, of_bias, None, None, None, None, None


def _from_few(gradient: Tensor, weight: Tensor, styles: Tensor, post: Tensor) -> Tensor:
    n, o, h, w = gradient.shape
    weights = weight.flatten(1)[None].to(styles.dtype) * styles[:, None] * post[:, :, None]  # [N, O, I]
    pixels = gradient.permute(0, 2, 3, 1).reshape(n, h * w, o)
    return torch.bmm(pixels, weights.to(gradient.dtype)).reshape(n, h, w, -1).permute(0, 3, 1, 2)


def _sums(products: Tensor) -> Tensor:
    """Over the picture, [N, C]. torch adds bfloat16 in float32; asking for that type would copy the whole first."""
    return products.sum((2, 3))


def _four(shape: torch.Size) -> list[int]:
    return [1] * (4 - len(shape)) + list(shape)


_modulated_conv2d = torch.library.custom_op("flexpose::modulated_conv2d", _forward, mutates_args=())
_modulated_conv2d.register_fake(_fake)
_modulated_conv2d.register_autograd(_backward, setup_context=_setup)
run_operator = _modulated_conv2d

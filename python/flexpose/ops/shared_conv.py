"""The modulated convolution in plain torch operators, with one weight for the whole batch.

The form that StyleGAN2 defines makes a weight for every sample (its Eq. 1 and 3). Here the input is scaled by the
style and the output by the demodulation factor, which is the same function and lets a whole batch share one weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch.nn import functional as F

from .fir import upfirdn2d_ref

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DEMOD_EPS",
    "FEW",
    "LRELU_SLOPE",
    "Activation",
    "activation_gain",
    "convolve",
    "demodulation",
    "finish",
    "fir_padding",
    "offset_like",
    "shared_conv2d",
]

DEMOD_EPS = 1e-8
FEW = 16  # channels of colours, or hardly more
LRELU_SLOPE = 0.2
_LRELU_GAIN = 2.0**0.5

Activation = Literal["linear", "lrelu"]


def activation_gain(activation: Activation, gain: float | None) -> float:
    """`gain`, or for None what keeps the variance: sqrt(2) for lrelu, 1 for linear."""
    if gain is not None:
        return float(gain)
    return _LRELU_GAIN if activation == "lrelu" else 1.0


def demodulation(styles: Tensor, energy: Tensor) -> Tensor:
    """Eq. 3 for styles [N, I] and the squared norms of the kernels, `energy` [O, I]: factors [N, O]."""
    return (styles.square() @ energy.T + DEMOD_EPS).rsqrt()


def fir_padding(kernel: int) -> tuple[int, int]:
    """What the filter needs before and after the transposed convolution's result [.., 2 H + k % 2 + ..]."""
    # The result begins one row before the first input row for k > 1, and the filter wants two there; it takes three
    # rows away, and 2 H remain: k = 1 gives 2 H - 1 rows, any other 2 H + 1.
    return (2, 2) if kernel == 1 else (1, 1)


def convolve(x: Tensor, weight: Tensor, up: int, groups: int = 1) -> Tensor:
    """Convolve [N, I, H, W], with twofold upsampling and the filter after it where `up` is 2."""
    pad = weight.shape[2] // 2
    if up == 1:
        return F.conv2d(x, weight, padding=pad, groups=groups)
    # A transposed convolution wants [I, O, k, k] for each group.
    o, i, k, _ = weight.shape
    transposed = (
        weight.reshape(groups, o // groups, i, k, k).transpose(1, 2).reshape(groups * i, o // groups, k, k)
    )
    y = F.conv_transpose2d(x, transposed, stride=2, padding=max(pad - 1, 0), groups=groups)
    return upfirdn2d_ref(y, padding=fir_padding(k), gain=4.0)


def offset_like(noise: Tensor | None, bias: Tensor | None, like: Tensor, gain: float = 1.0) -> Tensor:
    """Noise and bias together, [1 or N, O or 1, H, W], typed as `like`; in channels_last, or adding it is slow."""
    offset = like.new_zeros(1, 1, 1, 1)
    if noise is not None:
        offset = offset + (noise * gain).to(like.dtype)
    offset = offset.permute(0, 2, 3, 1)
    if bias is not None:
        offset = offset.contiguous() + (bias * gain).to(like.dtype)
    return offset.permute(0, 3, 1, 2)


def finish(
    y: Tensor, noise: Tensor | None, bias: Tensor | None, leaky: bool, gain: float, clamp: float | None
) -> Tensor:
    """Noise, bias, activation, gain and limit, one after the other."""
    if noise is not None:
        y = y + noise.to(y.dtype)
    if bias is not None:
        y = y + bias.to(y.dtype)[:, None, None]
    if leaky:
        y = F.leaky_relu(y, LRELU_SLOPE)
    if gain != 1:
        y = y * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def shared_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    factors: Tensor | None,
    noise: Tensor | None,
    bias: Tensor | None,
    up: int,
    leaky: bool,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """The modulated convolution of ready styles [N, I] and demodulation factors [N, O] (None: no demodulation)."""
    n, i = styles.shape
    y = convolve(x * styles.to(x.dtype).reshape(n, i, 1, 1), weight.to(x.dtype), up)
    if factors is None:
        return finish(y, noise, bias, leaky, gain, clamp)
    scale = factors.reshape(n, -1, 1, 1)
    if noise is None and bias is None:
        return finish(y * scale.to(x.dtype), None, None, leaky, gain, clamp)
    # lrelu(y) * g = lrelu(y * g) for g > 0: the gain rides along in the factor and the offset, in one pass.
    inner = gain if gain > 0 else 1.0
    offset = factors.new_zeros(()) if noise is None else noise
    if bias is not None:
        offset = offset + bias[:, None, None]
    y = (offset * inner).to(x.dtype).addcmul(y, (scale * inner).to(x.dtype))
    return finish(y, None, None, leaky, gain / inner, clamp)

"""Modulated convolution: one shared weight, scaled activations.

The form that StyleGAN2 defines makes a weight for every sample (its Eq. 1 and 3). Here the input is scaled by the
style and the output by the demodulation factor, which is the same function and lets a whole batch share one weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch.nn import functional as F

from ..errors import UsageError
from .fir import upfirdn2d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["modulated_conv2d", "modulated_conv2d_ref"]

_DEMOD_EPS = 1e-8
_LRELU_SLOPE = 0.2
_LRELU_GAIN = 2.0**0.5

Activation = Literal["linear", "lrelu"]


def _check(x: Tensor, weight: Tensor, styles: Tensor, tau: Tensor | None, up: int, activation: str) -> None:
    if x.ndim != 4:
        raise UsageError(f"x must be [N, I, H, W], got {list(x.shape)}")
    n, i = x.shape[:2]
    if (
        weight.ndim != 4
        or weight.shape[1] != i
        or weight.shape[2] != weight.shape[3]
        or weight.shape[2] % 2 == 0
    ):
        raise UsageError(f"weight must be [O, {i}, k, k] with odd k, got {list(weight.shape)}")
    if styles.shape != (n, i):
        raise UsageError(f"styles must be [{n}, {i}], got {list(styles.shape)}")
    if tau is not None and tau.shape != (i, i):
        raise UsageError(f"tau must be [{i}, {i}], got {list(tau.shape)}")
    if up not in {1, 2}:
        raise UsageError(f"up must be 1 or 2, got {up}")
    if activation not in {"linear", "lrelu"}:
        raise UsageError(f"activation must be 'linear' or 'lrelu', got {activation!r}")


def _convolve(x: Tensor, weight: Tensor, up: int, groups: int = 1) -> Tensor:
    """Convolve [N, I, H, W], with twofold upsampling and the FIR after it where `up` is 2."""
    pad = weight.shape[2] // 2
    if up == 1:
        return F.conv2d(x, weight, padding=pad, groups=groups)
    # A transposed convolution wants [I, O, k, k] for each group.
    o, i, k, _ = weight.shape
    transposed = (
        weight.reshape(groups, o // groups, i, k, k).transpose(1, 2).reshape(groups * i, o // groups, k, k)
    )
    y = F.conv_transpose2d(x, transposed, stride=2, padding=pad - 1 if pad else 0, groups=groups)
    # y begins one row before the first input row for k > 1, and the FIR wants two there; three rows go in all.
    before = 1 if pad else 2
    after = 2 * x.shape[2] + 3 - before - y.shape[2]
    return upfirdn2d(y * 4, padding=(before, after))


def _finish(
    y: Tensor, noise: Tensor | None, bias: Tensor | None, activation: str, gain: float, clamp: float | None
) -> Tensor:
    if noise is not None:
        y = y + noise.to(y.dtype)
    if bias is not None:
        y = y + bias.to(y.dtype)[:, None, None]
    if activation == "lrelu":
        y = F.leaky_relu(y, _LRELU_SLOPE)
    if gain != 1:
        y = y * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def modulated_conv2d_ref(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    tau: Tensor | None = None,
    demodulate: bool = True,
    up: int = 1,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    activation: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The definition of `modulated_conv2d`: a weight for every sample, in a grouped convolution.

    Takes and returns what `modulated_conv2d` does.

    Source: StyleGAN2, arXiv:1912.04958, Eq. 1 (modulation) and Eq. 3 (demodulation), on tau @ styles (FlexPose, Eq. 6).
    """
    _check(x, weight, styles, tau, up, activation)
    n, i, h, w = x.shape
    s = styles if tau is None else styles @ tau.T
    weights = weight[None] * s[:, None, :, None, None]  # [N, O, I, k, k]
    if demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + _DEMOD_EPS).rsqrt()
    y = _convolve(x.reshape(1, n * i, h, w), weights.flatten(0, 1), up, groups=n)
    y = y.reshape(n, -1, *y.shape[2:])
    default = _LRELU_GAIN if activation == "lrelu" else 1.0
    return _finish(y, noise, bias, activation, default if gain is None else gain, clamp)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    tau: Tensor | None = None,
    demodulate: bool = True,
    up: int = 1,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    activation: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Convolve with style-modulated weights, add noise and bias, activate.

    Args:
        x: [N, I, H, W]; its type is the type of the computation.
        weight: [O, I, k, k], k odd, shared by all samples.
        styles: [N, I]; demodulation is computed in their type.
        tau: [I, I], the linear transfer of the styles, s' = tau s; None leaves them alone.
        demodulate: scale each output channel to unit expected variance.
        up: 1, or 2 for twofold upsampling with the [1, 3, 3, 1] filter.
        noise: broadcastable to [N, 1, H * up, W * up], already scaled by its strength.
        bias: [O].
        activation: "lrelu" (slope 0.2) or "linear".
        gain: factor after the activation; None is sqrt(2) for lrelu and 1 for linear.
        clamp: limit of the absolute value of the result.

    Returns:
        [N, O, H * up, W * up] in the type of `x`.

    Raises:
        UsageError: a shape or an option is wrong.

    Source: StyleGAN2, arXiv:1912.04958, Eq. 1 and 3. Reference: `modulated_conv2d_ref`.
    """
    _check(x, weight, styles, tau, up, activation)
    s = styles if tau is None else styles @ tau.T
    n, i = s.shape
    y = _convolve(x * s.to(x.dtype).reshape(n, i, 1, 1), weight.to(x.dtype), up)
    default = _LRELU_GAIN if activation == "lrelu" else 1.0
    total_gain = default if gain is None else gain
    if not demodulate:
        return _finish(y, noise, bias, activation, total_gain, clamp)
    energy = weight.to(s.dtype).square().sum((2, 3))  # [O, I]
    d = (s.square() @ energy.T + _DEMOD_EPS).rsqrt()
    if noise is None and bias is None:
        y = y * d.to(x.dtype).reshape(n, -1, 1, 1)
        return _finish(y, None, None, activation, total_gain, clamp)
    # lrelu(y) * g = lrelu(y * g) for g > 0: the gain rides along in the factor and the offset, in one pass.
    inner = total_gain if total_gain > 0 else 1.0
    offset = d.new_zeros(()) if noise is None else noise
    if bias is not None:
        offset = offset + bias[:, None, None]
    y = (offset * inner).to(x.dtype).addcmul(y, (d * inner).to(x.dtype).reshape(n, -1, 1, 1))
    return _finish(y, None, None, activation, total_gain / inner, clamp)

"""The modulated convolution: its definition, and the operator that runs it on the back end of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import UsageError
from .operator import run_operator
from .shared_conv import DEMOD_EPS, activation_gain, convolve, finish

if TYPE_CHECKING:
    from torch import Tensor

    from .shared_conv import Activation

__all__ = ["modulated_conv2d", "modulated_conv2d_ref"]


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
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + DEMOD_EPS).rsqrt()
    y = convolve(x.reshape(1, n * i, h, w), weights.flatten(0, 1), up, groups=n)
    y = y.reshape(n, -1, *y.shape[2:])
    return finish(y, noise, bias, activation == "lrelu", activation_gain(activation, gain), clamp)


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

    It runs on the back end of `flexpose.ops.choice`. Gradients, once and twice, reach all tensors that ask for them,
    and nothing is computed for those that do not: with a frozen weight there is no weight gradient. Under autocast `x`
    is cast, the rest keeps its type.

    Args:
        x: [N, I, H, W]; its type is the type of the computation.
        weight: [O, I, k, k], k odd, shared by all samples. What is prepared from it is kept until it changes, so pass
            the parameter itself and put a factor of the weight into `styles`.
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
        [N, O, H * up, W * up] in the type of `x`, and in its memory format.

    Raises:
        UsageError: a shape or an option is wrong.
        DeviceError: the back end that was asked for by name cannot run these tensors.

    Source: StyleGAN2, arXiv:1912.04958, Eq. 1 and 3. Reference: `modulated_conv2d_ref`.
    """
    _check(x, weight, styles, tau, up, activation)
    device = x.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            cast = x.to(torch.get_autocast_dtype(device))
            return modulated_conv2d(
                cast,
                weight,
                styles,
                tau=tau,
                demodulate=demodulate,
                up=up,
                noise=noise,
                bias=bias,
                activation=activation,
                gain=gain,
                clamp=clamp,
            )
    s = styles if tau is None else styles @ tau.T
    leaky, total = activation == "lrelu", activation_gain(activation, gain)
    limit = None if clamp is None else float(clamp)
    result: Tensor = run_operator(x, weight, s, noise, bias, demodulate, up, leaky, total, limit)
    return result

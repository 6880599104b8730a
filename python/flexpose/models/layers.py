"""Layers with StyleGAN's equalised learning rate: stored weights are unit normal, their gain is applied when used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F

from ..ops import bias_act, modulated_conv2d, upfirdn2d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LRELU_GAIN", "LRELU_SLOPE", "EqualConv2d", "EqualLinear"]

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2)


def _at_least(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class EqualLinear(nn.Module):
    """[N, in] -> [N, out], optionally activated by leaky ReLU with slope 0.2 and gain sqrt(2).

    Source: equalised learning rate, Karras et al. 2018, arXiv:1710.10196, section 4.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activate: bool = False,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))
        self.activate = activate
        self.weight_gain = 1 / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to [N, in]."""
        y = F.linear(x, self.weight * self.weight_gain, self.bias)
        return F.leaky_relu(y, LRELU_SLOPE) * LRELU_GAIN if self.activate else y


class EqualConv2d(nn.Module):
    """[N, in, H, W] -> [N, out, H / down, W / down]; the input's type is the type of the computation.

    With ``down=2`` the input is filtered by [1, 3, 3, 1] first, as in StyleGAN2's discriminator.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        down: int = 1,
        activate: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.down = down
        self.activate = activate

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Convolve [N, in, H, W]; `gain` multiplies the result."""
        total = gain * (LRELU_GAIN if self.activate else 1.0)
        activation: Literal["lrelu", "linear"] = "lrelu" if self.activate else "linear"
        kernel = self.weight.shape[2]
        if self.down == 1 and kernel == 3:
            # Constant styles without demodulation: one operator with everything in one pass where the CPU has it.
            styles = self.weight.new_full((x.shape[0], x.shape[1]), self.weight_gain).to(_at_least(x.dtype))
            return modulated_conv2d(
                x,
                self.weight,
                styles,
                demodulate=False,
                bias=self.bias,
                activation=activation,
                gain=total,
            )
        # lrelu(y) * g = lrelu(y * g): activation gain and residual gain ride along in weight and bias.
        weight = (self.weight * (self.weight_gain * total)).to(x.dtype)
        if self.down == 1:
            y = F.conv2d(x, weight, padding=kernel // 2)
        elif kernel == 1:
            y = F.conv2d(upfirdn2d(x, down=self.down, padding=(1, 1)), weight)
        else:
            y = F.conv2d(upfirdn2d(x, padding=(2, 2)), weight, stride=self.down)
        if self.bias is None and not self.activate:
            return y
        bias = None if self.bias is None else self.bias * total
        return bias_act(y, bias, activation=activation, gain=1.0)

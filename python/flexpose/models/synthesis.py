"""phi: styles to images, StyleGAN2's skip architecture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..ops import bias_act, modulated_conv2d, upfirdn2d

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["NoiseMode", "StyleLayer", "SynthesisNetwork", "channels_at"]

_SLICE_BYTES = 8 << 20

NoiseMode: TypeAlias = 'Literal["const", "random", "none"] | Callable[[int], Tensor]'
"""Stored noise, new noise, none, or a function that makes [N, 1, r, r] for a resolution r."""


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature maps at a resolution: min(channel_base / resolution, channel_max)."""
    return min(channel_base // resolution, channel_max)


class StyleLayer(nn.Module):
    """One modulated 3x3 convolution with noise, bias and leaky ReLU; its style comes in from outside.

    With `scaled` the convolution's result, noise included, is multiplied by a learned factor for each channel before
    the bias: the scale of a batch normalisation, which demodulation would take out of the weight again.
    """

    noise_const: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, resolution: int, *, up: int = 1, scaled: bool = False
    ) -> None:
        super().__init__()
        self.in_channels, self.resolution, self.up = in_channels, resolution, up
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = nn.Parameter(torch.ones(out_channels)) if scaled else None
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(1, 1, resolution, resolution))
        self.weight_gain = 1 / math.sqrt(in_channels * 9)

    def forward(self, x: Tensor, style: Tensor, noise: NoiseMode) -> Tensor:
        """[N, I, H, W], [N, I] -> [N, O, H * up, W * up]."""
        added = None
        if noise == "const":
            added = self.noise_const * self.noise_strength
        elif noise == "random":
            added = (
                torch.randn(x.shape[0], 1, self.resolution, self.resolution, device=x.device)
                * self.noise_strength
            )
        elif callable(noise):
            added = noise(self.resolution) * self.noise_strength
        # The gain goes into the style, so that the operator sees the parameter itself and can keep what it prepares.
        styles = style * self.weight_gain
        if self.scale is None:
            return modulated_conv2d(x, self.weight, styles, up=self.up, noise=added, bias=self.bias)
        y = modulated_conv2d(x, self.weight, styles, up=self.up, noise=added, activation="linear")
        return bias_act(y * self.scale.to(y.dtype)[:, None, None], self.bias)


class ToRGB(nn.Module):
    """1x1 modulated convolution to colours, without demodulation."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[N, I, H, W], [N, I] -> [N, 3, H, W], float32 or a wider type of the input."""
        y = modulated_conv2d(
            x, self.weight, style * self.weight_gain, demodulate=False, bias=self.bias, activation="linear"
        )
        return y.to(torch.promote_types(y.dtype, torch.float32))


class SynthesisNetwork(nn.Module):
    """Styles to images [N, 3, size_px, size_px], nominally in [-1, 1].

    There are two style layers at each resolution from 4x4 on, so L = 2 (log2(size_px) - 1), numbered from 1, coarse
    to fine: 1 and 2 at 4x4, 3 (which upsamples) and 4 at 8x8, and so on. That is the numbering of the paper, whose
    StyleGAN has two at 4x4 as well. The styles of the colour layers follow the L in the list, one a resolution.

    Source: StyleGAN2, arXiv:1912.04958, Fig. 7b (output skips), section 2.
    """

    def __init__(
        self, size_px: int, channel_base: int, channel_max: int, *, channel_scales: bool = False
    ) -> None:
        super().__init__()
        self.size_px = size_px
        self.resolutions = [2**i for i in range(2, int(math.log2(size_px)) + 1)]
        widths = [channels_at(r, channel_base, channel_max) for r in self.resolutions]
        self.const = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        layers = []
        before = widths[0]
        for resolution, width in zip(self.resolutions, widths, strict=True):
            up = 1 if resolution == 4 else 2
            layers.append(StyleLayer(before, width, resolution, up=up, scaled=channel_scales))
            layers.append(StyleLayer(width, width, resolution, scaled=channel_scales))
            before = width
        self.layers = nn.ModuleList(layers)
        self.to_rgb = nn.ModuleList(ToRGB(width) for width in widths)
        self.style_dims = [layer.in_channels for layer in layers] + widths
        self.layer_resolutions = [layer.resolution for layer in layers]
        self._largest: int = max(r * r * width for r, width in zip(self.resolutions, widths, strict=True))

    @property
    def num_layers(self) -> int:
        """L, the number of style layers; the colour layers are not counted."""
        return len(self.layer_resolutions)

    def _check(self, styles: Sequence[Tensor]) -> None:
        if [s.shape[1] for s in styles] != self.style_dims:
            raise UsageError(
                f"styles must have widths {self.style_dims}, got {[list(s.shape) for s in styles]}"
            )

    def features_before(
        self,
        styles: Sequence[Tensor],
        layer: int,
        *,
        noise: NoiseMode = "const",
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor | None]:
        """What enters style layer `layer` (1-based): activations [N, I, H, W] and the image so far, if any.

        They depend on the styles of earlier layers alone, so a transfer that starts at `layer` never changes them.
        """
        return self._run(styles, range(1, layer), None, None, noise, dtype)

    def forward(
        self,
        styles: Sequence[Tensor],
        *,
        noise: NoiseMode = "const",
        dtype: torch.dtype = torch.float32,
        start: tuple[int, Tensor, Tensor | None] | None = None,
        last_resolution: int | None = None,
        fade: float = 1.0,
    ) -> Tensor:
        """Draw images.

        Args:
            styles: the list of `Generator.styles`: L of [N, I_l], then one for each colour layer.
            noise: see `NoiseMode`.
            dtype: type of the activations; colours are summed in float32 at least.
            start: (layer, activations, image) of `features_before`: go on from there.
            last_resolution: stop at this resolution and give its image.
            fade: how far the colours of the last resolution are faded in, for progressive growing.

        Returns:
            [N, 3, S, S] float32 (float64 for activations of float64).

        Raises:
            UsageError: styles of other widths, or a resolution or a start that is not the network's.
        """
        self._check(styles)
        if last_resolution is not None and last_resolution not in self.resolutions:
            raise UsageError(f"last_resolution must be one of {self.resolutions}, got {last_resolution}")
        stop = (
            self.num_layers + 1
            if last_resolution is None
            else 2 * (self.resolutions.index(last_resolution) + 1) + 1
        )
        first, x, image = start if start is not None else (1, None, None)
        numbers = range(first, stop)
        n = len(styles[0])
        step = self._slice(dtype) if styles[0].device.type == "cpu" and noise in ("const", "none") else n
        if torch.is_grad_enabled() or n <= step:
            image = self._run(styles, numbers, x, image, noise, dtype, fade)[1]
        else:
            images = []
            for begin in range(0, n, step):
                part = slice(begin, begin + step)
                some = [style[part] for style in styles]
                entering = None if x is None else x[part]
                so_far = None if image is None else image[part]
                images.append(self._run(some, numbers, entering, so_far, noise, dtype, fade)[1])
            image = None if images[0] is None else torch.cat([i for i in images if i is not None])
        if image is None:
            raise UsageError(f"start must be a layer up to {stop - 1}, got {first}")
        return image

    def _slice(self, dtype: torch.dtype) -> int:
        """Images whose activations stay in a CPU's caches, so that one costs the same in a batch of any size."""
        return max(1, _SLICE_BYTES // (self._largest * dtype.itemsize))

    def _run(
        self,
        styles: Sequence[Tensor],
        numbers: range,
        x: Tensor | None,
        image: Tensor | None,
        noise: NoiseMode,
        dtype: torch.dtype,
        fade: float = 1.0,
    ) -> tuple[Tensor, Tensor | None]:
        if x is None:
            x = self.const.to(dtype).expand(styles[0].shape[0], -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        for number in numbers:
            x = self.layers[number - 1](x, styles[number - 1], noise)
            if number % 2:
                continue
            block = number // 2 - 1
            rgb = self.to_rgb[block](x, styles[self.num_layers + block])
            if fade < 1 and number == numbers[-1]:
                rgb = rgb * fade
            image = rgb if image is None else upfirdn2d(image, up=2, padding=(2, 1)) + rgb
        return x, image

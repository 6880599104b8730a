"""g = phi o A o f: the generator, as three public calls, because tau lives between the last two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import STRICT
from ..errors import ConfigError, UsageError
from .layers import EqualLinear
from .mapping import MappingNetwork
from .synthesis import NoiseMode, SynthesisNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Generator", "GeneratorConfig"]

_MAX_MAPPING_LAYERS = 64


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GeneratorConfig:
    """Sizes of a generator."""

    size_px: int = 64
    z_dim: int = 128
    w_dim: int = 128
    mapping_layers: int = 4
    channel_base: int = 2048
    channel_max: int = 128
    channel_scales: bool = False  # a learned factor of each channel after each convolution, see `StyleLayer`

    def __post_init__(self) -> None:
        if self.size_px < 8 or self.size_px & (self.size_px - 1):
            raise ConfigError(f"size_px must be a power of two >= 8, got {self.size_px}")
        for name in ("z_dim", "w_dim", "mapping_layers", "channel_max"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.mapping_layers > _MAX_MAPPING_LAYERS:
            raise ConfigError(f"mapping_layers must be <= {_MAX_MAPPING_LAYERS}, got {self.mapping_layers}")
        if self.channel_base < self.size_px:
            raise ConfigError(f"channel_base must be >= size_px = {self.size_px}, got {self.channel_base}")


class Generator(nn.Module):
    """StyleGAN2 with the three stages of the paper's Eq. 3 apart: ``synthesize(styles(map(z)))``.

    Source: FlexPose, arXiv:2412.13463, Eq. 3; StyleGAN2, arXiv:1912.04958.
    """

    def __init__(self, config: GeneratorConfig | None = None, **sizes: Any) -> None:
        super().__init__()
        self.config = config if config is not None else GeneratorConfig(**sizes)
        c = self.config
        self.mapping = MappingNetwork(c.z_dim, c.w_dim, c.mapping_layers)
        self.synthesis = SynthesisNetwork(
            c.size_px, c.channel_base, c.channel_max, channel_scales=c.channel_scales
        )
        self.affine = nn.ModuleList(EqualLinear(c.w_dim, d, bias_init=1.0) for d in self.synthesis.style_dims)

    @property
    def num_layers(self) -> int:
        """L = 2 (log2(size_px) - 1), the style layers that a transfer can change."""
        return self.synthesis.num_layers

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.mapping.w_avg.device

    @property
    def layer_resolutions(self) -> list[int]:
        """Pixels of each style layer's output, coarse to fine; layer l is at index l - 1."""
        return list(self.synthesis.layer_resolutions)

    def map(self, z: Tensor, *, truncation: float = 1.0) -> Tensor:
        """F: z [N, z_dim] -> w [N, w_dim]; truncation < 1 pulls w towards its mean."""
        if z.ndim != 2 or z.shape[1] != self.config.z_dim:
            raise UsageError(f"z must be [N, {self.config.z_dim}], got {list(z.shape)}")
        w: Tensor = self.mapping(z)
        return w if truncation == 1 else torch.lerp(self.mapping.w_avg, w, truncation)

    def styles(self, w: Tensor) -> list[Tensor]:
        """A: w -> the styles of the L layers and then of the colour layers.

        Args:
            w: [N, w_dim], or [N, L + 1, w_dim] with a code for each layer; a colour layer takes the code after
                its resolution's last layer, as in StyleGAN2.

        Returns:
            L + log2(size_px) - 1 tensors [N, I_l].

        Raises:
            UsageError: another shape.
        """
        layers = self.num_layers
        if w.ndim == 2 and w.shape[1] == self.config.w_dim:
            return [affine(w) for affine in self.affine]
        if w.shape[1:] != (layers + 1, self.config.w_dim):
            raise UsageError(
                f"w must be [N, {self.config.w_dim}] or [N, {layers + 1}, {self.config.w_dim}], got {list(w.shape)}"
            )
        owner = [*range(layers), *(2 * block + 2 for block in range(len(self.affine) - layers))]
        return [affine(w[:, i]) for affine, i in zip(self.affine, owner, strict=True)]

    def synthesize(
        self,
        styles: Sequence[Tensor],
        *,
        noise: NoiseMode = "const",
        dtype: torch.dtype = torch.float32,
        last_resolution: int | None = None,
        fade: float = 1.0,
    ) -> Tensor:
        """Phi: styles -> images [N, 3, S, S] float32, nominally in [-1, 1]; see `SynthesisNetwork.forward`."""
        image: Tensor = self.synthesis(
            styles, noise=noise, dtype=dtype, last_resolution=last_resolution, fade=fade
        )
        return image

    def forward(
        self,
        z: Tensor,
        *,
        truncation: float = 1.0,
        noise: NoiseMode = "const",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Z [N, z_dim] -> images [N, 3, size_px, size_px]."""
        return self.synthesize(self.styles(self.map(z, truncation=truncation)), noise=noise, dtype=dtype)

    def num_parameters(self) -> int:
        """Trained numbers of the whole generator."""
        return sum(math.prod(p.shape) for p in self.parameters())

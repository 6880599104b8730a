"""f: latent codes to the intermediate latent space W."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .layers import EqualLinear

__all__ = ["MappingNetwork"]


class MappingNetwork(nn.Module):
    """[N, z_dim] standard normal -> w [N, w_dim]; z is normalised to unit mean square first.

    Its lower learning rate in adversarial training is the optimiser's affair.

    Source: StyleGAN, arXiv:1812.04948, section 2; f of FlexPose's Eq. 3.
    """

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, num_layers: int) -> None:
        super().__init__()
        self.z_dim = z_dim
        widths = [z_dim] + [w_dim] * num_layers
        self.layers = nn.ModuleList(EqualLinear(a, b, activate=True) for a, b in pairwise(widths))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, *, stop: int | None = None) -> Tensor:
        """Map [N, z_dim] to [N, w_dim], or to what leaves the first `stop` layers."""
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers[:stop]:
            x = layer(x)
        return x

    def finish(self, x: Tensor, start: int) -> Tensor:
        """Take [N, w_dim], what enters layer `start` (0-based), through the rest."""
        for layer in self.layers[start:]:
            x = layer(x)
        return x

"""LoRA: beside each style layer a change of low rank."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ...config import STRICT
from ...errors import ConfigError
from ...models import Transfer
from .pictures import PictureConfig, PictureLearner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...models import Generator

__all__ = ["LORA_PRESETS", "LoraConfig", "LoraLearner", "LowRank"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoraConfig(PictureConfig):
    """LoRA as the paper compares it; `layers` gives its missing cell, sparse and of low rank."""

    layers: tuple[int, ...] = ()  # numbered from 1, coarse to fine; () is every style layer
    rank: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("rank", above=True)
        if len(set(self.layers)) != len(self.layers) or min(self.layers, default=1) < 1:
            raise ConfigError(f"layers must be distinct numbers from 1, got {self.layers}")

    def check_fit(self, generator: Generator) -> None:
        """See `MethodConfig`."""
        if max(self.layers, default=1) > generator.num_layers:
            raise ConfigError(f"layers must be from 1 to {generator.num_layers}, got {list(self.layers)}")


LORA_PRESETS: dict[str, dict[str, Any]] = {
    # The paper's numbers. Its learning rate is too high for low rank: on the shipped source the loss is 650 in the mean
    # of the first 20 iterations and 9 after 60, where the default's has fallen to 0.95.
    "aligned": {
        "pairing": "random",
        "features": ("beta", "pyramid"),
        "batch": 128,
        "lr": 0.1,
        "lr_decay": "none",
    },
    "tuned": {},
}


class LowRank(nn.Module):
    """U_l = I + B_l A_l with A [r, d] normal, of variance 1 / d, and B [d, r] zero at birth (alpha = r).

    Source: LoRA, arXiv:2106.09685, section 4.1; section 4.2 of FlexPose, arXiv:2412.13463, puts it beside each layer.
    """

    def __init__(self, style_dims: Sequence[int], layers: Sequence[int], rank: int) -> None:
        super().__init__()
        self.layers, self.style_dims = tuple(layers), tuple(style_dims)
        dims = {str(layer): style_dims[layer - 1] for layer in layers}
        self.down = nn.ParameterDict(
            {layer: nn.Parameter(torch.randn(rank, d) / math.sqrt(d)) for layer, d in dims.items()}
        )
        self.up = nn.ParameterDict({layer: nn.Parameter(torch.zeros(d, rank)) for layer, d in dims.items()})

    def forward(self, styles: Sequence[Tensor]) -> list[Tensor]:
        """Change the list of `Generator.styles`; at birth the result is bit-equal to the input."""
        changed = list(styles)
        for layer in self.layers:
            s = changed[layer - 1]
            changed[layer - 1] = s + s @ self.down[str(layer)].T @ self.up[str(layer)].T
        return changed

    @torch.no_grad()
    def merged(self, generator: Generator) -> Transfer:
        """The same change as a transfer."""
        transfer = Transfer.for_generator(generator, self.layers, form="raw")
        for layer in transfer.layers:
            transfer.blocks[str(layer)].copy_(self.up[str(layer)] @ self.down[str(layer)])
        return transfer


class LoraLearner(PictureLearner):
    """A and B of the free layers are free."""

    model: LowRank

    def prepare(self) -> None:
        """See `PictureLearner`."""
        generator = self.material.generator
        layers = sorted(self.config.layers) or range(1, generator.num_layers + 1)
        model = LowRank(generator.synthesis.style_dims, list(layers), self.config.rank)
        self.model = model.to(generator.device)
        with torch.no_grad():
            self._styles = generator.styles(generator.map(self.codes))

    def draw(self, rows: Tensor, step: int) -> Tensor:
        """See `PictureLearner`."""
        synthesis, dtype, first = self.material.generator.synthesis, self.material.dtype, self.model.layers[0]
        styles = [style[rows] for style in self._styles]
        with torch.no_grad():  # nothing before the first free layer changes
            x, image = synthesis.features_before(styles, first, dtype=dtype)
        images: Tensor = synthesis(self.model(styles), dtype=dtype, start=(first, x, image))
        return images

    def result(self) -> tuple[Generator, Transfer]:
        """See `Learner`."""
        return self.material.generator, self.model.merged(self.material.generator)

"""Batch statistics adaptation (Noguchi & Harada 2019): scales and shifts of the channels, and codes of the guide poses.

StyleGAN has no batch statistics. A scale and a shift for each channel stand after each convolution instead, before the
activation; the shift is the bias that is there, the scale is kept in the generator file. The mapping network divides
z by its own length, so codes of a smaller standard deviation would be the same codes: what samples are drawn with less
of is w about its mean, and that is multiplied into the affine layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ...config import STRICT
from ...models import Generator
from ...pretrain.data import step_seed
from ..features import FeatureName
from .pictures import LrDecay, PictureConfig, PictureLearner

if TYPE_CHECKING:
    from ...models.synthesis import StyleLayer

__all__ = ["ADAGAN_PRESETS", "AdaGanConfig", "AdaGanLearner"]

_NOISE_STREAM = 31


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaGanConfig(PictureConfig):
    """The defaults are the authors', with a tenth of their 10,000 iterations."""

    mixed: int = 0  # the authors train on the few examples alone
    features: tuple[FeatureName, ...] = ("beta", "pyramid")
    lr: float = 0.03
    lr_decay: LrDecay = "step"
    feature_weight: float = 0.1  # of Gamma; the authors' 0.001 is for sums of VGG's levels
    spread_weight: float = 0.1  # of the distance between embeddings and normal samples
    drift_weight: float = 0.02  # of the squared changes of scales and shifts
    samples_per_code: int = 10  # normal samples for each embedding of a batch
    z_noise: float = 0.01  # standard deviation of what is added to embeddings
    z_std: float = 0.5  # with which samples are drawn in the end; the authors take 0.3 to 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("feature_weight", "spread_weight", "drift_weight", "z_noise")
        self._at_least("samples_per_code", "z_std", above=True)


ADAGAN_PRESETS: dict[str, dict[str, Any]] = {
    # The paper's numbers; every mixed pose has an embedding of its own.
    "aligned": {"mixed": 1000, "pairing": "random", "batch": 128, "lr": 0.1, "lr_decay": "none"},
    "tuned": {},
}


def scaled_copy(generator: Generator) -> Generator:
    """A frozen copy with a factor of one for each channel after each convolution."""
    copy = Generator(replace(generator.config, channel_scales=True))
    copy.load_state_dict(generator.state_dict(), strict=False)
    return copy.to(generator.device).eval().requires_grad_(False)


class _Free(nn.Module):
    """The embeddings, and the scales and shifts of the generator's own layers."""

    def __init__(self, generator: Generator, codes: Tensor) -> None:
        super().__init__()
        layers: list[StyleLayer] = list(generator.synthesis.layers)  # type: ignore[arg-type]
        self.embeddings = nn.Parameter(codes.clone())
        self.scales = nn.ParameterList(layer.scale for layer in layers)
        self.shifts = nn.ParameterList(layer.bias for layer in layers)
        self.requires_grad_(True)
        self._born = [v.detach().clone() for v in (*self.scales, *self.shifts)]

    def drift(self) -> Tensor:
        """Mean squared change of scales and shifts since birth."""
        changes = [(v - b).flatten() for v, b in zip((*self.scales, *self.shifts), self._born, strict=True)]
        return torch.cat(changes).square().mean()


def spread(embeddings: Tensor, samples: Tensor) -> Tensor:
    """How far embeddings [N, D] and samples [M, D] are from their nearest of the other kind, squared, per dimension."""
    distance = (embeddings[:, None] - samples[None]).square().mean(2)
    return distance.amin(0).mean() + distance.amin(1).mean()


class AdaGanLearner(PictureLearner):
    """Embeddings, scales and shifts are free.

    Source: Image Generation From Small Datasets via Batch Statistics Adaptation, arXiv:1904.01774, Eq. 2 to 5.
    """

    model: _Free

    def prepare(self) -> None:
        """See `PictureLearner`."""
        self._generator = scaled_copy(self.material.generator)
        self.model = _Free(self._generator, self.codes)

    def draw(self, rows: Tensor, step: int) -> Tensor:
        """See `PictureLearner`."""
        rng = torch.Generator().manual_seed(step_seed(self.config.seed, _NOISE_STREAM, step))
        z = self.model.embeddings[rows]
        samples = torch.randn(len(z) * self.config.samples_per_code, z.shape[1], generator=rng)
        self._samples = samples.to(z.device)
        noise = torch.randn(z.shape, generator=rng).to(z.device) * self.config.z_noise
        return self._generator(z + noise, dtype=self.material.dtype)  # type: ignore[no-any-return]

    def losses(self, images: Tensor, rows: Tensor, step: int) -> dict[str, Tensor]:
        """See `PictureLearner`."""
        c = self.config
        return {
            "pixels": (images - self.targets[rows]).abs().mean(),
            "features": super().losses(images, rows, step)["picture"] * c.feature_weight,
            "spread": spread(self.model.embeddings[rows], self._samples) * c.spread_weight,
            "drift": self.model.drift() * c.drift_weight,
        }

    @torch.no_grad()
    def result(self) -> tuple[Generator, None]:
        """See `Learner`."""
        generator = scaled_copy(self.material.generator)
        generator.load_state_dict(self._generator.state_dict())
        mean, share = generator.mapping.w_avg, self.config.z_std
        for affine in generator.affine:  # A' (w) = A (mean + share (w - mean))
            resting = affine(mean[None])[0] - affine.bias
            affine.load_state_dict(
                {"bias": affine.bias + resting * (1 - share), "weight": affine.weight * share}
            )
        return generator, None

"""Settings of adaptation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..errors import ConfigError
from ..models.transfer import TransferForm
from .features import FeatureName, check_features
from .pairing import Pairing

__all__ = ["ADAPT_PRESETS", "AdaptConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaptConfig:
    """Adaptation to guide poses; the preset "paper" is what the paper prints.

    The default needs no gradient: tau is the least-squares solution on guide poses that vary as the source does. With
    `iterations` it is trained from there on, as the paper trains it from the identity.
    """

    layers: tuple[int, ...] = ()  # numbered from 1, coarse to fine; () is every style layer
    form: TransferForm = "equalized"
    start: Literal["least-squares", "identity"] = "least-squares"
    rounds: int = (
        4  # of the least squares: drawn poses are compared with those asked for, and it is solved again
    )
    mixed: int = 3000  # |T*|, training poses beside the guide poses
    # Of the source's own turns of bones, added to the guide poses, and less where guide poses are nearer to each
    # other than that; 0 is the paper's Pose-mixup.
    variation: float = 0.7
    # Samples' bone ratios and joint angles are brought into the guide poses' own ranges, in the rounds and by `sample`;
    # the ranges are widened by this share of them. 0 leaves samples as they are drawn, and so does gradient descent
    # from the identity.
    plausible: float = 0.1
    mixup_space: Literal["coordinates", "angles"] = "coordinates"
    mixup_beta: float = 1.0  # lambda ~ Beta(a, a); 1 is uniform
    pairing: Pairing = "match"
    pool: int = (
        0  # codes among which "match" and "match-mix" choose; 0: as many as poses, so that none is left over
    )
    features: tuple[FeatureName, ...] = ("beta", "pyramid", "keypoints")
    features_file: Path | None = None  # safetensors of VGG16, and of LPIPS' heads: for "vgg16" and "lpips"
    iterations: int = 0  # of gradient descent
    batch: int = 64
    lr: float = 0.03
    lr_decay: Literal["none", "cosine"] = "cosine"
    flips: bool = True  # add the mirrored guide poses
    # Share of T* that varies guide poses as they look from behind, mirrored with left and right kept: those that the
    # source knows such poses of, and with `flips` alone.
    behind: float = 0.3
    # "likely": mirrored guide poses, those from behind, or both are left out where the guide poses speak against them.
    views: Literal["likely", "all"] = "likely"
    # The most that the covariance of T* is moved to the source's shape; how much, guide poses that are left out say.
    shrinkage: float = 0.3
    # The most of T* that are poses of the source's own; how many, guide poses that are left out say: none where the
    # target is another domain by far.
    source_part: float = 0.2
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_iterations: int = 100

    def __post_init__(self) -> None:
        for name in ("batch", "lr", "mixup_beta", "checkpoint_iterations"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.start == "identity" and self.iterations == 0:
            raise ConfigError('iterations must be > 0 where start is "identity", got 0')
        for name in (
            "mixed",
            "seed",
            "iterations",
            "rounds",
            "variation",
            "plausible",
            "behind",
            "shrinkage",
            "source_part",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("behind", "shrinkage", "source_part"):
            if getattr(self, name) > 1:
                raise ConfigError(f"{name} must be at most 1, got {getattr(self, name)}")
        if len(set(self.layers)) != len(self.layers) or min(self.layers, default=1) < 1:
            raise ConfigError(f"layers must be distinct numbers from 1, got {self.layers}")
        check_features(self.features, self.features_file)
        if self.features_file is not None and self.iterations == 0:
            raise ConfigError("features_file is for gradient descent: iterations must be > 0, got 0")
        if self.pool < 0:
            raise ConfigError(f"pool must be >= 0, got {self.pool}")
        if self.variation > 0 and self.mixed > 0 and self.start == "identity":
            raise ConfigError(
                'variation must be 0 where start is "identity", which knows no poses of the source'
            )


ADAPT_PRESETS: dict[str, dict[str, Any]] = {
    # Appendix 6 of the paper, and the plain reading of "randomly sample latent codes, one for each pose".
    "paper": {
        "layers": (3,),
        "start": "identity",
        "variation": 0.0,
        "flips": False,
        "mixed": 1000,
        "form": "raw",
        "pairing": "random",
        "features": ("beta", "pyramid"),
        "iterations": 1000,
        "batch": 128,
        "lr": 0.1,
        "lr_decay": "none",
    },
    # For the demo. Its made-up target leans to one side, so that mirrored guide poses would be no poses of it, and its
    # tiny generator draws few bodies that would pass as plausible.
    "tiny": {"flips": False, "mixed": 1000, "plausible": 0.0},
}
"""Named settings of `flexpose adapt --preset`."""

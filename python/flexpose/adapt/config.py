"""Settings of adaptation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..errors import ConfigError
from ..models.transfer import TransferForm
from .features import FeatureName
from .pairing import Pairing

__all__ = ["ADAPT_PRESETS", "AdaptConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaptConfig:
    """Adaptation to guide poses; the preset "paper" is what the paper prints."""

    layers: tuple[int, ...] = (3,)  # numbered from 1, coarse to fine
    form: TransferForm = "equalized"
    mixed: int = 1000  # |T*|, poses of Pose-mixup beside the guide poses
    mixup_space: Literal["coordinates", "angles"] = "coordinates"
    mixup_beta: float = 1.0  # lambda ~ Beta(a, a); 1 is uniform
    pairing: Pairing = "match"
    pool: int = (
        0  # codes among which "match" and "match-mix" choose; 0: as many as poses, so that none is left over
    )
    features: tuple[FeatureName, ...] = ("beta", "pyramid", "keypoints")
    iterations: int = 300
    batch: int = 64
    lr: float = 0.03
    lr_decay: Literal["none", "cosine"] = "cosine"
    flips: bool = False  # add the mirrored guide poses
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_iterations: int = 100

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "lr", "mixup_beta", "checkpoint_iterations"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("mixed", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not self.layers or len(set(self.layers)) != len(self.layers) or min(self.layers) < 1:
            raise ConfigError(f"layers must be distinct numbers from 1, got {self.layers}")
        if not self.features:
            raise ConfigError("features must name at least one of beta, keypoints, pyramid")
        if self.pool < 0:
            raise ConfigError(f"pool must be >= 0, got {self.pool}")


ADAPT_PRESETS: dict[str, dict[str, Any]] = {
    # Appendix 6 of the paper, and the plain reading of "randomly sample latent codes, one for each pose".
    "paper": {
        "form": "raw",
        "pairing": "random",
        "features": ("beta", "pyramid"),
        "iterations": 1000,
        "batch": 128,
        "lr": 0.1,
        "lr_decay": "none",
    },
    "tiny": {
        "iterations": 120,
        "batch": 32,
        "mixed": 200,
        "lr": 0.03,
        "checkpoint_iterations": 40,
    },
}
"""Named settings of `flexpose adapt --preset`."""

"""Settings of `flexpose match`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ..adapt.features import check_features
from ..config import STRICT, make_config
from ..errors import ConfigError
from ..models.regressor import RegressorConfig
from .networks import COARSEST
from .soft_lines import SIGMA

__all__ = ["MATCH_PRESETS", "MatchConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MatchConfig:
    """Training of an annotator on pictures and on poses that are not theirs."""

    size_px: int = 64
    width: int = 32
    sigma: float = SIGMA  # softness of the skeleton's lines
    fill: float = 1 / 1.2  # longer side of a pose's box, as a share of the picture's side
    center: tuple[float, float] = (0.0, 0.0)  # of that box, in [-1, 1]
    scale: float = 0.1  # pictures and poses are varied alike: size by this share
    shift: float = 0.08  # place, in half sides
    turn_deg: float = 10.0
    flips: bool = True
    warp: float = 0.08  # how far the second view of a picture is bent
    steps: int = 4500
    batch: int = 16
    lr: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.99)  # of Adam
    critic_width: int = 256
    r1_gamma: float = 0.3  # of the critic, at each step
    noise: float = 0.02  # on joints before the critic sees them, in half sides
    belief_weight: float = 0.2  # of what the critic says of the joints
    follow_weight: float = 6.0  # of how far joints are from where a bend moves them
    # Of the difference between a picture and what is painted of its skeleton and of another picture of the person;
    # 0: nothing is painted. KeypointGAN's way; it takes three times as long and has made nothing better so far.
    picture_weight: float = 0.0
    features: tuple[Literal["pyramid", "vgg16", "lpips"], ...] = ("pyramid",)  # what pictures are compared by
    features_file: Path | None = None  # safetensors of VGG16, and of LPIPS' heads: for "vgg16" and "lpips"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    checkpoint_steps: int = 250

    def __post_init__(self) -> None:
        for name in ("sigma", "fill", "steps", "batch", "lr", "critic_width", "checkpoint_steps"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}")
        weights = ("picture_weight", "belief_weight", "follow_weight", "r1_gamma")
        for name in ("shift", "turn_deg", "warp", "noise", *weights, "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not 0 <= self.scale < 1:
            raise ConfigError(f"scale must be in [0, 1), got {self.scale}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be in [0, 1), got {list(self.betas)}")
        check_features(self.features, self.features_file)
        if self.size_px % COARSEST:
            raise ConfigError(f"size_px must be a multiple of {COARSEST}, got {self.size_px}")
        make_config(RegressorConfig, {"size_px": self.size_px, "width": self.width})


MATCH_PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"size_px": 32, "width": 8, "steps": 300, "checkpoint_steps": 100},
    "cpu-hour": {"steps": 15_000},
    "painted": {"picture_weight": 0.3, "follow_weight": 3.0},
    "large": {"size_px": 128, "width": 32, "steps": 60_000, "batch": 32, "checkpoint_steps": 1000},
}
"""Named settings of `flexpose match --preset`."""

"""Settings of source training, and the presets that have been run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..errors import ConfigError
from ..models.generator import GeneratorConfig

__all__ = ["PRESETS", "PretrainConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig:
    """Source training: drawing lessons (`warmup`), then StyleGAN2's protocol through the resolutions of `stages`.

    Lengths are in kimg, thousands of real pictures shown to the discriminator. The time of a schedule is the
    machine's affair; its result is not.
    """

    skeleton: str = "body13"
    size_px: int = 64
    line_width_px: float = 2.0
    joint_radius_px: float = 2.0
    frame: Literal["bbox", "keep", "root"] = "bbox"
    margin: float = 0.10
    z_dim: int = 128
    w_dim: int = 128
    mapping_layers: int = 4
    channel_base: int = 1024
    channel_max: int = 128
    stages: tuple[tuple[int, float], ...] = ((64, 1000.0),)  # (resolution, kimg), coarse to fine
    fade_kimg: float = 10.0  # at the start of each stage but the first
    warmup: tuple[
        tuple[int, float], ...
    ] = ()  # drawing lessons: (resolution, kimg); () is the paper's training
    warmup_lr: float = 0.06
    judge_first_kimg: float = 0.0  # after the lessons: pictures for the discriminator alone
    batch: int = 32
    lr: float = 0.0025
    noise: Literal["random", "none"] = (
        "none"  # per-pixel noise in training; skeletons have no texture to draw with it
    )
    mapping_lr_multiplier: float = 0.01
    r1_gamma: float = 0.5  # at size_px; scaled by the number of pixels in earlier stages
    r1_every: int = 16
    style_mixing: float = 0.9
    ema_half_life_kimg: float = 10.0
    ema_rampup: float = 0.05
    flips: bool = True
    holdout: float = 0.05  # share of the poses that is never shown
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    snapshot_kimg: float = 20.0
    checkpoint_kimg: float = 5.0

    def __post_init__(self) -> None:
        self.generator_config()
        sides = [side for side, _ in self.stages]
        if not sides or sides != sorted(set(sides)) or sides[-1] != self.size_px or sides[0] < 8:
            raise ConfigError(f"stages must grow from >= 8 to size_px = {self.size_px}, got {sides}")
        if any(side & (side - 1) for side in sides) or any(kimg <= 0 for _, kimg in self.stages):
            raise ConfigError(f"stages must be powers of two with kimg > 0, got {self.stages}")
        if any(side & (side - 1) or not 8 <= side <= self.size_px or kimg <= 0 for side, kimg in self.warmup):
            raise ConfigError(
                f"warmup must be powers of two from 8 to size_px with kimg > 0, got {self.warmup}"
            )
        if self.warmup and min(self.batch, self.z_dim) < 2:
            raise ConfigError(f"warmup needs batch and z_dim >= 2, got {self.batch} and {self.z_dim}")
        positive = (
            "line_width_px",
            "batch",
            "lr",
            "warmup_lr",
            "mapping_lr_multiplier",
            "r1_every",
            "ema_half_life_kimg",
            "snapshot_kimg",
            "checkpoint_kimg",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in (
            "fade_kimg",
            "judge_first_kimg",
            "r1_gamma",
            "joint_radius_px",
            "margin",
            "ema_rampup",
            "seed",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("style_mixing", "holdout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def total_kimg(self) -> float:
        """Length of the whole schedule."""
        return sum(kimg for _, kimg in (*self.warmup, *self.stages))

    def generator_config(self) -> GeneratorConfig:
        """Sizes of the generator."""
        names = ("size_px", "z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max")
        return GeneratorConfig(**{name: getattr(self, name) for name in names})


PRESETS: dict[str, dict[str, Any]] = {
    # A minute or two on two cores: the demo and the tests.
    "tiny": {
        "size_px": 32,
        "z_dim": 32,
        "w_dim": 64,
        "mapping_layers": 2,
        "channel_base": 512,
        "channel_max": 64,
        "warmup": ((16, 30.0), (32, 20.0)),
        "stages": ((32, 10.0),),
        "judge_first_kimg": 2.0,
        "style_mixing": 0.0,
        "snapshot_kimg": 5.0,
        "ema_half_life_kimg": 2.0,
    },
    # About an hour on two cores in bfloat16.
    "cpu-hour": {
        "size_px": 64,
        "channel_base": 1024,
        "channel_max": 128,
        "warmup": ((16, 100.0), (32, 40.0), (64, 40.0)),
        "stages": ((64, 100.0),),
        "judge_first_kimg": 10.0,
        "style_mixing": 0.0,
    },
}
"""Named settings of `flexpose pretrain --preset`."""

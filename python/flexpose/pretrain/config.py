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
    """Source training: three lessons if `lessons` says how long to draw, then StyleGAN2's game through `stages`.

    One of the two may be empty. The lengths of drawing and of the game are in kimg, thousands of pictures that alpha
    draws for the generator to learn from. The time of a schedule is the machine's affair; its result is not.
    """

    # A name or a TOML file; "auto" is body13 where the poses have its joints, else the poses' own.
    skeleton: str = "auto"
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
    lessons: tuple[tuple[int, float], ...] = ()  # of drawing: (resolution, kimg); () is the paper's training
    stages: tuple[tuple[int, float], ...] = ((64, 1000.0),)  # of the adversarial game: (resolution, kimg)
    flow_steps: int = 2000  # of the pose flow, the first lesson
    flow_batch: int = 512
    flow_width: int = 384
    flow_lr: float = 0.001
    mapping_steps: int = 6000  # from z to joints, the second
    mapping_batch: int = 512
    mapping_lr: float = 0.03
    pairs: int = 300_000  # of z and joints, made by the flow for it
    pose_layers: int = 5  # layers of the mapping network before the joints
    lessons_lr: float = 0.06  # of drawing, the third
    keypoint_weight: float = 10.0  # of the joints that beta reads, in the drawing lessons at size_px
    fade_kimg: float = 10.0  # at the start of each stage but the first
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
    checkpoint_kimg: float = 5.0  # as many steps between checkpoints also where nothing is drawn

    def __post_init__(self) -> None:
        self.generator_config()
        if not (self.lessons or self.stages):
            raise ConfigError("lessons or stages must say what to train, got neither")
        for name in ("lessons", "stages"):
            parts: tuple[tuple[int, float], ...] = getattr(self, name)
            sides = [side for side, _ in parts]
            grows = sides == sorted(set(sides)) and all(side >= 8 and not side & (side - 1) for side in sides)
            if parts and not (grows and sides[-1] == self.size_px and all(kimg > 0 for _, kimg in parts)):
                raise ConfigError(
                    f"{name} must be [resolution, kimg > 0] with powers of two that grow from >= 8 to "
                    f"size_px = {self.size_px}, got {[list(part) for part in parts]}"
                )
        if self.lessons and not 1 <= self.pose_layers < self.mapping_layers:
            raise ConfigError(
                f"pose_layers must be from 1 to mapping_layers - 1 = {self.mapping_layers - 1}, got {self.pose_layers}"
            )
        if self.lessons and min(self.batch, self.z_dim) < 2:
            raise ConfigError(f"lessons need batch and z_dim >= 2, got {self.batch} and {self.z_dim}")
        positive = (
            "line_width_px",
            "batch",
            "lr",
            "flow_steps",
            "flow_batch",
            "flow_width",
            "flow_lr",
            "mapping_steps",
            "mapping_batch",
            "mapping_lr",
            "pairs",
            "lessons_lr",
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
            "keypoint_weight",
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
        """Pictures of the whole schedule, in thousands."""
        return sum(kimg for _, kimg in (*self.lessons, *self.stages))

    def generator_config(self) -> GeneratorConfig:
        """Sizes of the generator."""
        names = ("size_px", "z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max")
        return GeneratorConfig(**{name: getattr(self, name) for name in names})


PRESETS: dict[str, dict[str, Any]] = {
    # A few minutes on two cores: the demo and the tests.
    "tiny": {
        "size_px": 32,
        "z_dim": 64,
        "w_dim": 128,
        "mapping_layers": 5,
        "channel_base": 512,
        "channel_max": 64,
        "flow_steps": 400,
        "flow_batch": 256,
        "flow_width": 128,
        "mapping_steps": 1000,
        "mapping_batch": 256,
        "pairs": 50_000,
        "pose_layers": 3,
        "lessons": ((16, 20.0), (32, 40.0)),
        "stages": (),
        "snapshot_kimg": 5.0,
        "ema_half_life_kimg": 2.0,
    },
    # Less than body13-64 asks for, in about a third of the time.
    "cpu-hour": {
        "size_px": 64,
        "z_dim": 64,
        "w_dim": 256,
        "mapping_layers": 8,
        "channel_base": 1024,
        "channel_max": 128,
        "lessons": ((16, 20.0), (32, 20.0), (64, 150.0)),
        "stages": (),
    },
    # The generator that ships with the package: two hours of one core in bfloat16, see benchmarks/results/pretrain.md.
    "body13-64": {
        "skeleton": "body13",
        "size_px": 64,
        "z_dim": 64,
        "w_dim": 384,
        "mapping_layers": 8,
        "channel_base": 2048,
        "channel_max": 192,
        "lessons": ((16, 40.0), (32, 30.0), (64, 380.0)),
        "stages": (),
    },
    # The same at twice the resolution, with lines as wide as the paper's pictures have them.
    "body13-128": {
        "skeleton": "body13",
        "size_px": 128,
        "line_width_px": 3.0,
        "joint_radius_px": 3.0,
        "z_dim": 64,
        "w_dim": 384,
        "mapping_layers": 8,
        "channel_base": 2048,
        "channel_max": 192,
        "lessons": ((16, 40.0), (32, 30.0), (64, 100.0), (128, 320.0)),
        "stages": (),
    },
}
"""Named settings of `flexpose pretrain --preset`."""

"""Settings of an evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..errors import ConfigError

__all__ = ["EvaluateConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateConfig:
    """How generated poses are compared with target poses.

    Every row of the report is measured with the same settings; a value is comparable with one of another
    report only where frame, margin, bandwidth, n_pr and k agree.
    """

    frame: Literal["bbox", "keep", "root"] = "bbox"
    margin: float = 0.10
    n_pr: int = 3000  # random poses of each set for precision, recall, density and coverage
    k: int = 5  # their neighbours
    seeds: int = 3  # repeats: draws of each baseline, half-samples of the generated set
    seed: int = 0  # of the first repeat
    n_baseline: int = 10_000  # poses that each baseline draws
    n_mmd: int = 50_000  # at most this many poses of a set enter MMD2; a random choice above
    n_kinematics: int = 200_000  # the same for bones, angles and the nearest guide pose
    bandwidth: float | None = None  # of the kernel, in half frame sides; None: median distance of the target
    bandwidth_scales: tuple[float, ...] = (0.5, 1.0, 2.0)  # MMD2 is also given as the mean over these
    baselines: bool = True  # the ways of not learning, where guide poses are given
    exclude_shots: bool = True  # target poses that are guide poses do not count
    tail: float = 0.005  # see KinematicLimits
    widen: float = 0.25
    copy_quantile: float = 0.01  # see memorization_threshold
    worth_smallest: int = 16  # ends of the curve of real poses
    worth_largest: int = 4096
    worth_draws: int = 10
    threads: int | None = None  # None: the cores that the process may use; no value depends on it

    def __post_init__(self) -> None:
        for name in ("n_pr", "k", "seeds", "n_baseline", "n_mmd", "n_kinematics", "worth_draws"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("n_pr", "n_baseline", "n_mmd", "n_kinematics"):
            if getattr(self, name) < self.min_poses:
                raise ConfigError(f"{name} must be >= {self.min_poses}, got {getattr(self, name)}")
        if not 0.0 <= self.margin <= 10.0:
            raise ConfigError(f"margin must be 0 to 10, got {self.margin}")
        if self.seed < 0:
            raise ConfigError(f"seed must be >= 0, got {self.seed}")
        if self.bandwidth is not None and not self.bandwidth > 0.0:
            raise ConfigError(f"bandwidth must be > 0, got {self.bandwidth}")
        if not all(scale > 0.0 for scale in self.bandwidth_scales):
            raise ConfigError(f"bandwidth_scales must be > 0, got {self.bandwidth_scales}")
        if not 0.0 <= self.tail < 0.5 or not self.widen >= 0.0:
            raise ConfigError(f"tail must be in [0, 0.5) and widen >= 0, got {self.tail} and {self.widen}")
        if not 0.0 < self.copy_quantile < 1.0:
            raise ConfigError(f"copy_quantile must be in (0, 1), got {self.copy_quantile}")
        if not 2 <= self.worth_smallest <= self.worth_largest:
            raise ConfigError(f"worth_smallest must be in 2 to worth_largest, got {self.worth_smallest}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be >= 1, got {self.threads}")

    @property
    def min_poses(self) -> int:
        """Fewest poses that a set must have to be measured: halves of it still have k neighbours."""
        return 2 * (self.k + 1)

"""Settings of a report."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from ..config import STRICT
from ..errors import ConfigError

__all__ = ["ReportConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportConfig:
    """How much is drawn and measured for a report."""

    samples: int = 3000  # poses drawn from each generator, and from the same noise without tau
    seed: int = 0
    triples: int = 9  # of source, adapted and nearest guide pose
    gallery: int = 36  # pictures of each generator
    neighbors: int = 12  # samples beside their nearest guide poses
    tsne: int = 400  # poses of each set; 0 leaves the chart out
    perplexity: float = 30.0
    title: str = "flexpose report"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    # The settings of the evaluation that go by these names.
    seeds: int = 3
    n_pr: int = 2000
    n_baseline: int = 3000
    n_mmd: int = 10_000

    def __post_init__(self) -> None:
        for name in ("samples", "triples", "gallery", "neighbors", "seeds", "n_pr", "n_baseline", "n_mmd"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("seed", "tsne"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not self.perplexity > 0:
            raise ConfigError(f"perplexity must be > 0, got {self.perplexity}")

"""Source training: the generator's and beta's."""

from .config import PRESETS, PretrainConfig
from .loop import load_generator, pretrain

__all__ = ["PRESETS", "PretrainConfig", "load_generator", "pretrain"]

"""Source training: the generator's and beta's."""

from .beta import BETA_PRESETS, BetaConfig, train_beta
from .config import PRESETS, PretrainConfig
from .files import load_beta, load_generator, save_source
from .loop import pretrain

__all__ = [
    "BETA_PRESETS",
    "PRESETS",
    "BetaConfig",
    "PretrainConfig",
    "load_beta",
    "load_generator",
    "pretrain",
    "save_source",
    "train_beta",
]

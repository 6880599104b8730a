"""Adaptation of a source generator to a few guide poses."""

from .adapter import load_transfer, read_adapter
from .config import ADAPT_PRESETS, AdaptConfig
from .loop import adapt

__all__ = ["ADAPT_PRESETS", "AdaptConfig", "adapt", "load_transfer", "read_adapter"]

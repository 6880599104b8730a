"""Adaptation of a source generator to a few guide poses."""

from .adapter import export_adapter, load_transfer, mix_adapters, read_adapter
from .config import ADAPT_PRESETS, AdaptConfig
from .loop import adapt

__all__ = [
    "ADAPT_PRESETS",
    "AdaptConfig",
    "adapt",
    "export_adapter",
    "load_transfer",
    "mix_adapters",
    "read_adapter",
]

"""Adaptation of a source generator to a few guide poses."""

from .adapter import export_adapter, load_transfer, mix_adapters, read_adapter
from .config import ADAPT_PRESETS, AdaptConfig
from .loop import adapt
from .methods import METHODS, Method, adapt_by, find_method

__all__ = [
    "ADAPT_PRESETS",
    "METHODS",
    "AdaptConfig",
    "Method",
    "adapt",
    "adapt_by",
    "export_adapter",
    "find_method",
    "load_transfer",
    "mix_adapters",
    "read_adapter",
]

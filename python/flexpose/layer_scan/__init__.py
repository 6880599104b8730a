"""Which style layer can draw which change of the poses: the scan behind Figs. 4, 9 and 10 of the paper."""

from .config import AUGMENTATIONS, AugmentName, LayerScanConfig, parse_layers
from .loop import layer_scan
from .result import LayerScan, Measured

__all__ = [
    "AUGMENTATIONS",
    "AugmentName",
    "LayerScan",
    "LayerScanConfig",
    "Measured",
    "layer_scan",
    "parse_layers",
]

"""Kernels for NVIDIA cards: the modulated convolution and what stands beside it.

The kernels are compiled code in `flexpose._cuda`, which a wheel may bring and `flexpose build-cuda` makes. Importing
this package loads neither it nor torch.
"""

from .filter import activation_gradient, filter_and_activate
from .load import available, kernels
from .modconv import modulated_conv2d, modulated_conv2d_backward, pack_weight, supports

__all__ = [
    "activation_gradient",
    "available",
    "filter_and_activate",
    "kernels",
    "modulated_conv2d",
    "modulated_conv2d_backward",
    "pack_weight",
    "supports",
]

"""Operations of the networks: each has its plain reference beside it, and the reference is the definition."""

from .fir import fir_kernel, upfirdn2d
from .modulated_conv import modulated_conv2d, modulated_conv2d_ref

__all__ = ["fir_kernel", "modulated_conv2d", "modulated_conv2d_ref", "upfirdn2d"]

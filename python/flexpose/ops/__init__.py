"""Operations of the networks: each has its plain reference beside it, and the reference is the definition."""

from .choice import BACKENDS, Backend, backend, set_backend
from .fir import fir_kernel, upfirdn2d
from .modulated_conv import modulated_conv2d, modulated_conv2d_ref

__all__ = [
    "BACKENDS",
    "Backend",
    "backend",
    "fir_kernel",
    "modulated_conv2d",
    "modulated_conv2d_ref",
    "set_backend",
    "upfirdn2d",
]

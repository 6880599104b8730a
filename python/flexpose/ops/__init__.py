"""Operations of the networks: each has its plain reference beside it, and the reference is the definition."""

from .bias_act import bias_act, bias_act_ref
from .choice import BACKENDS, Backend, backend, set_backend
from .fir import fir_kernel, upfirdn2d_ref
from .modulated_conv import modulated_conv2d, modulated_conv2d_ref
from .upfirdn import upfirdn2d

__all__ = [
    "BACKENDS",
    "Backend",
    "backend",
    "bias_act",
    "bias_act_ref",
    "fir_kernel",
    "modulated_conv2d",
    "modulated_conv2d_ref",
    "set_backend",
    "upfirdn2d",
    "upfirdn2d_ref",
]

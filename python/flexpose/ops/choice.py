"""Which code runs the modulated convolution: chosen once per process, with reasons that `flexpose doctor` shows.

``auto`` takes what the table of measurements names for this shape (see `tune`), else the kernel of the device, else
plain torch. Nothing is measured in passing: a run that is resumed must make the choice that it made before, and
`torch.compile` alone needs seconds for a shape. A back end that is asked for by name runs, or raises.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from ..errors import ConfigError, DeviceError
from .cpu import cpu_modulated_conv2d
from .frozen import energy_of
from .shared_conv import demodulation, shared_conv2d
from .tuning import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = [
    "BACKENDS",
    "Backend",
    "Candidate",
    "backend",
    "candidates",
    "cuda_kernels",
    "pick",
    "plain_choice",
    "set_backend",
]

Backend = Literal["auto", "reference", "cpu", "cuda", "compile"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
VARIABLE = "FLEXPOSE_BACKEND"

_asked: Backend | None = None


@dataclass(frozen=True)
class Candidate:
    """A back end on this machine.

    Attributes:
        available: whether it can run.
        reason: why, or why not, in one sentence.
    """

    available: bool
    reason: str


def _checked(name: str, origin: str) -> Backend:
    for known in BACKENDS:
        if name == known:
            return known
    raise ConfigError(f"{origin} must be one of {', '.join(BACKENDS)}, got {name!r}")


def backend() -> Backend:
    """The back end that was asked for: by `set_backend`, else by ``FLEXPOSE_BACKEND``, else ``auto``.

    Raises:
        ConfigError: the variable names none.
    """
    global _asked  # noqa: PLW0603  decided once per process, at the first use
    if _asked is None:
        _asked = _checked(os.environ.get(VARIABLE) or "auto", VARIABLE)
    return _asked


def set_backend(name: Backend) -> None:
    """Ask for a back end, for the rest of the process.

    Raises:
        ConfigError: there is none of this name.
        DeviceError: it cannot run here; the message says why.
    """
    global _asked  # noqa: PLW0603
    found = _checked(name, "name")
    if found != "auto":
        _require(found)
    _asked = found


def _require(name: str) -> None:
    candidate = candidates()[name]
    if not candidate.available:
        raise DeviceError(f"the back end {name!r} cannot run: {candidate.reason}")


@lru_cache(maxsize=1)
def _cuda_module() -> tuple[Any, str]:
    """(``flexpose.cuda`` or None, the reason)."""
    if importlib.util.find_spec("flexpose.cuda") is None:
        return None, "flexpose.cuda is not part of this build"
    try:
        module = importlib.import_module("flexpose.cuda")
        available, reason = module.available()
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return (module if available else None), reason


def _compiler() -> Candidate:
    if torch.cuda.is_available():
        if importlib.util.find_spec("triton") is None:
            return Candidate(False, "torch.compile needs Triton for the GPU, which is not installed")
        return Candidate(True, "Triton is installed")
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return Candidate(True, f"torch.compile can use {name}")
    return Candidate(False, "torch.compile needs a C++ compiler for the CPU: there is no CXX, g++ or clang++")


@lru_cache(maxsize=1)
def candidates() -> dict[str, Candidate]:
    """Every back end but ``auto``, whether it can run here, and why."""
    module, reason = _cuda_module()
    return {
        "reference": Candidate(True, "plain torch operators, on any device"),
        "cpu": Candidate(True, "oneDNN, one weight for the batch, slices that fit the caches"),
        "cuda": Candidate(module is not None, reason),
        "compile": _compiler(),
    }


def _reference(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    bias: Tensor | None,
    demodulate: bool,
    up: int,
    leaky: bool,
    gain: float,
    clamp: float | None,
) -> Tensor:
    factors = demodulation(styles, energy_of(weight, styles.dtype)) if demodulate else None
    return shared_conv2d(x, weight, styles, factors, noise, bias, up, leaky, gain, clamp)


@lru_cache(maxsize=1)
def _compiled_reference() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(shared_conv2d, dynamic=False)
    return compiled


def _compile(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    bias: Tensor | None,
    demodulate: bool,
    up: int,
    leaky: bool,
    gain: float,
    clamp: float | None,
) -> Tensor:
    factors = demodulation(styles, energy_of(weight, styles.dtype)) if demodulate else None
    # A network has more shapes than torch compiles by default before it silently goes on uncompiled.
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=1024, fail_on_recompile_limit_hit=True):
        return _compiled_reference()(x, weight.detach(), styles, factors, noise, bias, up, leaky, gain, clamp)


def _cuda(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    bias: Tensor | None,
    demodulate: bool,
    up: int,
    leaky: bool,
    gain: float,
    clamp: float | None,
) -> Tensor:
    result: Tensor = _cuda_module()[0].modulated_conv2d(
        x,
        weight,
        styles,
        tau=None,
        demodulate=demodulate,
        up=up,
        noise=noise,
        bias=bias,
        activation="lrelu" if leaky else "linear",
        gain=gain,
        clamp=clamp,
    )
    return result


_RUNNERS: dict[str, Callable[..., Tensor]] = {
    "reference": _reference,
    "cpu": cpu_modulated_conv2d,
    "cuda": _cuda,
    "compile": _compile,
}


def _obstacle(name: str, x: Tensor, weight: Tensor, up: int) -> str | None:
    """Why a back end that is there cannot run these tensors."""
    if name == "cpu" and x.device.type != "cpu":
        return f"x is on {x.device}"
    if name == "cuda":
        if not x.is_cuda:
            return f"x is on {x.device}"
        if not _cuda_module()[0].supports(x, weight, up):
            return (
                f"it has no kernel for x {list(x.shape)} {x.dtype} and weight {list(weight.shape)}, up {up}"
            )
    return None


def chosen(x: Tensor, weight: Tensor, up: int) -> str:
    """Name of the back end that runs these tensors.

    Raises:
        ConfigError: ``FLEXPOSE_BACKEND`` names no back end.
        DeviceError: the one that was asked for by name cannot run them.
    """
    name = backend()
    if name != "auto":
        _require(name)
        obstacle = _obstacle(name, x, weight, up)
        if obstacle is not None:
            raise DeviceError(f"the back end {name!r} cannot run: {obstacle}")
        return name
    measured = Table.of(x.device).winner(x, weight, up)
    own = "cuda" if x.is_cuda else "cpu"
    for name_ in (measured, own):
        if name_ is not None and candidates()[name_].available and _obstacle(name_, x, weight, up) is None:
            return name_
    return "reference"


def pick(x: Tensor, weight: Tensor, up: int) -> Callable[..., Tensor]:
    """The forward pass of the operator on the back end that `chosen` names."""
    return _RUNNERS[chosen(x, weight, up)]


def plain_choice(x: Tensor) -> str:
    """Name of the back end that runs the operators without a weight on `x`: ``cuda``, ``cpu`` or ``reference``.

    Raises:
        ConfigError: ``FLEXPOSE_BACKEND`` names no back end.
        DeviceError: the one that was asked for by name cannot run them.
    """
    name = backend()
    if name == "auto":
        own = "cuda" if x.is_cuda else "cpu"
        return own if x.device.type == own and candidates()[own].available else "reference"
    _require(name)
    if name in ("cpu", "cuda") and x.device.type != name:
        raise DeviceError(f"the back end {name!r} cannot run: x is on {x.device}")
    return "reference" if name == "compile" else name


def cuda_kernels() -> Any:
    """``flexpose.cuda``, where a choice fell on it."""
    return _cuda_module()[0]


def fused_backward(x: Tensor, weight: Tensor, up: int) -> Callable[..., Any] | None:
    """The back end's own gradient for the input and the styles, where it has one."""
    if x.is_cuda and chosen(x, weight, up) == "cuda":
        own: Callable[..., Any] = _cuda_module()[0].modulated_conv2d_backward
        return own
    return None


def runner(name: str) -> Callable[..., Tensor]:
    """The forward pass of the operator on a back end, for measuring."""
    return _RUNNERS[name]


def runnable(name: str, x: Tensor, weight: Tensor, up: int) -> bool:
    """Whether a back end that is available can run these tensors."""
    return _obstacle(name, x, weight, up) is None

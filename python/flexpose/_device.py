"""Where networks compute: the processor, or a card."""

from __future__ import annotations

import re

from .errors import DeviceError, UsageError

__all__ = ["check_device", "find_device"]


def check_device(name: str) -> None:
    """See to it that `name` is "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: it is none of these.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise UsageError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")


def find_device(name: str = "auto") -> str:
    """The device of a name: "cpu" or "cuda:N".

    Args:
        name: "cpu"; "cuda", the first card; "cuda:N"; or "auto", the first card if it computes, else the processor.

    Raises:
        UsageError: `name` is none of these.
        DeviceError: a card was asked for that is not there, or that this torch cannot compute on.
    """
    check_device(name)
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() and _trouble(0) is None else "cpu"
    index = int(name.partition(":")[2] or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise DeviceError(
            f"device {name!r} is not there: torch sees {count} cards; flexpose doctor says more"
        )
    trouble = _trouble(index)
    if trouble is not None:
        raise DeviceError(f"device {name!r} cannot be used: {trouble}")
    return f"cuda:{index}"


def _trouble(index: int) -> str | None:
    """Why a card does not compute: too old for this torch, or taken by another process alone."""
    import torch

    try:
        torch.ones(1, device=f"cuda:{index}").add_(1).item()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None

"""Threads, memory and number types of the torch side."""

from __future__ import annotations

import ctypes
import os

__all__ = ["calm_openmp", "compute_dtype", "has_native_bfloat16", "keep_memory"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def calm_openmp() -> None:
    """Keep OpenMP's waiting threads from spinning; call it before torch is first imported.

    A thread that spins at a barrier keeps its core from the very thread that it waits for as soon as anything else
    runs on the machine: a step then takes up to thirty times as long. A user's own setting stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "OMP_PROC_BIND" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def keep_memory() -> bool:
    """Let the C library keep the memory of freed tensors for the next ones; for a process that does nothing else.

    By default every large tensor is mapped afresh and given back at once, and the pages of it are zeroed by the system
    each time: a tenth of a training step, a seventh of sampling. The most that is in use at a time stays the same.

    Returns:
        Whether that was done: by glibc, unless the user has settings of their own.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Older releases refuse a threshold above 32 MiB.
    mapped = any(mallopt(_M_MMAP_THRESHOLD, size) for size in (1 << 30, 32 << 20))
    return bool(mapped and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1) and mallopt(_M_TOP_PAD, 64 << 20))


def has_native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    import torch

    if hasattr(torch.cpu, "_is_avx512_bf16_supported"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False


def compute_dtype(name: str, device: str = "cpu") -> object:
    """The torch type for "auto", "float32" or "bfloat16"; auto is bfloat16 where `device` has it natively."""
    import torch

    if name == "auto":
        card = torch.device(device).type == "cuda"
        native = torch.cuda.is_bf16_supported(including_emulation=False) if card else has_native_bfloat16()
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]

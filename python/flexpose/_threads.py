"""Threads and number types of the torch side."""

from __future__ import annotations

import os

__all__ = ["calm_openmp", "compute_dtype", "has_native_bfloat16"]


def calm_openmp() -> None:
    """Keep OpenMP's waiting threads from spinning; call it before torch is first imported.

    A thread that spins at a barrier keeps its core from the very thread that it waits for as soon as anything else
    runs on the machine: a step then takes up to thirty times as long. A user's own setting stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "OMP_PROC_BIND" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def has_native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    import torch

    if hasattr(torch.cpu, "_is_avx512_bf16_supported"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False


def compute_dtype(name: str) -> object:
    """The torch type for "auto", "float32" or "bfloat16"; auto is bfloat16 where it is native."""
    import torch

    if name == "auto":
        return torch.bfloat16 if has_native_bfloat16() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]

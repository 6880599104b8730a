"""How tensors lie in memory, and what the Rust core sees of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["as_array", "as_floats", "memory_format"]


def memory_format(x: Tensor) -> torch.memory_format:
    """The layout of a result that is made of `x`: channels_last if `x` is in that and in no other."""
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def as_array(tensor: Tensor) -> Any:
    """[N, C, H, W] as [N, H, W, C] of the numbers, or of the bits of bfloat16."""
    last = tensor.detach().contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    return (last.view(torch.uint16) if last.dtype == torch.bfloat16 else last).numpy()


def as_floats(tensor: Tensor | None) -> Any:
    """The numbers as float32; none for None."""
    if tensor is None:
        return np.empty(0, np.float32)
    return tensor.detach().float().contiguous().numpy()

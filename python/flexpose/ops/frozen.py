"""What is made of a weight once and kept until the weight changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["PLAIN", "energy_of", "kept", "weight_as"]

PLAIN = {torch.Tensor, torch.nn.Parameter}  # what a tensor is of while nothing traces

_kept: Any = WeakIdKeyDictionary()


def kept(weight: Tensor, key: tuple[Any, ...], make: Callable[[], Tensor]) -> Tensor:
    """`make()`, or what it gave before for this very weight, if that has not changed; never differentiated.

    A change is seen by torch's version counter and by another storage. What is written through ``weight.data`` is seen
    too for a weight that requires gradients, which is compared with a copy; for a frozen one it is not.
    """
    if weight.is_inference() or torch.compiler.is_compiling() or type(weight) not in PLAIN:
        return make()
    state = (weight._version, weight.data_ptr(), weight.requires_grad)
    entry = _kept.get(weight)
    if entry is None or entry[0] != state or (weight.requires_grad and not torch.equal(entry[2], weight)):
        entry = (state, {}, weight.detach().clone() if weight.requires_grad else None)
        _kept[weight] = entry
    made: dict[tuple[Any, ...], Tensor] = entry[1]
    if key not in made:
        # For the life of the weight: never a tensor of a torch.inference_mode block.
        with torch.inference_mode(False), torch.no_grad():
            made[key] = make()
    return made[key]


def energy_of(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """[O, I] squared norms of the kernels, for demodulation; differentiable where torch keeps gradients."""
    return _made(weight, ("energy", dtype), lambda: weight.to(dtype).square().sum((2, 3)))


def weight_as(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in another type; differentiable where torch keeps gradients."""
    return weight if weight.dtype == dtype else _made(weight, ("as", dtype), lambda: weight.to(dtype))


def _made(weight: Tensor, key: tuple[Any, ...], make: Callable[[], Tensor]) -> Tensor:
    if weight.requires_grad and torch.is_grad_enabled():
        return make()
    return kept(weight, key, make)

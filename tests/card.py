"""A pretended card: tensors that say they are elsewhere, compute on the processor, and never meet one that is here.

What a real card would refuse raises here as well: an operator whose tensors are on two devices, and NumPy's sight of a
tensor that is not on the processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CARD", "Card"]

CARD = "lazy:0"
_MIXED = (
    "aten::index",
    "aten::_index_put",
    "aten::copy_",
    "aten::_to_copy",
)  # a real card takes both kinds in these


class _CardTensor(torch.Tensor):
    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> _CardTensor:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined,no-any-return]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(CARD),
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _inner(value: Any) -> Any:
    """What the processor computes with in the place of `value`."""
    if isinstance(value, torch.device) and value.type == "lazy":
        return torch.device("cpu")
    return value.inner if isinstance(value, _CardTensor) else value


def _run(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = func.name()  # type: ignore[attr-defined]
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, _CardTensor)]
    here = [tensor for tensor in tensors if not isinstance(tensor, _CardTensor) and tensor.ndim > 0]
    asked = [torch.device(leaf).type == "lazy" for leaf in leaves if isinstance(leaf, torch.device)]
    if not there and not any(asked):
        return func(*args, **kwargs)
    if there and here and not name.startswith(_MIXED):
        raise RuntimeError(
            f"{name}: tensors on two devices, {[tuple(t.shape) for t in here]} on the processor"
        )
    first = there and isinstance(args[0], _CardTensor)
    if name.startswith("aten::index") and not first:
        raise RuntimeError(f"{name}: rows on the card of a tensor on the processor")
    on_card = asked[0] if asked else first if name.startswith("aten::copy_") else True
    known = {id(tensor.inner): tensor for tensor in there}

    def outer(value: Any) -> Any:
        if on_card and isinstance(value, torch.Tensor) and not isinstance(value, _CardTensor):
            return known[id(value)] if id(value) in known else _CardTensor(value)
        return value

    with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode cannot be wrapped
        return tree_map(outer, func(*tree_map(_inner, args), **tree_map(_inner, kwargs)))


class Card(TorchDispatchMode):
    """While it is entered, `CARD` is a device."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})

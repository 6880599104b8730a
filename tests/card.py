"""A pretended card: tensors that say they are elsewhere, compute on the processor, and never meet one that is here.

What a real card would refuse raises here as well: an operator whose tensors are on two devices, NumPy's sight of a
tensor that is not on the processor, and a look at the card from the processor while a graph is recorded.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from flexpose.ops.frozen import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

__all__ = ["CARD", "Card", "Graph", "pretend_graphs"]

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

    recorded = Graph.recorded
    if recorded is not None and (here or not on_card or name.endswith("_local_scalar_dense")):
        raise RuntimeError(f"{name}: operation not permitted when stream is capturing")
    with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode cannot be wrapped
        result = tree_map(outer, func(*tree_map(_inner, args), **tree_map(_inner, kwargs)))
    if recorded is not None:
        recorded.operators.append((func, args, kwargs, result))
    return result


class Card(TorchDispatchMode):
    """While it is entered, `CARD` is a device."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class Graph:
    """`torch.cuda.CUDAGraph`: replays operators on the tensors that they were recorded with, and nothing of Python.

    Attributes:
        recorded: the one that is being recorded.
        made: all that were recorded.
        operators: (operator, arguments, named arguments, result).
        replays: how often.
    """

    recorded: ClassVar[Graph | None] = None
    made: ClassVar[list[Graph]] = []

    def __init__(self) -> None:
        self.operators: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.replays = 0

    def replay(self) -> None:
        """Compute anew into the tensors that the recording made."""
        self.replays += 1
        with torch.inference_mode(False), torch.no_grad():
            for func, args, kwargs, result in self.operators:
                new = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
                for kept, value in zip(tree_leaves(result), tree_leaves(new), strict=True):
                    if isinstance(kept, _CardTensor):
                        kept.inner = value


class _Stream:
    def wait_stream(self, other: _Stream) -> None:
        """Nothing runs beside anything here."""


@contextmanager
def _recording(graph: Graph) -> Iterator[None]:
    Graph.recorded = graph
    try:
        yield
        Graph.made.append(graph)
    finally:
        Graph.recorded = None


def pretend_graphs(patch: pytest.MonkeyPatch) -> None:
    """Make `flexpose.ops.graphs` record and replay on the pretended card."""
    Graph.made.clear()
    patch.setattr("flexpose.ops.graphs._on_card", lambda tensor: tensor.device.type == "lazy")
    # As on a real card, the filter is made once and kept.
    patch.setattr("flexpose.ops.fir.PLAIN", {*PLAIN, _CardTensor})
    patch.setattr(torch.cuda, "CUDAGraph", Graph)
    patch.setattr(torch.cuda, "graph", _recording)
    patch.setattr(torch.cuda, "Stream", _Stream)
    patch.setattr(torch.cuda, "current_stream", _Stream)
    patch.setattr(torch.cuda, "stream", lambda _: nullcontext())

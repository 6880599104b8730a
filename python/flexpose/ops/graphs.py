"""CUDA graphs: a loop's body whose kernels are launched as one."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["Repeated"]

_WARM_UP = 3  # runs before a capture: libraries choose their algorithms, caches fill


class Repeated:
    """A function of tensors that a loop calls again and again with tensors of the same shapes.

    On a card its kernels are recorded at the first call and launched as one CUDA graph at every later one: a small
    network's kernels are shorter than the time in which Python launches them. On the processor the function is called.

    What it computes must be made of tensors on the card alone: no `.item()`, no copy to the processor, no random
    numbers of the processor, no shape that depends on values. A function that cannot be recorded is called, with a
    warning. What it returns is overwritten by the next call.

    Args:
        function: from tensors to tensors, nested as one likes.
        before: called ahead of the function where it is called itself, and ahead of the recording; in a graph its
            effect must not be needed again. For a backward pass it takes the gradients away: those of a recording are
            written anew each time, not added to.

    Example:
        >>> def half(x):  # doctest: +SKIP
        ...     return x / 2
        >>> Repeated(half)(torch.ones(3))  # doctest: +SKIP
        tensor([0.5000, 0.5000, 0.5000])
    """

    def __init__(self, function: Callable[..., Any], before: Callable[[], None] | None = None) -> None:
        self._function, self._before = function, before
        self._graph: torch.cuda.CUDAGraph | None = None
        self._refused = False
        self._inputs: list[Tensor] = []
        self._result: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        """The function's result for `inputs`, all on one device and always of the same shapes and types."""
        if self._refused or not _on_card(inputs[0]):
            return self._once(inputs)
        try:
            graph = self._graph or self._capture(inputs)
        except RuntimeError as error:
            self._refused = True
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"a loop's body is launched kernel by kernel, since it cannot be recorded as a CUDA graph: {reason}",
                RuntimeWarning,
                stacklevel=2,
            )
            return self._once(inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        graph.replay()
        return self._result

    def _once(self, inputs: Any) -> Any:
        if self._before is not None:
            self._before()
        return self._function(*inputs)

    def _capture(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        self._inputs = [given.clone() for given in inputs]
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._once(self._inputs)
        current.wait_stream(aside)
        if self._before is not None:
            self._before()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._result = self._function(*self._inputs)
        self._graph = graph
        return graph


def _on_card(tensor: Tensor) -> bool:
    return tensor.is_cuda

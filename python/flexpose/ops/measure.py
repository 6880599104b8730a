"""Measures the back ends at the layers of a generator, for `flexpose doctor --tune`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from .._threads import compute_dtype
from .choice import candidates, runnable, runner
from .tuning import Table, shape_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["tune"]

_BATCH = 8
_REPEATS = 5


def _seconds(run: Any, device: torch.device) -> float:
    """The fastest of some runs, warmed up."""
    best = float("inf")
    for repeat in range(_REPEATS + 2):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if repeat >= 2:
            best = min(best, time.perf_counter() - begin)
    return best


def _layers(size_px: int, channel_base: int, channel_max: int) -> Iterator[tuple[int, int, int, int]]:
    """(inputs, outputs, pixels of the input, up) of each style layer."""
    before, side = min(channel_base // 4, channel_max), 4
    while side <= size_px:
        width = min(channel_base // side, channel_max)
        if side > 4:
            yield before, width, side // 2, 2
        yield width, width, side, 1
        before, side = width, side * 2


def tune(
    size_px: int = 64, channel_base: int = 8192, channel_max: int = 128, batch: int = _BATCH
) -> Iterator[str]:
    """Measure every back end at the layers of a generator and publish the table; yields a line for each layer.

    `torch.compile` compiles every layer first, which takes minutes. A process that is under way keeps the table that it
    began with.

    Args:
        size_px: side of the generator's pictures.
        channel_base: of the generator.
        channel_max: of the generator.
        batch: images at once; from 8 on all batches share one entry.
    """
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    dtype: Any = compute_dtype("auto") if device.type == "cpu" else torch.bfloat16
    table = Table(device)
    for i, o, side, up in _layers(size_px, channel_base, channel_max):
        row = _measure(table, device, dtype, (batch, i, o, side, up))
        yield (
            "  ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in row.items())
            + f"  at {i}->{o}, {side} px"
        )
    table.write()
    yield table.note


def _measure(
    table: Table, device: torch.device, dtype: torch.dtype, sizes: tuple[int, int, int, int, int]
) -> dict[str, float]:
    n, i, o, side, up = sizes
    made = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=made).to(device)

    x = normal(n, i, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
    weight, styles, bias = normal(o, i, 3, 3), normal(n, i), normal(o)
    noise = normal(1, 1, side * up, side * up)
    row = {}
    with torch.inference_mode():
        for name, candidate in candidates().items():
            if candidate.available and runnable(name, x, weight, up):
                run = runner(name)
                row[name] = _seconds(
                    lambda run=run: run(x, weight, styles, noise, bias, True, up, True, 2.0**0.5, None),
                    device,
                )
    table.add(shape_key(x, weight, up), row)
    return row

"""Registers, spills and shared memory of every kernel, for every card; it needs nvcc and no card.

    python benchmarks/ptxas.py

Builds the kernels for all cards and reads what ptxas says. The second table is of launches: which kernels a layer of
a real network starts, how many blocks, and how much shared memory each has; they are planned for an H100 and written
down by the emulator. Writes benchmarks/results/csrc_ptxas.md, and ends with 1 if a kernel spills.
"""

from __future__ import annotations

import sys
from typing import Any

from flexpose._atomic import atomic_write
from flexpose.cuda import load
from flexpose.cuda.build import ARCHES, build
from flexpose.cuda.ptxas import kernel_name, read_stats, table
from flexpose.cuda.toolkit import find_toolkit
from flexpose.runs import versions
from harness import RESULTS

BATCH = 128
# (input side, input channels, output channels, kernel, up): synthesis layers at a base of 16384 and 512 channels.
LAYERS = (
    (4, 512, 512, 3, 1),
    (8, 512, 512, 3, 1),
    (16, 512, 512, 3, 1),
    (16, 512, 512, 3, 2),
    (32, 512, 512, 3, 1),
    (32, 512, 256, 3, 2),
    (64, 256, 256, 3, 1),
    (64, 256, 3, 1, 1),
    (128, 128, 128, 3, 1),
)
H100 = {"shared_limit": 227 * 1024, "processors": 132}


def launches(emulator: Any, layer: tuple[int, int, int, int, int]) -> list[tuple[str, str, int, int]]:
    """(Pass, kernel, blocks, bytes of shared memory) of each convolution and filter of a layer."""
    side, inner, outer, kernel, up = layer
    names = {
        "dtype": "bfloat16",
        "up": up,
        "demodulate": True,
        "x_shape": (BATCH, inner, side, side),
        "out_c": outer,
        "kernel": kernel,
    }
    names |= dict.fromkeys(("x", "packed", "energy", "styles", "factors", "y"), 256) | {
        "tau": 0,
        "modulated": 0,
    }
    forward = emulator.Modconv(**names, epilogue=emulator.Epilogue())
    backward = emulator.ModconvBackward(
        forward=forward, transposed=256, grad_y=256, grad_x=256, grad_modulated=256
    )
    found = []
    for name, run, size, args in (
        ("forward", emulator.modconv_forward, emulator.modconv_workspace, forward),
        ("backward", emulator.modconv_gradient, emulator.modconv_backward_workspace, backward),
    ):
        emulator.emulate(seed=0, dry=True, **H100)
        run(args, workspace=256, bytes=size(args), stream=0)
        found += [
            (name, kernel_name(mangled), blocks, shared) for mangled, blocks, shared in emulator.launches()
        ]
    return [row for row in found if row[1].startswith(("Conv", "Filter"))]


def main() -> None:
    toolkit = find_toolkit()
    stats = read_stats(build(ARCHES, strict=True, force=True).log)
    emulator = load.load_module(build(emulate=True).module)
    rows = []
    for layer in LAYERS:
        side, inner, outer, size, up = layer
        name = f"{side} px, {inner} to {outer}, {size} x {size}, up {up}"
        rows += ["| " + " | ".join(map(str, (name, *row))) + " |" for row in launches(emulator, layer)]
    spilling = [kernel for kernel in stats if kernel.spill_bytes or kernel.stack_bytes]
    about = versions()
    text = f"""# Kernels, as ptxas {toolkit.version[0]}.{toolkit.version[1]} compiles them

`python benchmarks/ptxas.py`, commit {about.get("commit", "unknown")}. Registers a thread; blocks have 256 threads.
Kernels with spills or a stack frame: {len(spilling) or "none"}.

{table(stats)}

## Launches

Convolutions and filters of layers at batch {BATCH} in bfloat16, planned for a card with 132 processors and 227 KiB
for a block. Nothing here has been timed.

| layer | pass | kernel | blocks | shared memory, bytes |
|---|---|---|---|---|
{chr(10).join(rows)}
"""
    atomic_write(RESULTS / "csrc_ptxas.md", text.encode())
    sys.stdout.write(text)
    if spilling:
        sys.exit(1)


if __name__ == "__main__":
    main()

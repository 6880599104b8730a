"""Registers, shared memory and spills of each kernel, from what ptxas says."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["KernelStats", "kernel_name", "read_stats", "table"]

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")


@dataclass(frozen=True, slots=True)
class KernelStats:
    """What one kernel takes on one card; bytes are per thread. Shared memory is asked for at the launch."""

    name: str
    arch: str
    registers: int
    stack_bytes: int
    spill_bytes: int


def kernel_name(mangled: str) -> str:
    """``Filter<float, 4>`` for the symbol of ``entry<Filter<float, 4>>`` and its class; other symbols as they are."""
    inside = re.search(r"5entryI(.*?)EvNT_", mangled) or re.fullmatch(r"N8flexpose(.*)", mangled)
    if inside is None:
        return mangled
    words, rest = [], inside[1]
    while rest:
        if named := re.match(r"\d+", rest):
            start, end = named.end(), named.end() + int(named[0])
            words.append(rest[start:end])
        elif value := re.match(r"Li(\d+)", rest):
            words.append(value[1])
            end = value.end()
        elif skipped := re.match(r"NS_|S\w?_", rest):
            end = skipped.end()
        else:
            words += {"f": ["float"], "d": ["double"]}.get(rest[0], [])
            end = 1
        rest = rest[end:]
    return f"{words[0]}<{', '.join(words[1:])}>"


def read_stats(log: str) -> list[KernelStats]:
    """The kernels in the output of a build."""
    found: list[KernelStats] = []
    name = arch = ""
    stack = spill = 0
    for line in log.splitlines():
        if entry := _ENTRY.search(line):
            name, arch = kernel_name(entry[1]), entry[2]
            stack = spill = 0
        elif frame := _STACK.search(line):
            stack, spill = int(frame[1]), int(frame[2]) + int(frame[3])
        elif (used := _USED.search(line)) and name:
            found.append(KernelStats(name, arch, int(used[1]), stack, spill))
            name = ""
    return sorted(found, key=lambda kernel: (kernel.name, int(kernel.arch)))


def table(stats: list[KernelStats]) -> str:
    """A Markdown table: a row a kernel, registers (and spilled bytes, if any) by card."""
    arches = sorted({kernel.arch for kernel in stats}, key=int)
    cells = {(kernel.name, kernel.arch): kernel for kernel in stats}
    lines = [
        "| kernel | " + " | ".join(f"sm_{arch}" for arch in arches) + " |",
        "|---|" + "---|" * len(arches),
    ]
    for name in sorted({kernel.name for kernel in stats}):
        row = []
        for arch in arches:
            kernel = cells.get((name, arch))
            spills = f", {kernel.spill_bytes} B spilled" if kernel and kernel.spill_bytes else ""
            row.append(f"{kernel.registers}{spills}" if kernel else "-")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines)

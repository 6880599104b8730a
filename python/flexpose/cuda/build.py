"""The one way to build `flexpose._cuda`: for a user, for the wheel and for the tests."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .._cpus import allowed_threads
from ..errors import DataError, DeviceError, UsageError
from .cache import Build, cache_folder, lock, module_name, source_folder, source_hash
from .toolkit import find_ninja, find_toolkit

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ARCHES", "Built", "build", "native_arch"]

ARCHES = ("80", "86", "89", "90", "100", "120")
_EMULATOR = ("emulator",)
_LOCK_TIMEOUT_S = 1800.0
_WARNINGS = "-Wall,-Wextra,-Wshadow"
_HOST_SOURCES = ("api.cpp", "check.cpp", "bindings.cpp")
_KERNEL_SOURCES = ("kernels_half.cu", "kernels_bfloat.cu", "kernels_float.cu", "kernels_double.cu")


@dataclass(frozen=True, slots=True)
class Built:
    """What a build left: the module, and what the compilers said (empty if it was there already)."""

    module: Path
    log: str


def native_arch() -> str | None:
    """The compute capability of the current card, times ten; None without a card that torch can use."""
    import torch

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}"


def _check_arches(arches: Sequence[str]) -> tuple[str, ...]:
    known = [arch for arch in arches if re.fullmatch(r"[1-9][0-9]{1,2}", arch) and int(arch) >= 80]
    if not arches or len(known) != len(arches):
        raise UsageError(
            f"arches must be compute capabilities of 8.0 and above, times ten ({', '.join(ARCHES)}), got {list(arches)}"
        )
    return tuple(sorted(set(known), key=int))


def _target_flags(arches: tuple[str, ...]) -> str:
    """Machine code for each card, and PTX of the newest, from which a driver makes code for later ones.

    No kernel asks for more than the oldest card has: one intermediate form serves all, in half of the time.
    """
    codes = ",".join(f"sm_{arch}" for arch in arches)
    oldest, newest = arches[0], arches[-1]
    return f"'-gencode=arch=compute_{oldest},code=[{codes}]' -gencode=arch=compute_{newest},code=compute_{newest}"


def _include_flags() -> str:
    if importlib.util.find_spec("pybind11") is None:
        error = DeviceError("the build needs the package pybind11, which is not installed")
        error.add_note("get it with: python -m pip install 'flexpose-pda[cuda-build]'")
        raise error
    import pybind11

    return f"-isystem {_quote(pybind11.get_include())} -isystem {_quote(sysconfig.get_paths()['include'])}"


def _quote(path: Path | str) -> str:
    """A path for ninja and the shell."""
    return "'" + str(path).replace("$", "$$").replace("'", "'\\''") + "'"


def _ninja_path(path: Path | str) -> str:
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def _card_rules(arches: tuple[str, ...], *, strict: bool) -> tuple[list[str], list[str]]:
    """(Rules of ninja, sources) for the module that runs on a card."""
    compiler = find_toolkit().nvcc
    # In the packages of CUDA 13.0 nvcc looks for its libraries where they are not.
    libraries = f"-L{_quote(compiler.parents[1] / 'lib')}"
    nvcc = _quote(compiler)
    if os.environ.get("CXX"):
        nvcc += f" -ccbin {_quote(os.environ['CXX'])}"
    errors = " -Werror=all-warnings -Xcompiler=-Werror" if strict else ""
    common = f"-std=c++17 -O3 -I. {_include_flags()} -Xcompiler=-fPIC,-fvisibility=hidden,{_WARNINGS}{errors}"
    linker = "-Xlinker=--as-needed,--exclude-libs=ALL,-s"
    kernels = f"{_target_flags(arches)} -Xptxas=-v --compress-mode=size"
    rules = [
        f"rule compile\n  command = {nvcc} {common} {kernels} -c $in -o $out",
        f"rule compile_host\n  command = {nvcc} {common} -c $in -o $out",
        f"rule link\n  command = {nvcc} -shared -cudart=static {libraries} {linker} $in -o $out",
    ]
    return rules, [*_KERNEL_SOURCES, *_HOST_SOURCES, "card.cpp"]


def _emulator_rules(*, strict: bool) -> tuple[list[str], list[str]]:
    """(Rules of ninja, sources) for the module that runs the kernels on the processor."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise DeviceError("the emulator needs a C++ compiler: there is no CXX, g++ or clang++")
    errors = " -Werror" if strict else ""
    warnings = _WARNINGS.replace(",", " ")
    # Fibers jump between stacks, which fortified sources forbid.
    command = (
        f"{_quote(compiler)} -x c++ -std=c++17 -O2 -U_FORTIFY_SOURCE -fPIC -fvisibility=hidden {warnings}{errors}"
        f" -DFLEXPOSE_EMULATE -I. {_include_flags()} -c $in -o $out"
    )
    rules = [
        f"rule compile\n  command = {command}",
        f"rule compile_host\n  command = {command}",
        f"rule link\n  command = {_quote(compiler)} -shared $in -o $out",
    ]
    return rules, [*_KERNEL_SOURCES, *_HOST_SOURCES, "emulator/context.cpp", "emulator/card.cpp"]


def _ninja_file(rules: list[str], sources: list[str]) -> str:
    folder = source_folder().resolve()
    lines, objects = list(rules), []
    for source in sources:
        objects.append(f"{source.replace('/', '_')}.o")
        rule = "compile" if source.endswith(".cu") else "compile_host"
        lines.append(f"build {objects[-1]}: {rule} {_ninja_path(folder / source)}")
    return "\n".join([*lines, f"build {module_name()}: link {' '.join(objects)}", ""])


def _compile(arches: tuple[str, ...], *, jobs: int, strict: bool, verbose: bool) -> tuple[bytes, str]:
    """(The module, what the compilers said)."""
    make = find_ninja()
    emulated = arches == _EMULATOR
    rules, sources = _emulator_rules(strict=strict) if emulated else _card_rules(arches, strict=strict)
    with tempfile.TemporaryDirectory(prefix="flexpose-cuda-") as name:
        folder = Path(name)
        facts = {"VERSION": __version__, "SOURCE_HASH": source_hash(), "ARCHES": " ".join(arches)}
        header = "#pragma once\n" + "".join(
            f'#define FLEXPOSE_{key} "{value}"\n' for key, value in facts.items()
        )
        (folder / "build_facts.h").write_text(header, encoding="utf-8")
        (folder / "build.ninja").write_text(_ninja_file(rules, sources), encoding="utf-8")
        command = [str(make), f"-j{jobs}", *(["--verbose"] if verbose else [])]
        try:
            done = subprocess.run(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
        except OSError as error:
            raise DeviceError(f"{make} cannot run: {error}") from error
        if done.returncode:
            raise DeviceError(f"the build of flexpose._cuda failed:\n{_unmarked(done.stdout)}")
        return (folder / module_name()).read_bytes(), done.stdout


def _unmarked(log: str) -> str:
    """What the compilers said, without the statistics of ptxas and the progress of ninja."""
    lines = (
        line
        for line in log.splitlines()
        if not re.match(r"ptxas info|\[\d+/\d+\]|\s+\d+ bytes stack frame", line)
    )
    return "\n".join(line for line in lines if line.strip())


def build(
    arches: Sequence[str] = ARCHES,
    *,
    jobs: int | None = None,
    out: Path | None = None,
    strict: bool = False,
    verbose: bool = False,
    emulate: bool = False,
    force: bool = False,
    timeout_s: float = _LOCK_TIMEOUT_S,
) -> Built:
    """Build the module, or take it from the cache.

    Args:
        arches: compute capabilities, times ten, to make machine code for.
        jobs: compilers at once; else as many as this process may use.
        out: folder for a copy of the module.
        strict: a compiler's warning ends the build.
        verbose: the log has the commands, too.
        emulate: build the module that runs the kernels on the processor, for tests.
        force: build also if the module is there.
        timeout_s: how long another process may build the same before this one gives up.

    Raises:
        DeviceError: a compiler, ninja or a header is missing, or the build failed; with what the compilers said.
        ResourceError: another process builds for too long, or a file cannot be written.
        UsageError: `arches` names what is no compute capability.
    """
    wanted = _EMULATOR if emulate else _check_arches(arches)
    root, log = cache_folder(), ""
    folder = Build.folder(root, wanted)
    with lock(folder, timeout_s):
        try:
            found = None if force else Build.read(folder)
        except DataError:  # not there, or damaged
            found = None
        if found is None:
            content, log = _compile(wanted, jobs=jobs or allowed_threads(), strict=strict, verbose=verbose)
            found = Build.publish(root, wanted, content)
    if out is None:
        return Built(found.module, log)
    from .._atomic import atomic_write

    atomic_write(out / module_name(), found.module.read_bytes())
    return Built(out / module_name(), log)

"""Finds `flexpose._cuda` once per process, and says why if it cannot be used."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import DataError, DeviceError
from .cache import Build, builds

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Found", "available", "find", "kernels", "load_module"]

_BUILD = "make it with: flexpose build-cuda"
_AGAIN = "make it again with: flexpose build-cuda --force"


@dataclass(frozen=True, slots=True)
class Found:
    """The module, or None; and where it is from, or why there is none and what to do."""

    module: Any
    reason: str


def load_module(path: Path, *, package: str = "flexpose") -> Any:
    """The module `_cuda` in a file.

    Args:
        path: the file.
        package: before the module's name. One process has one module of a name, whatever file it is from: a second
            file needs another package, as the emulator beside the kernels.

    Raises:
        ImportError: the file is no module of this Python.
    """
    spec = importlib.util.spec_from_file_location(f"{package}._cuda", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module of this Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def find() -> Found:
    """The module of the wheel, or else the best one in the build cache. Never raises."""
    problems = []
    if importlib.util.find_spec("flexpose._cuda") is not None:
        try:
            return Found(importlib.import_module("flexpose._cuda"), "flexpose._cuda of the installed package")
        except ImportError as error:
            problems.append(f"flexpose._cuda of the installed package does not load: {error}")
    try:
        folders = builds()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        return Found(None, f"the build cache cannot be read: {error}")
    for folder in folders:
        if folder.name.endswith("-emulator"):
            continue
        try:
            build = Build.read(folder)
            return Found(load_module(build.module), f"flexpose._cuda from {folder}")
        except (DataError, ImportError) as error:
            problems.append(f"{error}; {_AGAIN}")
    if problems:
        return Found(None, "; ".join(problems))
    return Found(None, f"flexpose._cuda is neither in this installation nor in the build cache; {_BUILD}")


def _covers(arches: tuple[int, ...], capability: int) -> bool:
    """Whether the machine code, or the PTX of the newest, runs on a card of this capability (times ten)."""
    same = any(arch // 10 == capability // 10 and arch <= capability for arch in arches)
    return same or max(arches) <= capability


@lru_cache(maxsize=1)
def available() -> tuple[bool, str]:
    """Whether the kernels can run here, and the reason; where they cannot, with the command that mends it.

    Decided once per process. Never raises.
    """
    found = find()
    if found.module is None:
        return False, found.reason
    try:
        import torch
    except Exception as error:
        return False, f"torch does not load: {type(error).__name__}: {error}"
    if torch.version.cuda is None:
        return (
            False,
            "this torch is built without CUDA; install one with it: python -m pip install --force-reinstall torch",
        )
    if found.module.driver_version() == 0:
        return False, "there is no NVIDIA driver; see what is there with: nvidia-smi"
    if not torch.cuda.is_available():
        return False, "torch sees no usable GPU; see why with: python -c 'import torch; torch.cuda.init()'"
    arches = tuple(int(arch) for arch in found.module.ARCHES.split())
    for device in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        if major < 8:
            return False, f"{name} has compute capability {major}.{minor}; the kernels need 8.0 or above"
        if not _covers(arches, 10 * major + minor):
            return False, (
                f"{found.reason} has code for {found.module.ARCHES}, {name} needs {major}{minor}; "
                f"make it with: flexpose build-cuda --arch {major}{minor}"
            )
    return True, found.reason


def kernels() -> Any:
    """The module `flexpose._cuda`.

    Raises:
        DeviceError: it cannot be used here; with the reason.
    """
    usable, reason = available()
    if not usable:
        raise DeviceError(reason)
    return find().module

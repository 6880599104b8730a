"""What this installation and this machine can do, and which back end would run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

from ._cpus import affinity_threads, allowed_threads, cgroup_quota

__all__ = ["diagnose"]

_DISTRIBUTION = "flexpose-pda"
_PACKAGES = ("numpy", "pydantic", "rich", "safetensors", "scipy", "torch", "typer")
# What decides how fast torch's CPU kernels and the rasteriser can be.
_CPU_FLAGS = (
    ("avx2", "avx2"),
    ("fma", "fma"),
    ("avx512f", "avx512f"),
    ("avx512_bf16", "avx512_bf16"),
    ("amx_tile", "amx_tile"),
    ("amx_bf16", "amx_bf16"),
    ("neon", "asimd"),
    ("arm_bf16", "bf16"),
    ("sve", "sve"),
)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    """Model name and the instruction sets named in ``_CPU_FLAGS``; None where the system does not say."""
    model, flags = platform.processor() or platform.machine(), None
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                model = value
            elif key in {"flags", "Features"} and flags is None:
                flags = set(value.split())
    except OSError:
        pass
    features = None if flags is None else [name for name, flag in _CPU_FLAGS if flag in flags]
    return {"model": model, "machine": platform.machine(), "features": features}


def _native(name: str) -> dict[str, Any]:
    """Whether ``flexpose.<name>`` is there and loads, its version, and why not."""
    if importlib.util.find_spec(f"flexpose.{name}") is None:
        return {"available": False, "version": None, "reason": f"flexpose.{name} is not part of this build"}
    try:
        module = importlib.import_module(f"flexpose.{name}")
    except ImportError as error:
        return {"available": False, "version": None, "reason": f"{type(error).__name__}: {error}"}
    return {"available": True, "version": getattr(module, "__version__", None), "reason": None}


def _kernels() -> dict[str, Any]:
    """The same for ``flexpose._cuda``, which the build cache may hold, and whether a card here can run it."""
    try:
        from .cuda import available, kernels

        usable, reason = available()
        return {
            "available": usable,
            "version": getattr(kernels(), "__version__", None) if usable else None,
            "reason": reason,
        }
    except Exception as error:
        return {"available": False, "version": None, "reason": f"{type(error).__name__}: {error}"}


def _torch() -> dict[str, Any]:
    """What torch says of itself; a torch that does not load is reported, never raised."""
    try:
        import torch
    except Exception as error:
        return {"available": False, "reason": f"{type(error).__name__}: {error}", "cuda": False}
    cuda = torch.cuda.is_available()
    return {
        "available": True,
        "version": torch.__version__,
        "built_for_cuda": torch.version.cuda,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": cuda,
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        if cuda
        else [],
    }


def _backend(torch: dict[str, Any]) -> dict[str, Any]:
    """The back end that the modulated convolution would run on, the reason, and how the others stand."""
    if not torch["available"]:
        return {"name": None, "device": None, "reason": f"torch does not load: {torch['reason']}"}
    from torch import device as as_device

    from ._device import find_device
    from .errors import ConfigError
    from .ops.choice import VARIABLE, backend, candidates
    from .ops.tuning import Table

    place = find_device("auto")
    device = place.partition(":")[0]
    found = {name: {"available": c.available, "reason": c.reason} for name, c in candidates().items()}
    facts = {"device": place, "candidates": found, "table": Table.of(as_device(place)).note}
    try:
        asked = backend()
    except ConfigError as error:
        return {"name": None, "asked": None, "reason": str(error)} | facts
    if asked != "auto":
        where = f"{VARIABLE} or set_backend asked for it"
        if not found[asked]["available"]:
            return {"name": None, "asked": asked, "reason": f"{where}, but: {found[asked]['reason']}"} | facts
        return {"name": asked, "asked": asked, "reason": where} | facts
    if found[device]["available"]:
        return {"name": device, "asked": asked, "reason": found[device]["reason"]} | facts
    reason = f"{found[device]['reason']}; plain torch operators run"
    return {"name": "reference", "asked": asked, "reason": reason} | facts


def diagnose() -> dict[str, Any]:
    """Gather versions, CPU, threads, torch and back end; never raises for what is missing.

    Returns:
        A JSON-ready dictionary with ``version``, ``python``, ``packages``, ``cpu``, ``threads``, ``modules``,
        ``torch``, ``backend`` and ``problems`` (a list of sentences, empty if all is well).
    """
    rust, cuda = _native("_rust"), _kernels()
    torch = _torch()
    chosen = _backend(torch)
    version = _version(_DISTRIBUTION)
    problems = []
    if not rust["available"]:
        problems.append(f"flexpose._rust does not load: {rust['reason']}; install the package again")
    elif version != rust["version"]:
        problems.append(
            f"flexpose._rust is version {rust['version']}, the package {version}; install the package again"
        )
    if not torch["available"]:
        problems.append(f"torch does not load ({torch['reason']}); pretrain, adapt and sample need it")
    if torch["available"] and chosen["name"] is None:
        problems.append(f"no back end: {chosen['reason']}")
    return {
        "version": version,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "platform": platform.platform(),
        },
        "packages": {package: _version(package) for package in _PACKAGES},
        "cpu": _cpu(),
        "threads": {
            "cpus": os.cpu_count(),
            "affinity": affinity_threads(),
            "cgroup_quota": cgroup_quota(),
            "allowed": allowed_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
        "modules": {"flexpose._rust": rust, "flexpose._cuda": cuda},
        "torch": torch,
        "backend": chosen,
        "problems": problems,
    }

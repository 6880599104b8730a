"""Where the CUDA compiler is: on the PATH, in CUDA_HOME, or in the packages of the Python package index."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import DeviceError

__all__ = ["Toolkit", "find_ninja", "find_toolkit"]

_EXTRA = "python -m pip install 'flexpose-pda[cuda-build]'"


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A CUDA compiler that answers.

    Attributes:
        nvcc: the compiler; it knows its own headers and libraries.
        version: of CUDA, (major, minor).
        found: where it was looked for with success.
    """

    nvcc: Path
    version: tuple[int, int]
    found: str


def _candidates() -> list[tuple[str, Path]]:
    on_path = shutil.which("nvcc")
    places = [("the PATH", Path(on_path))] if on_path else []
    homes = {variable: os.environ.get(variable) for variable in ("CUDA_HOME", "CUDA_PATH")}
    places += [(variable, Path(home) / "bin" / "nvcc") for variable, home in homes.items() if home]
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        # The newest first.
        places += [
            ("Python packages", path) for path in sorted(Path(folder).glob("cu*/bin/nvcc"), reverse=True)
        ]
    return places


def find_toolkit() -> Toolkit:
    """The first nvcc that answers.

    Raises:
        DeviceError: there is none; the message says how to get one.
    """
    broken = []
    for found, nvcc in _candidates():
        try:
            text = subprocess.run(
                [nvcc, "--version"], capture_output=True, text=True, check=True, timeout=60
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            broken.append(f"{nvcc} ({found}) does not answer: {error}")
            continue
        release = re.search(r"release (\d+)\.(\d+)", text)
        if release is None:
            broken.append(f"{nvcc} ({found}) does not say its release")
            continue
        return Toolkit(nvcc, (int(release[1]), int(release[2])), found)
    why = "; ".join(broken) or "there is no nvcc on the PATH, in CUDA_HOME or among the Python packages"
    missing = DeviceError(why)
    missing.add_note(f"get it with: {_EXTRA}; or install the CUDA toolkit and set CUDA_HOME")
    raise missing


def find_ninja() -> Path:
    """The program ninja: of this environment, or on the PATH.

    Raises:
        DeviceError: there is none.
    """
    own = Path(sys.executable).parent / "ninja"
    if own.exists():
        return own
    on_path = shutil.which("ninja")
    if on_path:
        return Path(on_path)
    error = DeviceError("there is no ninja in this environment or on the PATH")
    error.add_note(f"get it with: {_EXTRA}")
    raise error

"""Where built modules lie, how they are told apart, and whether one is still what was written."""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .._atomic import atomic_write
from ..errors import DataError, ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # not on Windows, where two builds at once do the work twice
    fcntl = None  # type: ignore[assignment]

__all__ = ["Build", "builds", "cache_folder", "lock", "module_name", "source_folder", "source_hash"]

_RECORD = "build.json"


def source_folder() -> Path:
    """The sources of the kernels, which are part of the package."""
    return Path(__file__).with_name("csrc")


@lru_cache(maxsize=1)
def source_hash() -> str:
    """Hex digest of the sources, names and contents."""
    digest = hashlib.sha256()
    folder = source_folder()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".h", ".cpp", ".cu", ".cuh"}:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def module_name() -> str:
    """File name of the module for this interpreter."""
    return f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"


def cache_folder() -> Path:
    """The folder of all builds: below XDG_CACHE_HOME, or below the user's .cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flexpose" / "cuda"


@dataclass(frozen=True, slots=True)
class Build:
    """A built module and what it was built from; it lies in a folder of its own.

    Attributes:
        module: the file to load.
        arches: compute capabilities it has machine code for, times ten, as text.
        sha256: hex digest of the file.
    """

    module: Path
    arches: tuple[str, ...]
    sha256: str

    @staticmethod
    def folder(root: Path, arches: tuple[str, ...]) -> Path:
        """The folder of such a build of these sources for this interpreter."""
        return root / "-".join((source_hash()[:16], sysconfig.get_config_var("SOABI"), *arches))

    @classmethod
    def publish(cls, root: Path, arches: tuple[str, ...], content: bytes) -> Build:
        """Write a module and then its record; without a record there is no build."""
        module = cls.folder(root, arches) / module_name()
        build = cls(module, arches, hashlib.sha256(content).hexdigest())
        atomic_write(module, content)
        record = {**asdict(build), "module": module.name}
        atomic_write(module.parent / _RECORD, (json.dumps(record, indent=2) + "\n").encode())
        return build

    @classmethod
    def read(cls, folder: Path) -> Build:
        """The build in a folder.

        Raises:
            DataError: the record or the module is not there or not what was written.
        """
        path = folder / _RECORD
        try:
            record = json.loads(path.read_bytes())
            build = cls(folder / module_name(), tuple(map(str, record["arches"])), str(record["sha256"]))
            # Loading a file that was cut short can end the process: it is read first.
            content = build.module.read_bytes()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"the build cannot be read: {error}", path=path) from error
        if hashlib.sha256(content).hexdigest() != build.sha256:
            raise DataError("the module is not what was built", path=build.module)
        return build


def builds() -> list[Path]:
    """Folders with builds of these sources for this interpreter, those for most cards first."""
    prefix = Build.folder(Path(), ()).name
    found = [path.parent for path in cache_folder().glob(f"{prefix}*/{_RECORD}")]
    return sorted(found, key=lambda path: (-path.name.count("-"), path.name))


@contextmanager
def lock(folder: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock of a folder, which goes back when the process ends, however it ends.

    Raises:
        ResourceError: another process, which is named, holds it for longer than `timeout_s`; or it cannot be made.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        raise ResourceError(f"{path}: the lock cannot be made: {error}") from error
    with handle:
        deadline = time.monotonic() + timeout_s
        while fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    handle.seek(0)
                    owner = handle.read().strip() or "another process"
                    raise ResourceError(
                        f"{folder}: {owner} is building here, and was not done after {timeout_s:g} s"
                    ) from error
                time.sleep(0.1)
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()}")
        handle.flush()
        yield

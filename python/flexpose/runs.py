"""Run folders: what a long command writes down, how it is locked, interrupted and resumed."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._atomic import atomic_path, atomic_write
from .errors import ConfigError, DataError, Interrupted, ResourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from types import FrameType, TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # not on Windows, where a run folder is not locked
    fcntl = None  # type: ignore[assignment]

__all__ = ["Progress", "RunFolder", "StopSignal", "versions"]

_PACKAGES = ("flexpose-pda", "numpy", "scipy", "torch", "safetensors")


def versions() -> dict[str, str]:
    """Versions of flexpose, of what it computes with, of Python and of the system."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    commit = _commit()
    if commit is not None:
        found["commit"] = commit
    return found


def _commit() -> str | None:
    """The commit of the source tree that this module runs from, or None for an installed wheel."""
    here = Path(__file__).resolve()
    if not (here.parents[2] / ".git").exists():
        return None
    command = ["git", "-C", str(here.parents[2]), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


class Progress:
    """What a loop tells of its progress; this base is silent, the command line's draws a bar."""

    def start(self, what: str, total: int) -> None:
        """A stretch of work of `total` steps begins."""

    def advance(self, done: int, **figures: float) -> None:
        """`done` steps are done in all; the figures are the latest losses or metrics."""

    def message(self, text: str) -> None:
        """Something that the user should read."""


class StopSignal:
    """Turns the first SIGINT or SIGTERM into a flag, so that a loop can end between two steps.

    A second signal ends the process at once, as it would have without this.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def agree(self) -> None:
        """Wait for what other processes say, where there are any."""

    def check(self, resume_hint: str) -> None:
        """Raise `Interrupted` with the hint if a signal has come."""
        if self.requested:
            raise Interrupted(f"stopped on request; {resume_hint}")


class RunFolder:
    """The folder of one verb's run: ``config.json`` (immutable), ``stats.jsonl``, grids and checkpoints.

    Args:
        path: the folder, made if it is not there.
        verb: what runs in it, e.g. "pretrain".
        config: JSON-ready values; a resumed run must have the same.
        inputs: content hashes of what goes in; the same holds for them.
        resume: go on with what is there. Without it a folder that has a config is refused.

    Raises:
        UsageError: there is a run already and `resume` is False.
        ConfigError: the resumed run had another config or other inputs; the differences are named.
        ResourceError: another process works in the folder, or it cannot be written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        verb: str,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        resume: bool = False,
    ) -> None:
        self.path, self.verb = Path(path), verb
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"{self.path}: the run folder cannot be made: {error}") from error
        self._lock = self._take_lock()
        self.stats_path = self.path / "stats.jsonl"
        try:
            self._begin(
                {"format": 1, "verb": verb, "config": dict(config), "inputs": dict(inputs)}, resume=resume
            )
        except BaseException:
            self.close()
            raise

    def _begin(self, record: dict[str, Any], *, resume: bool) -> None:
        """Write the configuration down, or compare it with the one that is there."""
        config_path = self.path / "config.json"
        if config_path.exists():
            if not resume:
                raise UsageError(
                    f"{self.path}: holds a run already; go on with it by --resume, or name another folder"
                )
            self._compare(config_path, record)
        else:
            record |= {"versions": versions(), "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            atomic_write(config_path, (json.dumps(record, indent=2) + "\n").encode())

    def _take_lock(self) -> Any:
        path = self.path / ".lock"
        try:
            handle = path.open("a+")
        except OSError as error:
            raise ResourceError(f"{path}: the run folder cannot be locked: {error}") from error
        if fcntl is None:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            raise ResourceError(f"{self.path}: {owner} works in this run folder") from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        return handle

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _compare(path: Path, record: Mapping[str, Any]) -> None:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"cannot be read: {error}", path=path) from error
        if not isinstance(before, dict) or not all(
            isinstance(before.get(part, {}), dict) for part in ("config", "inputs")
        ):
            raise DataError("expected an object with config and inputs", path=path)
        now = json.loads(json.dumps(record))
        changed = [
            f"{part}.{key}: {before.get(part, {}).get(key)!r} then, {now[part].get(key)!r} now"
            for part in ("config", "inputs")
            for key in sorted({*before.get(part, {}), *now[part]})
            if before.get(part, {}).get(key) != now[part].get(key)
        ]
        if changed:
            raise ConfigError(f"{path}: cannot resume with other settings: " + "; ".join(changed))

    def log(self, **record: Any) -> None:
        """Append one record to ``stats.jsonl``."""
        with self.stats_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def rewind(self, key: str, last: int) -> None:
        """Drop the records whose `key` is beyond `last`: a resumed run writes them again."""
        if not self.stats_path.exists():
            return
        kept = []
        for line in self.stats_path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)[key] <= last:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # a line that a killed process left unfinished
        atomic_write(self.stats_path, "".join(line + "\n" for line in kept).encode())

    def write_json(self, name: str, value: Any) -> Path:
        """Publish `value` as a JSON file of the folder."""
        path = self.path / name
        atomic_write(path, (json.dumps(value, indent=2) + "\n").encode())
        return path

    def publish(self, name: str) -> Any:
        """Context manager: a temporary path that becomes the file `name` of the folder."""
        return atomic_path(self.path / name)

    def publish_grid(self, name: str, images: NDArray[np.uint8], columns: int = 9) -> None:
        """Publish pictures [N, S, S, 3] as one PNG file of the folder."""
        from .raster import encode_png, image_grid

        with self.publish(name) as path:
            path.write_bytes(encode_png(image_grid(images, columns)))

"""Measured choices between back ends: a small table per machine in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._atomic import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Table", "cache_folder"]

_VERSION = 1


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/flexpose``, or the place for caches of the user's system."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "flexpose"
    if platform.system() == "Windows" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "flexpose" / "cache"
    return Path(os.path.expanduser("~")) / ".cache" / "flexpose"  # noqa: PTH111  never raises, as Path.home may


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def shape_key(x: Tensor, weight: Tensor, up: int) -> str:
    """What the speed depends on; batches of 8 and more are alike."""
    n, i, h, w = x.shape
    dtype = str(x.dtype).removeprefix("torch.")
    return f"{dtype} n{min(n, 8)} i{i} o{weight.shape[0]} k{weight.shape[2]} {h}x{w} up{up}"


class Table:
    """Seconds of each back end at each shape that was measured on a device with this torch.

    Attributes:
        path: where it is kept.
        rows: shape -> back end -> seconds.
        note: why there are no rows, or how many there are.
    """

    def __init__(self, device: torch.device) -> None:
        self.facts = {
            "format": _VERSION,
            "device": _device_name(device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads() if device.type == "cpu" else 0,
        }
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:16]
        self.path = cache_folder() / f"modconv-{digest}.json"
        self.rows: dict[str, dict[str, float]] = {}
        try:
            self.rows = _rows(json.loads(self.path.read_text(encoding="utf-8")), self.facts)
            self.note = f"{len(self.rows)} shapes measured, in {self.path}"
        except FileNotFoundError:
            self.note = "nothing measured here yet: flexpose doctor --tune"
        except (OSError, ValueError, TypeError, RecursionError) as error:
            self.note = (
                f"{self.path} is damaged and not used ({type(error).__name__}): flexpose doctor --tune"
            )

    @staticmethod
    @lru_cache(maxsize=16)
    def of(device: torch.device) -> Table:
        """The device's table, read once per process."""
        return Table(device)

    def winner(self, x: Tensor, weight: Tensor, up: int) -> str | None:
        """The fastest back end at this shape; None if it was not measured."""
        if not self.rows:
            return None
        row = self.rows.get(shape_key(x, weight, up))
        return min(row, key=row.__getitem__) if row else None

    def add(self, key: str, seconds: dict[str, float]) -> None:
        """Note what was measured."""
        self.rows[key] = dict(seconds)

    def write(self) -> None:
        """Publish the table, whole.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.facts | {"rows": self.rows}, indent=1, sort_keys=True)
        atomic_write(self.path, text.encode())
        self.note = f"{len(self.rows)} shapes measured, in {self.path}"


def _rows(found: Any, facts: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The rows of a table's JSON.

    Raises:
        ValueError: it is no table of this device.
    """
    if not isinstance(found, dict) or {key: found.get(key) for key in facts} != facts:
        raise ValueError("other facts")
    rows = found.get("rows")
    if not isinstance(rows, dict):
        raise ValueError("no rows")
    for row in rows.values():
        if not isinstance(row, dict) or not all(
            isinstance(value, float) and value > 0 and name in {"reference", "cpu", "cuda", "compile"}
            for name, value in row.items()
        ):
            raise ValueError("a row that is none")
    return rows

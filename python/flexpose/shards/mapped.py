"""The poses of one shard, mapped from its safetensors file: a batch pages in its rows alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from flexpose.errors import DataError, ResourceError

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["MappedShard", "first_fault"]

_FORMAT = 1
_MAX_COUNT = 2**48


# Type in the file, little-endian type here, number of axes.
_TENSORS = {
    "keypoints": ("F32", "<f4", 3),
    "visibility": ("U8", "|u1", 2),
    "index": ("I64", "<i8", 1),
    "frame": ("F64", "<f8", 2),
    "label": ("I32", "<i4", 1),
    "id": (
        "I64",
        "<i8",
        1,
    ),  # the input's own name of each pose; not every writer has it, and no reader here needs it
}

_EXPECTED = {
    "visibility": "0, 1 or 2",
    "keypoints": "finite where labelled",
    "index": f"0 to {_MAX_COUNT - 1}",
    "frame": "finite, half side > 0",
    "label": "-1 or more",
}


class MappedShard:
    """The poses of a shard file, mapped into memory: what is read is paged in, and shared by all processes.

    Args:
        path: a ``.safetensors`` file of a data set.
        max_bytes: longest file to take.

    Attributes:
        path: the file.
        tensors: read-only views into it, by name. Shapes and types are checked; values by `first_fault`.

    Raises:
        DataError: it is no such file, or too long; names file and tensor.
        ResourceError: it cannot be read.
    """

    def __init__(self, path: str | PathLike[str], *, max_bytes: int = 1 << 40) -> None:
        self.path = Path(path)
        try:
            length = self.path.stat().st_size
            if length > max_bytes:
                raise DataError(f"must not be longer than {max_bytes} bytes, got {length}", path=path)
            with safe_open(
                self.path, "np"
            ) as file:  # refuses overlaps, gaps and lengths that are not the file's
                self._check_metadata(file.metadata() or {})
                self._check_names(sorted(file.keys()))
            buffer = np.memmap(self.path, np.uint8, "r")
            start = 8 + int(buffer[:8].view("<u8")[0])
            header = json.loads(buffer[8:start].tobytes())
        except SafetensorError as error:
            raise DataError(f"must be a safetensors file: {error}", path=path) from error
        except OSError as error:
            raise ResourceError(f"{path}: could not be read: {error}") from error
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"must be a safetensors file: {error}", path=path) from error
        self.tensors = {
            name: self._view(name, header[name], buffer, start) for name in _TENSORS if name in header
        }
        self._check_shapes()

    def __len__(self) -> int:
        return len(self.tensors["index"])

    def _check_metadata(self, metadata: dict[str, str]) -> None:
        if metadata.get("format") != str(_FORMAT):
            got = metadata.get("format")
            raise DataError(f"must be {str(_FORMAT)!r}, got {got!r:.60}", path=self.path, field="format")

    def _check_names(self, names: list[str]) -> None:
        if sorted({*names, "id"}) != sorted(_TENSORS):
            raise DataError(f"must hold {', '.join(sorted(_TENSORS))}, got {names!s:.200}", path=self.path)

    def _view(self, name: str, entry: dict[str, Any], buffer: NDArray[np.uint8], start: int) -> NDArray[Any]:
        kind, dtype, axes = _TENSORS[name]
        shape = entry["shape"]
        if entry["dtype"] != kind or len(shape) != axes:
            raise DataError(
                f"must be {kind} with {axes} axes, got {entry['dtype']} {shape}", path=self.path, field=name
            )
        view: NDArray[Any] = np.ndarray(shape, dtype, buffer.data, start + entry["data_offsets"][0])
        return view

    def _check_shapes(self) -> None:
        n, k = self.tensors["visibility"].shape
        expected = {"keypoints": (n, k, 2), "visibility": (n, k), "frame": (n, 3)}
        for name, tensor in self.tensors.items():
            if tensor.shape != expected.get(name, (n,)):
                message = f"must be {list(expected.get(name, (n,)))}, got {list(tensor.shape)}"
                raise DataError(message, path=self.path, field=name)


def first_fault(tensors: dict[str, NDArray[Any]]) -> tuple[int, str, str] | None:
    """Look for a value that no shard may hold.

    Args:
        tensors: some of those of a `MappedShard` by name, rows of them, ``visibility`` among them.

    Returns:
        Row, name of the tensor and what was expected; None if all is well.
    """
    labelled = tensors["visibility"] > 0
    good = {
        "visibility": lambda values: (values <= 2).all(axis=1),
        "keypoints": lambda values: (np.isfinite(values).all(axis=2) | ~labelled).all(axis=1),
        "index": lambda values: (values >= 0) & (values < _MAX_COUNT),
        "frame": lambda values: np.isfinite(values).all(axis=1) & (values[:, 2] > 0),
        "label": lambda values: values >= -1,
    }
    for name, expected in _EXPECTED.items():
        if name in tensors:
            fine = good[name](tensors[name])
            if not fine.all():
                return int(fine.argmin()), name, expected
    return None

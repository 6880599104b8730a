"""Arrays of npz files: a zip of npy members, without pickles; nothing that a header says is believed."""

from __future__ import annotations

import errno
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose.errors import DataError, ResourceError
from flexpose.poses.formats.npz_rows import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["member_names", "read_arrays", "read_labels", "read_texts"]

_MAX_MEMBER_BYTES = 1 << 34
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def member_names(path: Path) -> frozenset[str]:
    """The names of the arrays in a npz file, without reading them.

    Raises:
        DataError: not a npz.
        ResourceError: the file cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy"))
    except _BROKEN as err:
        raise DataError(f"must be a npz (zip) file, whole and not encrypted: {err}", path=path) from err
    except OSError as err:
        raise _unreadable(path, err) from err


def read_arrays(path: Path, wanted: Collection[str]) -> dict[str, NDArray[Any]]:
    """The arrays with the wanted names, as far as they are there; others stay unread.

    Raises:
        DataError: not a npz, or one of these members holds objects or is not what its header says.
        ResourceError: the file cannot be opened.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name not in wanted or not info.filename.endswith(".npy"):
                    continue
                if info.file_size > _MAX_MEMBER_BYTES:
                    raise DataError(
                        f"must be below {_MAX_MEMBER_BYTES} bytes, got {info.file_size}",
                        path=path,
                        field=name,
                    )
                arrays[name] = _read_array(path, name, archive.read(info))
    except _BROKEN as err:
        raise DataError(f"must be a npz (zip) file, whole and not encrypted: {err}", path=path) from err
    except OSError as err:
        raise _unreadable(path, err) from err
    return arrays


def _unreadable(path: Path, err: OSError) -> DataError | ResourceError:
    if err.errno == errno.EINVAL:  # a broken directory of the zip leads to a place before its start
        return DataError(f"must be a npz (zip) file, whole: {err.strerror}", path=path)
    return ResourceError(f"{path}: could not be read: {err.strerror or err}")


def _read_array(path: Path, name: str, data: bytes) -> NDArray[Any]:
    # numpy allocates what the header says: compare it with what is there before.
    try:
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise DataError(
                f"must be of npy version 1 or 2, got {version[0]}.{version[1]}", path=path, field=name
            )
        if dtype.hasobject:
            raise DataError(
                "must hold numbers or text, got Python objects, which are not read", path=path, field=name
            )
        size = dtype.itemsize
        for side in shape:
            size *= side
        if size != len(data) - stream.tell():
            raise DataError(
                f"must hold {size} bytes for {list(shape)} {dtype}, got {len(data) - stream.tell()}",
                path=path,
                field=name,
            )
        stream.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except DataError:
        raise
    except (ValueError, TypeError, SyntaxError, MemoryError, OverflowError, RecursionError) as err:
        raise DataError(f"must be a npy array: {err}", path=path, field=name) from err
    return array


def read_texts(path: Path, field: str, array: NDArray[Any]) -> list[str]:
    """The texts of an array; DataError if it holds something else, or a text that is far too long."""
    if array.dtype.kind != "U" or array.ndim != 1:
        raise DataError(
            f"must be a list of text, got {list(array.shape)} {array.dtype}", path=path, field=field
        )
    texts: list[str] = array.tolist()
    for record, text in enumerate(texts):
        if len(text) > MAX_TEXT:
            raise DataError(f"must be at most {MAX_TEXT} characters", path=path, record=record, field=field)
    return texts


def read_labels(path: Path, arrays: dict[str, NDArray[Any]], n: int) -> list[str] | None:
    """The labels of N poses: ``labels``, or ``action_names`` by ``action``; DataError if they do not fit."""
    if "labels" in arrays:
        return read_texts(path, "labels", arrays["labels"])
    if "action" not in arrays or "action_names" not in arrays:
        return None
    names = read_texts(path, "action_names", arrays["action_names"])
    action = arrays["action"]
    if action.shape != (n,) or not np.issubdtype(action.dtype, np.integer):
        raise DataError(
            f"must be [{n}] integers, got {list(action.shape)} {action.dtype}", path=path, field="action"
        )
    bad = (action < 0) | (action >= len(names))
    if bad.any():
        record = int(bad.argmax())
        raise DataError(
            f"must index action_names, 0 to {len(names) - 1}, got {action[record]}",
            path=path,
            record=record,
            field="action",
        )
    return [names[i] for i in action]

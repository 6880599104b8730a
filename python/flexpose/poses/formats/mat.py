"""MATLAB files: version 5 to 7, and version 7.3, which is HDF5, through h5py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose.errors import DataError, ResourceError
from flexpose.poses.formats.hdf5 import open_hdf5, read_dataset_array
from flexpose.poses.formats.mat5 import MAX_BYTES, read_variables, variable_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["array_of", "mat_variables", "read_mat"]

_HEADER = 128
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def mat_variables(path: Path) -> frozenset[str]:
    """The names of the variables in a file, without reading them.

    Raises:
        DataError: not a MATLAB file, or cut off.
        ResourceError: the file cannot be read.
        UsageError: it is of version 7.3, and h5py is not installed.
    """
    content = _content(path)
    if content is None:
        with open_hdf5(path) as file:
            return frozenset(map(str, file))
    return variable_names(path, content)


def read_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read variables of a file.

    Cells are arrays of objects, and structs arrays of dicts by field. Of version 7.3, numbers, text and cells of
    them are read.

    Args:
        path: the file.
        names: variables that are wanted; those that are missing are missing in the result.

    Returns:
        By name, arrays with MATLAB's own order of axes.

    Raises:
        DataError: not a MATLAB file, cut off, or too large when it is unpacked.
        ResourceError: the file cannot be read.
        UsageError: it is of version 7.3, and h5py is not installed.
    """
    content = _content(path)
    if content is None:
        with open_hdf5(path) as file:
            return {name: _from_hdf5(path, file, name) for name in names if name in file}
    return read_variables(path, content, names)


def array_of(path: Path, variables: dict[str, Any], name: str) -> NDArray[Any]:
    """A variable that must be there and hold numbers; DataError otherwise."""
    array = np.asarray(variables.get(name))
    if array.dtype.kind not in "fiub":
        what = "must be there" if name not in variables else f"must be numbers, got {array.dtype}"
        raise DataError(what, path=path, field=name)
    return array


def _content(path: Path) -> bytes | None:
    """The bytes of a file of version 5 to 7, None for one of version 7.3; what is neither is a DataError."""
    try:
        with path.open("rb") as file:
            head = file.read(520)
            if head[512:520] == _HDF5_MAGIC or head[:8] == _HDF5_MAGIC:
                return None
            if not head.startswith(b"MATLAB 5.0") or len(head) < _HEADER:
                raise DataError("must be a MATLAB file of version 5 to 7.3", path=path)
            if path.stat().st_size > MAX_BYTES:
                raise DataError(f"must be at most {MAX_BYTES} bytes", path=path)
            return head + file.read()
    except OSError as err:
        raise ResourceError(f"{path}: could not be read: {err.strerror or err}") from err


def _from_hdf5(path: Path, file: Any, name: str) -> NDArray[Any]:
    """A dataset with its axes as MATLAB has them; a cell becomes an array of arrays."""
    dataset = file[name]
    kind = dataset.attrs.get("MATLAB_class", b"")
    if kind == b"cell":
        references = dataset[()].T
        cells = np.empty(references.shape, object)
        total = 0
        for index, reference in np.ndenumerate(references):
            cells[index] = read_dataset_array(path, file, file[reference].name).T
            total += cells[index].nbytes
            if total > MAX_BYTES:
                raise DataError(f"must hold at most {MAX_BYTES} bytes", path=path, field=name)
        return cells
    array = read_dataset_array(path, file, name).T
    if kind == b"char":
        return np.array(["".join(map(chr, row)) for row in array.tolist()])
    return array

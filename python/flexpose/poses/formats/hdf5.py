"""HDF5 files, through h5py, which is an extra."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose.errors import DataError, FlexposeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["open_hdf5", "read_dataset_array"]

_MAX_BYTES = 1 << 30


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file for reading.

    Args:
        path: the file.

    Yields:
        The ``h5py.File``.

    Raises:
        UsageError: h5py is not installed.
        DataError: the file is not HDF5, or is cut off or broken; also where that shows while it is read.
    """
    try:
        import h5py
    except ImportError as err:
        raise UsageError(f'reading {path} needs h5py: pip install "flexpose-pda[datasets]"') from err
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FlexposeError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as err:
        raise DataError(
            f"must be an HDF5 file, whole and of the layout that is read: {err}", path=path
        ) from err


def read_dataset_array(path: Path, file: Any, name: str) -> NDArray[Any]:
    """The numbers of one dataset.

    Args:
        path: the file, for messages.
        file: the open file, or a group of it.
        name: the dataset's name.

    Returns:
        The array.

    Raises:
        DataError: there is no such dataset, or it is too large or holds no numbers.
    """
    dataset = file.get(name)
    if dataset is None or not hasattr(dataset, "shape"):
        raise DataError("must be there", path=path, field=name)
    if dataset.dtype.kind not in "fiu":
        raise DataError(f"must be numbers, got {dataset.dtype}", path=path, field=name)
    if dataset.nbytes > _MAX_BYTES:
        raise DataError(f"must be below {_MAX_BYTES} bytes, got {dataset.nbytes}", path=path, field=name)
    array: NDArray[Any] = np.asarray(dataset[()])
    return array

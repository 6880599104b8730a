"""Checks that every metric makes of the arrays it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

_CHUNK_ROWS = 8192


def row_chunks(rows: NDArray[Any], chunk: int = _CHUNK_ROWS) -> Iterator[NDArray[np.float64]]:
    """Yield `rows` in float64, `chunk` at a time, so that a large float32 set is never copied whole."""
    for start in range(0, len(rows), chunk):
        yield np.asarray(rows[start : start + chunk], dtype=np.float64)


def as_rows(values: ArrayLike, name: str, *, min_rows: int = 1) -> NDArray[Any]:
    """One row of numbers per pose.

    Args:
        values: [N, K, 2] keypoints or [N, D] rows; integers and floats of any width.
        name: the caller's argument, for the messages.
        min_rows: smallest N that the caller can use.

    Returns:
        [N, D] float32 or float64, a view of `values` where that is possible.

    Raises:
        UsageError: another number of dimensions, no columns, too few rows, or no numbers.
        DataError: a value is NaN or infinite; its row is named.
    """
    array = np.asarray(values)
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] != 2):
        raise UsageError(f"{name} must be [N, K, 2] or [N, D], got {list(array.shape)}")
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if len(array) < min_rows:
        raise UsageError(f"{name} must have at least {min_rows} rows, got {len(array)}")
    rows = array.reshape(len(array), -1)
    if rows.shape[1] == 0:
        raise UsageError(f"{name} must have at least one column, got {list(array.shape)}")
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(np.float64)
    for start in range(0, len(rows), _CHUNK_ROWS):
        finite = np.isfinite(rows[start : start + _CHUNK_ROWS])
        if not finite.all():
            raise DataError(
                "NaN or infinite value", record=start + int(np.argmin(finite.all(axis=1))), field=name
            )
    return rows


def as_row_pair(a: ArrayLike, b: ArrayLike, names: tuple[str, str], *, min_rows: int) -> tuple[Any, Any]:
    """`as_rows` of both, which must have the same number of columns."""
    rows_a = as_rows(a, names[0], min_rows=min_rows)
    rows_b = as_rows(b, names[1], min_rows=min_rows)
    if rows_a.shape[1] != rows_b.shape[1]:
        raise UsageError(
            f"{names[0]} and {names[1]} must have the same number of columns, "
            f"got {rows_a.shape[1]} and {rows_b.shape[1]}"
        )
    return rows_a, rows_b


def as_keypoints(values: ArrayLike, name: str, num_keypoints: int | None = None) -> NDArray[np.float64]:
    """Finite keypoints [N, K, 2] in float64.

    Raises:
        UsageError: not [N, K, 2], or K is not `num_keypoints`.
        DataError: a coordinate is NaN or infinite.
    """
    array = np.asarray(values)
    wanted = "K" if num_keypoints is None else num_keypoints
    if array.ndim != 3 or array.shape[2] != 2 or (num_keypoints not in {None, array.shape[1]}):
        raise UsageError(f"{name} must be [N, {wanted}, 2], got {list(array.shape)}")
    rows = as_rows(array, name)
    return np.asarray(rows, dtype=np.float64).reshape(array.shape)

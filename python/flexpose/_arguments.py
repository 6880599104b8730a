"""Arguments of the drawing functions: made what the native module takes, or refused by name.

What is wrong is a ``UsageError`` that says what was expected and what came.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ResourceError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MAX_SIZE_PX = 8192
_MAX_WORKERS = 1024


def any_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """An array of whatever it is."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as err:
        raise UsageError(f"{name} must be an array: {err}") from err


def float_array(name: str, value: ArrayLike) -> NDArray[np.float32]:
    """C-contiguous float32; what is too large for it becomes infinite, which is judged where it is used."""
    array = any_array(name, value)
    if array.dtype == np.float32:
        return np.ascontiguousarray(array)
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} must be real numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def points_array(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """[..., 2] float64."""
    array = any_array(name, value)
    if array.ndim == 0 or array.shape[-1] != 2:
        raise UsageError(f"{name} must be [..., 2], got {list(array.shape)}")
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def visibility_array(value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """[N, K] uint8, without a copy where it can be."""
    array = any_array("visibility", value)
    if array.dtype not in (np.bool_, np.uint8):
        raise UsageError(f"visibility must be bool or uint8, got {array.dtype}")
    if array.shape != shape:
        raise UsageError(f"visibility must be {list(shape)}, got {list(array.shape)}")
    return np.ascontiguousarray(array).view(np.uint8)


def new_images(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array that is not filled; ``ResourceError`` if there is no memory for it."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as err:  # ValueError: more bytes than can be addressed
        size = np.prod((*shape, dtype.itemsize), dtype=object)
        raise ResourceError(
            f"no memory for images {list(shape)}: they need {size} bytes; draw fewer at a time"
        ) from err


def checked_out(out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`out`, which must be what is drawn into."""
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        raise UsageError(f"out must be an array of {dtype}, got {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != shape:
        raise UsageError(f"out must be {list(shape)}, got {list(out.shape)}")
    if not out.flags.c_contiguous:
        raise UsageError(f"out must be C-contiguous, got strides {out.strides}")
    if not out.flags.writeable:
        raise UsageError("out must be writeable, got a read-only array")
    return out


def integer(name: str, value: int, maximum: int | None = None) -> int:
    """An integer from 1 on."""
    try:
        number = operator.index(value)
    except TypeError as err:
        raise UsageError(f"{name} must be an integer, got {type(value).__name__}") from err
    if number < 1 or (maximum is not None and number > maximum):
        expected = ">= 1" if maximum is None else f"in [1, {maximum}]"
        raise UsageError(f"{name} must be {expected}, got {number}")
    return number


def thread_count(value: int | None) -> int | None:
    """A number of threads; None stands for as many as the process may use."""
    return None if value is None else integer("workers", value, _MAX_WORKERS)


def real(name: str, value: float) -> float:
    """A float."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as err:
        raise UsageError(f"{name} must be a number, got {value!r}") from err


def side(size_px: float) -> float:
    """The side of a picture that need not be whole."""
    number = real("size_px", size_px)
    if not (number > 0 and np.isfinite(number)):
        raise UsageError(f"size_px must be > 0 and finite, got {size_px}")
    return number

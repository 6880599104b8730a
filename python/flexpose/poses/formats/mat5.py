"""MATLAB files of version 5 to 7: numbers, text, cells and structs, read within the bytes that are there.

Every size is compared with what is left before anything is made of it, and nesting is bounded; so a file cannot
crash or fill the process, whatever it says.

Source: MATLAB, "MAT-File Format", level 5.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MAX_BYTES", "read_variables", "variable_names"]

MAX_BYTES = 1 << 30  # of a variable, unpacked
_MAX_ITEMS = 1 << 23  # in cells and fields, which become objects
_MAX_DEPTH = 32
_MAX_FIELDS = 4096
_HEADER = 128
_PEEK = 4096  # a name comes within the first bytes of its variable
_STEP = 1 << 20

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_STORED = {
    _INT8: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    _INT32: "i4",
    _UINT32: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
    16: "u1",
    17: "u2",
    18: "u4",
}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x800
_ONE_NAMELESS = [_INT32, 8, 1, 1, _INT8, 0]  # the shape 1 x 1 and an empty name


def variable_names(path: Path, content: bytes) -> frozenset[str]:
    """The names of a file's variables.

    Args:
        path: for messages.
        content: the whole file.

    Raises:
        DataError: the file is cut off or broken.
    """
    return frozenset(name for name, _, _ in _variables(path, content))


def read_variables(path: Path, content: bytes, names: Collection[str]) -> dict[str, Any]:
    """Read the variables of these names, as far as they are there.

    Args:
        path: for messages.
        content: the whole file.
        names: those that are wanted.

    Returns:
        By name: arrays of numbers with MATLAB's axes; text as an array of its rows; cells as arrays of objects, and
        structs as arrays of dicts by field. What is of another class is None.

    Raises:
        DataError: a variable is cut off or broken, or too large or too deep.
    """
    found = {}
    for name, packed, order in _variables(path, content):
        if name in names:
            reader = _Reader(path, name, _unpacked(path, packed, MAX_BYTES), order)
            kind, start, end, _ = reader.tag(0, len(reader.data))
            if kind != _MATRIX:
                raise reader.broken(f"a variable must be a matrix, got type {kind}")
            found[name] = reader.matrix(start, end, 0)
    return found


def _variables(path: Path, content: bytes) -> Iterator[tuple[str, bytes | _Packed, str]]:
    """Name, bytes and byte order of each variable."""
    order = "<" if content[126:128] == b"IM" else ">"
    place = _HEADER
    while place < len(content):
        if len(content) - place < 8:
            raise DataError("must be whole: it ends within a tag", path=path)
        kind, size = struct.unpack_from(f"{order}II", content, place)
        left = len(content) - place - 8
        if size > left:
            raise DataError(f"must be whole: {size} bytes are announced, {left} are there", path=path)
        body: bytes | _Packed = content[place : place + 8 + size]
        if kind == _COMPRESSED:
            body = _Packed(content[place + 8 : place + 8 + size])
        reader = _Reader(path, None, _unpacked(path, body, _PEEK), order)
        yield reader.name(), body, order
        place += 8 + size


class _Packed:
    """Bytes of a compressed variable."""

    def __init__(self, content: bytes) -> None:
        self.content = content


def _unpacked(path: Path, body: bytes | _Packed, limit: int) -> bytes:
    """The bytes of a variable; more than the limit is an error, but for a first look."""
    if isinstance(body, bytes):
        return body[:limit] if limit == _PEEK else body
    stream, parts, total, rest = zlib.decompressobj(), [], 0, body.content
    try:
        while rest and total < limit:
            parts.append(stream.decompress(rest, min(_STEP, limit - total)))
            total, rest = total + len(parts[-1]), stream.unconsumed_tail
        if limit != _PEEK and not stream.eof:
            if total < limit:
                raise DataError("must be whole: a variable ends within its compressed bytes", path=path)
            raise DataError(f"must hold at most {limit} bytes when unpacked", path=path)
    except zlib.error as err:
        raise DataError(f"must be a MATLAB file, whole: {err}", path=path) from err
    return b"".join(parts)


class _Reader:
    """Elements of one variable."""

    def __init__(self, path: Path, field: str | None, data: bytes, order: str) -> None:
        self.path, self.field, self.data, self.order = path, field, data, order
        self._pair = struct.Struct(f"{order}II")
        self._scalar = struct.Struct(f"{order}12I")
        self._dtypes = {kind: np.dtype(order + code) for kind, code in _STORED.items()}
        self._items = 0

    def broken(self, reason: str) -> DataError:
        return DataError(f"must be a MATLAB file, whole: {reason}", path=self.path, field=self.field)

    def tag(self, place: int, end: int) -> tuple[int, int, int, int]:
        """Type, start and end of the element at a place, and the place of the next."""
        if end - place < 8:
            raise self.broken("an element ends within a tag")
        kind, size = self._pair.unpack_from(self.data, place)
        if kind >> 16:  # up to four bytes lie in the tag itself
            size = kind >> 16
            if size > 4:
                raise self.broken(f"a small element must have 4 bytes at most, got {size}")
            return kind & 0xFFFF, place + 4, place + 4 + size, place + 8
        start = place + 8
        if size > end - start:
            raise self.broken(f"{size} bytes are announced, {end - start} are there")
        return kind, start, start + size, min(start + size + -size % 8, end)

    def numbers(self, place: int, end: int) -> tuple[NDArray[Any], int]:
        """The numbers of an element, as they are stored, and the place of the next."""
        kind, start, stop, after = self.tag(place, end)
        dtype = self._dtypes.get(kind)
        if dtype is None:
            raise self.broken(f"an element of numbers must have one of their types, got {kind}")
        if (stop - start) % dtype.itemsize:
            raise self.broken(f"{stop - start} bytes are no numbers of {dtype.itemsize}")
        return np.frombuffer(self.data, dtype, (stop - start) // dtype.itemsize, start), after

    def head(self, place: int, end: int) -> tuple[int, tuple[int, ...], str, int]:
        """Class with flags, shape and name of a matrix, and the place of what follows."""
        flags, place = self.numbers(place, end)
        shape, place = self.numbers(place, end)
        name, place = self.numbers(place, end)
        if len(flags) != 2 or not 2 <= len(shape) <= 32 or min(shape.tolist()) < 0 or shape.dtype.kind != "i":
            raise self.broken("a matrix must have flags and a shape")
        return int(flags[0]), tuple(shape.tolist()), name.tobytes().decode("latin-1"), place

    def name(self) -> str:
        """The name of the variable, from its first bytes."""
        kind, size = self._pair.unpack_from(self.data.ljust(8, b"\0"))
        if kind != _MATRIX:
            raise self.broken(f"a variable must be a matrix, got type {kind}")
        return "" if size == 0 else self.head(8, len(self.data))[2]

    def matrix(self, place: int, end: int, depth: int) -> Any:
        """The value of a matrix between two places."""
        if place == end:
            return np.zeros((0, 0))
        if depth > _MAX_DEPTH:
            raise self.broken(f"cells and structs must be at most {_MAX_DEPTH} deep")
        if end - place in (48, 56):
            value = self._number(place, end)
            if value is not None:
                return value
        flags, shape, _, place = self.head(place, end)
        kind, count = flags & 0xFF, 1
        for side in shape:
            count *= side
        if kind in _NUMBERS and not flags & _COMPLEX:
            values, _ = self.numbers(place, end)
            return self._shaped(values, shape, count).astype(_NUMBERS[kind])
        if kind == _CHAR:
            return self._text(place, end, shape, count)
        if kind == _CELL:
            values, _ = self._children(place, end, count, depth)
            return self._shaped(values, shape, count)
        if kind == _STRUCT:
            return self._structs(place, end, shape, count, depth)
        return None

    def _number(self, place: int, end: int) -> NDArray[Any] | None:
        """A nameless real number as MATLAB writes it, of which some files hold a million; None for another value."""
        _, _, flags, _, *middle, kind, size = self._scalar.unpack_from(self.data, place)
        start = place + 48
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 44
        dtype, to = self._dtypes.get(kind), _NUMBERS.get(flags & (0xFF | _COMPLEX))
        if (
            middle != _ONE_NAMELESS
            or dtype is None
            or to is None
            or dtype.itemsize != size
            or start + size > end
        ):
            return None
        return np.frombuffer(self.data, dtype, 1, start).astype(to).reshape(1, 1)

    def _shaped(self, values: NDArray[Any], shape: tuple[int, ...], count: int) -> NDArray[Any]:
        if len(values) != count:
            raise self.broken(f"{list(shape)} must be {count} values, got {len(values)}")
        return values.reshape(shape, order="F")

    def _text(self, place: int, end: int, shape: tuple[int, ...], count: int) -> NDArray[np.str_]:
        kind, start, stop, _ = self.tag(place, end)
        order = "le" if self.order == "<" else "be"
        codec = {16: "utf-8", 17: f"utf-16-{order}", 4: f"utf-16-{order}", 18: f"utf-32-{order}"}.get(
            kind, "latin-1"
        )
        try:
            letters = list(self.data[start:stop].decode(codec))
        except UnicodeDecodeError as err:
            raise self.broken(str(err)) from err
        if shape[0] <= 1:  # a row may have fewer letters than units
            return np.array(["".join(letters)])
        rows = self._shaped(np.array(letters, np.str_), shape, count).reshape(shape[0], -1)
        return np.array(["".join(row) for row in rows])

    def _children(self, place: int, end: int, count: int, depth: int) -> tuple[NDArray[np.object_], int]:
        self._items += count
        if count > (end - place) // 8 or self._items > _MAX_ITEMS:
            raise self.broken(f"{count} values are announced, {end - place} bytes are there")
        values = np.empty(count, object)
        for index in range(count):
            kind, start, stop, place = self.tag(place, end)
            if kind != _MATRIX:
                raise self.broken(f"a value in a cell or struct must be a matrix, got type {kind}")
            values[index] = self.matrix(start, stop, depth + 1)
        return values, place

    def _structs(
        self, place: int, end: int, shape: tuple[int, ...], count: int, depth: int
    ) -> NDArray[np.object_]:
        width, place = self.numbers(place, end)
        texts, place = self.numbers(place, end)
        raw = texts.tobytes()
        if (
            len(width) != 1
            or width[0] < 1
            or len(raw) % int(width[0])
            or len(raw) // int(width[0]) > _MAX_FIELDS
        ):
            raise self.broken("a struct must have names of its fields")
        step = int(width[0])
        names = [raw[i : i + step].partition(b"\0")[0].decode("latin-1") for i in range(0, len(raw), step)]
        if not names and count:
            raise self.broken("a struct must have fields")
        values, _ = self._children(place, end, count * len(names), depth)
        records = np.empty(count, object)
        for index in range(count):
            records[index] = dict(zip(names, values[index * len(names) :], strict=False))
        return self._shaped(records, shape, count)

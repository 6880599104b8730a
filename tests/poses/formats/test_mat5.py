"""The reader of MATLAB files against SciPy's, on files that MATLAB wrote and on others; and what breaks SciPy's."""

from __future__ import annotations

import contextlib
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from flexpose.errors import DataError
from flexpose.poses.formats.mat import mat_variables, read_mat

# SciPy brings files that MATLAB 6.1 to 7.4 wrote on several machines; some builds leave them out.
FOLDER = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
KINDS = (
    "cell",
    "cellnest",
    "double",
    "emptycell",
    "matrix",
    "minus",
    "multi",
    "onechar",
    "scalarcell",
    "string",
)
KINDS += (
    "stringarray",
    "struct",
    "structarr",
    "structnest",
    "unicode",
    "complex",
    "sparse",
    "object",
    "func",
    "bool",
)
FILES = sorted(
    {f for kind in KINDS for f in FOLDER.glob(f"test{kind}_[678]*.mat")} | {*FOLDER.glob("*endian.mat")}
)


def compare(ours, theirs):
    """Equal values; what is no number, text, cell or struct is None here. Gives the number of values."""
    if ours is None:
        return 0
    if isinstance(ours, dict):
        assert list(ours) == theirs._fieldnames
        return sum(compare(ours[name], getattr(theirs, name)) for name in ours)
    if ours.dtype == object:
        assert ours.shape == theirs.shape
        return sum(compare(a, b) for a, b in zip(ours.ravel(), theirs.ravel(), strict=True))
    if ours.dtype.kind == "U":
        assert "".join(ours.tolist()) == "".join(np.ravel(theirs).tolist())
        return 1
    np.testing.assert_array_equal(ours, theirs)
    assert ours.shape == theirs.shape
    return 1


def check(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = loadmat(path, struct_as_record=False)
    names = {name for name in theirs if not name.startswith("__")}
    assert names <= mat_variables(path)
    ours = read_mat(path, sorted(names))
    assert set(ours) == names
    return sum(compare(ours[name], theirs[name]) for name in names)


@pytest.mark.skipif(not FILES, reason="this SciPy comes without its test files")
def test_files_of_matlab():
    counts = {path.name: check(path) for path in FILES}
    assert len(counts) >= 50
    assert {name for name, count in counts.items() if not count} <= {
        path.name
        for path in FILES
        if any(kind in path.name for kind in ("complex", "sparse", "object", "func"))
    }


def cell(items):
    array = np.empty((1, len(items)), object)
    for index, item in enumerate(items):
        array[0, index] = item
    return array


VALUES = st.recursive(
    st.one_of(
        st.floats(allow_nan=False).map(lambda x: np.array([[x]])),
        st.text("abcäß漢", max_size=6),
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("bhiBHIfd")).map(
            lambda s: np.arange(s[0] * s[1]).reshape(s[:2]).astype(s[2])
        ),
        st.integers(1, 3).map(lambda n: np.arange(2.0 * n * 3).reshape(2, n, 3)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(cell),
        st.dictionaries(st.sampled_from(["x", "point", "is_visible"]), inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(value=VALUES, packed=st.booleans())
def test_equals_scipy(tmp_path_factory, value, packed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"value": value, "other": np.ones(3)}, do_compression=packed)
    check(path)


@settings(max_examples=80, deadline=None)
@given(value=VALUES, data=st.data())
def test_damaged_files_give_one_error(tmp_path_factory, value, data):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"value": value, "other": cell([np.eye(2), "text"])})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(126, len(content) - 1))] = data.draw(
            st.sampled_from([0, 1, 14, 15, 128, 255])
        )
    path.write_bytes(
        content[: data.draw(st.integers(1, len(content)))] if data.draw(st.booleans()) else content
    )
    with contextlib.suppress(DataError):
        read_mat(path, ["value", "other"])


def element(kind, body):
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def matrix(kind, rest, *, shape=(1, 1), name=b"value"):
    flags, sides = struct.pack("<II", kind, 0), struct.pack(f"<{len(shape)}i", *shape)
    return element(14, element(6, flags) + element(5, sides) + element(1, name) + rest)


def write(path, body):
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + body)


def small(kind, body):
    return struct.pack("<I", kind | len(body) << 16) + body.ljust(4, b"\0")


@pytest.mark.parametrize(
    "stored",
    [
        element(9, struct.pack("<d", -2.5)),
        element(7, struct.pack("<f", 1.5)),
        element(3, struct.pack("<h", -7)),
        small(1, b"\xfe"),
        small(2, b"\xfe"),
        small(4, b"\x01\x02"),
        small(5, struct.pack("<i", -70000)),
    ],
)
def test_numbers_are_stored_as_what_they_fit_in(tmp_path, stored):
    numbers = [matrix(6, stored, name=b""), matrix(9, small(2, b"\x07"), name=b"")]
    write(tmp_path / "a.mat", matrix(1, b"".join(numbers), shape=(1, 2)))
    assert check(tmp_path / "a.mat") == 2
    kinds = [array.dtype.char for array in read_mat(tmp_path / "a.mat", ["value"])["value"][0]]
    assert kinds == ["d", "B"]


def test_cells_in_cells_end_somewhere(tmp_path):
    body = matrix(6, element(9, struct.pack("<d", 1)))
    for _ in range(3000):
        body = matrix(1, body)
    write(tmp_path / "a.mat", body)
    with pytest.raises(DataError, match=r"value: .*at most 32 deep"):
        read_mat(tmp_path / "a.mat", ["value"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (matrix(6, element(9, b"12345678"), shape=(2**31 - 1,) * 3), "values, got 1"),
        (matrix(1, b"", shape=(2**31 - 1,) * 2), "values are announced, 0 bytes are there"),
        (
            matrix(2, element(5, struct.pack("<i", 32)) + element(1, bytes(32)), shape=(2**31 - 1, 9)),
            "announced",
        ),
        (matrix(2, element(5, struct.pack("<i", 0)) + element(1, b"")), "names of its fields"),
        (matrix(2, element(5, struct.pack("<i", 32)) + element(1, b"")), "must have fields"),
        (matrix(6, element(9, b"12345678"), shape=(-1, -1)), "flags and a shape"),
        (matrix(6, element(9, b"12345678"), shape=(1,)), "flags and a shape"),
        (matrix(6, element(9, b"1234567")), "7 bytes are no numbers of 8"),
        (matrix(6, element(14, b"12345678")), "one of their types, got 14"),
        (matrix(4, element(16, b"\xff\xfe")), "utf-8"),
        (matrix(1, element(9, b"12345678")), "must be a matrix, got type 9"),
        (element(9, b"12345678"), "a variable must be a matrix, got type 9"),
        (matrix(6, struct.pack("<I", 9 | 7 << 16)), "ends within a tag"),
        (matrix(6, struct.pack("<II", 9 | 7 << 16, 0)), "4 bytes at most, got 7"),
        (matrix(6, struct.pack("<II", 9, 2**32 - 1)), "4294967295 bytes are announced"),
    ],
)
def test_lies_are_found_before_anything_is_made(tmp_path, body, message):
    write(tmp_path / "a.mat", body)
    with pytest.raises(DataError, match=message):
        read_mat(tmp_path / "a.mat", ["value"])

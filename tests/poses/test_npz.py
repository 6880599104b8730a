"""npz: round trips, the layouts that are read, and hostile files."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.poses import PoseSet, read_poses, write_poses
from flexpose.poses.formats.npz import read_npz, write_npz
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body13")
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def _layout(n: int = 3) -> dict[str, np.ndarray]:
    """As data sets come: `visible`, one image size for all, actions by index."""
    rng = np.random.default_rng(0)
    return {
        "keypoints": rng.uniform(0, 100, (n, 13, 2)).astype(np.float32),
        "visible": np.full((n, 13), 2, np.uint8),
        "joint_names": np.array(BODY.names),
        "image_size": np.array([640, 480], np.int16),
        "action": np.array([1, 0, 1][:n], np.uint8),
        "action_names": np.array(["run", "walk"]),
    }


def _npy(array: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["body13", "face68"])
def test_round_trip(tmp_path, name):
    skeleton = load_skeleton(name)
    rng = np.random.default_rng(1)
    k = skeleton.num_keypoints
    p = PoseSet(
        rng.normal(0, 1e4, (5, k, 2)),
        rng.integers(0, 3, (5, k)),
        skeleton=skeleton,
        image_size=rng.integers(1, 9999, (5, 2)),
        ids=rng.integers(-(2**62), 2**62, 5),
        labels=["", "a", "b b", "ü\n", "c"],
    )
    path = tmp_path / "p.npz"
    write_poses(p, path)
    again = read_poses(path)
    assert again == p
    assert again.origin == str(path)
    assert [f.name for f in tmp_path.iterdir()] == ["p.npz"]
    with np.load(path, allow_pickle=False) as plain:  # numpy alone reads it
        assert np.array_equal(plain["keypoints"], p.keypoints)
        assert plain["joint_names"].tolist() == list(skeleton.names)


def test_same_poses_same_bytes(tmp_path, poses):
    write_npz(poses, tmp_path / "a.npz")
    write_npz(poses, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_round_trip_of_nothing_and_of_an_own_skeleton(tmp_path):
    own = Skeleton("own", ["a", "b"], [(0, 1)], sigmas=[0.1, 0.2], palette_seed=9)
    for p in (
        PoseSet(np.zeros((0, 2, 2)), skeleton=own),
        PoseSet(np.ones((1, 2, 2)), skeleton=own, labels=[""]),
    ):
        write_npz(p, tmp_path / "p.npz")
        assert read_npz(tmp_path / "p.npz") == p


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.float32, (2, 13, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.booleans(),
)
def test_round_trip_keeps_every_bit(tmp_path_factory, kp, labelled):
    path = tmp_path_factory.mktemp("npz") / "p.npz"
    p = PoseSet(kp, skeleton=BODY, labels=["x", "y"] if labelled else None)
    write_npz(p, path)
    assert read_npz(path).keypoints.tobytes() == p.keypoints.tobytes()
    assert read_npz(path) == p


def test_layout_of_data_sets(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", **_layout(), camera=np.zeros(3), note=np.array("x"))
    p = read_poses(tmp_path / "d.npz")
    assert p.skeleton is BODY
    assert p.labels == ("walk", "run", "walk")
    assert p.image_size.tolist() == [[640, 480]] * 3
    assert np.array_equal(p.keypoints, _layout()["keypoints"])


def test_the_side_of_square_pictures(tmp_path):
    path = tmp_path / "p.npz"
    layout = _layout()
    size = layout.pop("image_size")
    np.savez(path, **layout, size=128)
    assert read_poses(path).image_size.tolist() == [[128, 128]] * 3
    np.savez(path, **layout, size=128, image_size=size)
    assert read_poses(path).image_size.tolist() == [[640, 480]] * 3
    np.savez(path, **layout)
    expected = read_poses(path).image_size
    np.savez(path, **layout, size=np.array([1, 2, 3]))  # something else of that name
    assert np.array_equal(read_poses(path).image_size, expected)
    np.savez(path, **layout, size=0)
    with pytest.raises(DataError, match=">= 1"):
        read_poses(path)


def test_unknown_names_make_a_skeleton_of_the_file(tmp_path):
    names = [f"p{i}" for i in range(13)]
    data = _layout() | {"joint_names": np.array(names), "bones": np.array([[0, 1], [1, 2]])}
    np.savez(tmp_path / "fly.npz", **data)
    p = read_poses(tmp_path / "fly.npz")
    assert (p.skeleton.name, p.skeleton.names, p.skeleton.bones) == ("fly", tuple(names), ((0, 1), (1, 2)))
    with pytest.raises(UsageError, match=r"fly\.npz: fly cannot be mapped to body13"):
        read_poses(tmp_path / "fly.npz", "body13")


def test_an_own_skeleton_of_the_same_names_is_taken(tmp_path):
    own = Skeleton("mine", BODY.names, [(0, 1)])
    np.savez(tmp_path / "d.npz", **_layout())
    assert read_poses(tmp_path / "d.npz", own).skeleton == own


def test_mapped_to_the_skeleton_that_is_wanted(tmp_path):
    coco = load_skeleton("coco17")
    p = PoseSet(np.random.default_rng(0).uniform(0, 9, (2, 17, 2)), skeleton=coco)
    write_npz(p, tmp_path / "c.npz")
    rows = [0, *range(5, 17)]
    for wanted in ("body13", BODY):
        mapped = read_poses(tmp_path / "c.npz", wanted)
        assert mapped.skeleton == BODY
        assert np.array_equal(mapped.keypoints, p.keypoints[:, rows])


def test_a_file_without_names_needs_a_skeleton(tmp_path):
    data = _layout()
    del data["joint_names"]
    np.savez(tmp_path / "d.npz", **data)
    assert read_poses(tmp_path / "d.npz", BODY).skeleton == BODY
    for wanted in (None, "coco17"):
        with pytest.raises(DataError, match="joint_names"):
            read_poses(tmp_path / "d.npz", wanted)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"keypoints": None}, "keypoints", "must be there; the file has action"),
        ({"keypoints": np.zeros((3, 13, 3))}, "keypoints", "3D joints need a camera"),
        ({"keypoints": np.zeros((3, 13))}, "keypoints", r"\[N, K, 2\], got \[3, 13\]"),
        ({"keypoints": np.full((3, 13, 2), "1")}, "keypoints", "numbers, got <U1"),
        ({"keypoints": np.zeros((3, 13, 2), complex)}, "keypoints", "numbers"),
        ({"keypoints": np.full((3, 13, 2), np.nan)}, "keypoints", "record 0.*finite"),
        ({"keypoints": np.full((3, 13, 2), np.inf)}, "keypoints", "record 0.*finite"),
        ({"keypoints": np.zeros((3, 12, 2))}, "joint_names", "12 names, got 13"),
        ({"visible": np.full((3, 13), 7)}, "visibility", "record 0.*0, 1 or 2"),
        ({"visible": np.zeros((3, 12))}, "visibility", r"\[3, 13\]"),
        ({"visible": np.full((3, 13), "2")}, "visibility", "numbers"),
        ({"joint_names": np.arange(13)}, "joint_names", "list of text"),
        ({"joint_names": np.array(["a"] * 13)}, "joint_names or bones", "twice"),
        ({"joint_names": np.array(["x" * 5000, *"bcdefghijklm"])}, "joint_names", "4096 characters"),
        ({"image_size": np.array([640, 0])}, "image_size", ">= 1"),
        ({"image_size": np.array([[640, 480]] * 2)}, "image_size", r"\[3, 2\]"),
        ({"ids": np.array([0.5] * 3)}, "ids", "integers"),
        ({"labels": np.array(["a"] * 2)}, "labels", "3 strings"),
        ({"labels": np.arange(3)}, "labels", "text"),
        ({"action": np.array([0, 1, 2])}, "action", "record 2.*0 to 1, got 2"),
        ({"action": np.array([0, 1, -1])}, "action", "got -1"),
        ({"action": np.array([0.0, 1.0, 1.0])}, "action", "integers"),
        ({"action": np.array([0, 1])}, "action", r"\[3\] integers"),
        ({"skeleton": np.array("name = 3")}, "skeleton", "keypoints|name"),
        ({"skeleton": np.array("/etc/passwd")}, "skeleton", "TOML"),
        ({"skeleton": np.array(3)}, "skeleton", "TOML text"),
        ({"skeleton": np.array(load_skeleton("coco17").to_toml())}, "skeleton", "13 keypoints, got 17"),
    ],
)
def test_wrong_content_names_the_field(tmp_path, change, field, message):
    data = {key: value for key, value in (_layout() | change).items() if value is not None}
    path = tmp_path / "bad.npz"
    np.savez(path, **data)
    with pytest.raises(DataError, match=message) as caught:
        read_poses(path)
    assert caught.value.field == field
    assert str(path) in str(caught.value)


class _Trap:
    """Unpickling it would be noticed."""

    def __reduce__(self):
        return (pytest.exit, ("a pickle was loaded",))


def test_objects_are_never_loaded(tmp_path):
    trap = np.empty(3, object)
    trap[:] = [_Trap()] * 3
    for name in ("keypoints", "labels", "joint_names"):
        path = tmp_path / f"{name}.npz"
        np.savez(path, allow_pickle=True, **(_layout() | {name: trap}))
        with pytest.raises(DataError, match="Python objects"):
            read_poses(path)


def test_what_is_not_needed_is_not_read(tmp_path):
    path = tmp_path / "extra.npz"
    trap = np.array([_Trap()], object)
    np.savez(path, allow_pickle=True, **_layout(), extra=trap)
    assert len(read_poses(path)) == 3


def _zip(path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


HEADER = b"\x93NUMPY\x01\x00v\x00"


def _header(text: bytes) -> bytes:
    return HEADER + text.ljust(117) + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        HEADER,
        b"\x93NUMPY\x07\x00" + b" " * 200,
        _npy(np.zeros((2, 13, 2)))[:-1],
        _npy(np.zeros((2, 13, 2))) + b"x",
        # A header that promises an exabyte must not make numpy allocate it.
        HEADER
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 13, 2), }".ljust(117)
        + b"\n",
        _header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 13, 2), }"),
        _header(b"{'descr': 'zz', 'fortran_order': False, 'shape': (1, 13, 2), }"),
        _header(b"__import__('os').abort()"),
    ],
)
def test_hostile_arrays(tmp_path, content):
    path = tmp_path / "bad.npz"
    _zip(path, {"keypoints.npy": content})
    with pytest.raises(DataError, match=r"bad\.npz: keypoints"):
        read_poses(path)


def test_files_that_are_no_zip(tmp_path, poses):
    write_npz(poses, tmp_path / "good.npz")
    good = (tmp_path / "good.npz").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 3] ^= 0xFF
    path = tmp_path / "bad.npz"
    for content in (b"", b"PK", b"not a zip" * 99, good[: len(good) // 2], good[:-30], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.npz"):
            read_poses(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file of one pose, its poses and its bytes."""
    path = tmp_path_factory.mktemp("npz") / "p.npz"
    p = PoseSet(np.arange(26).reshape(1, 13, 2), skeleton=BODY, labels=["x"])
    write_npz(p, path)
    return path, p, path.read_bytes()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_damage_is_an_error_of_ours_or_changes_nothing(small, data):
    path, p, whole = small
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        again = read_poses(path)
    except DataError:
        return
    # The zip's checksums cover the arrays; a hit in a name or a date may drop an array that has a default.
    assert np.array_equal(again.keypoints, p.keypoints)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(UsageError, match="path must be a file"):
        read_poses(tmp_path / "x.npz")
    with pytest.raises(ResourceError, match="could not be read"):
        read_npz(tmp_path / "x.npz")


def test_writing_where_it_cannot_be(tmp_path, poses):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="could not be written"):
        write_npz(poses, tmp_path / "file" / "p.npz")

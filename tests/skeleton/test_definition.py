"""Skeletons as TOML: strict reading with the file and the field in every message, and writing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose.errors import DataError, UsageError
from flexpose.skeleton import Skeleton, list_skeletons, load_skeleton

GOOD = """
name = "bug"
keypoints = ["head", "left_hand", "right_hand", "tail"]
bones = [["head", "left_hand"], [0, 2], ["head", "tail"]]
root = ["head"]
torso = ["head", "tail"]
palette_seed = 3
"""


def test_reads_names_and_indices(tmp_path):
    path = tmp_path / "bug.toml"
    path.write_text(GOOD, encoding="utf-8")
    for s in (
        Skeleton.from_toml(path),
        Skeleton.from_toml(str(path)),
        load_skeleton(path),
        Skeleton.from_toml(GOOD),
    ):
        assert s.bones == ((0, 1), (0, 2), (0, 3))
        assert s.root == (0,)
        assert s.torso == (0, 3)
        assert s == Skeleton("bug", s.names, s.bones, root=[0], torso=(0, 3), palette_seed=3)


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("bone = []", "bone", "unknown key; known are name, keypoints"),
        ('keypoints = ["a", "b", "a"]', "keypoints", "'a' twice"),
        ('keypoints = "abc"', "keypoints", "list of names"),
        ('keypoints = ["a", 3]', "keypoints", "3"),
        ("keypoints = []", "keypoints", "1 to 1024"),
        (f"keypoints = {[f'k{i}' for i in range(1025)]}", "keypoints", "1025"),
        ("name = 3", "name", "text, got 3"),
        ("description = 3", "description", "text"),
        ("bones = [[0, 4]]", "bones", "0 to 3, got 4"),
        ('bones = [["head", "nose"]]', "bones", "'nose'"),
        ("bones = [[0]]", "bones", "pairs"),
        ("bones = [[0, 1.5]]", "bones", "1.5"),
        ("bones = [[0, true]]", "bones", "True"),
        ("bones = 3", "bones", "list of pairs"),
        ("bones = [3]", "bones", "list of keypoint names"),
        ("flip_pairs = [[1, 2], [2, 3]]", "flip_pairs", "once"),
        ('flip_pairs = [["left_hand", "left_hand"]]', "flip_pairs", "different"),
        ("sigmas = [0.1, 0.1, 0.1, 0]", "sigmas", "> 0"),
        ("sigmas = [0.1, 0.1, 0.1, nan]", "sigmas", "finite"),
        ("sigmas = [0.1]", "sigmas", r"\[4\], got \[1\]"),
        ('sigmas = ["a"]', "sigmas", "numbers"),
        ("sigmas = 0.1", "sigmas", "list"),
        ('root = ["nose"]', "root", "'nose'"),
        ("root = []", "root", "at least one"),
        ("torso = [0]", "torso", "pairs"),
        ("palette_seed = -1", "palette_seed", "-1"),
        ("palette_seed = 1.5", "palette_seed", "integer"),
        ("palette_seed = true", "palette_seed", "integer"),
        ("bone_colors = [[1, 2, 3]]", "bone_colors", r"\[3, 3\]"),
        ("bone_colors = [[1, 2, 3], [1, 2, 3], [1, 2, 300]]", "bone_colors", "0 to 255"),
        ('joint_colors = "red"', "joint_colors", "list"),
        ("joint_colors = [[1], [1, 2], [3], [4]]", "joint_colors", "red, green, blue"),
    ],
)
def test_refuses_and_names_file_and_field(tmp_path, line, field, message):
    key = line.split(" = ")[0]
    kept = [old for old in GOOD.strip().splitlines() if old.split(" = ")[0] != key]
    path = tmp_path / "bad.toml"
    path.write_text("\n".join([*kept, line]), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        load_skeleton(path)
    assert str(caught.value).startswith(f"{path}: {field}: ")
    assert (caught.value.path, caught.value.field) == (path, field)


@pytest.mark.parametrize("missing", ["name", "keypoints"])
def test_missing_key(missing):
    text = "\n".join(line for line in GOOD.strip().splitlines() if not line.startswith(missing))
    with pytest.raises(DataError, match=f"{missing}: must be given"):
        Skeleton.from_toml(text)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = " + b"[" * 5000, b"x" * (1 << 21)])
def test_files_that_are_no_definition(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(DataError, match="must be"):
        Skeleton.from_toml(path)


@pytest.mark.parametrize("name", ["no_such", "no/such.toml", "a\0b", "", "."])
def test_neither_name_nor_file(name):
    with pytest.raises(UsageError, match="skeleton must be one of body13, coco17"):
        load_skeleton(name)
    with pytest.raises((UsageError, DataError, ValueError)):
        Skeleton.from_toml(name)


@pytest.mark.parametrize("name", list_skeletons())
def test_round_trip_of_the_package(name):
    s = load_skeleton(name)
    again = Skeleton.from_toml(s.to_toml())
    assert again == s
    assert again.description == s.description
    assert again.palette_seed == s.palette_seed


@st.composite
def _skeletons(draw):
    text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)
    names = draw(st.lists(text, min_size=1, max_size=6, unique=True))
    index = st.integers(0, len(names) - 1)
    pairs = st.tuples(index, index).filter(lambda p: p[0] != p[1])
    bones = draw(st.lists(pairs, max_size=5, unique=True)) if len(names) > 1 else []
    sigmas = draw(st.lists(st.floats(1e-6, 1e6), min_size=len(names), max_size=len(names)))
    colours = draw(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=len(names), max_size=len(names)))
    return Skeleton(
        draw(text),
        names,
        bones,
        sigmas=sigmas,
        root=draw(st.lists(index, min_size=1, unique=True)),
        joint_colors=colours,
        palette_seed=draw(st.integers(0, 3)),
        description=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
    )


@settings(max_examples=60, deadline=None)
@given(_skeletons())
def test_round_trip_of_any_skeleton(s):
    again = Skeleton.from_toml(s.to_toml())
    assert again == s
    assert again.description == s.description

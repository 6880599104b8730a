"""BVH: forward kinematics against SciPy's rotations, and files that are cut off or wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from flexpose.errors import DataError, UsageError
from flexpose.poses import read_poses
from flexpose.poses.formats.bvh import read_bvh

TEXT = """HIERARCHY
ROOT Hips
{
  OFFSET 7 8 9
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT LeftUpLeg
  {
    OFFSET 1 -2 0.5
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT LeftLeg
    {
      OFFSET 0 -4 0
      CHANNELS 4 Zposition Yrotation Xrotation Zrotation
      End Site
      {
        OFFSET 0.25 -3 1
      }
    }
  }
  JOINT Left Collar
  {
    OFFSET 0.5 5 0
    End Site
    {
      OFFSET 0 1 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.033333
1 2 3 0 0 0 0 0 0 0 0 0 0
-1 0.5 4 10 20 30 40 -50 60 0.75 70 -80 15
"""
NAMES = ("Hips", "LeftUpLeg", "LeftLeg", "LeftLeg_end", "Left Collar", "Left Collar_end")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "a.bvh").write_text(TEXT, encoding="utf-8")
    return tmp_path / "a.bvh"


def test_rest_pose_is_the_sum_of_offsets(file):
    motion = read_bvh(file)
    assert motion.names == NAMES
    # The position channels take the place of OFFSET: 1 2 3 of the root, 0 of the knee's z.
    rest = [[1, 2, 3], [2, 0, 3.5], [2, -4, 3.5], [2.25, -7, 4.5], [1.5, 7, 3], [1.5, 8, 3]]
    np.testing.assert_array_equal(motion.positions[0], rest)


def test_forward_kinematics_in_the_order_of_the_channels(file):
    hips = Rotation.from_euler("ZYX", [10, 20, 30], degrees=True)
    leg = hips * Rotation.from_euler("ZXY", [40, -50, 60], degrees=True)
    knee = leg * Rotation.from_euler("YXZ", [70, -80, 15], degrees=True)
    root = np.array([-1, 0.5, 4])
    hip = root + hips.apply([1, -2, 0.5])
    shin = hip + leg.apply([0, -4, 0.75])
    collar = root + hips.apply([0.5, 5, 0])
    expected = [root, hip, shin, shin + knee.apply([0.25, -3, 1]), collar, collar + hips.apply([0, 1, 0])]
    np.testing.assert_allclose(read_bvh(file).positions[1], expected, atol=1e-12)


def test_a_quarter_turn_about_each_axis(tmp_path):
    for axis, expected in (("X", [1, -3, 2]), ("Y", [3, 2, -1]), ("Z", [-2, 1, 3])):
        text = (
            f"HIERARCHY ROOT a {{ OFFSET 0 0 0 CHANNELS 1 {axis}rotation End Site {{ OFFSET 1 2 3 }} }}\n"
            "MOTION\nFrames: 1\nFrame Time: 1\n90\n"
        )
        (tmp_path / "a.bvh").write_text(text, encoding="utf-8")
        np.testing.assert_allclose(read_bvh(tmp_path / "a.bvh").positions[0, 1], expected, atol=1e-12)


def test_windows_line_ends_tabs_and_no_frames(tmp_path):
    text = TEXT.partition("Frames:")[0] + "Frames:\t0\nFrame Time:\t0.01\n"
    (tmp_path / "a.bvh").write_bytes(text.replace("\n", "\r\n").encode())
    assert read_bvh(tmp_path / "a.bvh").positions.shape == (0, 6, 3)


def test_an_end_site_at_its_joint_is_no_point(tmp_path):
    (tmp_path / "a.bvh").write_text(TEXT.replace("OFFSET 0.25 -3 1", "OFFSET 0 0 0"), encoding="utf-8")
    motion = read_bvh(tmp_path / "a.bvh")
    assert motion.names == (*NAMES[:3], *NAMES[4:])
    np.testing.assert_array_equal(motion.positions[0, 3:], [[1.5, 7, 3], [1.5, 8, 3]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "BIERARCHY", "HIERARCHY: must come first"),
        ("ROOT Hips", "JOINT Hips", "must have one ROOT"),
        ("JOINT LeftLeg\n", "ROOT LeftLeg\n", "must have one ROOT"),
        ("JOINT LeftLeg\n", "JOINT Hips\n", "different names, got 'Hips'"),
        ("  JOINT Left Collar\n", "}\n  JOINT Left Collar\n", "must end with the ROOT's brace, got 'JOINT'"),
        ("OFFSET 1 -2 0.5", "OFFSET 1 -2 x", "OFFSET must be three numbers"),
        ("OFFSET 1 -2 0.5", "OFFSET 1 -2 inf", "OFFSET must be finite"),
        ("OFFSET 1 -2 0.5", "", "LeftUpLeg must have an OFFSET"),
        ("CHANNELS 3 Zrotation Xrotation", "CHANNELS 3 Zrotation Wrotation", "Xposition to Zrotation"),
        ("CHANNELS 3 Zrotation Xrotation", "CHANNELS 3 Zrotation Zrotation", "each once"),
        ("CHANNELS 3 Zr", "CHANNELS 99999999999 Zr", "must be 0 to 6, got '99999999999'"),
        ("CHANNELS 3 Zr", "SCALE 3 Zr", "got 'SCALE'"),
        ("\nMOTION", "\nNOTION", "must have a line MOTION"),
        ("Frames: 2", "Frames: 3", "MOTION: must be 3 lines, got 2"),
        ("Frames: 2", "Frames: 999999999", "must be 999999999 lines, got 2"),
        ("Frames: 2", "Frames: -2", "'Frames: N' and 'Frame Time: T'"),
        ("-1 0.5 4 10", "-1 0.5 4", "record 1: must be 13 numbers, got 12"),
        ("-1 0.5 4 10", "-1 0.5 4 ten", "record 1: must be numbers"),
        ("-1 0.5 4 10", "-1 nan 4 10", "record 1: positions must be finite"),
        ("-1 0.5 4 10", "-1 0.5 4 1e999", "record 1: positions must be finite"),
    ],
)
def test_wrong_files(tmp_path, old, new, message):
    assert old in TEXT
    (tmp_path / "a.bvh").write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=f"a.bvh: .*{message}"):
        read_bvh(tmp_path / "a.bvh")


def test_too_many_and_too_deep(tmp_path):
    deep = "".join(f"JOINT j{i} {{ OFFSET 0 0 0 " for i in range(20_000))
    (tmp_path / "a.bvh").write_text(f"HIERARCHY ROOT r {{ OFFSET 0 0 0 {deep}\nMOTION\n", encoding="utf-8")
    with pytest.raises(DataError, match="at most 1024 joints"):
        read_bvh(tmp_path / "a.bvh")


@settings(max_examples=80, deadline=None)
@given(end=st.integers(0, len(TEXT.rstrip()) - 2))  # without a digit, the last number is still one
def test_cut_off_anywhere(tmp_path_factory, end):
    path = tmp_path_factory.mktemp("cut") / "a.bvh"
    path.write_text(TEXT[:end], encoding="utf-8")
    with pytest.raises(DataError):
        read_bvh(path)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_changed_words_give_a_motion_or_one_error(tmp_path_factory, data):
    words = TEXT.split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(
            st.sampled_from(["", "{", "}", "End", "1e400", "-", "JOINT", "OFFSET", "\n"])
        )
    path = tmp_path_factory.mktemp("changed") / "a.bvh"
    path.write_text(" ".join(words), encoding="utf-8")
    try:
        motion = read_bvh(path)
    except DataError as err:
        message = str(err)
        assert str(path) in message
    else:
        assert np.isfinite(motion.positions).all()


def test_bvh_is_no_picture(file):
    with pytest.raises(UsageError, match="need a camera first, see: flexpose poses project"):
        read_poses(file)

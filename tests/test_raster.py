"""The pictures against the dense twin, closed forms and themselves; arguments and their errors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose import _rust
from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.poses import frame_poses, read_poses
from flexpose.raster import image_grid, normalized_from_pixels, pixels_from_normalized, rasterize
from flexpose.skeleton import load_skeleton

from .reference import raster as twin

BODY = load_skeleton("body13")


class Drawn(NamedTuple):
    """The part of a skeleton that is drawn; the package's own always have a name for everything."""

    bones: tuple[tuple[int, int], ...]
    bone_colors: np.ndarray
    joint_colors: np.ndarray

    @property
    def num_keypoints(self) -> int:
        return len(self.joint_colors)


def skeleton_of(num_keypoints, bones, seed=0):
    rng = np.random.default_rng(seed)
    colors = rng.integers(0, 256, (len(bones) + num_keypoints, 3), dtype=np.uint8)
    return Drawn(tuple(bones), colors[: len(bones)], colors[len(bones) :])


BONE = Drawn(((0, 1),), np.full((1, 3), 255, np.uint8), np.zeros((2, 3), np.uint8))


def differences(keypoints, visibility, skeleton, **pen):
    got = rasterize(keypoints, visibility, skeleton, **pen)
    return np.abs(got.astype(np.int16) - twin.rasterize(keypoints, visibility, skeleton, **pen))


def assert_agree(keypoints, visibility, skeleton, **pen):
    """At most one grey level, and 0.01 on average but for ten pixels; returns the share of channels that differ."""
    difference = differences(keypoints, visibility, skeleton, **pen)
    assert difference.max(initial=0) <= 1
    assert difference.sum() < 0.01 * difference.size + 30  # a picture may have a single pixel
    return (difference > 0).mean()


def random_poses(n, num_keypoints, size, seed, spread=0.3):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-spread * size, (1 + spread) * size, (n, num_keypoints, 2)).astype(np.float32)
    return keypoints, rng.random((n, num_keypoints)) < 0.85


# --- against the twin -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "number"), [(12, 4000), (16, 3000), (19, 2000), (32, 1000)])
def test_agrees_with_the_twin_on_ten_thousand_poses(size, number):
    keypoints, visibility = random_poses(number, 13, size, seed=size)
    differ = assert_agree(keypoints, visibility, BODY, size_px=size, joint_radius_px=1.5)
    assert differ < 1e-3


@pytest.mark.parametrize("size", [64, 101, 128])
@pytest.mark.parametrize("pen", [(2.0, 2.0), (0.3, 0.0), (7.25, 1.0), (1.0, 11.5), (130.0, 0.0)])
def test_agrees_with_the_twin_for_every_pen(size, pen):
    keypoints, visibility = random_poses(16, 13, size, seed=size)
    width, radius = pen
    assert_agree(keypoints, visibility, BODY, size_px=size, line_width_px=width, joint_radius_px=radius)


@pytest.mark.parametrize("size", range(1, 10))
def test_agrees_with_the_twin_on_tiny_images(size):
    keypoints, visibility = random_poses(50, 13, size, seed=size, spread=1.0)
    assert_agree(keypoints, visibility, BODY, size_px=size)


def test_agrees_with_the_twin_for_other_skeletons():
    face = load_skeleton("face68")
    assert_agree(*random_poses(40, 68, 48, 5), face, size_px=48, line_width_px=1.0, joint_radius_px=0.75)
    for skeleton in (
        skeleton_of(1, []),
        skeleton_of(2, [(0, 1)] * 3 + [(1, 0)]),
        skeleton_of(3, [(0, 0), (2, 1)]),
        skeleton_of(40, [(i, 39 - i) for i in range(40)]),
        skeleton_of(1024, [(i, i + 1) for i in range(0, 1023, 11)]),
    ):
        keypoints, visibility = random_poses(6, skeleton.num_keypoints, 24, 6)
        assert_agree(keypoints, visibility, skeleton, size_px=24)
        assert_agree(keypoints, None, skeleton, size_px=24)


def test_agrees_with_the_twin_where_joints_and_bones_coincide():
    rng = np.random.default_rng(8)
    keypoints = rng.integers(0, 5, (300, 13, 2)).astype(np.float32) * 4 + rng.choice([0, 0.5], (300, 1, 1))
    keypoints[:100, 5:] = keypoints[:100, 4:5]
    keypoints[100:200, :, 1] = 8.5
    assert_agree(keypoints.astype(np.float32), None, BODY, size_px=20)


def test_agrees_with_the_twin_on_nearly_horizontal_bones():
    rng = np.random.default_rng(9)
    keypoints = rng.uniform(0, 24, (200, 2, 2))
    keypoints[:, 1, 1] = keypoints[:, 0, 1] + np.geomspace(1e-12, 1e-2, 200)
    assert_agree(keypoints, None, BONE, size_px=24, line_width_px=3.0, joint_radius_px=0)
    assert_agree(keypoints[..., ::-1], None, BONE, size_px=24, line_width_px=3.0, joint_radius_px=0)


def test_agrees_with_exact_arithmetic_on_bones_of_any_length():
    huge = 3.4e38
    bones = [
        [[-1e30, 0], [1e30, 16]],
        [[-huge, -huge], [huge, huge]],
        [[-huge, huge], [huge, -huge]],
        [[-1e30, 5], [4, 6]],
        [[1e10, -1e10], [-1e10, 1.0000001e10]],
        [[-1e5, 3], [1e5, 4]],
        [[7, -huge], [7, huge]],
        [[1e30, 1e30], [1e30, 1e29]],
        [[4, 4], [4 + 1e-6, 4 - 1e-6]],
        [[1e-45, 2], [0, 2]],
    ]
    images = rasterize(bones, None, BONE, size_px=16, joint_radius_px=0)
    assert_agree(bones, None, BONE, size_px=16, joint_radius_px=0)
    drawn = (images > 0).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(drawn, [1, 1, 1, 1, 0, 1, 1, 0, 1, 1])


extreme = st.floats(width=32, allow_nan=False, allow_infinity=False)
near = st.floats(-16, 28, width=32)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(near | near | extreme, near | near | extreme), min_size=3, max_size=3),
    st.lists(st.integers(0, 2), min_size=3, max_size=3),
    st.integers(1, 12),
    st.floats(0.01, 20),
    st.floats(0, 12),
)
def test_agrees_with_the_twin_on_any_floats(points, seen, size, width, radius):
    skeleton = skeleton_of(3, [(0, 1), (1, 2)])
    seen = np.array([seen], np.uint8)
    pen = {"size_px": size, "line_width_px": width, "joint_radius_px": radius}
    # The promise is 2 grey levels; a mean says nothing about a picture of a few pixels.
    assert differences(np.array([points], np.float32), seen, skeleton, **pen).max() <= 2


@pytest.mark.parametrize("size", [64, 128])
def test_agrees_with_the_twin_on_real_poses(real_data, size):
    poses = read_poses(real_data / "lab_cmu_shots16.json")
    keypoints = pixels_from_normalized(frame_poses(poses).normalize(poses.keypoints), size)
    assert_agree(keypoints, poses.visibility, poses.skeleton, size_px=size)
    images = rasterize(keypoints, poses.visibility, poses.skeleton, size_px=size)
    assert (images.max(axis=(1, 2, 3)) > 200).all()


# --- levels, types and styles -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bfloat16"])
@pytest.mark.parametrize("style", ["flexpose", "gray", "per-bone"])
def test_every_level_thread_and_layout_gives_the_same_bytes(style, dtype):
    native, names = _rust.rasterize, _rust.levels()
    assert names[0] == "portable"
    for size, width, radius in [
        (1, 2.0, 2.0),
        (7, 1.0, 0.75),
        (8, 3.0, 3.0),
        (33, 2.0, 2.0),
        (40, 12.0, 4.0),
    ]:
        keypoints, visibility = random_poses(30, 13, size, seed=size)
        keypoints[:4] *= 1e6
        pen = {
            "size_px": size,
            "line_width_px": width,
            "joint_radius_px": radius,
            "style": style,
            "dtype": dtype,
        }
        expected = rasterize(keypoints, visibility, BODY, **pen)
        for level in names:
            at_level = mock.patch.object(
                _rust, "rasterize", lambda *a, level=level, **k: native(*a, **k, level=level)
            )
            with at_level:
                nhwc = rasterize(keypoints, visibility, BODY, workers=1, **pen)
                nchw = rasterize(keypoints, visibility, BODY, layout="nchw", workers=3, **pen)
            np.testing.assert_array_equal(nhwc, expected, strict=True)
            np.testing.assert_array_equal(nchw.transpose(0, 2, 3, 1), expected, strict=True)


def test_a_level_that_is_not_there_is_refused():
    keypoints, bones = np.zeros((1, 1, 2), np.float32), np.zeros((0, 2), np.int64)
    colors, out = np.zeros((0, 3), np.uint8), np.zeros((1, 4, 4, 3), np.uint8)
    pen = {"line_width_px": 1.0, "joint_radius_px": 1.0, "planar": False, "style": "flexpose", "workers": 1}
    with pytest.raises(UsageError, match='this CPU has no level "mmx"'):
        _rust.rasterize(keypoints, None, bones, colors, np.zeros((1, 3), np.uint8), out, **pen, level="mmx")


def test_large_results_are_those_of_small_ones():
    # Above 8 MiB they are written past the caches, for which memory at any place must do.
    keypoints, visibility = random_poses(800, 13, 64, seed=20)
    for dtype, layout in [("uint8", "nhwc"), ("uint8", "nchw"), ("float32", "nhwc"), ("bfloat16", "nchw")]:
        draw = {"size_px": 64, "dtype": dtype, "layout": layout}
        parts = [
            rasterize(keypoints[i : i + 50], visibility[i : i + 50], BODY, **draw, workers=1)
            for i in range(0, 800, 50)
        ]
        expected = np.concatenate(parts)
        memory = np.zeros(expected.nbytes + 64, np.uint8)
        for start in (0, 4, 28):
            out = memory[start : start + expected.nbytes].view(expected.dtype).reshape(expected.shape)
            rasterize(keypoints, visibility, BODY, **draw, out=out, workers=2)
            np.testing.assert_array_equal(out, expected)
            assert not memory[start + expected.nbytes :].any()


def test_floats_are_what_torch_makes_of_the_bytes():
    torch = pytest.importorskip("torch")
    keypoints, visibility = random_poses(6, 13, 40, seed=21)
    bytes_ = torch.from_numpy(rasterize(keypoints, visibility, BODY, size_px=40))
    expected = bytes_.to(torch.float32) / 127.5 - 1
    floats = rasterize(keypoints, visibility, BODY, size_px=40, dtype="float32")
    assert floats.dtype == np.float32
    assert torch.equal(torch.from_numpy(floats), expected)
    halves = rasterize(keypoints, visibility, BODY, size_px=40, dtype="bfloat16")
    assert halves.dtype == np.uint16
    assert torch.equal(torch.from_numpy(halves).view(torch.bfloat16), expected.to(torch.bfloat16))
    assert floats.min() == -1
    assert floats.max() > 0.5


def test_gray_agrees_with_the_twin_in_luma():
    keypoints, visibility = random_poses(100, 13, 32, seed=22)
    luma = lambda colors: (colors @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)  # noqa: E731
    colors = [np.repeat(luma(c)[:, None], 3, axis=1) for c in (BODY.bone_colors, BODY.joint_colors)]
    expected = twin.rasterize(keypoints, visibility, Drawn(BODY.bones, *colors), size_px=32)
    got = rasterize(keypoints, visibility, BODY, size_px=32, style="gray")
    assert got.shape == (100, 32, 32, 1)
    assert np.abs(got[..., 0].astype(np.int16) - expected[..., 0]).max() <= 2


@pytest.mark.parametrize("size", [24, 730])  # the second does not fit into one band
def test_bones_of_their_own_agree_with_the_twin(size):
    keypoints, visibility = random_poses(40 if size == 24 else 1, 13, size, seed=23)
    got = rasterize(
        keypoints, visibility, BODY, size_px=size, line_width_px=3.0, style="per-bone", layout="nchw"
    )
    assert got.shape == (len(keypoints), 14, size, size)
    for bone in range(14):
        alone = Drawn((BODY.bones[bone],), np.full((1, 3), 255, np.uint8), np.zeros((13, 3), np.uint8))
        expected = twin.rasterize(
            keypoints, visibility, alone, size_px=size, line_width_px=3.0, joint_radius_px=0
        )
        assert np.abs(got[:, bone].astype(np.int16) - expected[..., 0]).max() <= 2


def test_a_skeleton_without_bones_has_no_channels_of_bones():
    skeleton = skeleton_of(2, [])
    assert rasterize(np.zeros((3, 2, 2)), None, skeleton, size_px=5, style="per-bone").shape == (3, 5, 5, 0)
    assert rasterize(np.zeros((3, 2, 2)), None, skeleton, size_px=5, style="gray").any()


# --- against closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 17.0, 41.0, 90.0, 133.0])
def test_a_long_thick_bone_has_the_area_of_a_stadium(angle):
    size, length, width = 160, 90.0, 14.0
    half = length / 2 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    center = np.array([79.75, 80.25])
    ends = np.stack([center - half, center + half])
    (image,) = rasterize(ends[None], None, BONE, size_px=size, line_width_px=width, joint_radius_px=0)
    area = image[..., 0].sum(dtype=np.float64) / 255
    assert area == pytest.approx(length * width + np.pi * width**2 / 4, rel=2e-3)


def test_discs_have_the_area_of_circles_and_cover_the_bones():
    skeleton = skeleton_of(2, [(0, 1)])
    (image,) = rasterize([[[20.5, 20.5], [40.5, 20.5]]], None, skeleton, size_px=64, joint_radius_px=8)
    assert (image[20, 20] == skeleton.joint_colors[0]).all()
    assert (image[20, 40] == skeleton.joint_colors[1]).all()
    assert (image[20, 30] == skeleton.bone_colors[0]).all()
    white = skeleton._replace(joint_colors=np.full((2, 3), 255, np.uint8))
    seen = np.array([[True, False]])
    (image,) = rasterize([[[20.3, 20.8], [40, 20]]], seen, white, size_px=64, joint_radius_px=8)
    assert image[..., 0].sum(dtype=np.float64) / 255 == pytest.approx(np.pi * 64, rel=5e-3)


def test_later_bones_cover_earlier_ones_and_edges_mix():
    colors = np.array([[200, 0, 0], [0, 100, 50]], np.uint8)
    cross = Drawn(((0, 1), (2, 3)), colors, np.zeros((4, 3), np.uint8))
    points = [[[0, 4.5], [9, 4.5]], [[4.5, 0], [4.5, 9]]]
    points = np.concatenate(points)[None]
    (image,) = rasterize(points, None, cross, size_px=9, line_width_px=2.0, joint_radius_px=0)
    assert image[4, 4].tolist() == [0, 100, 50]
    assert image[4, 1].tolist() == [200, 0, 0]
    # one pixel beside the line its distance is 1, its coverage 1/2
    assert image[3, 1].tolist() == [100, 0, 0]
    assert image[3, 4].tolist() == [0, 100, 50]
    assert image[4, 3].tolist() == [100, 50, 25]


# --- bytes that do not vary -------------------------------------------------------------------------------


def digest(images):
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


def test_workers_chunks_and_layouts_give_the_same_bytes():
    keypoints, visibility = random_poses(151, 13, 48, seed=11)
    one = rasterize(keypoints, visibility, BODY, size_px=48, workers=1)
    for workers in (2, 3, 7, 32, None):
        assert digest(rasterize(keypoints, visibility, BODY, size_px=48, workers=workers)) == digest(one)
    for chunk in (1, 64):
        parts = [
            rasterize(keypoints[i : i + chunk], visibility[i : i + chunk], BODY, size_px=48, workers=2)
            for i in range(0, 151, chunk)
        ]
        assert digest(np.concatenate(parts)) == digest(one)
    planes = rasterize(keypoints, visibility, BODY, size_px=48, layout="nchw", workers=3)
    np.testing.assert_array_equal(planes.transpose(0, 2, 3, 1), one)


def test_the_bytes_are_the_same_on_every_machine():
    # Data sets are resumed and compared by hash, so these bytes are part of the interface: whoever changes one
    # makes every picture that was drawn before differ, and says so in the notes of the release.
    steps = np.arange(64 * 13 * 2, dtype=np.int64)
    keypoints = ((steps * 7919 + steps**2 * 31) % 4096 / 64).reshape(64, 13, 2)
    skeleton = Drawn(
        BODY.bones,
        np.arange(14 * 3).reshape(14, 3).astype(np.uint8) * 6,
        255 - np.arange(13 * 3).reshape(13, 3).astype(np.uint8) * 6,
    )
    images = rasterize(keypoints, None, skeleton, size_px=64)
    assert digest(images) == "a6a8e36d1ad9d6d710a871b30d6bcfa356a6de54d400f2fed10a0ce09629c4ff"


def test_draws_in_a_forked_child_after_threads_ran_in_the_parent():
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    script = """
import os, sys
import numpy as np
from flexpose import load_skeleton, rasterize
points = np.linspace(0, 32, 50 * 26).reshape(50, 13, 2)
draw = lambda: rasterize(points, None, load_skeleton("body13"), size_px=32, workers=3).tobytes()
first = draw()
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        os._exit(0 if draw() == first else 1)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)


# --- arguments --------------------------------------------------------------------------------------------


def test_draws_into_out_and_returns_it():
    keypoints, visibility = random_poses(5, 13, 20, seed=12)
    expected = rasterize(keypoints, visibility, BODY, size_px=20)
    out = np.full((5, 20, 20, 3), 99, np.uint8)
    assert rasterize(keypoints, visibility, BODY, size_px=20, out=out) is out
    np.testing.assert_array_equal(out, expected)
    pool = np.full((8, 20, 20, 3), 99, np.uint8)
    rasterize(keypoints, visibility, BODY, size_px=20, out=pool[2:7])
    np.testing.assert_array_equal(pool[2:7], expected)
    assert (pool[[0, 1, 7]] == 99).all()
    planes = np.empty((5, 3, 20, 20), np.uint8)
    rasterize(keypoints, visibility, BODY, size_px=20, layout="nchw", out=planes)
    np.testing.assert_array_equal(planes.transpose(0, 2, 3, 1), expected)


def test_takes_any_real_numbers_in_any_layout():
    keypoints, visibility = random_poses(5, 13, 20, seed=13)
    keypoints = np.round(keypoints)
    expected = rasterize(keypoints, visibility, BODY, size_px=20)
    for same in (
        keypoints.astype(np.float64),
        keypoints.astype(np.float16),
        keypoints.astype(np.int64),
        np.asfortranarray(keypoints),
        keypoints.tolist(),
        np.repeat(keypoints, 2, axis=0)[::2],
        keypoints.astype(">f4"),
    ):
        np.testing.assert_array_equal(rasterize(same, visibility, BODY, size_px=np.int32(20)), expected)
    for same in (visibility.astype(np.uint8) * 2, np.asfortranarray(visibility), visibility.tolist()):
        np.testing.assert_array_equal(rasterize(keypoints, same, BODY, size_px=20), expected)


def test_no_poses_give_no_images():
    assert rasterize(np.zeros((0, 13, 2)), None, BODY, size_px=8).shape == (0, 8, 8, 3)
    assert rasterize(np.zeros((0, 13, 2)), None, BODY, size_px=8, layout="nchw").shape == (0, 3, 8, 8)


def test_invisible_joints_are_not_looked_at():
    keypoints, _ = random_poses(3, 13, 20, seed=14)
    seen = np.ones((3, 13), np.uint8)
    seen[:, 4] = 0
    expected = rasterize(keypoints, seen, BODY, size_px=20)
    keypoints[:, 4] = [[np.nan, 0], [np.inf, -np.inf], [3e38, np.nan]]
    np.testing.assert_array_equal(rasterize(keypoints, seen, BODY, size_px=20), expected)
    assert (rasterize(keypoints, np.zeros_like(seen), BODY, size_px=20) == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_visible_joint_must_be_finite(value, axis):
    keypoints = np.zeros((4, 13, 2))
    keypoints[2, 7, axis] = value
    with pytest.raises(
        DataError, match=r"^record 2: keypoints: joint 7 is visible but not finite: \("
    ) as caught:
        rasterize(keypoints, None, BODY, size_px=8)
    assert (caught.value.record, caught.value.field) == (2, "keypoints")


KEYPOINTS = np.zeros((4, 13, 2), np.float32)
OUT = np.zeros((4, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": KEYPOINTS[:, :12]}, r"keypoints must be \[N, 13, 2\], got \[4, 12, 2\]"),
        ({"keypoints": KEYPOINTS[0]}, r"keypoints must be \[N, 13, 2\], got \[13, 2\]"),
        ({"keypoints": KEYPOINTS.astype(complex)}, "keypoints must be real numbers, got dtype complex128"),
        ({"keypoints": [["a", "b"]]}, "keypoints must be real numbers, got dtype <U1"),
        ({"keypoints": [[0], [1, 2]]}, "keypoints must be an array: "),
        ({"visibility": np.ones((4, 12), bool)}, r"visibility must be \[4, 13\], got \[4, 12\]"),
        ({"visibility": np.ones((4, 13))}, "visibility must be bool or uint8, got float64"),
        ({"size_px": 0}, r"size_px must be in \[1, 8192\], got 0"),
        ({"size_px": 8193}, r"size_px must be in \[1, 8192\], got 8193"),
        ({"size_px": 8.0}, "size_px must be an integer, got float"),
        ({"line_width_px": 0.0}, r"line_width_px must be in \(0, 1024\], got 0"),
        ({"line_width_px": float("nan")}, r"line_width_px must be in \(0, 1024\], got NaN"),
        ({"line_width_px": "wide"}, "line_width_px must be a number, got 'wide'"),
        ({"joint_radius_px": -1}, r"joint_radius_px must be in \[0, 1024\], got -1"),
        ({"joint_radius_px": 1e9}, r"joint_radius_px must be in \[0, 1024\], got 1000000000"),
        ({"layout": "chw"}, "layout must be 'nhwc' or 'nchw', got 'chw'"),
        ({"layout": ["nhwc"]}, r"layout must be 'nhwc' or 'nchw', got \['nhwc'\]"),
        ({"style": "grey"}, "style must be 'flexpose', 'gray' or 'per-bone', got 'grey'"),
        ({"dtype": "float16"}, "dtype must be 'uint8', 'float32' or 'bfloat16', got 'float16'"),
        ({"dtype": np.uint8}, "dtype must be 'uint8', 'float32' or 'bfloat16', got <class"),
        ({"out": OUT, "dtype": "bfloat16"}, "out must be an array of uint16, got uint8"),
        ({"out": OUT, "style": "gray"}, r"out must be \[4, 8, 8, 1\], got \[4, 8, 8, 3\]"),
        ({"workers": 0}, r"workers must be in \[1, 1024\], got 0"),
        ({"workers": 2000}, r"workers must be in \[1, 1024\], got 2000"),
        ({"workers": "all"}, "workers must be an integer, got str"),
        ({"out": OUT[:3]}, r"out must be \[4, 8, 8, 3\], got \[3, 8, 8, 3\]"),
        ({"out": OUT, "layout": "nchw"}, r"out must be \[4, 3, 8, 8\], got \[4, 8, 8, 3\]"),
        ({"out": OUT.astype(np.float32)}, "out must be an array of uint8, got float32"),
        ({"out": OUT.tolist()}, "out must be an array of uint8, got list"),
        ({"out": np.asfortranarray(OUT)}, "out must be C-contiguous, got strides"),
        ({"out": np.broadcast_to(OUT[:1], OUT.shape)}, "out must be C-contiguous, got strides"),
        (
            {"skeleton": skeleton_of(1025, []), "keypoints": np.zeros((1, 1025, 2))},
            r"must be in \[1, 1024\], got 1025",
        ),
        (
            {"skeleton": skeleton_of(13, [(0, 13)])},
            r"bones\[0\] must join two of the 13 keypoints, got \(0, 13\)",
        ),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"keypoints": KEYPOINTS, "visibility": None, "skeleton": BODY, "size_px": 8} | change
    with pytest.raises(UsageError, match=message):
        rasterize(**arguments)


def test_out_must_be_writeable_and_no_argument_at_once():
    locked = OUT.copy()
    locked.setflags(write=False)
    with pytest.raises(UsageError, match="out must be writeable, got a read-only array"):
        rasterize(KEYPOINTS, None, BODY, size_px=8, out=locked)
    memory = np.zeros(4 * 8 * 8 * 3, np.uint8)
    seen = memory[: 4 * 13].reshape(4, 13)
    with pytest.raises(UsageError, match=r"^out: .*borrow"):
        rasterize(KEYPOINTS, seen, BODY, size_px=8, out=memory.reshape(4, 8, 8, 3))


def test_images_that_no_memory_holds_are_refused():
    points = np.broadcast_to(np.float32(0), (2_000_000, 1, 2))
    with pytest.raises(ResourceError, match=r"no memory for images .* 402653184000000 bytes"):
        rasterize(points, None, skeleton_of(1, []), size_px=8192)


# --- around the pictures ----------------------------------------------------------------------------------


def test_coordinates_of_pixels_and_back():
    normalized = np.array([[[-1, -1], [0, 1], [0.5, -0.25]]])
    pixels = pixels_from_normalized(normalized, 128)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, [[[0, 0], [64, 128], [96, 48]]])
    np.testing.assert_array_equal(normalized_from_pixels(pixels, 128), normalized)
    random = np.random.default_rng(0).uniform(-1, 1, (100, 13, 2))
    np.testing.assert_allclose(
        normalized_from_pixels(pixels_from_normalized(random, 97), 97), random, atol=2e-7
    )


def test_wrong_coordinates_are_named():
    with pytest.raises(UsageError, match=r"normalized must be \[\.\.\., 2\], got \[4, 3\]"):
        pixels_from_normalized(np.zeros((4, 3)), 8)
    with pytest.raises(UsageError, match=r"keypoints must be \[\.\.\., 2\], got \[\]"):
        normalized_from_pixels(1.0, 8)
    with pytest.raises(UsageError, match="keypoints must be real numbers, got dtype <U1"):
        normalized_from_pixels(["a", "b"], 8)
    for size in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="size_px must be > 0 and finite"):
            pixels_from_normalized(np.zeros((1, 2)), size)


def test_grid_lays_images_out_in_rows_with_gaps():
    images = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 3), np.uint8)
    grid = image_grid(images, 3)
    assert grid.shape == (2 * 3 - 1, 3 * 4 - 1, 3)
    assert grid[..., 0].tolist() == [
        [1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 3],
        [1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 3],
        [0] * 11,
        [4, 4, 4, 0, 5, 5, 5, 0, 0, 0, 0],
        [4, 4, 4, 0, 5, 5, 5, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(image_grid(images[:1], 1), images[0])


def test_wrong_grids_are_named():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    for wrong in (images[..., :1], images[0], images[:0], images.astype(np.float32)):
        with pytest.raises(UsageError, match=r"images must be \[N, H, W, 3\] uint8"):
            image_grid(wrong, 2)
    with pytest.raises(UsageError, match="columns must be >= 1, got 0"):
        image_grid(images, 0)

"""ControlNet's pose pictures and KeypointGAN's soft lines, against those who define them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from flexpose.errors import DataError, UsageError
from flexpose.poses import synth_poses
from flexpose.skeleton import joint_map, load_skeleton
from flexpose.styles import PRESETS, draw_keypointgan, draw_openpose, openpose_poses

from .reference import controlnet_aux, keypointgan, openpose

OPENPOSE = load_skeleton("openpose18")
BODY = load_skeleton("body13")


def random_poses(number: int, joints: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Poses inside, partly outside, far outside, on whole pixels and all in one point; some joints not visible."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-0.3 * size, 1.3 * size, (number, joints, 2)).astype(np.float32)
    keypoints[::4] = rng.uniform(0, size, keypoints[::4].shape)
    keypoints[1::4] = np.round(keypoints[1::4])
    keypoints[2] *= 30
    keypoints[3] = size / 2
    return keypoints, (rng.random((number, joints)) < 0.8).astype(np.uint8)


def golden() -> tuple[np.ndarray, np.ndarray]:
    with np.load(controlnet_aux.DATA / "poses.npz", allow_pickle=False) as file:
        return file["keypoints"], file["visibility"]


def test_openpose_is_what_controlnet_aux_drew() -> None:
    keypoints, visibility = golden()
    images = draw_openpose(keypoints, visibility, size_px=512)
    for number, image in enumerate(images):
        with Image.open(controlnet_aux.DATA / f"openpose{number}.png") as file:
            np.testing.assert_array_equal(image, np.asarray(file))
        assert image.any(axis=(0, 1)).all()


def test_openpose_is_what_controlnet_aux_draws() -> None:
    drawing = controlnet_aux.load_drawing()
    if drawing is None:
        pytest.skip("controlnet-aux is not installed: no live comparison")
    keypoints, visibility = random_poses(40, 18, 512)
    expected = controlnet_aux.draw(drawing, keypoints, visibility, 512)
    np.testing.assert_array_equal(draw_openpose(keypoints, visibility, size_px=512), expected)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [1, 2, 37, 128, 499, 500, 1000])
def test_openpose_is_what_opencv_draws(size: int, preset: str) -> None:
    keypoints, visibility = random_poses(40 if size < 400 else 8, 18, size, seed=size)
    radius = openpose.radius_px(size, preset)
    expected = openpose.draw_openpose(keypoints, visibility, OPENPOSE, size_px=size, radius=radius)
    images = draw_openpose(keypoints, visibility, size_px=size, preset=preset)
    np.testing.assert_array_equal(images, expected)
    assert images.any()


def test_openpose_of_every_angle_and_length() -> None:
    turns, lengths = np.meshgrid(np.radians(np.arange(0, 360, 2.5)), [0, 0.5, 1, 3, 20, 90])
    keypoints = np.full((turns.size, 18, 2), 50.25, np.float32)
    visibility = np.zeros((turns.size, 18), np.uint8)
    visibility[:, 1:3] = 1  # a single limb
    keypoints[:, 2, 0] += (lengths * np.cos(turns)).ravel()
    keypoints[:, 2, 1] += (lengths * np.sin(turns)).ravel()
    expected = openpose.draw_openpose(keypoints, visibility, OPENPOSE, size_px=100, radius=1)
    np.testing.assert_array_equal(draw_openpose(keypoints, visibility, size_px=100), expected)


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.2, 1.0, 10.0])
@pytest.mark.parametrize("size", [2, 37, 128])
def test_keypointgan_is_the_formula(size: int, sigma: float) -> None:
    keypoints, visibility = random_poses(6, 13, size)
    images = draw_keypointgan(keypoints, visibility, BODY, size_px=size, sigma=sigma)
    exact = keypointgan.draw_keypointgan(keypoints, visibility, BODY, size_px=size, sigma=sigma)
    assert images.shape == (6, size, size, 1)
    assert images.dtype == np.uint8
    assert np.abs(images - exact).max() < 0.505  # rounded to the nearest, but for float32's own errors


def test_bytes_do_not_depend_on_workers() -> None:
    keypoints, visibility = random_poses(23, 18, 64)
    for one, many in (
        [draw_openpose(keypoints, visibility, size_px=64, workers=n) for n in (1, 5)],
        [draw_keypointgan(keypoints, visibility, OPENPOSE, size_px=64, workers=n) for n in (1, 5)],
    ):
        np.testing.assert_array_equal(one, many)
        assert one.any()


def test_all_joints_are_visible_by_default_and_no_poses_are_no_pictures() -> None:
    keypoints, _ = random_poses(4, 18, 32)
    seen = np.ones((4, 18), bool)
    np.testing.assert_array_equal(
        draw_openpose(keypoints, size_px=32), draw_openpose(keypoints, seen, size_px=32)
    )
    lines = [draw_keypointgan(keypoints, there, OPENPOSE, size_px=32) for there in (None, seen)]
    np.testing.assert_array_equal(*lines)
    assert draw_openpose(np.zeros((0, 18, 2)), size_px=8).shape == (0, 8, 8, 3)
    assert draw_keypointgan(np.zeros((0, 13, 2)), None, BODY, size_px=8).shape == (0, 8, 8, 1)


def test_points_far_away_are_legal() -> None:
    """A line to a point at 1e30 looks like one to a nearer point in the same direction."""
    keypoints = np.full((2, 18, 2), 20.0, np.float32)
    keypoints[:, 2] = [[1e6, 20], [1e30, 20]]
    visibility = np.zeros((2, 18), np.uint8)
    visibility[:, 1:3] = 1
    lines = draw_keypointgan(keypoints, visibility, OPENPOSE, size_px=40)
    np.testing.assert_array_equal(lines[0], lines[1])
    assert lines[0, 20, 39] == 134  # 0.0256 away: 255 exp(-0.0256 / 0.04)
    rng = np.random.default_rng(1)
    wild = (rng.normal(size=(50, 18, 2)) * 10 ** rng.uniform(0, 38, (50, 18, 1))).astype(np.float32)
    assert draw_openpose(wild, size_px=64).shape == (50, 64, 64, 3)
    assert draw_keypointgan(wild, None, OPENPOSE, size_px=64).any()


def test_coordinates_of_invisible_joints_are_not_looked_at() -> None:
    keypoints, visibility = random_poses(4, 18, 32)
    other = np.where(visibility[..., None] == 0, np.nan, keypoints)
    for draw in (
        lambda points: draw_openpose(points, visibility, size_px=32),
        lambda points: draw_keypointgan(points, visibility, OPENPOSE, size_px=32),
    ):
        np.testing.assert_array_equal(draw(keypoints), draw(other))


def test_wrong_arguments() -> None:
    good = np.zeros((2, 18, 2))
    bad = good.copy()
    bad[1, 3] = np.nan
    with pytest.raises(UsageError, match=r"keypoints must be \[N, 18, 2\], got \[2, 13, 2\]"):
        draw_openpose(np.zeros((2, 13, 2)), size_px=8)
    with pytest.raises(UsageError, match=r"keypoints must be \[N, 13, 2\], got \[2, 18, 2\]"):
        draw_keypointgan(good, None, BODY, size_px=8)
    with pytest.raises(UsageError, match="preset must be one of sd15, sdxl-thick, got 'sd3'"):
        draw_openpose(good, size_px=8, preset="sd3")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="size_px must be in"):
        draw_openpose(good, size_px=0)
    with pytest.raises(UsageError, match="size_px of the style keypointgan must be in"):
        draw_keypointgan(good, None, OPENPOSE, size_px=1)
    for sigma in (0.01, 11, np.nan):
        with pytest.raises(UsageError, match="sigma must be in"):
            draw_keypointgan(good, None, OPENPOSE, size_px=8, sigma=sigma)
    with pytest.raises(UsageError, match=r"visibility must be \[2, 18\]"):
        draw_openpose(good, np.ones((2, 17), bool), size_px=8)
    for call in (
        lambda: draw_openpose(bad, size_px=8),
        lambda: draw_keypointgan(bad, None, OPENPOSE, size_px=8),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert caught.value.record == 1


def test_poses_of_other_skeletons_are_carried_over() -> None:
    poses = synth_poses(3, seed=1)
    carried = openpose_poses(poses)
    assert carried.skeleton == OPENPOSE
    np.testing.assert_array_equal(carried.visibility[:, 14:], 0)
    assert (carried.visibility[:, :14] > 0).all()
    names = [OPENPOSE.names.index(name) for name in BODY.names]
    np.testing.assert_array_equal(carried.keypoints[:, names], poses.keypoints)
    shoulders = poses.keypoints[:, 1:3].astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(carried.keypoints[:, 1], shoulders, rtol=1e-6)
    assert openpose_poses(carried) is carried
    assert joint_map(load_skeleton("coco17"), OPENPOSE).kind == "exact"
    with pytest.raises(UsageError, match="hand21 cannot be mapped to openpose18: no source for nose"):
        joint_map(load_skeleton("hand21"), OPENPOSE, ("right_eye",))
    told = joint_map(BODY, OPENPOSE, tuple(OPENPOSE.names[14:])).describe().splitlines()
    assert told[14] == "right_eye: none"

"""Palettes: distances against opencv's CIELAB, the floor, determinism."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from flexpose.skeleton.palette import MIN_LIGHTNESS, lab_from_rgb, palette


def _opencv_lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor((rgb[None] / np.float32(255)).astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def _least_distance(rgb: np.ndarray) -> float:
    lab = _opencv_lab(rgb).astype(np.float64)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(distance[~np.eye(len(lab), dtype=bool)].min())


def test_lab_is_that_of_opencv():
    rgb = np.random.default_rng(0).integers(0, 256, (20_000, 3)).astype(np.uint8)
    assert np.abs(lab_from_rgb(rgb) - _opencv_lab(rgb)).max() < 0.6


def test_lab_of_known_colours():
    # Black, white, and the sRGB primaries as published, e.g. at brucelindbloom.com (D65).
    rgb = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    truth = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab_from_rgb(rgb), truth, atol=0.1)


@pytest.mark.parametrize(("count", "least"), [(14, 40), (27, 28), (64, 19), (131, 13), (191, 11)])
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_colours_are_far_apart_and_visible_on_black(count, least, seed):
    colours = palette(count, seed)
    assert colours.shape == (count, 3)
    assert _least_distance(colours) > least
    assert _opencv_lab(colours)[:, 0].min() > MIN_LIGHTNESS - 0.6


def test_a_shorter_palette_is_a_prefix_and_seeds_differ():
    assert np.array_equal(palette(30)[:14], palette(14))
    assert not np.array_equal(palette(14, 0), palette(14, 1))


def test_palette_of_seed_0_never_changes():
    # Pictures and checkpoints made with it depend on it: a change here is a break of the format.
    digest = hashlib.sha256(palette(131, 0).tobytes()).hexdigest()
    assert digest == "601f3c5a4d327614471458b7f246b211188cd03578f2f789a0498cf130bccc23"


def test_changing_the_result_does_not_change_the_next_one():
    palette(5)[:] = 0
    assert palette(5).any()


@pytest.mark.parametrize(("count", "seed"), [(-1, 0), (2049, 0), (3, -1), (3, 2**64)])
def test_out_of_range_is_refused(count, seed):
    with pytest.raises(ValueError, match="must be"):
        palette(count, seed)


def test_zero_and_the_greatest_count():
    assert palette(0).shape == (0, 3)
    assert len(np.unique(palette(2048), axis=0)) == 2048

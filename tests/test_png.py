"""PNG files against two independent decoders."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from flexpose.errors import UsageError
from flexpose.raster import encode_png, encode_pngs, rasterize
from flexpose.skeleton import load_skeleton


def with_pillow(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "PNG"
        image.load()
        return np.asarray(image)


def with_opencv(file: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 2 else image[..., ::-1]


def skeletons() -> np.ndarray:
    points = np.random.default_rng(1).uniform(0, 64, (9, 13, 2))
    return rasterize(points, None, load_skeleton("body13"), size_px=64)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        skeletons()[0],
        skeletons()[0, :, :, 1],
        np.zeros((8, 8, 3), np.uint8),
        noise(33, 7, 3),
        noise(7, 33),
        noise(1, 1, 3),
        noise(1, 300),
        noise(300, 1),
        noise(64, 64, 3)[::2, ::-1],
    ],
    ids=lambda image: "x".join(map(str, image.shape)),
)
def test_pillow_and_opencv_read_what_was_written(image):
    file = encode_png(image)
    assert isinstance(file, bytes)
    np.testing.assert_array_equal(with_pillow(file), image)
    np.testing.assert_array_equal(with_opencv(file), image)


def test_many_are_the_same_as_one_by_one_for_every_number_of_workers():
    images = skeletons()
    one_by_one = [encode_png(image) for image in images]
    for workers in (1, 2, 7, None):
        assert encode_pngs(images, workers=workers) == one_by_one
    assert encode_pngs(images[..., 0]) == [encode_png(image[..., 0]) for image in images]
    assert encode_pngs(images[:0]) == []


def test_skeleton_images_shrink_to_less_than_half():
    images = skeletons()
    assert sum(map(len, encode_pngs(images))) < images.nbytes / 2


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"\[4, 4, 4\] uint8"),
        (np.zeros((4, 4, 1), np.uint8), r"\[4, 4, 1\] uint8"),
        (np.zeros(4, np.uint8), r"\[4\] uint8"),
        (np.zeros((4, 4, 3)), r"\[4, 4, 3\] float64"),
        (np.zeros((4, 4, 3), bool), r"\[4, 4, 3\] bool"),
    ],
)
def test_wrong_images_are_named(image, got):
    with pytest.raises(UsageError, match=r"^image must be \[H, W, 3\] or \[H, W\] uint8, got " + got):
        encode_png(image)
    with pytest.raises(UsageError, match=r"^images must be \[N, H, W, 3\] or \[N, H, W\] uint8, got "):
        encode_pngs(image[None])


def test_images_without_pixels_are_refused():
    with pytest.raises(UsageError, match=r"image height must be in \[1, 2147483647\], got 0"):
        encode_png(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(UsageError, match=r"image width must be in \[1, 2147483647\], got 0"):
        encode_png(np.zeros((4, 0), np.uint8))
    with pytest.raises(UsageError, match=r"workers must be in \[1, 1024\], got 0"):
        encode_pngs(skeletons(), workers=0)

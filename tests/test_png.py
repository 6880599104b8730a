"""PNG files against two independent decoders."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from flexpose.errors import UsageError
from flexpose.poses import frame_poses, read_poses
from flexpose.raster import encode_png, encode_pngs, pixels_from_normalized, rasterize
from flexpose.skeleton import load_skeleton, map_joints


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


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("name", ["coco17", "body13"])
def test_real_drawings_are_read_and_no_larger_than_those_of_opencv(real_data, size, name):
    """10 % more than cv2.imencode's default is what is promised; these are a quarter and more below it."""
    poses = read_poses(real_data / "coco_train2017.npz", load_skeleton("coco17"))
    poses = poses[np.flatnonzero((poses.visibility > 0).sum(axis=1) >= 15)[:2400:100]]
    skeleton = load_skeleton(name)
    poses = poses if name == "coco17" else map_joints(poses, skeleton)
    keypoints = pixels_from_normalized(frame_poses(poses).normalize(poses.keypoints), size)
    images = rasterize(keypoints, poses.visibility, skeleton, size_px=size)
    files = encode_pngs(images)
    for file, image in zip(files, images, strict=True):
        np.testing.assert_array_equal(with_pillow(file), image)
        np.testing.assert_array_equal(with_opencv(file), image)
    by_opencv = sum(cv2.imencode(".png", image)[1].size for image in images)
    assert sum(map(len, files)) < 0.85 * by_opencv


@pytest.mark.parametrize(
    "image",
    [
        noise(100, 120, 3),
        noise(500, 700),
        noise(40, 40, 3) // 64 * 64,
        (np.add.outer(np.arange(300), np.arange(200)) // 2).astype(np.uint8),
        np.repeat(noise(25, 40, 3), 8, axis=0).repeat(8, axis=1),
        np.full((256, 256, 3), 255, np.uint8),
        np.where(noise(300, 300, 3) < 3, 200, 0).astype(np.uint8),
        np.zeros((2000, 3000, 3), np.uint8),
    ],
    ids=["noise", "gray noise", "coarse noise", "gradient", "blocks", "white", "dots", "black"],
)
def test_pictures_of_any_kind_are_read_and_never_much_larger(image):
    file = encode_png(image)
    np.testing.assert_array_equal(with_pillow(file), image)
    np.testing.assert_array_equal(with_opencv(file), image)
    assert len(file) < image.nbytes + len(image) + image.nbytes / 2000 + 100
    assert len(file) < 1.6 * cv2.imencode(".png", image)[1].size


@settings(max_examples=150, deadline=None)
@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)),
        elements=st.integers(0, 3) | st.integers(0, 255),
        fill=st.just(0),
    )
)
def test_any_small_picture_is_read(image):
    for picture in (image, image[..., 0]):
        file = encode_png(picture)
        np.testing.assert_array_equal(with_pillow(file), picture)
        np.testing.assert_array_equal(with_opencv(file), picture)


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

"""Pictures: what is read from folders and npz files, how it becomes square, and what is refused."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from flexpose.errors import DataError, UsageError
from flexpose.match.pictures import Pictures, read_pictures

if TYPE_CHECKING:
    from pathlib import Path

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ORIENTATION = 0x0112


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth enough for JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(folder: Path, *names: str) -> None:
    """A different picture by each name."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}.get(path.suffix.lower(), "JPEG")
        path.write_bytes(encoded(noise(24, 24, seed), kind))


def one(folder: Path, image: Image.Image, name: str = "a.png", *, size_px: int = 16, **options) -> Pictures:
    folder.mkdir(exist_ok=True)
    image.save(folder / name, **options)
    return read_pictures(folder, size_px)


def npz(path: Path, n: int = 3, **change) -> Path:
    parts = [encoded(noise(24, 20 + i, i)) for i in range(n)]
    arrays = {
        "jpeg": np.frombuffer(b"".join(parts), np.uint8),
        "offset": np.cumsum([0, *map(len, parts)]).astype(np.int64),
    } | change
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_folder_is_read_in_the_order_of_paths(tmp_path):
    put(
        tmp_path, "b.JPG", "a/z.png", "c.jpeg", "a.webp", "a/b/c.bmp", ".hidden.png", ".git/x.png", "note.gif"
    )
    (tmp_path / "poses.json").write_text("{}")
    pictures = read_pictures(str(tmp_path), 16)
    assert pictures.names == ("a.webp", "a/b/c.bmp", "a/z.png", "b.JPG", "c.jpeg")
    assert pictures.images.shape == (5, 3, 16, 16)
    assert pictures.images.dtype == np.uint8
    assert pictures.sizes.tolist() == [[24, 24]] * 5
    assert pictures.sizes.dtype == np.int32
    assert (pictures.size_px, len(pictures)) == (16, 5)
    assert pictures.groups is None, "some lie in no subfolder"
    expected = noise(24, 24, 4).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.abs(pictures.images[1].transpose(1, 2, 0) - np.asarray(expected, np.int64)).max() <= 1
    assert read_pictures(tmp_path, 16, limit=2).names == pictures.names[:2]
    assert len(read_pictures(tmp_path, 16, limit=99)) == 5


def test_subfolders_are_groups(tmp_path):
    put(tmp_path, "p2/a.png", "p10/b.png", "p2/c.png", "p2/more/d.png")
    pictures = read_pictures(tmp_path, 16)
    assert pictures.names == ("p10/b.png", "p2/a.png", "p2/c.png", "p2/more/d.png")
    assert pictures.groups.tolist() == [0, 1, 1, 2]
    assert pictures.groups.dtype == np.int64
    assert read_pictures(tmp_path, 16, limit=1).groups.tolist() == [0], "the whole folder decides"
    put(tmp_path, "top.png")
    assert read_pictures(tmp_path, 16).groups is None


def test_one_subfolder_says_nothing_of_who_is_who(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    assert read_pictures(tmp_path, 16).groups is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and named pipes")
def test_links_out_of_the_folder_and_pipes_are_left_out(tmp_path):
    put(tmp_path, "out/secret.png", "in/a.png")
    inside = tmp_path / "in"
    (inside / "b.png").symlink_to(tmp_path / "out" / "secret.png")
    (inside / "c.png").symlink_to("a.png")
    (inside / "d").symlink_to(tmp_path / "out")
    (inside / "e.png").symlink_to("nowhere.png")
    os.mkfifo(inside / "f.png")
    assert read_pictures(inside, 16).names == ("a.png", "c.png")
    (tmp_path / "link").symlink_to(inside)
    assert read_pictures(tmp_path / "link", 16).names == ("a.png", "c.png")


@pytest.mark.parametrize(
    ("width", "height"), [(64, 32), (32, 64), (63, 20), (17, 50), (16, 16), (8, 3), (500, 124)]
)
def test_the_longer_side_fills_the_square(tmp_path, width, height):
    image = (
        one(tmp_path, Image.new("RGB", (width, height), (255, 255, 255))).images[0].astype(np.float64) / 255
    )
    share = np.array([width, height]) / max(width, height)
    profiles = image[0].mean(0), image[0].mean(1)
    assert (image[0] == image[1]).all()
    for profile, part in zip(profiles, share[::-1], strict=True):
        assert profile.max() == pytest.approx(part, abs=0.03), "white is as long as the side"
    # Centred: the mirror image is the same.
    np.testing.assert_allclose(image[0], image[0, ::-1, ::-1], atol=0.02)
    half = 8 * share
    centres = np.abs(np.arange(16) + 0.5 - 8)
    inside = (centres < half[1] - 2)[:, None] & (centres < half[0] - 2)
    outside = (centres > half[1] + 2)[:, None] | (centres > half[0] + 2)
    assert (image[:, inside] > 0.99).all()
    assert (image[:, outside] == 0).all()


@pytest.mark.parametrize(("width", "height"), [(90, 40), (41, 90), (60, 60), (31, 22)])
def test_normalize_says_where_things_are_in_the_square(tmp_path, width, height):
    """A bright disc is found in the square where its centre is said to be."""
    y, x = np.mgrid[:height, :width] + 0.5
    centre = np.array([width * 0.7, height * 0.4])
    dot = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (max(width, height) / 30) ** 2))
    pictures = one(tmp_path, Image.fromarray(dot.astype(np.uint8)), size_px=64)
    weight = pictures.images[0, 0].astype(np.float64)
    axis = (np.arange(64) + 0.5) / 32 - 1
    found = np.array([(weight.sum(0) @ axis), (weight.sum(1) @ axis)]) / weight.sum()
    np.testing.assert_allclose(found, pictures.normalize(centre[None, None])[0, 0], atol=0.01)


def test_normalize_and_back(tmp_path):
    put(tmp_path, "square.png")
    noise(30, 20).save(tmp_path / "a.png")
    noise(20, 40).save(tmp_path / "b.png")
    pictures = read_pictures(tmp_path, 16)
    corners = np.array([[[0, 0], [30, 20]], [[0, 0], [20, 40]], [[0, 0], [24, 24]]])
    normalized = pictures.normalize(corners)
    expected = [[[-1, -2 / 3], [1, 2 / 3]], [[-0.5, -1], [0.5, 1]], [[-1, -1], [1, 1]]]
    np.testing.assert_allclose(normalized, expected, atol=1e-15)
    assert normalized.dtype == np.float64
    points = np.random.default_rng(0).uniform(-9, 50, (3, 7, 2)).astype(np.float32)
    np.testing.assert_array_equal(pictures.denormalize(pictures.normalize(points)), points)
    for wrong in (points[:2], points[0], np.zeros((3, 7, 3))):
        with pytest.raises(UsageError, match=r"keypoints must be \[3, K, 2\]"):
            pictures.normalize(wrong)


def test_fine_stripes_become_grey(tmp_path):
    stripes = np.zeros((128, 128), np.uint8)
    stripes[:, ::2] = 255
    image = one(tmp_path, Image.fromarray(stripes)).images[0]
    assert np.abs(image[:, :, 2:-2].astype(np.int64) - 127).max() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, None), (2, "FLIP_LEFT_RIGHT"), (3, "ROTATE_180"), (6, "ROTATE_270"), (8, "ROTATE_90"), (99, None)],
)
def test_exif_turns_pictures(tmp_path, kind, orientation, turn):
    flag = Image.new("RGB", (48, 24), RED)
    flag.paste(BLUE, (0, 0, 24, 24))
    flag.paste(GREEN, (0, 12, 24, 24))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    (tmp_path / "a.jpg").write_bytes(encoded(flag, kind, exif=exif, quality=95))
    upright = flag if turn is None else flag.transpose(Image.Transpose[turn])
    pictures = read_pictures(tmp_path, 48)
    assert pictures.sizes.tolist() == [list(upright.size)]
    top, left = (48 - upright.height) // 2, (48 - upright.width) // 2
    seen = pictures.images[0, :, top : top + upright.height, left : left + upright.width].transpose(1, 2, 0)
    assert np.abs(seen.astype(np.int64) - np.asarray(upright)).mean() < 12


def test_every_mode_ends_as_rgb(tmp_path):
    def colour(image: Image.Image, name: str, **options) -> list[int]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        return one(folder, image, name, **options).images[0, :, 8, 8].tolist()

    size = (16, 16)
    assert colour(Image.new("L", size, 77), "a.png") == [77, 77, 77]
    assert colour(Image.new("1", size, 1), "a.bmp") == [255, 255, 255]
    assert colour(Image.new("RGB", size, (9, 99, 200)).quantize(4), "a.png") == [9, 99, 200]
    assert colour(Image.new("RGBA", size, (200, 100, 50, 255)), "a.png") == [200, 100, 50]
    assert colour(Image.new("RGBA", size, (200, 100, 50, 128)), "a.png") == pytest.approx(
        [100, 50, 25], abs=1
    )
    assert colour(Image.new("RGBA", size, (200, 100, 50, 0)), "a.png") == [0, 0, 0]
    assert colour(Image.new("LA", size, (200, 0)), "a.png") == [0, 0, 0]
    assert colour(Image.new("P", size, 3), "a.png", transparency=3) == [0, 0, 0]
    assert colour(Image.new("RGB", size, RED), "a.png", transparency=RED) == [0, 0, 0]
    cmyk = colour(Image.new("CMYK", size, (0, 255, 255, 0)), "a.jpg", quality=95)
    assert cmyk == pytest.approx([255, 0, 0], abs=3)
    grey = np.full((16, 16), 40000, np.uint16)
    assert colour(Image.fromarray(grey), "a.png") == [40000 >> 8] * 3


def test_rows(tmp_path):
    put(tmp_path, *(f"{i // 2}/{i}.png" for i in range(6)))
    whole = read_pictures(tmp_path, 16)
    mask = np.array([False, True, False, False, True, False])
    for rows in (np.array([1, 4]), np.array([-5, -2]), mask, slice(1, 5, 3)):
        part = whole[rows]
        assert part.names == ("0/1.png", "2/4.png")
        assert part.groups.tolist() == [0, 2]
        np.testing.assert_array_equal(part.images, whole.images[[1, 4]])
        np.testing.assert_array_equal(part.sizes, whole.sizes[[1, 4]])
    nothing = whole[np.array([])]
    assert len(nothing) == 0
    assert nothing.normalize(np.zeros((0, 5, 2))).shape == (0, 5, 2)
    assert nothing.content_hash != whole.content_hash
    for wrong in (3, np.array([0.5]), np.zeros((2, 2), int), "ab"):
        with pytest.raises(UsageError, match="rows must be"):
            whole[wrong]
    for wrong in (np.array([6]), np.array([True])):
        with pytest.raises(IndexError):
            whole[wrong]


def test_content_hash(tmp_path):
    put(tmp_path, "a/a.png", "b/b.png")
    pictures = read_pictures(tmp_path, 16)
    images, names, sizes, groups = pictures.images, pictures.names, pictures.sizes, pictures.groups
    assert read_pictures(tmp_path, 16).content_hash == pictures.content_hash
    assert Pictures(images, ("x", "y"), sizes, groups).content_hash == pictures.content_hash
    pixel = images.copy()
    pixel[1, 2, 15, 15] ^= 1
    others = [
        Pictures(pixel, names, sizes, groups),
        Pictures(images, names, sizes, groups[::-1]),
        Pictures(images, names, sizes, None),
        Pictures(images[::-1], names, sizes, groups),
        pictures[:1],
    ]
    assert len({part.content_hash for part in [pictures, *others]}) == 6


def test_parts_must_fit():
    images, sizes, groups = (
        np.zeros((2, 3, 16, 16), np.uint8),
        np.ones((2, 2), np.int32),
        np.zeros(2, np.int64),
    )
    Pictures(images, ("a", "b"), sizes, groups)
    for bad in (images[:, :2], images[..., :8], images[0], images.astype(np.float32)):
        with pytest.raises(UsageError, match=r"images must be \[N, 3, S, S\] uint8"):
            Pictures(bad, ("a", "b"), sizes)
    with pytest.raises(UsageError, match="names must be 2 texts, got 1"):
        Pictures(images, ("a",), sizes)
    with pytest.raises(UsageError, match=r"sizes must be \[2, 2\] int32"):
        Pictures(images, ("a", "b"), sizes[:1])
    with pytest.raises(UsageError, match=r"groups must be \[2\] int64"):
        Pictures(images, ("a", "b"), sizes, groups.astype(np.int32))


def test_npz(tmp_path):
    path = npz(
        tmp_path / "a.npz",
        image_names=np.array(["x", "y", "z"]),
        subject=np.array([7, 7, 3], np.int32),
        other=np.array([{}]),
    )
    pictures = read_pictures(path, 16)
    assert pictures.names == ("x", "y", "z")
    assert pictures.groups.tolist() == [7, 7, 3]
    assert pictures.groups.dtype == np.int64
    assert pictures.sizes.tolist() == [[24, 20], [24, 21], [24, 22]]
    for i in range(3):  # the same pictures as files
        (tmp_path / f"{i}.jpg").write_bytes(encoded(noise(24, 20 + i, i)))
    np.testing.assert_array_equal(read_pictures(tmp_path, 16).images, pictures.images)
    plain = read_pictures(npz(tmp_path / "b.NPZ.npz"), 16, limit=2)
    assert plain.names == ("0", "1")
    assert plain.groups is None
    assert read_pictures(path, 16, limit=2).groups.tolist() == [7, 7]


LENGTHS = [0, *np.cumsum([len(encoded(noise(24, 20 + i, i))) for i in range(3)]).tolist()]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"jpeg": None}, "jpeg", "must be there"),
        ({"offset": None}, "offset", "must be there"),
        ({"jpeg": np.zeros(9)}, "jpeg", r"\[bytes\] uint8, got \[9\] float64"),
        ({"jpeg": np.zeros((3, 3), np.uint8)}, "jpeg", r"got \[3, 3\]"),
        ({"jpeg": np.array([{}])}, "jpeg", "Python objects"),
        (
            {"offset": np.array([1, *LENGTHS[1:]])},
            "offset",
            f"from 0 to the {LENGTHS[-1]} bytes of jpeg, got 1 to",
        ),
        ({"offset": np.array(LENGTHS[:-1])}, "offset", f"got 0 to {LENGTHS[-2]}"),
        ({"offset": np.array([*LENGTHS[:-1], 1 << 62])}, "offset", "got 0 to 4611686018427387904"),
        (
            {"offset": np.array([0, LENGTHS[2], LENGTHS[1], LENGTHS[3]])},
            "offset",
            "record 1: offset: must rise",
        ),
        ({"offset": np.array([0, LENGTHS[1], LENGTHS[1], LENGTHS[3]], np.uint64)}, "offset", "must rise"),
        ({"offset": np.array(LENGTHS, float)}, "offset", "integers, got"),
        ({"offset": np.array([LENGTHS])}, "offset", "integers, got"),
        ({"offset": np.zeros(0, int)}, "offset", "integers, got"),
        (
            {"offset": np.zeros(1, int), "jpeg": np.zeros(0, np.uint8)},
            "offset",
            "expected pictures, got none",
        ),
        (
            {"offset": np.array([0, LENGTHS[1] - 99, LENGTHS[3]])},
            "jpeg",
            "record 0: jpeg: must be a whole picture",
        ),
        (
            {"offset": np.array([0, LENGTHS[1], LENGTHS[2] - 99, LENGTHS[3]])},
            "jpeg",
            "record 1: jpeg: must be a wh",
        ),
        ({"image_names": np.array(["a"])}, "image_names", "3 texts, got 1"),
        ({"image_names": np.arange(3)}, "image_names", "list of text"),
        ({"subject": np.arange(2)}, "subject", r"\[3\] integers"),
        ({"subject": np.zeros(3)}, "subject", "integers, got"),
    ],
)
def test_npz_that_is_not_as_it_must_be(tmp_path, change, field, message):
    path = npz(tmp_path / "bad.npz", **change)
    with pytest.raises(DataError, match=message) as caught:
        read_pictures(path, 16)
    assert caught.value.field == field
    assert caught.value.path == path


def test_only_jpeg_is_read_from_npz(tmp_path):
    data = np.frombuffer(encoded(noise(20, 20), "PNG"), np.uint8)
    path = npz(tmp_path / "a.npz", jpeg=data, offset=np.array([0, len(data)]))
    with pytest.raises(DataError, match=r"record 0: jpeg: must be a whole picture, JPEG$"):
        read_pictures(path, 16)


def _png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "whole picture"),
        (b"no picture at all", "whole picture, JPEG or PNG or WEBP or BMP$"),
        (b"GIF89a" + bytes(99), "whole picture"),
        (encoded(noise(20, 20), "GIF"), "whole picture"),
        (encoded(noise(20, 20), "TIFF"), "whole picture"),
        (_png(8001, 8000), "at most 64 megapixels, got 8001 x 8000"),
        (_png(10_000, 10_000), "at most 64 megapixels"),
        (_png(1 << 30, 1 << 30), "64 megapixels|whole picture"),
        (_png(8000, 8000), "whole picture"),  # allowed, but nothing in it
        (_png(0, 5), "have an extent|whole picture"),
        (_png(17, 1), "less than a pixel wide in a square of 16, got 17 x 1"),
    ],
)
def test_what_is_no_picture(tmp_path, content, message):
    put(tmp_path, "a.png")
    path = tmp_path / "b.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_pictures(tmp_path, 16)
    assert caught.value.path == path
    assert len(read_pictures(tmp_path, 16, limit=1)) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_cut_off(tmp_path, kind, share):
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)), kind)
    (tmp_path / "a.png").write_bytes(whole)
    read_pictures(tmp_path, 16)
    (tmp_path / "a.png").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"a\.png: must be a whole picture"):
        read_pictures(tmp_path, 16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_damage_is_an_error_of_ours_or_a_picture(tmp_path, kind):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {} if kind == "BMP" else {"exif": exif}
    whole = encoded(noise(20, 20), kind, **options)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 200), 3):
            content[place] = rng.integers(0, 256)
        (tmp_path / "a.png").write_bytes(content)
        try:
            assert read_pictures(tmp_path, 16).images.shape == (1, 3, 16, 16)
        except DataError:
            refused += 1
    assert refused > 10


def test_wrong_arguments(tmp_path):
    put(tmp_path, "a.png")
    for size in (15, 1025, 0, -1, True, 16.5, "64"):
        with pytest.raises(UsageError, match="size_px must be"):
            read_pictures(tmp_path, size)
    assert read_pictures(tmp_path, 1024).size_px == 1024
    for limit in (0, -1, 1.5):
        with pytest.raises(UsageError, match="limit must be"):
            read_pictures(tmp_path, 16, limit=limit)
    for path in (tmp_path / "none", tmp_path / "none.npz", tmp_path / "a.png"):
        with pytest.raises(UsageError, match=r"path must be a folder of pictures or a \.npz file, got"):
            read_pictures(path, 16)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"end in \.jpg, \.jpeg, \.png, \.webp, \.bmp, got none"):
        read_pictures(tmp_path / "empty", 16)
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="npz"):
        read_pictures(tmp_path / "a.npz", 16)


def test_missing_pillow_names_the_extra(tmp_path, monkeypatch):
    put(tmp_path, "a.png")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UsageError, match=r"pip install 'flexpose-pda\[match\]'"):
        read_pictures(tmp_path, 16)


def test_real_pictures(real_data):
    path = real_data / "ibug300w_afw_helen_images.npz"
    pictures = read_pictures(path, 32)
    assert pictures.images.shape == (1537, 3, 32, 32)
    assert (pictures.sizes == 128).all()
    assert pictures.groups is None
    with np.load(path) as file:
        assert pictures.names == tuple(file["image_names"].tolist())
        normalized = pictures.normalize(file["keypoints"])
    assert 0.95 < (np.abs(normalized) < 1).mean() <= 1
    spread = pictures.images.astype(np.float64).std((1, 2, 3))
    assert np.median(spread) > 30, "pictures, not bars"

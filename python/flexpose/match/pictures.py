"""Pictures for picture-pose matching: read from a folder or a npz file, and made square."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from flexpose._arguments import integer
from flexpose.errors import DataError, FlexposeError, ResourceError, UsageError
from flexpose.poses import Frames
from flexpose.poses.formats.npz_arrays import read_arrays, read_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike
    from typing import BinaryIO

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Pictures", "read_pictures"]

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # no other of Pillow's decoders sees a stranger's file
_LEAST_PX, _MOST_PX = 16, 1024
_MAX_PIXELS = 64_000_000


@dataclass(frozen=True, eq=False)
class Pictures:
    """N pictures of one square size.

    A picture that was not square has black bars on two sides: its longer side fills the square, and it is centred.

    Attributes:
        images: [N, 3, S, S] uint8, RGB.
        names: N texts, for messages.
        sizes: [N, 2] int32, width and height in pixels as they were.
        groups: [N] int64, the same number for pictures of one person or one video; None where that is not known.

    Raises:
        UsageError: an attribute has the wrong type or shape.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    sizes: NDArray[np.int32]
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise UsageError(f"images must be [N, 3, S, S] uint8, got {list(shape)} {self.images.dtype}")
        n = len(self.images)
        if len(self.names) != n:
            raise UsageError(f"names must be {n} texts, got {len(self.names)}")
        for name, array, expected, dtype in (
            ("sizes", self.sizes, (n, 2), np.int32),
            ("groups", self.groups, (n,), np.int64),
        ):
            if array is not None and (array.shape != expected or array.dtype != dtype):
                raise UsageError(
                    f"{name} must be {list(expected)} {dtype.__name__}, got {list(array.shape)} {array.dtype}"
                )

    @property
    def size_px(self) -> int:
        """Side S of the pictures."""
        return int(self.images.shape[2])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Pictures:
        """The pictures of a slice, of an array of indices or of a mask [N].

        Raises:
            UsageError: `rows` is something else.
            IndexError: there is no such picture.
        """
        if not isinstance(rows, slice):
            index = np.asarray(rows)
            if index.ndim != 1 or (index.size and index.dtype.kind not in "biu"):
                raise UsageError(
                    f"rows must be a slice, indices [M] or a mask [{len(self)}], got {list(index.shape)} {index.dtype}"
                )
            rows = index if index.size else index.astype(np.intp)
        kept = np.arange(len(self))[rows]
        return Pictures(
            self.images[rows],
            tuple(self.names[i] for i in kept),
            self.sizes[rows],
            None if self.groups is None else self.groups[rows],
        )

    @property
    def content_hash(self) -> str:
        """sha256 over pictures and groups; the same on every platform."""
        digest = hashlib.sha256(f"pictures/1 {list(self.images.shape)} {self.groups is not None};".encode())
        digest.update(np.ascontiguousarray(self.images).reshape(-1).data)
        if self.groups is not None:
            digest.update(self.groups.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def frames(self) -> Frames:
        """The square of each picture, in pixels of the picture as it was."""
        size = self.sizes.astype(np.float64)
        return Frames(size / 2, size.max(axis=1, initial=0) / 2, "keep", 0.0)

    def normalize(self, keypoints: ArrayLike) -> NDArray[np.float64]:
        """Pixels of the pictures as they were -> coordinates in their squares.

        Args:
            keypoints: [N, K, 2] pixels; (0, 0) is the corner of the picture, pixel centres lie at +0.5.

        Returns:
            [N, K, 2] float64, (keypoints - size / 2) / (max(size) / 2); -1 and 1 are the edges of the square.

        Raises:
            UsageError: wrong shape.
        """
        return self.frames.normalize(keypoints)

    def denormalize(self, normalized: ArrayLike) -> NDArray[np.float64]:
        """Coordinates in the squares -> pixels of the pictures as they were.

        Args:
            normalized: [N, K, 2]; -1 and 1 are the edges of the square.

        Returns:
            [N, K, 2] float64 pixels; float32 pixels that went through `normalize` come back as they were.

        Raises:
            UsageError: wrong shape.
        """
        return self.frames.denormalize(normalized)


class _Source(NamedTuple):
    """Where the pictures are."""

    names: list[str]
    groups: NDArray[np.int64] | None
    formats: tuple[str, ...]
    open: Callable[[int], BinaryIO]
    where: Callable[[int], Mapping[str, Any]]  # a DataError's path, record and field


def read_pictures(path: str | PathLike[str], size_px: int, *, limit: int | None = None) -> Pictures:
    """Read pictures from a folder or a npz file, and scale each to fill a square.

    Pictures are turned as their EXIF data say. Palettes, grey, CMYK and 16 bits a channel become RGB of 8 bits, and
    what is transparent lies on black. Of several frames the first is taken.

    Args:
        path: a folder, or a file that ends in .npz. Of a folder: all files in it and below it that end in .jpg, .jpeg,
            .png, .webp or .bmp in any case, by their path from there; hidden ones are left out, as are links to
            folders and links that lead out of it. If each lies in a subfolder, and not all in the same one, those that
            lie in the same are a group. Of a file: `jpeg` [bytes] uint8 and `offset` [N + 1] int64, picture i being
            jpeg[offset[i]:offset[i + 1]]; it may have `image_names` [N] and `subject` [N], integers, which are groups.
        size_px: side S of the squares, 16 to 1024.
        limit: read the first pictures only, as many as this; None reads all.

    Returns:
        N pictures, at least one. Their names are paths from the folder on, with forward slashes, or `image_names`, or
        their numbers.

    Raises:
        UsageError: an argument is out of range, `path` is neither, or Pillow is not installed.
        DataError: there are no pictures; one is broken, cut off, of another format, above 64 megapixels, or more than S
            times as long as wide; or the npz does not hold what it must.
        ResourceError: a file cannot be read, or there is no memory for the pictures.
    """
    size = integer("size_px", size_px, _MOST_PX)
    if size < _LEAST_PX:
        raise UsageError(f"size_px must be in [{_LEAST_PX}, {_MOST_PX}], got {size}")
    most = None if limit is None else integer("limit", limit)
    _require_pillow()
    place = Path(path)
    if place.is_dir():
        source = _folder_source(place)
    elif place.is_file() and place.suffix.lower() == ".npz":
        source = _npz_source(place)
    else:
        got = "which is another file" if place.exists() else "where there is nothing"
        raise UsageError(f"path must be a folder of pictures or a .npz file, got {str(place)!r}, {got}")
    names = source.names[:most]
    try:
        images = np.empty((len(names), 3, size, size), np.uint8)
    except MemoryError as err:
        raise ResourceError(
            f"{place}: no memory for {len(names)} pictures of {size} px: read fewer of them, or smaller"
        ) from err
    sizes = np.empty((len(names), 2), np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is refused or does no harm here
        for i in range(len(names)):
            with source.open(i) as stream:
                images[i], sizes[i] = _read(stream, source.formats, size, source.where(i))
    return Pictures(
        images, tuple(names), sizes, None if source.groups is None else source.groups[: len(names)]
    )


def _require_pillow() -> None:
    try:
        import PIL.Image
        import PIL.ImageOps  # noqa: F401
    except ImportError as err:
        raise UsageError("reading pictures needs Pillow: pip install 'flexpose-pda[match]'") from err


def _folder_source(folder: Path) -> _Source:
    files = _picture_files(folder)
    if not files:
        raise DataError(f"expected pictures that end in {', '.join(_ENDINGS)}, got none", path=folder)
    names = sorted(files)

    def stream(i: int) -> BinaryIO:
        path = files[names[i]]
        try:
            return path.open("rb")
        except OSError as err:
            raise ResourceError(f"{path}: could not be read: {err.strerror or err}") from err

    return _Source(names, _subfolders(names), _FORMATS, stream, lambda i: {"path": files[names[i]]})


def _picture_files(folder: Path) -> dict[str, Path]:
    """Pictures by their path from the folder on, with forward slashes."""

    def fail(err: OSError) -> NoReturn:
        raise ResourceError(f"{err.filename}: could not be read: {err.strerror or err}") from err

    found = {}
    inside = folder.resolve()
    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in _ENDINGS:
                continue
            # No pipe or device: opening one may wait for ever.
            if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(inside)):
                found[path.relative_to(folder).as_posix()] = path
    return found


def _subfolders(names: list[str]) -> NDArray[np.int64] | None:
    """Number the folders that pictures lie in; None if one lies in no subfolder, or all lie in the same."""
    parents = [name.rpartition("/")[0] for name in names]
    numbers = {parent: number for number, parent in enumerate(dict.fromkeys(parents))}
    if "" in numbers or len(numbers) == 1:
        return None
    return np.array([numbers[parent] for parent in parents], np.int64)


def _npz_source(path: Path) -> _Source:
    arrays = read_arrays(path, ("jpeg", "offset", "image_names", "subject"))
    for field in ("jpeg", "offset"):
        if field not in arrays:
            raise DataError(
                "must be there: pictures are jpeg[offset[i]:offset[i + 1]]", path=path, field=field
            )
    jpeg, offset = arrays["jpeg"], arrays["offset"]
    if jpeg.ndim != 1 or jpeg.dtype != np.uint8:
        raise DataError(
            f"must be [bytes] uint8, got {list(jpeg.shape)} {jpeg.dtype}", path=path, field="jpeg"
        )
    _check_offset(path, offset, len(jpeg))
    n = len(offset) - 1
    names = [str(i) for i in range(n)]
    if "image_names" in arrays:
        names = read_texts(path, "image_names", arrays["image_names"])
        if len(names) != n:
            raise DataError(f"must be {n} texts, got {len(names)}", path=path, field="image_names")
    groups = arrays.get("subject")
    if groups is not None and (groups.shape != (n,) or groups.dtype.kind not in "iu"):
        raise DataError(
            f"must be [{n}] integers, got {list(groups.shape)} {groups.dtype}", path=path, field="subject"
        )
    return _Source(
        names,
        None if groups is None else groups.astype(np.int64),
        ("JPEG",),
        lambda i: io.BytesIO(jpeg[offset[i] : offset[i + 1]].tobytes()),
        lambda i: {"path": path, "record": i, "field": "jpeg"},
    )


def _check_offset(path: Path, offset: NDArray[Any], end: int) -> None:
    if offset.ndim != 1 or offset.dtype.kind not in "iu" or len(offset) == 0:
        raise DataError(
            f"must be [N + 1] integers, got {list(offset.shape)} {offset.dtype}", path=path, field="offset"
        )
    if len(offset) == 1:
        raise DataError("expected pictures, got none", path=path, field="offset")
    if offset[0] != 0 or offset[-1] != end:
        raise DataError(
            f"must go from 0 to the {end} bytes of jpeg, got {offset[0]} to {offset[-1]}",
            path=path,
            field="offset",
        )
    falling = offset[1:] <= offset[:-1]
    if falling.any():
        i = int(falling.argmax())
        raise DataError(
            f"must rise, got {offset[i + 1]} after {offset[i]}", path=path, record=i, field="offset"
        )


def _read(
    stream: BinaryIO, formats: tuple[str, ...], size: int, where: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """A picture [3, S, S], and width and height that it had."""
    from PIL import Image, ImageOps

    try:
        with Image.open(stream, formats=formats) as image:
            _check_extent(image.width, image.height, size, where)
            upright = _rgb(ImageOps.exif_transpose(image))
        square = np.asarray(_square(upright, size)).transpose(2, 0, 1)
    except FlexposeError:
        raise
    except MemoryError as err:
        raise ResourceError(f"{where['path']}: no memory to decode a picture") from err
    except Exception as err:  # Pillow's readers end with whatever error broken bytes lead to
        if isinstance(err, OSError) and err.errno is not None:
            raise ResourceError(f"{where['path']}: could not be read: {err.strerror}") from err
        reason = "" if isinstance(err, Image.UnidentifiedImageError) else f": {err}"
        raise DataError(f"must be a whole picture, {' or '.join(formats)}{reason}", **where) from err
    return square, upright.size


def _check_extent(width: int, height: int, size: int, where: Mapping[str, Any]) -> None:
    """Refuse, before a pixel is decoded, what cannot be drawn in a square or would fill the memory."""
    if min(width, height) < 1:
        raise DataError(f"must have an extent, got {width} x {height} pixels", **where)
    if width * height > _MAX_PIXELS:
        raise DataError(
            f"must have at most {_MAX_PIXELS // 10**6} megapixels, got {width} x {height} pixels", **where
        )
    if max(width, height) > size * min(width, height):
        raise DataError(
            f"would be less than a pixel wide in a square of {size}, got {width} x {height} pixels", **where
        )


def _rgb(image: Any) -> Any:
    """A Pillow picture of any mode as RGB, what is transparent on black."""
    from PIL import Image

    if image.mode.startswith("I"):  # Pillow would cut grey of 16 bits off at 255
        deep = np.asarray(image).astype(np.int64)
        deep[deep == image.info.get("transparency", -1)] = 0
        grey = np.clip(deep >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def _square(image: Any, size: int) -> Any:
    """Scale so that the longer side fills the square, centred on black, to a fraction of a pixel.

    Pillow's bilinear filter spans all pixels that a smaller one covers, so nothing aliases; unlike Lanczos' it has no
    negative weights, which would draw bright lines along the black bars.
    """
    from PIL import Image

    if image.height > image.width:
        return _square(image.transpose(Image.Transpose.TRANSPOSE), size).transpose(Image.Transpose.TRANSPOSE)
    width, height = image.size
    bar = (width - height + 1) // 2
    high = Image.new("RGB", (size, height + 2 * bar))
    high.paste(image.resize((size, height), Image.Resampling.BILINEAR), (0, bar))
    over = (high.height - width) / 2
    return high.resize((size, size), Image.Resampling.BILINEAR, box=(0, over, size, high.height - over))

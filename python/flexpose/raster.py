"""alpha: poses to skeleton images, and the small change around them (coordinates, PNG, grids).

NumPy in, NumPy out; the drawing is done by the native module, without the interpreter lock.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from . import _rust
from ._arguments import (
    MAX_SIZE_PX,
    any_array,
    checked_out,
    float_array,
    integer,
    new_images,
    points_array,
    real,
    side,
    thread_count,
    visibility_array,
)
from .errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .skeleton import Skeleton

__all__ = [
    "encode_png",
    "encode_pngs",
    "image_grid",
    "normalized_from_pixels",
    "pixels_from_normalized",
    "rasterize",
]

Layout = Literal["nhwc", "nchw"]
Style = Literal["flexpose", "gray", "per-bone"]
DType = Literal["uint8", "float32", "bfloat16"]

_NUMPY_DTYPES: dict[str, Any] = {"uint8": np.uint8, "float32": np.float32, "bfloat16": np.uint16}


@overload
def rasterize(
    keypoints: ArrayLike,
    visibility: ArrayLike | None,
    skeleton: Skeleton,
    *,
    size_px: int,
    line_width_px: float = 2.0,
    joint_radius_px: float = 2.0,
    layout: Layout = "nhwc",
    style: Style = "flexpose",
    dtype: Literal["uint8"] = "uint8",
    out: NDArray[np.uint8] | None = None,
    workers: int | None = None,
) -> NDArray[np.uint8]: ...
@overload
def rasterize(
    keypoints: ArrayLike,
    visibility: ArrayLike | None,
    skeleton: Skeleton,
    *,
    size_px: int,
    line_width_px: float = 2.0,
    joint_radius_px: float = 2.0,
    layout: Layout = "nhwc",
    style: Style = "flexpose",
    dtype: Literal["float32"],
    out: NDArray[np.float32] | None = None,
    workers: int | None = None,
) -> NDArray[np.float32]: ...
@overload
def rasterize(
    keypoints: ArrayLike,
    visibility: ArrayLike | None,
    skeleton: Skeleton,
    *,
    size_px: int,
    line_width_px: float = 2.0,
    joint_radius_px: float = 2.0,
    layout: Layout = "nhwc",
    style: Style = "flexpose",
    dtype: Literal["bfloat16"],
    out: NDArray[np.uint16] | None = None,
    workers: int | None = None,
) -> NDArray[np.uint16]: ...
def rasterize(
    keypoints: ArrayLike,
    visibility: ArrayLike | None,
    skeleton: Skeleton,
    *,
    size_px: int,
    line_width_px: float = 2.0,
    joint_radius_px: float = 2.0,
    layout: Layout = "nhwc",
    style: Style = "flexpose",
    dtype: DType = "uint8",
    out: NDArray[Any] | None = None,
    workers: int | None = None,
) -> NDArray[Any]:
    """Draw each pose as a coloured skeleton on black.

    Bones come first, in the skeleton's order, then the discs of the joints in theirs; what is drawn later
    covers what was drawn before. A primitive covers a pixel by clamp(0.5 + radius - distance, 0, 1), with the
    distance of the pixel's centre to the segment or the joint, and a channel c of it becomes
    floor(c + (colour - c) * coverage + 0.5). No channel is more than 2 away from this definition, few are 1 away,
    and the bytes do not depend on the number of workers or the CPU.

    Args:
        keypoints: [N, K, 2] float, pixels of the image that is drawn; (0, 0) is the image corner and pixel
            centres lie at +0.5. Points off the image are legal, however far. Converted to float32.
        visibility: [N, K] bool or uint8, 0 for a joint that is not drawn; None draws all. A bone needs both
            ends visible. The coordinates of invisible joints are not looked at.
        skeleton: bones and colours; must have K keypoints.
        size_px: image side S, 1 to 8192.
        line_width_px: full width of the bones, above 0, at most 1024.
        joint_radius_px: radius of the discs, at most 1024; 0 draws none.
        layout: ``nhwc`` for [N, S, S, C], ``nchw`` for [N, C, S, S].
        style: ``flexpose`` draws in the skeleton's colours, C = 3; ``gray`` draws the same in their luma (Rec. 601,
            (299 R + 587 G + 114 B) / 1000, rounded), C = 1; ``per-bone`` draws each bone alone in a channel of its
            own, in white with round ends and without discs, C = number of bones.
        dtype: ``uint8`` for bytes; ``float32`` for byte / 127.5 - 1, in [-1, 1]; ``bfloat16`` for these rounded to
            the nearest bfloat16, as uint16 with their bits, because NumPy has no such type:
            ``torch.from_numpy(images).view(torch.bfloat16)`` reads them without a copy.
        out: C-contiguous array of the result's shape and dtype to draw into; what it held is lost.
        workers: number of threads, 1 to 1024; None takes as many as the process may use.

    Returns:
        Images in ``layout``; ``out`` itself if it was given.

    Raises:
        UsageError: an argument has the wrong type, shape or range.
        DataError: a visible joint is NaN or infinite in float32; ``record`` is the index of its pose.
        ResourceError: there is no memory for the images, or the system starts no threads.

    Source: pictures of poses as in FlexPose, arXiv:2412.13463, which leaves the pen open; the coverage is the
    usual approximation of a box filter by the distance to the edge. Twin: tests/reference/raster.py.
    """
    num_keypoints = skeleton.num_keypoints
    points = float_array("keypoints", keypoints)
    if points.ndim != 3 or points.shape[1:] != (num_keypoints, 2):
        raise UsageError(f"keypoints must be [N, {num_keypoints}, 2], got {list(points.shape)}")
    size = integer("size_px", size_px, MAX_SIZE_PX)
    if layout not in ("nhwc", "nchw"):
        raise UsageError(f"layout must be 'nhwc' or 'nchw', got {layout!r}")
    if style not in ("flexpose", "gray", "per-bone"):
        raise UsageError(f"style must be 'flexpose', 'gray' or 'per-bone', got {style!r}")
    if not (isinstance(dtype, str) and dtype in _NUMPY_DTYPES):
        raise UsageError(f"dtype must be 'uint8', 'float32' or 'bfloat16', got {dtype!r}")
    number = np.dtype(_NUMPY_DTYPES[dtype])
    channels = {"flexpose": 3, "gray": 1, "per-bone": len(skeleton.bones)}[style]
    image = (channels, size, size) if layout == "nchw" else (size, size, channels)
    shape = (len(points), *image)
    images = new_images(shape, number) if out is None else checked_out(out, shape, number)
    _rust.rasterize(
        points,
        None if visibility is None else visibility_array(visibility, points.shape[:2]),
        _bones(tuple(skeleton.bones)),
        np.ascontiguousarray(skeleton.bone_colors),
        np.ascontiguousarray(skeleton.joint_colors),
        images,
        line_width_px=real("line_width_px", line_width_px),
        joint_radius_px=real("joint_radius_px", joint_radius_px),
        planar=layout == "nchw",
        style=style,
        workers=thread_count(workers),
    )
    return images


def pixels_from_normalized(normalized: ArrayLike, size_px: float) -> NDArray[np.float32]:
    """Map coordinates in [-1, 1] to pixels of an image of side ``size_px``: (x + 1) / 2 * size_px.

    Args:
        normalized: [..., 2]; -1 is the left or upper edge of the image, 1 the right or lower.
        size_px: image side, > 0.

    Returns:
        float32 pixels of the same shape; computed in float64.

    Raises:
        UsageError: the last axis is not 2, or ``size_px`` is not positive.
    """
    return ((points_array("normalized", normalized) + 1.0) / 2.0 * side(size_px)).astype(np.float32)


def normalized_from_pixels(keypoints: ArrayLike, size_px: float) -> NDArray[np.float64]:
    """Map pixels of an image of side ``size_px`` to [-1, 1]; inverse of ``pixels_from_normalized``.

    Args:
        keypoints: [..., 2] pixels.
        size_px: image side, > 0.

    Returns:
        float64 coordinates of the same shape.

    Raises:
        UsageError: the last axis is not 2, or ``size_px`` is not positive.
    """
    return points_array("keypoints", keypoints) / side(size_px) * 2.0 - 1.0


def encode_png(image: ArrayLike) -> bytes:
    """Encode one image as a PNG file, fast rather than as small as can be.

    Args:
        image: [H, W, 3] or [H, W] (grey) uint8.

    Returns:
        The bytes of the file.

    Raises:
        UsageError: wrong shape or dtype, or no pixels.
    """
    pixels = any_array("image", image)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise UsageError(f"image must be [H, W, 3] or [H, W] uint8, got {list(pixels.shape)} {pixels.dtype}")
    return encode_pngs(pixels[None], workers=1)[0]


def encode_pngs(images: ArrayLike, *, workers: int | None = None) -> list[bytes]:
    """Encode images as PNG files on several threads; the bytes are those of ``encode_png`` for each.

    Args:
        images: [N, H, W, 3] or [N, H, W] (grey) uint8.
        workers: number of threads, 1 to 1024; None takes as many as the process may use.

    Returns:
        The bytes of each file.

    Raises:
        UsageError: wrong shape or dtype, or images without pixels.
        ResourceError: the system starts no threads.
    """
    pixels = any_array("images", images)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)):
        raise UsageError(
            f"images must be [N, H, W, 3] or [N, H, W] uint8, got {list(pixels.shape)} {pixels.dtype}"
        )
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return _rust.encode_png(np.ascontiguousarray(pixels), workers=thread_count(workers))


def image_grid(images: ArrayLike, columns: int) -> NDArray[np.uint8]:
    """Lay images out row by row, with black gaps of one pixel between them.

    Args:
        images: [N, H, W, 3] uint8, N >= 1.
        columns: images a row, >= 1; the last row is filled up with black.

    Returns:
        [rows * (H + 1) - 1, columns * (W + 1) - 1, 3] uint8.

    Raises:
        UsageError: wrong shape or dtype, or ``columns`` < 1.
    """
    tiles = any_array("images", images)
    if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[3] != 3 or 0 in tiles.shape:
        raise UsageError(f"images must be [N, H, W, 3] uint8, got {list(tiles.shape)} {tiles.dtype}")
    number, height, width, channels = tiles.shape
    columns = integer("columns", columns)
    rows = -(-number // columns)
    grid = np.zeros((rows * columns, height + 1, width + 1, channels), dtype=np.uint8)
    grid[:number, :height, :width] = tiles
    grid = grid.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1])


@lru_cache(maxsize=64)
def _bones(bones: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """[B, 2]; made for each call, it would take a third of a small one."""
    return np.array(bones, dtype=np.int64).reshape(-1, 2)

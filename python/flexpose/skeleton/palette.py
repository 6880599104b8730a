"""Palettes of a skeleton: seeded colours, as far from each other in CIELAB as a greedy choice gets them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MIN_LIGHTNESS", "lab_from_rgb", "palette"]

MIN_LIGHTNESS = 45.0  # L* of the darkest colour; black, the background, has 0
_CANDIDATES = 4096
# Lab is computed in integers: libm's last bit differs between platforms, and one bit may turn a choice.
_LAB_SCALE = 1000  # Lab is kept in thousandths
_ROOT_SCALE = 1 << 14  # cube roots are kept with 14 bits behind the point
_XYZ_SCALE = _ROOT_SCALE**3
# sRGB to XYZ (D65), each row divided by the white point so that white is (1, 1, 1); millionths.
_XYZ_ROWS = (
    (433_953, 376_219, 189_828),
    (212_671, 715_160, 72_169),
    (17_758, 109_477, 872_765),
)
_LINEAR_SCALE = 1 << 20


def _linear_table() -> NDArray[np.int64]:
    """[256] the sRGB transfer curve (IEC 61966-2-1), in units of 2^-20."""
    value = np.arange(256) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    table: NDArray[np.int64] = np.rint(linear * _LINEAR_SCALE).astype(np.int64)
    return table


def _floor_cbrt(value: NDArray[np.int64]) -> NDArray[np.int64]:
    """The exact integer cube root, rounded down, of values below 2^60."""
    root = np.rint(np.cbrt(value.astype(np.float64))).astype(np.int64)
    root -= root**3 > value  # repairs what the floating cube root may be off by
    root += (root + 1) ** 3 <= value
    return root


def _lab_thousandths(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """CIELAB of sRGB colours, in thousandths; [..., 3] uint8 -> [..., 3] int64."""
    linear = _linear_table()[rgb]
    # Each XYZ is at most 2^20 * 10^6 < 2^40; divided by the white it is 1 at _XYZ_SCALE = 2^42.
    xyz = (linear @ np.array(_XYZ_ROWS, np.int64).T) * (_XYZ_SCALE // _LINEAR_SCALE) // 1_000_000
    # f(t) = cbrt(t) above (6/29)^3, else (29/6)^2 t / 3 + 4/29.
    straight = (xyz * 841 // 108 + _XYZ_SCALE * 4 // 29) // (_ROOT_SCALE * _ROOT_SCALE)
    f = np.where(xyz * 24389 > 216 * _XYZ_SCALE, _floor_cbrt(xyz), straight)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    lightness = 116 * y * _LAB_SCALE // _ROOT_SCALE - 16 * _LAB_SCALE
    a = 500 * (x - y) * _LAB_SCALE // _ROOT_SCALE
    b = 200 * (y - z) * _LAB_SCALE // _ROOT_SCALE
    return np.stack([lightness, a, b], axis=-1)


def lab_from_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Convert sRGB to CIELAB (D65), within half a unit in each coordinate and equal on every platform.

    Args:
        rgb: [..., 3] uint8.

    Returns:
        [..., 3] float64: L* in 0..100, a*, b*.

    Source: CIE 15:2018, section 8.2.1; sRGB after IEC 61966-2-1.
    """
    return _lab_thousandths(np.asarray(rgb, np.uint8)) / float(_LAB_SCALE)


@lru_cache(maxsize=64)
def _palette(count: int, seed: int) -> bytes:
    words = np.random.Philox(key=seed).random_raw(_CANDIDATES)
    rgb = np.stack([(words >> np.uint64(s)) & np.uint64(255) for s in (0, 8, 16)], axis=-1).astype(np.uint8)
    lab = _lab_thousandths(rgb)
    bright = lab[:, 0] >= int(MIN_LIGHTNESS * _LAB_SCALE)
    rgb, lab = rgb[bright], lab[bright]
    chosen = [0]
    nearest = ((lab - lab[0]) ** 2).sum(-1)
    while len(chosen) < count:
        farthest = int(nearest.argmax())  # the first of equals, hence no ambiguity
        chosen.append(farthest)
        nearest = np.minimum(nearest, ((lab - lab[farthest]) ** 2).sum(-1))
    return rgb[chosen].tobytes()


def palette(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Choose distinct colours that are visible on black.

    Of 4,096 seeded candidates with L* >= ``MIN_LIGHTNESS``, the first is taken, then always the one that is
    farthest (CIELAB, Euclidean) from all taken: a prefix of a longer palette is the shorter palette, and the
    minimum distance falls gently with the count: about 43 for 14 colours, 30 for 30, 15 for 131.
    The same on every platform.

    Args:
        count: number of colours, 0 to 2,048.
        seed: any integer >= 0, below 2^64.

    Returns:
        [count, 3] uint8 RGB, a fresh array.

    Raises:
        ValueError: count or seed is out of range.
    """
    if not 0 <= count <= 2048:
        raise ValueError(f"count must be 0 to 2048, got {count}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be in 0 to 2^64 - 1, got {seed}")
    colours = np.frombuffer(_palette(max(count, 1), seed), np.uint8).reshape(-1, 3)[:count]
    return colours.copy()

"""alpha as a dense distance field: every primitive looks at every pixel, in float64 or in fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

# Beyond this, float64 loses the place where a long segment crosses the image; fractions do not.
_LARGE = 1e4


def rasterize(
    keypoints,
    visibility,
    skeleton,
    *,
    size_px: int,
    line_width_px: float = 2.0,
    joint_radius_px: float = 2.0,
    chunk: int = 32,
) -> np.ndarray:
    """[N, S, S, 3] uint8; arguments as those of ``flexpose.raster.rasterize``."""
    points = np.asarray(keypoints, dtype=np.float32)
    seen = np.ones(points.shape[:2], dtype=bool) if visibility is None else np.asarray(visibility) > 0
    parts = [
        _draw(points[i : i + chunk], seen[i : i + chunk], skeleton, size_px, line_width_px, joint_radius_px)
        for i in range(0, len(points), chunk)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, size_px, size_px, 3), dtype=np.uint8)


def _draw(points, seen, skeleton, size_px, line_width_px, joint_radius_px):
    images = np.zeros((len(points), size_px, size_px, 3))
    primitives = [
        (a, b, line_width_px / 2.0, color)
        for (a, b), color in zip(skeleton.bones, skeleton.bone_colors, strict=True)
    ]
    if joint_radius_px > 0:
        primitives += [(k, k, joint_radius_px, color) for k, color in enumerate(skeleton.joint_colors)]
    for a, b, radius, color in primitives:
        drawn = np.flatnonzero(seen[:, a] & seen[:, b])
        distance = segment_distance(points[drawn, a], points[drawn, b], size_px)
        coverage = np.clip(0.5 + (radius - distance), 0.0, 1.0)[..., None]
        below = images[drawn]
        images[drawn] = np.floor(below + (color.astype(np.float64) - below) * coverage + 0.5)
    return images.astype(np.uint8)


def segment_distance(a: np.ndarray, b: np.ndarray, size_px: int) -> np.ndarray:
    """Distance [N, S, S] of every pixel's centre to the segments from ``a`` to ``b``, both [N, 2] float32."""
    large = (np.abs(a) > _LARGE).any(axis=1) | (np.abs(b) > _LARGE).any(axis=1)
    distance = np.empty((len(a), size_px, size_px))
    distance[~large] = _float_distance(a[~large].astype(np.float64), b[~large].astype(np.float64), size_px)
    for i in np.flatnonzero(large):
        distance[i] = _exact_distance(a[i], b[i], size_px)
    return distance


def _float_distance(a, b, size_px):
    centre = np.arange(size_px) + 0.5
    x, y = centre[None, None, :], centre[None, :, None]
    (ax, ay), (bx, by) = (v.T[:, :, None, None] for v in (a, b))
    dx, dy = bx - ax, by - ay
    squared_length = dx * dx + dy * dy
    safe = np.where(squared_length > 0, squared_length, 1.0)
    nearest = np.clip(((x - ax) * dx + (y - ay) * dy) / safe, 0.0, 1.0)
    return np.sqrt((x - (ax + nearest * dx)) ** 2 + (y - (ay + nearest * dy)) ** 2)


def _exact_distance(a, b, size_px):
    (ax, ay), (bx, by) = ([Fraction(float(v)) for v in point] for point in (a, b))
    dx, dy = bx - ax, by - ay
    squared_length = dx * dx + dy * dy
    distance = np.empty((size_px, size_px))
    for row in range(size_px):
        for column in range(size_px):
            x, y = Fraction(2 * column + 1, 2) - ax, Fraction(2 * row + 1, 2) - ay
            along = (x * dx + y * dy) / squared_length if squared_length else Fraction(0)
            along = min(max(along, Fraction(0)), Fraction(1))
            squared = (x - along * dx) ** 2 + (y - along * dy) ** 2
            distance[row, column] = float(min(squared, Fraction(10) ** 30)) ** 0.5
    return distance

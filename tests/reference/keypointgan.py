"""KeypointGAN's soft lines: every bone looks at every pixel, in float64."""

from __future__ import annotations

import numpy as np


def draw_keypointgan(keypoints, visibility, skeleton, *, size_px: int, sigma: float = 0.2) -> np.ndarray:
    """[N, S, S, 1] float64, 0 to 255, not rounded; arguments as those of ``flexpose.styles.draw_keypointgan``."""
    points = np.asarray(keypoints, np.float32).astype(np.float64) / size_px * 2 - 1
    seen = np.ones(points.shape[:2], bool) if visibility is None else np.asarray(visibility) > 0
    grid = np.linspace(-1, 1, size_px)
    pixels = np.stack(np.meshgrid(grid, grid), axis=-1)
    images = np.zeros((len(points), size_px, size_px, 1))
    for image, joints, there in zip(images, points, seen, strict=True):
        for a, b in skeleton.bones:
            if there[a] and there[b]:
                start, along = joints[a], joints[b] - joints[a]
                place = (pixels - start) @ along / max(along @ along, 1e-6)
                nearest = start + np.clip(place, 0, 1)[..., None] * along
                distance = np.sqrt(np.sum((pixels - nearest) ** 2, axis=-1) + 1e-6)
                image[..., 0] = np.maximum(image[..., 0], 255 * np.exp(-distance / sigma**2))
    return images

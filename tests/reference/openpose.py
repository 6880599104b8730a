"""ControlNet's pose pictures, by OpenCV, with any width."""

from __future__ import annotations

import math

import cv2
import numpy as np


def radius_px(size_px: int, preset: str) -> int:
    """Half the width of limbs and the radius of discs."""
    if preset == "sd15":
        return max(1, math.floor(4 * size_px / 512 + 0.5))
    steps = [(500, 1), (1000, 2), (2000, 3), (3000, 4), (4000, 5), (5000, 6), (math.inf, 7)]
    return 4 * next(ratio for side, ratio in steps if size_px < side)


def draw_openpose(keypoints, visibility, skeleton, *, size_px: int, radius: int) -> np.ndarray:
    """[N, S, S, 3] uint8; ``skeleton`` is openpose18."""
    points = np.asarray(keypoints, np.float32).astype(np.float64)
    seen = np.ones(points.shape[:2], bool) if visibility is None else np.asarray(visibility) > 0
    images = np.zeros((len(points), size_px, size_px, 3), np.uint8)
    for image, joints, there in zip(images, points, seen, strict=True):
        for (a, b), color in zip(skeleton.bones, skeleton.bone_colors.tolist(), strict=True):
            if there[a] and there[b]:
                (dx, dy), middle = joints[a] - joints[b], (joints[a] + joints[b]) / 2
                turn = int(math.degrees(math.atan2(dy, dx)))
                axes = int(math.hypot(dx, dy) / 2), radius
                outline = cv2.ellipse2Poly((int(middle[0]), int(middle[1])), axes, turn, 0, 360, 1)
                cv2.fillConvexPoly(image, outline, [int(value * 0.6) for value in color])
        for joint, color in enumerate(skeleton.joint_colors.tolist()):
            if there[joint]:
                cv2.circle(image, [int(value) for value in joints[joint]], radius, color, thickness=-1)
    return images

"""What an installed controlnet-aux draws; run as a script, it writes the pictures in tests/data/styles anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

DATA = Path(__file__).parents[1] / "data" / "styles"


class Keypoint(NamedTuple):
    """A joint as the drawing function takes it, 0 to 1."""

    x: float
    y: float


def load_drawing():
    """Its drawing module alone, without the detectors and what they import; None if it is not installed."""
    spec = importlib.util.find_spec("controlnet_aux")
    if spec is None or spec.origin is None:
        return None
    package, body = ModuleType("cna_drawing"), ModuleType("cna_drawing.body")
    package.__path__ = []
    body.BodyResult, body.Keypoint = None, Keypoint
    sys.modules |= {"cna_drawing": package, "cna_drawing.body": body}
    file = Path(spec.origin).parent / "open_pose" / "util.py"
    drawing_spec = importlib.util.spec_from_file_location("cna_drawing.util", file)
    drawing = importlib.util.module_from_spec(drawing_spec)
    drawing_spec.loader.exec_module(drawing)
    return drawing


def draw(drawing, keypoints, visibility, size_px: int) -> np.ndarray:
    """[N, S, S, 3] uint8."""
    images = np.zeros((len(keypoints), size_px, size_px, 3), np.uint8)
    for image, joints, there in zip(images, np.asarray(keypoints, np.float64), visibility, strict=True):
        points = [
            Keypoint(*(joint / size_px)) if seen else None for joint, seen in zip(joints, there, strict=True)
        ]
        image[:] = drawing.draw_bodypose(image.copy(), points)
    return images


def _main() -> None:
    from PIL import Image

    from flexpose.poses import synth_poses
    from flexpose.poses.framing import frame_poses
    from flexpose.raster import pixels_from_normalized
    from flexpose.styles import openpose_poses

    poses = openpose_poses(synth_poses(3, seed=5))
    keypoints = pixels_from_normalized(frame_poses(poses).normalize(poses.keypoints), 512)
    face = np.array([[-9, -8], [9, -8], [-22, -3], [22, -3]], np.float32)
    keypoints[:, 14:] = keypoints[:, :1] + face
    visibility = np.ones((3, 18), np.uint8)
    visibility[1, [0, 4, 15]] = 0
    keypoints[2] = keypoints[2] * 1.5 - 100  # partly off the picture
    np.savez(DATA / "poses.npz", keypoints=keypoints, visibility=visibility)
    for number, image in enumerate(draw(load_drawing(), keypoints, visibility, 512)):
        Image.fromarray(image).save(DATA / f"openpose{number}.png", optimize=True)


if __name__ == "__main__":
    _main()

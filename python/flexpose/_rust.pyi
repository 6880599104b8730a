"""The native module: private, wrapped by the public modules, which check dtypes and shapes first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["__version__", "encode_png", "rasterize", "read_coco", "write_coco"]

__version__: str

def rasterize(
    keypoints: NDArray[np.float32],
    visibility: NDArray[np.uint8] | None,
    bones: NDArray[np.int64],
    bone_colors: NDArray[np.uint8],
    joint_colors: NDArray[np.uint8],
    out: NDArray[np.uint8],
    *,
    line_width_px: float,
    joint_radius_px: float,
    planar: bool,
    workers: int | None,
) -> None: ...
def read_coco(path: str, label_field: str | None = None) -> dict[str, Any]: ...
def write_coco(
    path: str,
    keypoints: NDArray[np.float32],
    visibility: NDArray[np.uint8],
    image_size: NDArray[np.int32],
    ids: NDArray[np.int64],
    labels: list[str] | None,
    *,
    names: list[str],
    bones: list[tuple[int, int]],
    category: str,
    description: str,
) -> None: ...
def encode_png(
    images: NDArray[np.uint8], *, workers: int | None, text: tuple[str, str] | None = None
) -> list[bytes]: ...

"""The native module: private, wrapped by the public modules, which check dtypes and shapes first."""

import numpy as np
from numpy.typing import NDArray

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

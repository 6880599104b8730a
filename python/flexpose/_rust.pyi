"""The native module: private, wrapped by the public modules, which check dtypes and shapes first."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "__version__",
    "convolution_levels",
    "convolve",
    "draw_keypointgan",
    "draw_openpose",
    "encode_png",
    "estimate_shards",
    "filter",
    "finish_shards",
    "hash_file",
    "hash_poses",
    "levels",
    "list_tar",
    "mend_shards",
    "merge_shards",
    "plan_text",
    "publish_plan",
    "rasterize",
    "read_coco",
    "read_dataset",
    "read_keypoint_shard",
    "verify_shards",
    "weight_gradient",
    "write_coco",
    "write_shards",
    "write_tar",
]

__version__: str

def rasterize(
    keypoints: NDArray[np.float32],
    visibility: NDArray[np.uint8] | None,
    bones: NDArray[np.int64],
    bone_colors: NDArray[np.uint8],
    joint_colors: NDArray[np.uint8],
    out: NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.uint16],
    *,
    line_width_px: float,
    joint_radius_px: float,
    planar: bool,
    style: str,
    workers: int | None,
    level: str | None = None,
) -> None: ...
def levels() -> list[str]: ...
def convolve(
    x: NDArray[np.float32] | NDArray[np.uint16],
    kernels: NDArray[np.float32] | NDArray[np.uint32],
    pre: NDArray[np.float32],
    post: NDArray[np.float32],
    noise: NDArray[np.float32],
    bias: NDArray[np.float32],
    out: NDArray[np.float32] | NDArray[np.uint16],
    *,
    up: int,
    slope: float,
    gain: float,
    clamp: float,
    workers: int | None,
    level: str | None = None,
) -> None: ...
def filter(  # noqa: A001
    x: NDArray[np.float32] | NDArray[np.uint16],
    out: NDArray[np.float32] | NDArray[np.uint16],
    *,
    taps: Sequence[float],
    up: int,
    down: int,
    before: int,
    gain: float,
    workers: int | None,
    level: str | None = None,
) -> None: ...
def weight_gradient(
    x: NDArray[np.float32] | NDArray[np.uint16],
    gradient: NDArray[np.float32] | NDArray[np.uint16],
    pre: NDArray[np.float32],
    post: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    workers: int | None,
    level: str | None = None,
) -> None: ...
def convolution_levels() -> list[str]: ...
def draw_openpose(
    keypoints: NDArray[np.float32],
    visibility: NDArray[np.uint8] | None,
    out: NDArray[np.uint8],
    *,
    preset: str,
    workers: int | None,
) -> None: ...
def draw_keypointgan(
    keypoints: NDArray[np.float32],
    visibility: NDArray[np.uint8] | None,
    bones: NDArray[np.int64],
    out: NDArray[np.uint8],
    *,
    sigma: float,
    workers: int | None,
) -> None: ...
def read_coco(path: str, label_field: str | None = None, leave_out_bad: bool = False) -> dict[str, Any]: ...
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
def encode_png(images: NDArray[np.uint8], *, workers: int | None) -> list[bytes]: ...

# Data sets: paths, the attributes of flexpose.shards.drawn.DrawnPoses, and JSON text.
def plan_text(fields: str) -> str: ...
def publish_plan(folder: str, fields: str, bad: str, resume: bool, shared: bool) -> None: ...
def read_dataset(folder: str, finished: bool) -> tuple[str, str | None]: ...
def write_shards(
    folder: str,
    drawn: object,
    *,
    shards: tuple[int, int],
    threads: int,
    resume: bool,
    full: bool,
    progress: Callable[[int], None] | None = None,
) -> str: ...
def write_tar(
    path: str,
    fields: str,
    drawn: object,
    *,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> str: ...
def estimate_shards(fields: str, drawn: object, sample: int) -> tuple[float, float]: ...
def hash_poses(drawn: object) -> str: ...
def hash_file(path: str) -> tuple[int, str]: ...
def verify_shards(folder: str, *, full: bool, progress: Callable[[int], None] | None = None) -> str: ...
def mend_shards(folder: str, drop_torn: bool) -> str: ...
def merge_shards(
    sources: list[str], folder: str, *, progress: Callable[[int], None] | None = None
) -> str: ...
def finish_shards(folder: str) -> str: ...
def read_keypoint_shard(path: str, max_bytes: int) -> dict[str, Any]: ...
def list_tar(path: str, max_entry: int, max_entries: int) -> list[tuple[str, int, int]]: ...

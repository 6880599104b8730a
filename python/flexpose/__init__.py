"""Pose distribution adaptation from a dozen guide poses.

Importing this module loads no torch: ``flexpose.models`` and what needs it load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import metrics, models
    from ._rust import __version__
    from .poses import PoseSet, read_poses, write_poses
    from .raster import rasterize
    from .skeleton import Skeleton, list_skeletons, load_skeleton

__all__ = [
    "PoseSet",
    "Skeleton",
    "__version__",
    "list_skeletons",
    "load_skeleton",
    "metrics",
    "models",
    "rasterize",
    "read_poses",
    "write_poses",
]

_HOME = {
    "PoseSet": "poses",
    "Skeleton": "skeleton",
    "__version__": "_rust",
    "list_skeletons": "skeleton",
    "load_skeleton": "skeleton",
    "rasterize": "raster",
    "read_poses": "poses",
    "write_poses": "poses",
}


def __getattr__(name: str) -> Any:
    if name in {"metrics", "models"}:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""Pictures of poses on disk: PNG files in a folder, one tar shard, or one grid."""

from __future__ import annotations

from .style import FRAMES, MISSING, RenderStyle
from .write import RenderReport, write_grid, write_pngs, write_webdataset

__all__ = [
    "FRAMES",
    "MISSING",
    "RenderReport",
    "RenderStyle",
    "write_grid",
    "write_pngs",
    "write_webdataset",
]

"""Pictures of poses on disk: data sets in shards, one tar file, or one grid."""

from __future__ import annotations

from .drawn import DrawnPoses, draw_poses
from .mend import (
    Mended,
    Problem,
    Verification,
    finish_dataset,
    mend_dataset,
    merge_datasets,
    verify_dataset,
)
from .plan import Estimate, RenderPlan, draft_render, plan_render, shard_range
from .read import (
    KINDS,
    DatasetPlan,
    KeypointShard,
    ShardFile,
    ShardIndex,
    TarEntry,
    list_tar,
    open_dataset,
    read_keypoint_shard,
    read_plan,
)
from .style import FRAMES, MISSING, STYLES, RenderStyle
from .write import RenderReport, running_threads, write_grid, write_shards, write_webdataset

__all__ = [
    "FRAMES",
    "KINDS",
    "MISSING",
    "STYLES",
    "DatasetPlan",
    "DrawnPoses",
    "Estimate",
    "KeypointShard",
    "Mended",
    "Problem",
    "RenderPlan",
    "RenderReport",
    "RenderStyle",
    "ShardFile",
    "ShardIndex",
    "TarEntry",
    "Verification",
    "draft_render",
    "draw_poses",
    "finish_dataset",
    "list_tar",
    "mend_dataset",
    "merge_datasets",
    "open_dataset",
    "plan_render",
    "read_keypoint_shard",
    "read_plan",
    "running_threads",
    "shard_range",
    "verify_dataset",
    "write_grid",
    "write_shards",
    "write_webdataset",
]

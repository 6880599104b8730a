"""Data sets written by hand, as the format says, with the safetensors library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from flexpose.poses import frame_poses

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses import PoseSet

HASH = "0" * 64
CONFIG = {
    "style": "flexpose",
    "size_px": 24,
    "line_width_px": 2.5,
    "joint_radius_px": 1.5,
    "frame": "bbox",
    "margin": 0.1,
    "missing": "skip-bone",
}


def write_shard(path: Path, poses: PoseSet, rows: np.ndarray) -> None:
    frames = frame_poses(poses[rows])
    visibility = poses.visibility[rows]
    keypoints = frames.normalize(poses.keypoints[rows]).astype(np.float32)
    keypoints[visibility == 0] = 0
    save_file(
        {
            "keypoints": keypoints,
            "visibility": visibility.copy(),
            "index": rows.astype(np.int64),
            "frame": np.column_stack([frames.center, frames.half]),
            "label": np.full(len(rows), -1, np.int32),
        },
        path,
        metadata={"format": "1", "skeleton": poses.skeleton.to_toml(), "labels": "[]"},
    )


def plan(poses: PoseSet, ranges: list[tuple[int, int]], kind: str = "keypoints") -> dict[str, Any]:
    size = CONFIG["size_px"]
    return {
        "format": 1,
        "kind": kind,
        "config": {**CONFIG, "augment": "", "seed": 0},
        "config_hash": HASH,
        "content": HASH,
        "count": ranges[-1][1] if ranges else 0,
        "bad": 0,
        "image": None if kind == "keypoints" else {"channels": 3, "height": size, "width": size},
        "inputs": [{"name": "poses.npz", "bytes": 1, "blake3": HASH, "poses": len(poses)}],
        "labels": None,
        "shards": [list(pair) for pair in ranges],
        "skeleton": poses.skeleton.to_toml(),
        "skeleton_name": poses.skeleton.name,
        "writer": "0.1.0",
    }


def index(folder: Path, planned: dict[str, Any]) -> dict[str, Any]:
    kind, shards = planned["kind"], []
    for number, (first, end) in enumerate(planned["shards"]):
        poses = f"shard-{number:05d}.safetensors"
        length = (folder / poses).stat().st_size
        beside = {"file": poses, "bytes": length, "blake3": HASH}
        file = {
            "webdataset": f"shard-{number:05d}.tar",
            "npy": f"shard-{number:05d}.npy",
            "png": f"{number:05d}",
        }
        if kind == "keypoints":
            shards.append({**beside, "first": first, "count": end - first, "poses": None})
        else:
            own = {"file": file[kind], "bytes": 5, "blake3": HASH}
            shards.append({**own, "first": first, "count": end - first, "poses": beside})
    keys = ("format", "kind", "count", "skeleton")
    return {**{key: planned[key] for key in keys}, "plan": HASH, "shards": shards}


def write_dataset(
    folder: Path, poses: PoseSet, drawn: np.ndarray, shard_size: int, kind: str = "keypoints"
) -> Path:
    """A finished data set of the rows `drawn` of `poses`."""
    folder.mkdir()
    starts = range(0, len(drawn), shard_size)
    ranges = [(start, min(start + shard_size, len(drawn))) for start in starts]
    for number, (first, end) in enumerate(ranges):
        write_shard(folder / f"shard-{number:05d}.safetensors", poses, drawn[first:end])
    planned = plan(poses, ranges, kind)
    (folder / "plan.json").write_text(json.dumps(planned), encoding="utf-8")
    (folder / "index.json").write_text(json.dumps(index(folder, planned)), encoding="utf-8")
    return folder

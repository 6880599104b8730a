"""Poses: the in-memory type, files, framing, few-shot splits, mixup and synthetic people."""

from flexpose.poses.files import read_poses, write_poses
from flexpose.poses.framing import FrameMode, Frames, frame_poses, normalized_poses
from flexpose.poses.poseset import PoseSet
from flexpose.skeleton.maps import map_joints

__all__ = [
    "FrameMode",
    "Frames",
    "PoseSet",
    "frame_poses",
    "map_joints",
    "normalized_poses",
    "read_poses",
    "write_poses",
]

"""Poses: the in-memory type, files, framing, few-shot splits, mixup and synthetic people."""

from flexpose.poses.bad import BadRecord, BadRecords
from flexpose.poses.datasets import Dataset, dataset_file, list_datasets, read_dataset
from flexpose.poses.fewshot import FewShotSplit, FewShotStrategy, split_fewshot
from flexpose.poses.files import read_poses, write_poses
from flexpose.poses.framing import FrameMode, Frames, frame_poses, normalized_poses
from flexpose.poses.inspect import summarize
from flexpose.poses.mixup import MixedPoses, MixupSpace, mixup_poses, shrunken_mix_fraction
from flexpose.poses.points3d import Points3D, read_points3d
from flexpose.poses.poseset import PoseSet
from flexpose.poses.project import camera_angles, project_points, project_poses
from flexpose.poses.synth import SynthDomain, source_domain, synth_poses, target_domain
from flexpose.poses.variation import vary_poses
from flexpose.skeleton.maps import map_joints

__all__ = [
    "BadRecord",
    "BadRecords",
    "Dataset",
    "FewShotSplit",
    "FewShotStrategy",
    "FrameMode",
    "Frames",
    "MixedPoses",
    "MixupSpace",
    "Points3D",
    "PoseSet",
    "SynthDomain",
    "camera_angles",
    "dataset_file",
    "frame_poses",
    "list_datasets",
    "map_joints",
    "mixup_poses",
    "normalized_poses",
    "project_points",
    "project_poses",
    "read_dataset",
    "read_points3d",
    "read_poses",
    "shrunken_mix_fraction",
    "source_domain",
    "split_fewshot",
    "summarize",
    "synth_poses",
    "target_domain",
    "vary_poses",
    "write_poses",
]

"""Skeletons: what the numbers of a pose mean, the registry of known ones, and maps between them."""

from flexpose.skeleton.maps import JointMap, joint_map, map_joints
from flexpose.skeleton.palette import palette
from flexpose.skeleton.registry import find_skeleton, list_skeletons, load_skeleton
from flexpose.skeleton.schema import Skeleton
from flexpose.skeleton.tree import KinematicTree, kinematic_tree

__all__ = [
    "JointMap",
    "KinematicTree",
    "Skeleton",
    "find_skeleton",
    "joint_map",
    "kinematic_tree",
    "list_skeletons",
    "load_skeleton",
    "map_joints",
    "palette",
]

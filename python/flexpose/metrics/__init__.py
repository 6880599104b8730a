"""Measures of pose sets on plain arrays, in numpy and scipy alone."""

from .bones import angle_pairs, bone_lengths, bone_ratios, joint_angles, root_orientation
from .frechet import Moments, frechet_distance, frechet_from_moments, moments
from .kinematics import KinematicDistances, KinematicReference, kinematic_distances
from .mmd import MMDReference, median_bandwidth, mmd2
from .nearest_shot import NearestShot, memorization_threshold, nearest_shot_distance, nearest_shot_distances
from .neighbors import NeighborReference, density_coverage, precision_recall
from .plausibility import KinematicLimits, implausible_rate
from .pose_error import PckNorm, mean_l2, mean_square, pck, pck_lengths
from .transport import AffineTransport, affine_transport, circular_wasserstein, wasserstein
from .worth import Worth, WorthCurve, worth_of_mmd2

__all__ = [
    "AffineTransport",
    "KinematicDistances",
    "KinematicLimits",
    "KinematicReference",
    "MMDReference",
    "Moments",
    "NearestShot",
    "NeighborReference",
    "PckNorm",
    "Worth",
    "WorthCurve",
    "affine_transport",
    "angle_pairs",
    "bone_lengths",
    "bone_ratios",
    "circular_wasserstein",
    "density_coverage",
    "frechet_distance",
    "frechet_from_moments",
    "implausible_rate",
    "joint_angles",
    "kinematic_distances",
    "mean_l2",
    "mean_square",
    "median_bandwidth",
    "memorization_threshold",
    "mmd2",
    "moments",
    "nearest_shot_distance",
    "nearest_shot_distances",
    "pck",
    "pck_lengths",
    "precision_recall",
    "root_orientation",
    "wasserstein",
    "worth_of_mmd2",
]

"""Bones and joints of poses: lengths, ratios, angles, and the direction of the trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from .arrays import as_keypoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..skeleton import Skeleton

__all__ = [
    "angle_pairs",
    "angles_from_vectors",
    "bone_lengths",
    "bone_ratios",
    "bone_vectors",
    "joint_angles",
    "ratios_from_vectors",
    "root_orientation",
]


def bone_vectors(keypoints: ArrayLike, skeleton: Skeleton, name: str) -> NDArray[np.float64]:
    """Child minus parent of each bone, [N, B, 2]; `name` is what the messages call the keypoints."""
    points = as_keypoints(keypoints, name, skeleton.num_keypoints)
    if not skeleton.bones:
        raise UsageError(f"skeleton must have bones, {skeleton.name!r} has none")
    bones = np.asarray(skeleton.bones)
    vectors: NDArray[np.float64] = points[:, bones[:, 1]] - points[:, bones[:, 0]]
    return vectors


def bone_lengths(keypoints: ArrayLike, skeleton: Skeleton) -> NDArray[np.float64]:
    """Length of each bone.

    Args:
        keypoints: [N, K, 2], any unit.
        skeleton: its bones, in its order.

    Returns:
        [N, B], the unit of the keypoints.

    Raises:
        UsageError: wrong shape, or a skeleton without bones.
        DataError: a coordinate is not finite.
    """
    return _lengths(bone_vectors(keypoints, skeleton, "keypoints"))


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def ratios_from_vectors(vectors: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """`bone_ratios` of bone vectors [N, B, 2]."""
    lengths = _lengths(vectors)
    total = lengths.sum(axis=1, keepdims=True)
    if not (total > 0.0).all():
        raise DataError("all bones have length 0", record=int(np.argmin(total[:, 0] > 0.0)), field=name)
    ratios: NDArray[np.float64] = lengths / total
    return ratios


def bone_ratios(keypoints: ArrayLike, skeleton: Skeleton) -> NDArray[np.float64]:
    """Length of each bone over the sum of all of them.

    The sum, not the torso, is the yardstick: every skeleton has it, and a torso seen from its end has almost
    no length in the picture. The ratios are those of the projection, so turning and bending change them too.

    Args:
        keypoints: [N, K, 2], any unit.
        skeleton: its bones, in its order.

    Returns:
        [N, B]; each row sums to 1.

    Raises:
        UsageError: wrong shape, or a skeleton without bones.
        DataError: a coordinate is not finite, or all bones of a pose have length 0.
    """
    return ratios_from_vectors(bone_vectors(keypoints, skeleton, "keypoints"), "keypoints")


def angle_pairs(skeleton: Skeleton) -> tuple[tuple[int, int, int], ...]:
    """The angles that `joint_angles` gives.

    At each keypoint the first bone in schema order is the reference for the others: d bones give d - 1
    angles, and every other angle there is a difference of these.

    Returns:
        (keypoint, reference bone, other bone), by keypoint, then by bone.
    """
    at: list[list[int]] = [[] for _ in range(skeleton.num_keypoints)]
    for index, (parent, child) in enumerate(skeleton.bones):
        at[parent].append(index)
        at[child].append(index)
    return tuple((joint, bones[0], other) for joint, bones in enumerate(at) for other in bones[1:])


def joint_angles(keypoints: ArrayLike, skeleton: Skeleton) -> NDArray[np.float64]:
    """Signed angle between adjacent bones at each keypoint, both taken as pointing away from it.

    Args:
        keypoints: [N, K, 2], any unit, x right and y down.
        skeleton: `angle_pairs` of it says which angles.

    Returns:
        [N, A] radians in (-pi, pi]; positive turns from x to y, which is clockwise on the screen. 0 where a
        bone has no length.

    Raises:
        UsageError: wrong shape, or a skeleton without bones.
        DataError: a coordinate is not finite.
    """
    return angles_from_vectors(bone_vectors(keypoints, skeleton, "keypoints"), skeleton)


def angles_from_vectors(vectors: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.float64]:
    """`joint_angles` of bone vectors [N, B, 2]."""
    angles = np.empty((len(vectors), len(pairs := angle_pairs(skeleton))))
    for column, (joint, first, second) in enumerate(pairs):
        one = vectors[:, first] if skeleton.bones[first][0] == joint else -vectors[:, first]
        two = vectors[:, second] if skeleton.bones[second][0] == joint else -vectors[:, second]
        cross = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
        angles[:, column] = np.arctan2(cross, (one * two).sum(axis=1))
    # arctan2 gives -pi for a negative zero; (-pi, pi] has one name for the straight joint.
    angles[angles == -np.pi] = np.pi
    return angles


def root_orientation(keypoints: ArrayLike, skeleton: Skeleton) -> NDArray[np.float64]:
    """Direction of the trunk in the picture.

    The axis runs between the ends of the skeleton's torso segment, each moved to the middle between it and
    its mirror partner: from the middle of the hips to the middle of the shoulders.

    Args:
        keypoints: [N, K, 2], any unit, x right and y down.
        skeleton: must have a torso.

    Returns:
        [N] radians in (-pi, pi], 0 to the right, -pi/2 upright on the screen.

    Raises:
        UsageError: wrong shape, or a skeleton without torso.
        DataError: a coordinate is not finite.
    """
    points = as_keypoints(keypoints, "keypoints", skeleton.num_keypoints)
    if skeleton.torso is None:
        raise UsageError(f"skeleton must have a torso, {skeleton.name!r} has none")
    upper, lower = (
        (points[:, end] + points[:, int(skeleton.flip_index[end])]) / 2.0 for end in skeleton.torso
    )
    direction = upper - lower
    angles: NDArray[np.float64] = np.arctan2(direction[:, 1], direction[:, 0])
    return angles

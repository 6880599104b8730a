"""How far the bones and joints of one set of poses are from those of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .bones import angles_from_vectors, bone_vectors, ratios_from_vectors, root_orientation
from .transport import circular_wasserstein_sorted, wasserstein_sorted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..skeleton import Skeleton

__all__ = ["KinematicDistances", "KinematicReference", "kinematic_distances"]


@dataclass(frozen=True)
class KinematicDistances:
    """How far the bones and joints of one set are from those of another.

    Attributes:
        bone_ratio: mean over the bones of the W1 distance of the bone ratios, a share of the summed length.
        joint_angle: mean over the angles of the circular W1 distance, radians.
        orientation: circular W1 distance of the root orientation, radians; None without a torso.
        per_bone: [B].
        per_angle: [A] radians.
    """

    bone_ratio: float
    joint_angle: float
    orientation: float | None
    per_bone: NDArray[np.float64]
    per_angle: NDArray[np.float64]


class KinematicReference:
    """The sorted bone ratios, angles and orientations of a reference set, for several comparisons.

    Args:
        reference: [N, K, 2], any unit.
        skeleton: of the reference and of what is compared with it.

    Raises:
        UsageError: wrong shape, or a skeleton without bones.
        DataError: a coordinate is not finite, or all bones of a pose have length 0.
    """

    def __init__(self, reference: ArrayLike, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self._ratios, self._angles, self._orientation = self._sorted(reference, "reference")

    def _sorted(
        self, keypoints: ArrayLike, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        vectors = bone_vectors(keypoints, self.skeleton, name)
        turn = 2.0 * np.pi
        orientation = None
        if self.skeleton.torso is not None:
            orientation = np.sort(root_orientation(keypoints, self.skeleton) % turn)
        angles = angles_from_vectors(vectors, self.skeleton) % turn
        return np.sort(ratios_from_vectors(vectors, name).T), np.sort(angles.T), orientation

    def distances(self, keypoints: ArrayLike) -> KinematicDistances:
        """See `kinematic_distances`."""
        ratios, angles, orientation = self._sorted(keypoints, "keypoints")
        bones = np.array([wasserstein_sorted(a, b) for a, b in zip(ratios, self._ratios, strict=True)])
        turns = np.array(
            [circular_wasserstein_sorted(a, b) for a, b in zip(angles, self._angles, strict=True)]
        )
        return KinematicDistances(
            bone_ratio=float(bones.mean()),
            joint_angle=float(turns.mean()) if len(turns) else 0.0,
            orientation=None
            if orientation is None or self._orientation is None
            else circular_wasserstein_sorted(orientation, self._orientation),
            per_bone=bones,
            per_angle=turns,
        )


def kinematic_distances(keypoints: ArrayLike, reference: ArrayLike, skeleton: Skeleton) -> KinematicDistances:
    """Wasserstein-1 distances of bone ratios, joint angles and root orientation.

    Args:
        keypoints: [N, K, 2], any unit.
        reference: [M, K, 2], any unit.
        skeleton: of both.

    Raises:
        UsageError: wrong shape, or a skeleton without bones.
        DataError: a coordinate is not finite, or all bones of a pose have length 0.
    """
    return KinematicReference(reference, skeleton).distances(keypoints)

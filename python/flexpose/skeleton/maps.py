"""Carrying poses from one skeleton to another, and saying how well each joint fits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import UsageError
from flexpose.skeleton.recipes import recipe_sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flexpose.poses.poseset import PoseSet
    from flexpose.skeleton.schema import Skeleton

__all__ = ["JointMap", "joint_map", "map_joints"]


@dataclass(frozen=True, eq=False)
class JointMap:
    """How the joints of one skeleton follow from those of another.

    Attributes:
        source: skeleton of the poses that come in, Ks keypoints.
        target: skeleton of the poses that go out, Kt keypoints.
        weights: [Kt, Ks] float64; row k averages the source joints that make target joint k and sums to 1, or is 0
            for an optional joint that the source cannot make: it is never labelled.
        exact: per target joint, True where the source marks the same point (or one made of it by definition),
            False where it is an approximation, such as the nose for the centre of the head.
    """

    source: Skeleton
    target: Skeleton
    weights: NDArray[np.float64]
    exact: tuple[bool, ...]

    @property
    def kind(self) -> str:
        """``identical`` (same names in the same order), ``exact`` or ``approximate``."""
        if self.source.names == self.target.names and all(self.exact):
            return "identical"
        return "exact" if all(self.exact) else "approximate"

    @property
    def approximate_joints(self) -> tuple[str, ...]:
        """Names of the target joints that are approximations."""
        return tuple(n for n, exact in zip(self.target.names, self.exact, strict=True) if not exact)

    def describe(self) -> str:
        """One line for each target joint: what it is made of, and ``~`` where that is an approximation."""
        lines = []
        for name, row, exact in zip(self.target.names, self.weights, self.exact, strict=True):
            if not row.any():
                lines.append(f"{name}: none")
                continue
            parts = [
                self.source.names[i] if row[i] == 1 else f"{row[i]:.3g} {self.source.names[i]}"
                for i in np.flatnonzero(row)
            ]
            lines.append(f"{name} {'=' if exact else '~'} {' + '.join(parts)}")
        return "\n".join(lines)

    def apply(
        self, keypoints: NDArray[np.float32], visibility: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Map arrays.

        A joint that is copied keeps its bits. A joint made of several is their weighted mean; it is as
        visible as the least visible of them, and not labelled if one of them is not.

        Args:
            keypoints: [N, Ks, 2].
            visibility: [N, Ks] 0 not labelled, 1 occluded, 2 visible.

        Returns:
            keypoints [N, Kt, 2] float32 and visibility [N, Kt] uint8.

        Raises:
            UsageError: the shapes do not fit the source skeleton.
        """
        k = self.source.num_keypoints
        if keypoints.ndim != 3 or keypoints.shape[1:] != (k, 2) or visibility.shape != keypoints.shape[:2]:
            raise UsageError(
                f"keypoints must be [N, {k}, 2] and visibility [N, {k}], "
                f"got {list(keypoints.shape)} and {list(visibility.shape)}"
            )
        n, out = len(keypoints), self.target.num_keypoints
        mapped = np.zeros((n, out, 2), np.float32)
        seen = np.zeros((n, out), np.uint8)
        for joint, row in enumerate(self.weights):
            used = np.flatnonzero(row)
            if not len(used):
                continue
            seen[:, joint] = visibility[:, used].min(axis=1)
            if len(used) == 1:
                mapped[:, joint] = keypoints[:, used[0]]
            else:
                mean = np.einsum("nsc,s->nc", keypoints[:, used].astype(np.float64), row[used])
                mapped[:, joint] = mean.astype(np.float32)
        mapped[seen == 0] = 0
        return mapped, seen


@lru_cache(maxsize=256)
def joint_map(source: Skeleton, target: Skeleton, optional: tuple[str, ...] = ()) -> JointMap:
    """Find out how the joints of ``target`` follow from those of ``source``.

    Joints of the same name are taken as they are; others are derived (``neck`` from the shoulders, ``pelvis``
    from the hips, 68 face points from 98, ...). Joints whose definition differs between data sets although
    the name is the same (neck, pelvis, spine, head ...) count as approximate between different skeletons.

    Args:
        source: skeleton of the poses that come in.
        target: skeleton that is wanted.
        optional: names of joints of the target that the source may lack.

    Returns:
        The map.

    Raises:
        UsageError: a joint of the target cannot be had from the source; the message lists them.
    """
    weights = np.zeros((target.num_keypoints, source.num_keypoints))
    exact = [True] * target.num_keypoints
    missing = []
    for joint, name in enumerate(target.names):
        found = recipe_sources(source, target, name)
        if found is None:
            exact[joint] = False
            if name not in optional:
                missing.append(name)
            continue
        parts, exact[joint] = found
        for index, weight in parts:
            weights[joint, index] += weight
    if missing:
        raise UsageError(
            f"{source.name} cannot be mapped to {target.name}: no source for {', '.join(missing)}; "
            f"{source.name} has {', '.join(source.names[:32])}{', ...' if source.num_keypoints > 32 else ''}"
        )
    weights.setflags(write=False)
    return JointMap(source, target, weights, tuple(exact))


def map_joints(poses: PoseSet, target: Skeleton, optional: tuple[str, ...] = ()) -> PoseSet:
    """Carry poses over to another skeleton; ``joint_map`` tells what is exact.

    Args:
        poses: N poses of any skeleton.
        target: the skeleton that is wanted.
        optional: names of joints of the target that the source may lack; they are not labelled then.

    Returns:
        N poses of ``target``; image sizes, ids and labels stay.

    Raises:
        UsageError: a joint of the target cannot be had from the poses' skeleton.
    """
    if poses.skeleton == target:
        return poses
    keypoints, visibility = joint_map(poses.skeleton, target, optional).apply(
        poses.keypoints, poses.visibility
    )
    return poses.replace(keypoints=keypoints, visibility=visibility, skeleton=target)

"""Guide poses with a prior's own variation, bone by bone: what Pose-mixup leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from flexpose.errors import UsageError
from flexpose.poses._random import Stream, uniforms
from flexpose.skeleton.tree import kinematic_tree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from flexpose.skeleton.schema import Skeleton

__all__ = ["vary_poses"]

_SHORTEST = 1e-3  # in the poses' unit: a bone's length has a logarithm


@overload
def vary_poses(
    shots: ArrayLike,
    prior: ArrayLike,
    n: int,
    *,
    seed: int,
    skeleton: Skeleton,
    weights: ArrayLike | None = ...,
    strength: float = ...,
    lengths: float = ...,
    pull: float = ...,
    neighbors: int = ...,
    return_shots: Literal[False] = ...,
) -> NDArray[np.float32]: ...


@overload
def vary_poses(
    shots: ArrayLike,
    prior: ArrayLike,
    n: int,
    *,
    seed: int,
    skeleton: Skeleton,
    weights: ArrayLike | None = ...,
    strength: float = ...,
    lengths: float = ...,
    pull: float = ...,
    neighbors: int = ...,
    return_shots: Literal[True],
) -> tuple[NDArray[np.float32], NDArray[np.intp]]: ...


def vary_poses(
    shots: ArrayLike,
    prior: ArrayLike,
    n: int,
    *,
    seed: int,
    skeleton: Skeleton,
    weights: ArrayLike | None = None,
    strength: float = 0.8,
    lengths: float = 0.3,
    pull: float = 0.5,
    neighbors: int = 20,
    return_shots: bool = False,
) -> NDArray[np.float32] | tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Draw poses around the guide poses, varied as the prior's poses near them vary.

    To a random guide pose the turn of each bone, and less of its stretch, is added by which one of the prior's poses
    nearest to it differs from their mean.
    Bones turn and stretch along the skeleton's spanning tree: limbs stay limbs, where deviations of coordinates
    would tear them.

    Args:
        shots: [S, K, 2] complete guide poses in frame coordinates, S >= 1.
        prior: [N, K, 2] poses of the source in the same coordinates, N >= `neighbors`.
        n: poses to draw; pose i is the same whatever n.
        seed: 0 to 2^64 - 1.
        skeleton: K keypoints.
        weights: [S] how often each guide pose is taken, in any unit; by default all alike.
        strength: factor of the bones' turns; 0 leaves the guide poses alone.
        lengths: factor of the logarithms of their stretches, times `strength`. Bone ratios are the target's
            own, so it is small.
        pull: how far, 0 to 1, the middle of the deviations moves from the guide pose to the neighbours' mean:
            a single guide pose is an accident, its neighbourhood in the prior is not.
        neighbors: poses of the prior around each guide pose, >= 1.
        return_shots: also say which guide pose each is of.

    Returns:
        [n, K, 2] float32; they do not fill their frames any more. With `return_shots` also [n] rows of `shots`.

    Raises:
        UsageError: an argument of the wrong shape or out of range.
    """
    guides, poses = (_complete(name, a, skeleton) for name, a in (("shots", shots), ("prior", prior)))
    for name, value, low, high in (
        ("strength", strength, 0, np.inf),
        ("lengths", lengths, 0, np.inf),
        ("pull", pull, 0, 1),
        ("neighbors", neighbors, 1, len(poses)),
    ):
        if not low <= value <= high:
            raise UsageError(f"{name} must be from {low} to {high}, got {value}")
    drawn = uniforms(seed, Stream.VARIATION, n, 2)
    own = np.searchsorted(_shares(weights, len(guides)), drawn[:, 0], side="right")
    which = (drawn[:, 1] * neighbors).astype(np.int64)

    length, angle = _bones(guides, skeleton)
    stretch, turn = _deviations(guides, poses, skeleton, neighbors, pull)
    length = length[own] + strength * lengths * stretch[own, which]
    angle = angle[own] + strength * turn[own, which]
    start = guides[own, kinematic_tree(skeleton).root]
    varied = _joints(start, length, angle, skeleton).astype(np.float32)
    return (varied, own) if return_shots else varied


def _complete(name: str, poses: ArrayLike, skeleton: Skeleton) -> NDArray[np.float64]:
    array = np.asarray(poses, np.float64)
    if array.ndim != 3 or array.shape[1:] != (skeleton.num_keypoints, 2) or len(array) == 0:
        raise UsageError(f"{name} must be [N >= 1, {skeleton.num_keypoints}, 2], got {list(array.shape)}")
    if not np.isfinite(array).all():
        record = int((~np.isfinite(array)).any(axis=(1, 2)).argmax())
        raise UsageError(f"{name} must be finite, pose {record} is not")
    return array


def _shares(weights: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Where each guide pose's part of [0, 1) ends, but for the last one's."""
    given = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if given.shape != (n,) or not (np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0):
        raise UsageError(f"weights must be {n} numbers >= 0 that are not all 0, got {weights!r}")
    ends = np.cumsum(given)
    return np.asarray(ends[:-1] / ends[-1], np.float64)


def _turned(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angle in [-pi, pi)."""
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi, np.float64)


def _bones(poses: NDArray[np.float64], skeleton: Skeleton) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of lengths and directions of the tree's bones, both [N, K - 1]."""
    edges = np.array(kinematic_tree(skeleton).edges).reshape(-1, 2)
    bone = poses[:, edges[:, 1]] - poses[:, edges[:, 0]]
    length = np.hypot(bone[..., 0], bone[..., 1])
    return np.log(np.maximum(length, _SHORTEST)), np.arctan2(bone[..., 1], bone[..., 0])


def _joints(
    root: NDArray[np.float64], length: NDArray[np.float64], angle: NDArray[np.float64], skeleton: Skeleton
) -> NDArray[np.float64]:
    """The inverse of `_bones`, from where the tree's root is [N, 2]."""
    tree = kinematic_tree(skeleton)
    poses = np.empty((len(root), skeleton.num_keypoints, 2))
    poses[:, tree.root] = root
    bone = np.exp(length)[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    for index, (parent, child) in enumerate(tree.edges):
        poses[:, child] = poses[:, parent] + bone[:, index]
    return poses


def _deviations(
    guides: NDArray[np.float64],
    prior: NDArray[np.float64],
    skeleton: Skeleton,
    neighbors: int,
    pull: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(stretches, turns) [S, neighbors, K - 1] to add to each guide pose."""
    own_length, own_angle = _bones(guides, skeleton)
    stretch = np.empty((len(guides), neighbors, own_length.shape[1]))
    turn = np.empty_like(stretch)
    for index, guide in enumerate(guides):
        offset = (prior - guide).reshape(len(prior), -1)
        nearest = np.argpartition(np.einsum("ij,ij->i", offset, offset), neighbors - 1)[:neighbors]
        length, angle = _bones(prior[np.sort(nearest)], skeleton)
        middle = length.mean(0)
        towards = np.arctan2(np.sin(angle).mean(0), np.cos(angle).mean(0))
        stretch[index] = length - middle + pull * (middle - own_length[index])
        turn[index] = _turned(angle - towards) + pull * _turned(towards - own_angle[index])
    return stretch, turn

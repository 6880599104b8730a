"""Pose-mixup: new poses between two guide poses, in coordinates or in joint angles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args, overload

import numpy as np

from flexpose.errors import UsageError
from flexpose.poses._random import Stream, uniforms
from flexpose.skeleton.tree import kinematic_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from flexpose.skeleton.schema import Skeleton

__all__ = ["MixedPoses", "MixupSpace", "mixup_poses", "shrunken_mix_fraction"]

MixupSpace = Literal["coordinates", "angles"]


class MixedPoses(NamedTuple):
    """Mixed poses and what they were mixed of.

    Attributes:
        keypoints: [n, K, 2].
        first: [n] int64, rows of the poses that got the weight lambda.
        second: [n] int64, rows of the poses that got 1 - lambda; never equal to first.
        weight: [n] float64, lambda, in [0, 1].
    """

    keypoints: NDArray[np.floating]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float64]


@overload
def mixup_poses(
    keypoints: ArrayLike,
    n: int,
    *,
    seed: int,
    beta: float = ...,
    space: str = ...,
    skeleton: Skeleton | None = ...,
    labels: Sequence[str] | None = ...,
    within_label: bool = ...,
    return_pairs: Literal[False] = ...,
) -> NDArray[np.floating]: ...


@overload
def mixup_poses(
    keypoints: ArrayLike,
    n: int,
    *,
    seed: int,
    beta: float = ...,
    space: str = ...,
    skeleton: Skeleton | None = ...,
    labels: Sequence[str] | None = ...,
    within_label: bool = ...,
    return_pairs: Literal[True],
) -> MixedPoses: ...


def mixup_poses(
    keypoints: ArrayLike,
    n: int,
    *,
    seed: int,
    beta: float = 1.0,
    space: str = "coordinates",
    skeleton: Skeleton | None = None,
    labels: Sequence[str] | None = None,
    within_label: bool = False,
    return_pairs: bool = False,
) -> NDArray[np.floating] | MixedPoses:
    """Mix pairs of complete poses: ``lambda * y_i + (1 - lambda) * y_j``, i and j different and uniform.

    Args:
        keypoints: [S, K, 2] complete poses, normalised or pixels, S >= 2; finite.
        n: number of mixes; mix k is the same whatever n.
        seed: 0 to 2^64 - 1.
        beta: lambda ~ Beta(beta, beta), > 0; 1 is uniform.
        space: ``coordinates``: straight lines between the keypoints. ``angles``: along the skeleton's
            spanning tree, each bone's direction turns on the shorter arc and its length follows the geometric
            mean, so that limbs stay rigid; the root moves on a straight line. Mixes of normalised poses may
            then reach beyond [-1, 1], and the lines of shoulders and hips turn in the image where the poses
            are mirrored.
        skeleton: K keypoints; needed for ``angles``.
        labels: S labels; needed for ``within_label``.
        within_label: mix poses of one label only; each label needs two poses.
        return_pairs: return ``MixedPoses`` with the pairs and weights, not the keypoints alone.

    Returns:
        [n, K, 2], float32 if the keypoints are float32 and float64 otherwise; or ``MixedPoses``.

    Raises:
        UsageError: fewer than two poses (of a label), or an argument of the wrong shape or range.

    Source: FlexPose, arXiv:2412.13463, Eq. 7.
    """
    shots = _checked(keypoints, skeleton)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise UsageError(f"n must be an integer >= 0, got {n!r}")
    if not (np.isfinite(beta) and beta > 0):
        raise UsageError(f"beta must be > 0, got {beta}")
    if space not in get_args(MixupSpace):
        raise UsageError(f"space must be one of {', '.join(get_args(MixupSpace))}, got {space!r}")
    if space == "angles" and skeleton is None:
        raise UsageError("space 'angles' needs a skeleton, got None")
    drawn = uniforms(seed, Stream.MIXUP, int(n), 3)
    first, second = _pairs(len(shots), drawn, labels if within_label else None, within_label=within_label)
    weight = drawn[:, 2]
    if beta != 1:
        from scipy.special import betaincinv

        weight = np.asarray(betaincinv(beta, beta, weight), np.float64)
    a, b = shots[first].astype(np.float64), shots[second].astype(np.float64)
    if space == "angles" and skeleton is not None:
        mixed = _mix_angles(a, b, weight, skeleton)
    else:
        mixed = weight[:, None, None] * a + (1 - weight)[:, None, None] * b
    out: NDArray[np.floating] = mixed.astype(shots.dtype)
    return MixedPoses(out, first, second, weight) if return_pairs else out


def shrunken_mix_fraction(
    mixes: ArrayLike, shots: ArrayLike, skeleton: Skeleton, *, fraction: float = 0.5
) -> float:
    """The share of mixes with a limb shorter than any guide pose has it.

    Mixing a pose with a mirrored one (a front with a back view) makes shoulders and hips collapse; this counts
    such mixes, so that a caller can warn, and compare spaces or mixing within labels.

    Args:
        mixes: [n, K, 2].
        shots: [S, K, 2], the same unit.
        skeleton: K keypoints.
        fraction: a bone counts as shrunken below this share of its shortest length among the shots, 0 to 1.

    Returns:
        The share of mixes with at least one shrunken bone, 0 to 1; 0 without mixes or bones.

    Raises:
        UsageError: wrong shape or range, or no shots.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"fraction must be 0 to 1, got {fraction}")
    mixed, given = _checked(mixes, skeleton, least=0), _checked(shots, skeleton, least=1)
    if len(mixed) == 0 or not skeleton.bones:
        return 0.0
    bones = np.array(skeleton.bones)

    def lengths(points: NDArray[np.floating]) -> NDArray[np.float64]:
        offset = (points[:, bones[:, 0]] - points[:, bones[:, 1]]).astype(np.float64)
        return np.hypot(offset[..., 0], offset[..., 1])

    short = lengths(mixed) < fraction * lengths(given).min(axis=0)
    return float(short.any(axis=1).mean())


def _checked(keypoints: ArrayLike, skeleton: Skeleton | None, least: int = 2) -> NDArray[np.floating]:
    array = np.asarray(keypoints)
    k = "K" if skeleton is None else skeleton.num_keypoints
    if array.ndim != 3 or array.shape[2] != 2 or (skeleton is not None and array.shape[1] != k):
        raise UsageError(f"keypoints must be [S, {k}, 2], got {list(array.shape)}")
    if array.dtype.kind not in "fiu":
        raise UsageError(f"keypoints must be numbers, got {array.dtype}")
    if len(array) < least:
        raise UsageError(f"keypoints must hold at least {least} pose{'s' * (least > 1)}, got {len(array)}")
    points = array if array.dtype == np.float32 else array.astype(np.float64)
    if not np.isfinite(points).all():
        record = int((~np.isfinite(points)).any(axis=(1, 2)).argmax())
        raise UsageError(f"keypoints must be finite, pose {record} is not")
    return points


def _pairs(
    count: int, drawn: NDArray[np.float64], labels: Sequence[str] | None, *, within_label: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two different rows for each mix; with labels, two of one label."""
    if not within_label:
        first = (drawn[:, 0] * count).astype(np.int64)
        second = (first + 1 + (drawn[:, 1] * (count - 1)).astype(np.int64)) % count
        return first, second
    if labels is None or len(labels) != count:
        got = None if labels is None else len(labels)
        raise UsageError(f"within_label needs {count} labels, got {got}")
    names, codes = np.unique(np.array(labels, dtype=np.str_), return_inverse=True)
    sizes = np.bincount(codes)
    if sizes.min() < 2:
        raise UsageError(f"each label needs at least 2 poses, {str(names[sizes.argmin()])!r} has 1")
    order = np.argsort(codes, kind="stable")  # poses of a label stand together
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = (drawn[:, 0] * count).astype(np.int64)
    label = codes[order[place]]
    size, start = sizes[label], begin[label]
    other = start + (place - start + 1 + (drawn[:, 1] * (size - 1)).astype(np.int64)) % size
    return order[place].astype(np.int64), order[other].astype(np.int64)


def _mix_angles(
    a: NDArray[np.float64], b: NDArray[np.float64], weight: NDArray[np.float64], skeleton: Skeleton
) -> NDArray[np.float64]:
    """Mix with lambda of a and 1 - lambda of b, bone by bone in polar coordinates; [n, K, 2]."""
    tree = kinematic_tree(skeleton)
    mixed = np.zeros_like(a)
    for parent, child in tree.edges:
        bone_a, bone_b = a[:, child] - a[:, parent], b[:, child] - b[:, parent]
        length_a, length_b = (np.hypot(bone[:, 0], bone[:, 1]) for bone in (bone_a, bone_b))
        angle_a, angle_b = (np.arctan2(bone[:, 1], bone[:, 0]) for bone in (bone_a, bone_b))
        # A bone without length has no direction and takes the other's.
        angle_a = np.where(length_a == 0, angle_b, angle_a)
        angle_b = np.where(length_b == 0, angle_a, angle_b)
        turn = (angle_a - angle_b + np.pi) % (2 * np.pi) - np.pi
        angle = angle_b + weight * turn
        both = (length_a > 0) & (length_b > 0)
        logs = [np.log(np.where(both, length, 1)) for length in (length_a, length_b)]
        length = np.where(
            both,
            np.exp(weight * logs[0] + (1 - weight) * logs[1]),
            weight * length_a + (1 - weight) * length_b,
        )
        offset = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        mixed[:, child] = mixed[:, parent] + offset
    root = list(skeleton.root)
    wanted = weight[:, None] * a[:, root].mean(axis=1) + (1 - weight)[:, None] * b[:, root].mean(axis=1)
    shifted: NDArray[np.float64] = mixed + (wanted - mixed[:, root].mean(axis=1))[:, None]
    return shifted

"""What the joints of a pose do: bone ratios, joint angles, orientation, and how plausible they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from .arrays import as_keypoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..skeleton import Skeleton

__all__ = [
    "KinematicDistances",
    "KinematicLimits",
    "KinematicReference",
    "angle_pairs",
    "bone_lengths",
    "bone_ratios",
    "circular_wasserstein",
    "implausible_rate",
    "joint_angles",
    "kinematic_distances",
    "root_orientation",
    "wasserstein",
]

_SLACK = 1e-9  # rounding; a reference whose bones are rigid has ranges without width


def _bone_vectors(keypoints: ArrayLike, skeleton: Skeleton, name: str) -> NDArray[np.float64]:
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
    return _lengths(_bone_vectors(keypoints, skeleton, "keypoints"))


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _ratios(vectors: NDArray[np.float64], name: str) -> NDArray[np.float64]:
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
    return _ratios(_bone_vectors(keypoints, skeleton, "keypoints"), "keypoints")


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
    return _angles(_bone_vectors(keypoints, skeleton, "keypoints"), skeleton)


def _angles(vectors: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.float64]:
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


def _merged_gaps(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Widths between the neighbours of both sorted samples together, and F_a - F_b there."""
    merged = np.concatenate([a, b])
    merged.sort(kind="stable")
    inner = merged[:-1]
    difference = np.searchsorted(a, inner, side="right") / len(a) - np.searchsorted(
        b, inner, side="right"
    ) / len(b)
    return np.diff(merged), difference


def _wasserstein_sorted(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    widths, difference = _merged_gaps(a, b)
    return float(widths @ np.abs(difference))


def _circular_sorted(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    widths, difference = _merged_gaps(a, b)
    # The gap that closes the circle: both distribution functions are 1 there.
    widths = np.append(widths, max(2.0 * np.pi - float(widths.sum()), 0.0))
    difference = np.append(difference, 0.0)
    order = np.argsort(difference)
    weight = np.cumsum(widths[order])
    median = difference[order][np.searchsorted(weight, weight[-1] / 2.0)]
    return float(widths @ np.abs(difference - median))


def _sample(values: ArrayLike, name: str) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample):
        raise UsageError(f"{name} must be [N] with N >= 1, got {list(sample.shape)}")
    if not np.isfinite(sample).all():
        raise DataError("NaN or infinite value", record=int(np.argmin(np.isfinite(sample))), field=name)
    return np.sort(sample)


def wasserstein(a: ArrayLike, b: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples on the line: the area between their distribution functions.

    Args:
        a: [N].
        b: [M].

    Returns:
        The distance, >= 0, in the samples' unit.

    Raises:
        UsageError: not one-dimensional, or empty.
        DataError: a value is not finite.
    """
    return _wasserstein_sorted(_sample(a, "a"), _sample(b, "b"))


def circular_wasserstein(a: ArrayLike, b: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples on the circle.

    Args:
        a: [N] radians; whole turns do not matter.
        b: [M] radians.

    Returns:
        The distance, in [0, pi] radians.

    Raises:
        UsageError: not one-dimensional, or empty.
        DataError: a value is not finite.

    Source: Delon, Salomon and Sobolevski 2010, "Fast transport optimization for Monge costs on the circle".
    """
    turn = 2.0 * np.pi
    return _circular_sorted(np.sort(_sample(a, "a") % turn), np.sort(_sample(b, "b") % turn))


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
        vectors = _bone_vectors(keypoints, self.skeleton, name)
        turn = 2.0 * np.pi
        orientation = None
        if self.skeleton.torso is not None:
            orientation = np.sort(root_orientation(keypoints, self.skeleton) % turn)
        angles = _angles(vectors, self.skeleton) % turn
        return np.sort(_ratios(vectors, name).T), np.sort(angles.T), orientation

    def distances(self, keypoints: ArrayLike) -> KinematicDistances:
        """See `kinematic_distances`."""
        ratios, angles, orientation = self._sorted(keypoints, "keypoints")
        bones = np.array([_wasserstein_sorted(a, b) for a, b in zip(ratios, self._ratios, strict=True)])
        turns = np.array([_circular_sorted(a, b) for a, b in zip(angles, self._angles, strict=True)])
        return KinematicDistances(
            bone_ratio=float(bones.mean()),
            joint_angle=float(turns.mean()) if len(turns) else 0.0,
            orientation=None
            if orientation is None or self._orientation is None
            else _circular_sorted(orientation, self._orientation),
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


@dataclass(frozen=True)
class KinematicLimits:
    """The ranges of bone ratios and joint angles outside which a pose counts as implausible.

    Attributes:
        skeleton: of the poses.
        ratio_low: [B] smallest ratio allowed.
        ratio_high: [B] largest ratio allowed.
        angle_center: [A] radians, middle of the arc allowed.
        angle_reach: [A] radians to either side, pi where every angle is allowed.
    """

    skeleton: Skeleton
    ratio_low: NDArray[np.float64]
    ratio_high: NDArray[np.float64]
    angle_center: NDArray[np.float64]
    angle_reach: NDArray[np.float64]

    @classmethod
    def from_reference(
        cls, reference: ArrayLike, skeleton: Skeleton, *, tail: float = 0.005, widen: float = 0.25
    ) -> KinematicLimits:
        """Limits from the quantiles of real poses.

        A bone ratio may lie between the `tail` and 1 - `tail` quantiles, the lower one made smaller and the
        upper one larger by `widen` of itself. Foreshortening is part of the real quantiles, so a picture's
        short limbs are allowed where the reference has them. An angle may lie on the shortest arc that holds
        1 - 2 `tail` of the reference's angles, lengthened at either end by `widen` of its length.

        Args:
            reference: [N, K, 2] real poses, any unit, N >= 1.
            skeleton: of the poses.
            tail: in [0, 0.5).
            widen: >= 0.

        Raises:
            UsageError: wrong shape or argument out of range.
            DataError: a coordinate is not finite, or all bones of a pose have length 0.
        """
        if not 0.0 <= tail < 0.5:
            raise UsageError(f"tail must be in [0, 0.5), got {tail}")
        if not widen >= 0.0:
            raise UsageError(f"widen must be >= 0, got {widen}")
        vectors = _bone_vectors(reference, skeleton, "reference")
        low, high = np.quantile(_ratios(vectors, "reference"), [tail, 1.0 - tail], axis=0)
        turn = 2.0 * np.pi
        angles = np.sort(_angles(vectors, skeleton) % turn, axis=0)
        # The shortest arc over m of the n sorted angles starts at one of them.
        n = len(angles)
        inside = max(round(n * (1.0 - 2.0 * tail)), 1)
        ends = np.concatenate([angles, angles + turn])[inside - 1 : inside - 1 + n]
        first = (ends - angles).argmin(axis=0)
        columns = np.arange(angles.shape[1])
        start, length = angles[first, columns], (ends - angles)[first, columns]
        return cls(
            skeleton=skeleton,
            ratio_low=low * max(1.0 - widen, 0.0),
            ratio_high=high * (1.0 + widen),
            angle_center=start + length / 2.0,
            angle_reach=np.minimum(length * (0.5 + widen), np.pi),
        )

    def violated(self, keypoints: ArrayLike) -> NDArray[np.bool_]:
        """Which poses have a bone or an angle outside the limits.

        Args:
            keypoints: [N, K, 2], any unit.

        Returns:
            [N].

        Raises:
            UsageError: wrong shape.
            DataError: a coordinate is not finite, or all bones of a pose have length 0.
        """
        vectors = _bone_vectors(keypoints, self.skeleton, "keypoints")
        ratios = _ratios(vectors, "keypoints")
        offset = (_angles(vectors, self.skeleton) - self.angle_center + np.pi) % (2.0 * np.pi) - np.pi
        low, high = self.ratio_low - _SLACK, self.ratio_high + _SLACK
        bones = ((ratios < low) | (ratios > high)).any(axis=1)
        bent = (np.abs(offset) > self.angle_reach + _SLACK).any(axis=1)
        return np.asarray(bones | bent)


def implausible_rate(
    keypoints: ArrayLike,
    skeleton: Skeleton,
    reference: ArrayLike,
    *,
    tail: float = 0.005,
    widen: float = 0.25,
) -> float:
    """Share of poses with a bone ratio or a joint angle that the reference set does not know.

    See `KinematicLimits.from_reference` for the ranges. The share of real poses that fall outside them is not
    0: give it beside this number, best from a half of the real set that the limits were not taken from.

    Args:
        keypoints: [N, K, 2], any unit.
        skeleton: of both sets.
        reference: [M, K, 2] real poses, any unit.
        tail: quantile beyond which real poses are ignored.
        widen: relative widening of the ranges.

    Returns:
        Share in [0, 1].

    Raises:
        UsageError: wrong shape or argument out of range.
        DataError: a coordinate is not finite, or all bones of a pose have length 0.
    """
    limits = KinematicLimits.from_reference(reference, skeleton, tail=tail, widen=widen)
    return float(limits.violated(keypoints).mean())

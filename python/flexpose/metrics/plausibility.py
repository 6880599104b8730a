"""Which poses a body like the real ones can take: ranges of bone ratios and joint angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from .bones import angle_pairs, angles_from_vectors, bone_vectors, ratios_from_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ..skeleton import Skeleton

__all__ = ["KinematicLimits", "implausible_rate"]

_RANGES = ("ratio_low", "ratio_high", "angle_center", "angle_reach")
_SLACK = 1e-9  # rounding; a reference whose bones are rigid has ranges without width
_STEPS = 60  # of bringing poses in; on narrow targets one in a hundred needs more
_CLEAR = 0.98  # of a range's half width: how far out a bone or an angle is left that comes from beyond
# Of what an angle is beyond, for its two bones together: all of it, and more once that has not been enough for some
# steps, because the rest of the pose takes part of it back.
_TURN, _TURN_MORE, _PATIENCE = 1.0, 1.7, 10
_HELD = 1e-3  # weight of a joint's own place beside a bone's end; holds what no bone joins


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
        vectors = bone_vectors(reference, skeleton, "reference")
        low, high = np.quantile(ratios_from_vectors(vectors, "reference"), [tail, 1.0 - tail], axis=0)
        turn = 2.0 * np.pi
        angles = np.sort(angles_from_vectors(vectors, skeleton) % turn, axis=0)
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

    def to_dict(self) -> dict[str, list[float]]:
        """The ranges as JSON-ready numbers; `from_dict` takes them back."""
        return {name: [float(value) for value in getattr(self, name)] for name in _RANGES}

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[float]], skeleton: Skeleton) -> KinematicLimits:
        """The limits that `to_dict` wrote.

        Raises:
            DataError: a range is missing, is not of the skeleton's length, or holds no finite numbers.
        """
        sizes = {name: len(skeleton.bones) for name in _RANGES[:2]}
        sizes |= {name: len(angle_pairs(skeleton)) for name in _RANGES[2:]}
        arrays = {}
        for name, size in sizes.items():
            try:
                array = np.asarray(values[name], np.float64)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"limits must have numbers for {name}", field=name) from error
            if array.shape != (size,) or not np.isfinite(array).all():
                raise DataError(f"limits must be {size} finite numbers, got {list(array.shape)}", field=name)
            arrays[name] = array
        return cls(skeleton, **arrays)

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
        return self._beyond(*self._measured(bone_vectors(keypoints, self.skeleton, "keypoints")))

    def clamped(self, keypoints: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Poses with their bones and angles brought within the limits, and moved by little more than that takes.

        A bone of too large or small a ratio gets the nearest one that is allowed, and the two bones of an angle
        beyond its arc turn back, the shorter one by more. Where such bones do not meet, in a loop or in a joint that
        holds several, joints go where they fit best, by least squares; then it begins anew.

        Args:
            keypoints: [N, K, 2], any unit.

        Returns:
            poses: [N, K, 2]; those that were within the limits are as they were.
            inside: [N] which are within now. The few that cannot be brought there are where the last step left them.

        Raises:
            UsageError: wrong shape.
            DataError: a coordinate is not finite, or all bones of a pose have length 0.
        """
        vectors = bone_vectors(keypoints, self.skeleton, "keypoints")
        poses = np.array(keypoints, np.float64)
        inside = np.zeros(len(poses), bool)
        for step in range(_STEPS + 1):
            ratios, offset = self._measured(vectors)
            beyond = self._beyond(ratios, offset)
            left = np.flatnonzero(~inside)
            inside[left] = ~beyond
            if step == _STEPS or not beyond.any():
                break
            left = left[beyond]
            share = _TURN if step < _PATIENCE else _TURN_MORE
            bones = self._allowed(vectors[beyond], ratios[beyond], offset[beyond], share)
            poses[left] = self._joined(bones, poses[left])
            vectors = bone_vectors(poses[left], self.skeleton, "keypoints")
        return poses, inside

    def _measured(self, vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of bone vectors [N, B, 2]: ratios [N, B], and angles from the middles of their arcs [N, A] in [-pi, pi)."""
        offset = angles_from_vectors(vectors, self.skeleton) - self.angle_center
        return ratios_from_vectors(vectors, "keypoints"), _half_turns(offset)

    def _beyond(self, ratios: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.bool_]:
        """[N] whether any of them is out of its range."""
        low, high = self.ratio_low - _SLACK, self.ratio_high + _SLACK
        bones = ((ratios < low) | (ratios > high)).any(axis=1)
        bent = (np.abs(offset) > self.angle_reach + _SLACK).any(axis=1)
        return np.asarray(bones | bent)

    def _allowed(
        self,
        vectors: NDArray[np.float64],
        ratios: NDArray[np.float64],
        offset: NDArray[np.float64],
        share: float,
    ) -> NDArray[np.float64]:
        """Bone vectors [N, B, 2], each as long as it may be and turned to where its angles are allowed."""
        middle, half = (self.ratio_high + self.ratio_low) / 2.0, (self.ratio_high - self.ratio_low) / 2.0
        length = np.clip(ratios, middle - _CLEAR * half, middle + _CLEAR * half)
        reach = np.where(self.angle_reach < np.pi, _CLEAR * self.angle_reach, np.pi)
        turn = np.zeros_like(ratios)
        # The bones' ends move least, by their squares, where each turns as much as the other is long, squared. A line
        # of hips seen from the side is next to nothing long: turning trunk and legs instead would throw the pose over.
        squared = np.square(length) + _SLACK
        for column, (_, first, second) in enumerate(angle_pairs(self.skeleton)):
            # What has been turned for other angles may have brought this one in.
            left = _half_turns(offset[:, column] + turn[:, second] - turn[:, first])
            excess = share * (left - np.clip(left, -reach[column], reach[column]))
            both = squared[:, first] + squared[:, second]
            turn[:, first] += excess * squared[:, second] / both
            turn[:, second] -= excess * squared[:, first] / both
        x, y = vectors[..., 0], vectors[..., 1]
        cos, sin = np.cos(turn), np.sin(turn)
        turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
        return np.asarray(turned * (length / np.maximum(ratios, _SLACK))[..., None], np.float64)

    def _joined(self, bones: NDArray[np.float64], poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Joints [N, K, 2] near those of `poses` between which the bones [N, B, 2] fit best."""
        ends = np.asarray(self.skeleton.bones)
        incidence = np.zeros((len(ends), poses.shape[1]))
        rows = np.arange(len(ends))
        incidence[rows, ends[:, 0]], incidence[rows, ends[:, 1]] = -1.0, 1.0
        held = _HELD * np.eye(poses.shape[1])
        inverse = np.linalg.inv(incidence.T @ incidence + held)
        given = np.concatenate([bones, poses], axis=1)
        joints = np.einsum("kg,ngc->nkc", inverse @ np.concatenate([incidence.T, held], axis=1), given)
        return np.asarray(joints, np.float64)


def _half_turns(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angles in [-pi, pi)."""
    return np.asarray((angles + np.pi) % (2.0 * np.pi) - np.pi, np.float64)


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

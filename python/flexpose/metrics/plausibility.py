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
        vectors = bone_vectors(keypoints, self.skeleton, "keypoints")
        ratios = ratios_from_vectors(vectors, "keypoints")
        offset = (angles_from_vectors(vectors, self.skeleton) - self.angle_center + np.pi) % (
            2.0 * np.pi
        ) - np.pi
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

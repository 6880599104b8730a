"""What a distance is worth in real poses: how many of them, drawn again and again, would be as far off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import UsageError
from .arrays import as_rows
from .frechet import frechet_from_moments, moments

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Worth", "WorthCurve", "worth_of_mmd2"]


@dataclass(frozen=True)
class Worth:
    """A number of real poses, or that it lies beyond the end of the curve.

    Attributes:
        poses: the number; the end of the curve where `bound` is set.
        bound: "<" fewer than `poses`, ">" more, "" the number itself.
    """

    poses: float
    bound: Literal["<", ">", ""] = ""

    def __str__(self) -> str:
        return f"{self.bound}{self.poses:.0f}"


@dataclass(frozen=True)
class WorthCurve:
    """Frechet distance between N real poses, resampled without end, and the whole real set.

    Attributes:
        sizes: numbers of poses N, growing.
        distances: their mean Frechet distance, falling.
        spreads: standard deviation over the draws.
    """

    sizes: tuple[int, ...]
    distances: tuple[float, ...]
    spreads: tuple[float, ...]

    @classmethod
    def from_target(
        cls, target: ArrayLike, *, smallest: int = 16, largest: int = 4096, draws: int = 10, seed: int = 0
    ) -> WorthCurve:
        """Measure the curve on a target set.

        Whoever has N real poses and nothing else can draw from these N; that has their mean and their
        covariance (divided by N). Its distance to the target is averaged over draws of N poses, for N in
        powers of two.

        Args:
            target: [M, K, 2] or [M, D], M >= 2 `smallest`.
            smallest: first N, >= 2.
            largest: the last N is at most this and at most M / 2.
            draws: for each N, >= 1.
            seed: of the draws.

        Raises:
            UsageError: wrong shape, or an argument out of range.
            DataError: a value is not finite.
        """
        if not 2 <= smallest <= largest:
            raise UsageError(f"smallest must be in 2 to largest, got {smallest} and {largest}")
        if draws < 1:
            raise UsageError(f"draws must be >= 1, got {draws}")
        rows = as_rows(target, "target", min_rows=2 * smallest)
        whole = moments(rows)
        mean, covariance = whole.mean, whole.covariance(ddof=0)
        sizes = [smallest]
        while sizes[-1] * 2 <= min(largest, len(rows) // 2):
            sizes.append(sizes[-1] * 2)
        rng = np.random.default_rng(seed)
        averages, spreads = [], []
        for size in sizes:
            values = []
            for _ in range(draws):
                some = moments(rows[rng.integers(len(rows), size=size)])
                values.append(frechet_from_moments(some.mean, some.covariance(ddof=0), mean, covariance))
            averages.append(float(np.mean(values)))
            spreads.append(float(np.std(values)))
        # The true curve falls; where chance says otherwise the reading must still be unique.
        falling = np.minimum.accumulate(averages).tolist()
        return cls(tuple(sizes), tuple(falling), tuple(spreads))

    def read(self, distance: float) -> Worth:
        """The number of real poses that a Frechet distance is worth.

        Straight lines between the points of the curve, both axes logarithmic.

        Args:
            distance: >= 0, measured against the same target in the same coordinates.

        Raises:
            UsageError: the distance is negative or no number.
        """
        if not distance >= 0.0:
            raise UsageError(f"distance must be >= 0, got {distance}")
        if distance > self.distances[0]:
            return Worth(float(self.sizes[0]), "<")
        if distance < self.distances[-1]:
            return Worth(float(self.sizes[-1]), ">")
        logs = np.log(np.maximum(self.distances, 1e-300))[::-1]
        return Worth(
            math.exp(float(np.interp(math.log(max(distance, 1e-300)), logs, np.log(self.sizes)[::-1])))
        )


def worth_of_mmd2(mmd2: float, target_mean: float, *, smallest: int = 16, largest: int = 4096) -> Worth:
    """The number of real poses that an unbiased squared MMD is worth.

    Here the curve is known: N real poses, resampled without end, have the expected squared MMD (1 - m) / N to
    their own distribution, with m the mean kernel value of two different real poses.

    Args:
        mmd2: unbiased squared MMD to the target; 0 or less is worth more than any number.
        target_mean: m, `MMDReference.target_mean` at the same bandwidth.
        smallest: below it only "<" is said.
        largest: above it only ">" is said.

    Raises:
        UsageError: an argument is out of range.

    Source: the expectation of the V-statistic, from Gretton et al. 2012, JMLR 13, Lemma 6.
    """
    if math.isnan(mmd2) or not 0.0 <= target_mean <= 1.0:
        raise UsageError(f"mmd2 must be a number and target_mean in [0, 1], got {mmd2} and {target_mean}")
    if mmd2 * largest < 1.0 - target_mean:
        return Worth(float(largest), ">")
    if mmd2 * smallest > 1.0 - target_mean:
        return Worth(float(smallest), "<")
    return Worth((1.0 - target_mean) / mmd2)

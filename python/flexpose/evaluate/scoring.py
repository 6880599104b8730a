"""Measuring sets of normalised poses against one target, all in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..metrics import (
    KinematicLimits,
    KinematicReference,
    MMDReference,
    Moments,
    NeighborReference,
    WorthCurve,
    angle_pairs,
    frechet_distance,
    frechet_from_moments,
    memorization_threshold,
    moments,
    nearest_shot_distance,
    worth_of_mmd2,
)
from ..metrics.arrays import as_keypoints
from ..poses import PoseSet, normalized_poses
from .report import ReportRow, RowKind, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ..skeleton import Skeleton
    from .baselines import Baseline
    from .config import EvaluateConfig

__all__ = ["Scorer", "TargetReference", "reframe"]


def reframe(
    normalized: NDArray[np.float64], skeleton: Skeleton, config: EvaluateConfig
) -> NDArray[np.float64]:
    """Put poses into the frame that they would have been given as pixels.

    A pose that was made in frame coordinates need not fill its frame as a framed one does; without this step
    every made-up set would be told apart by its size alone. The frame `keep` depends on the picture, not the
    pose.
    """
    if config.frame == "keep":
        return normalized
    return normalized_poses(PoseSet(normalized, skeleton=skeleton), config.frame, config.margin)


def _some(poses: NDArray[np.float64], limit: int, seed: Sequence[int]) -> NDArray[np.float64]:
    """At most `limit` poses, in their order; a random choice where there are more."""
    if len(poses) <= limit:
        return poses
    return poses[np.sort(np.random.default_rng(seed).choice(len(poses), limit, replace=False))]


class TargetReference:
    """Real target poses and what every comparison with them needs, computed once.

    Args:
        target: [N, K, 2] normalised complete poses.
        skeleton: K keypoints; without bones nothing is said on bones and angles.
        shots: [S, K, 2] guide poses, none of them in the target; None where there are none.
        config: the settings.
        n_pr: poses of each set for the metrics of nearest neighbours.
        bandwidth: of the kernel; None: the target's median distance.
    """

    def __init__(
        self,
        target: NDArray[np.float64],
        skeleton: Skeleton,
        shots: NDArray[np.float64] | None,
        config: EvaluateConfig,
        *,
        n_pr: int,
        bandwidth: float | None,
    ) -> None:
        self.config, self.skeleton, self.shots, self.n_pr = config, skeleton, shots, n_pr
        self.moments: Moments = moments(target)
        # The first scale is the bandwidth itself, whether it enters the mean or not.
        self.mmd = MMDReference(
            _some(target, config.n_mmd, [config.seed, 1]),
            bandwidth,
            scales=list(dict.fromkeys((1.0, *config.bandwidth_scales))),
            threads=config.threads,
            seed=config.seed,
        )
        self._neighbors = [
            NeighborReference(_some(target, n_pr, [config.seed, 2, repeat]), config.k)
            for repeat in range(config.seeds)
        ]
        some = _some(target, config.n_kinematics, [config.seed, 3])
        self.kinematics: KinematicReference | None = None
        self._limits: KinematicLimits | None = None
        if skeleton.bones:
            self.kinematics = KinematicReference(some, skeleton)
            self._limits = KinematicLimits.from_reference(
                some, skeleton, tail=config.tail, widen=config.widen
            )
        self._threshold: float | None = None
        if shots is not None:
            self._threshold = memorization_threshold(some, shots, config.copy_quantile)

    def distances(self, poses: NDArray[np.float64]) -> dict[str, float]:
        """Everything but the metrics of nearest neighbours, by key."""
        own = moments(poses)
        mmd2 = dict(
            zip(
                self.mmd.scales,
                self.mmd.distances(_some(poses, self.config.n_mmd, [self.config.seed, 4])),
                strict=True,
            )
        )
        values = {
            "fd": frechet_from_moments(
                own.mean, own.covariance(), self.moments.mean, self.moments.covariance()
            ),
            "mmd2": mmd2[1.0],
        }
        if self.config.bandwidth_scales:
            values["mmd2_scales"] = float(np.mean([mmd2[scale] for scale in self.config.bandwidth_scales]))
        some = _some(poses, self.config.n_kinematics, [self.config.seed, 5])
        if self.kinematics is not None and self._limits is not None:
            kinematics = self.kinematics.distances(some)
            values["bone_ratio_w1"] = kinematics.bone_ratio
            values["joint_angle_w1"] = kinematics.joint_angle
            if kinematics.orientation is not None:
                values["orientation_w1"] = kinematics.orientation
            values["implausible"] = float(self._limits.violated(some).mean())
        if self.shots is not None:
            nearest = nearest_shot_distance(some, self.shots, threshold=self._threshold)
            values["nearest_shot"] = nearest.median
            if nearest.copies is not None:
                values["copies"] = nearest.copies
        return values

    def neighbors(self, poses: NDArray[np.float64], repeat: int) -> dict[str, float]:
        """Precision, recall, density and coverage of random poses against random real ones, by key."""
        real = self._neighbors[repeat]
        fake = _some(poses, self.n_pr, [self.config.seed, 6, repeat])
        precision, recall = real.precision_recall(fake)
        density, coverage = real.density_coverage(fake)
        return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _over_repeats(repeats: Sequence[dict[str, float]]) -> dict[str, Value]:
    """Mean and standard deviation of each key."""
    columns = {key: [values[key] for values in repeats] for key in repeats[0]}
    return {key: Value(float(np.mean(column)), _spread(column)) for key, column in columns.items()}


@dataclass(frozen=True)
class Scorer:
    """Makes the rows of a report.

    Attributes:
        target: [N, K, 2] normalised real poses.
        reference: of all of them.
        source: [M, K, 2] normalised source poses; None where there are none.
        curve: of real poses; None for a small target.
    """

    target: NDArray[np.float64]
    reference: TargetReference
    source: NDArray[np.float64] | None
    curve: WorthCurve | None

    @property
    def _config(self) -> EvaluateConfig:
        return self.reference.config

    def _row(self, name: str, kind: RowKind, n: int, values: dict[str, Value]) -> ReportRow:
        worth_fd = None if self.curve is None else self.curve.read(values["fd"].mean)
        worth_mmd2 = None
        if self.curve is not None:
            worth_mmd2 = worth_of_mmd2(
                values["mmd2"].mean,
                self.reference.mmd.target_mean[0],
                smallest=self.curve.sizes[0],
                largest=self.curve.sizes[-1],
            )
        return ReportRow(name, kind, n, values, worth_fd, worth_mmd2)

    def given(self, name: str, kind: RowKind, poses: NDArray[np.float64]) -> ReportRow:
        """Measure a set of poses as it is.

        The values are those of the whole set; their spread is the standard deviation over half-samples drawn
        without replacement, which is that of the whole set's own sampling. Where the number of poses matters
        (nearest neighbours) the value is the mean over random choices of n_pr.
        """
        config = self._config
        whole = self.reference.distances(poses)
        halves, neighbors = [], []
        for repeat in range(config.seeds):
            half = _some(poses, len(poses) // 2, [config.seed, 7, repeat])
            halves.append(self.reference.distances(half))
            neighbors.append(self.reference.neighbors(poses, repeat))
        values = {key: Value(value, _spread([half[key] for half in halves])) for key, value in whole.items()}
        return self._row(name, kind, len(poses), values | _over_repeats(neighbors))

    def row(self, name: str, normalized: ArrayLike, *, taken: Sequence[str]) -> ReportRow:
        """Measure poses that a caller adds; see `EvaluationReport.add_row`."""
        if name in taken:
            raise UsageError(f"name must be new, {name!r} is taken")
        poses = as_keypoints(normalized, "normalized", self.reference.skeleton.num_keypoints)
        if len(poses) < self._config.min_poses:
            raise UsageError(
                f"normalized must have at least {self._config.min_poses} poses, got {len(poses)}"
            )
        return self.given(name, "added", reframe(poses, self.reference.skeleton, self._config))

    def baseline(self, baseline: Baseline) -> ReportRow:
        """Draw poses without learning, several times, and measure each draw."""
        config, reference = self._config, self.reference
        if reference.shots is None:
            raise UsageError("shots must be given for a baseline, got None")
        repeats = []
        for repeat in range(config.seeds):
            drawn = baseline.sampler(reference.shots, self.source, config.n_baseline, config.seed + repeat)
            poses = reframe(drawn, reference.skeleton, config)
            repeats.append(reference.distances(poses) | reference.neighbors(poses, repeat))
        return self._row(baseline.name, "baseline", config.n_baseline, _over_repeats(repeats))

    def real(self) -> ReportRow:
        """Measure one random half of the target against the other: what chance alone gives."""
        config = self._config
        half = len(self.target) // 2
        repeats = []
        for repeat in range(config.seeds):
            order = np.random.default_rng([config.seed, 8, repeat]).permutation(len(self.target))
            other = TargetReference(
                self.target[np.sort(order[half:])],
                self.reference.skeleton,
                self.reference.shots,
                config,
                n_pr=self.reference.n_pr,
                bandwidth=self.reference.mmd.bandwidth,
            )
            poses = self.target[np.sort(order[:half])]
            repeats.append(other.distances(poses) | other.neighbors(poses, repeat))
        return ReportRow("real target, half against half", "real", half, _over_repeats(repeats))

    def details(self, poses: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        """Distances by joint, bone and angle, by their names."""
        skeleton = self.reference.skeleton
        names = skeleton.names
        found = {
            "joint_fd": {
                name: frechet_distance(poses[:, index], self.target[:, index])
                for index, name in enumerate(names)
            }
        }
        if self.reference.kinematics is not None:
            distances = self.reference.kinematics.distances(poses)
            bones = [f"{names[parent]}-{names[child]}" for parent, child in skeleton.bones]
            found["bone_ratio_w1"] = dict(zip(bones, distances.per_bone.tolist(), strict=True))
            angles = [
                f"{names[joint]}: {bones[one]}, {bones[two]}" for joint, one, two in angle_pairs(skeleton)
            ]
            found["joint_angle_w1"] = dict(zip(angles, distances.per_angle.tolist(), strict=True))
        return found

"""Comparing generated poses with target poses, beside what no learning gives and what chance gives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import config_dict, make_config
from ..errors import UsageError
from ..metrics import WorthCurve
from ..poses import normalized_poses
from ..runs import Progress, versions
from ..skeleton import joint_map, map_joints
from .baselines import BASELINES
from .config import EvaluateConfig
from .report import EvaluationReport
from .scoring import Scorer, TargetReference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..poses import PoseSet
    from ..skeleton import Skeleton

__all__ = ["evaluate"]

# Largest difference of a coordinate, in half frame sides, at which two poses are the same: above what writing
# pixels with two decimals loses, below what two frames of a video differ by.
_SAME_POSE = 1e-3


class _Sets:
    """The pose sets on one skeleton, complete and normalised, and what had to be left out."""

    def __init__(self, skeleton: Skeleton, config: EvaluateConfig) -> None:
        self.skeleton, self.config = skeleton, config
        self.counts: dict[str, int] = {}
        self.notes: list[str] = []

    def normalized(self, poses: PoseSet, name: str, min_poses: int) -> NDArray[np.float64]:
        """[N, K, 2] of the complete poses of a set."""
        if poses.skeleton.names != self.skeleton.names:
            mapping = joint_map(poses.skeleton, self.skeleton)
            poses = map_joints(poses, self.skeleton)
            if mapping.approximate_joints:
                joints = ", ".join(mapping.approximate_joints)
                self.notes.append(
                    f"The {name} poses come from the skeleton {mapping.source.name}; approximate joints: "
                    f"{joints}."
                )
        complete = poses.complete()
        left_out = int(np.count_nonzero(~complete))
        if left_out:
            poses = poses[complete]
            self.notes.append(f"{left_out:,} {name} poses miss a keypoint and are left out.")
        self.counts[name], self.counts[f"{name}_incomplete"] = len(poses), left_out
        if len(poses) < min_poses:
            raise UsageError(f"{name} must have at least {min_poses} complete poses, got {len(poses)}")
        return normalized_poses(poses, self.config.frame, self.config.margin)

    def without_shots(self, target: NDArray[np.float64], shots: NDArray[np.float64]) -> NDArray[np.float64]:
        """The target without the poses that are guide poses."""
        same = np.zeros(len(target), np.bool_)
        for shot in shots:
            same |= np.abs(target - shot).max(axis=(1, 2)) <= _SAME_POSE
        dropped = int(np.count_nonzero(same))
        self.counts["target_same_as_shots"] = dropped
        self.notes.append(
            f"{dropped:,} target poses equal one of the {len(shots)} guide poses and are left out."
        )
        if len(target) - dropped < self.config.min_poses:
            raise UsageError(
                f"target must have at least {self.config.min_poses} poses that are no guide poses, "
                f"got {len(target) - dropped}"
            )
        return target[~same]


def _explain(
    config: EvaluateConfig, n_pr: int, bandwidth: float, shots: NDArray[np.float64] | None
) -> list[str]:
    scales = ", ".join(f"{scale:g}" for scale in config.bandwidth_scales)
    notes = [
        f"All poses are framed by `{config.frame}` with a margin of {config.margin:g}; lengths are in half "
        "frame sides. Poses that are made in frame coordinates are framed again.",
        f"P, R, density and coverage: {config.seeds} random choices of {n_pr:,} poses of each set, k = "
        f"{config.k}. MMD2: bandwidth {bandwidth:.4f}, at most {config.n_mmd:,} poses of a set; the mean "
        f"over scales takes the bandwidth times {scales}.",
        f"Given sets: the value of all poses +- the standard deviation over {config.seeds} half-samples.",
    ]
    if shots is not None and config.baselines:
        notes.append(
            f"Ways of not learning: mean +- standard deviation over {config.seeds} draws of "
            f"{config.n_baseline:,} poses with these guide poses; other guide poses would spread more."
        )
    return notes


def evaluate(
    generated: PoseSet,
    target: PoseSet,
    *,
    shots: PoseSet | None = None,
    source: PoseSet | None = None,
    config: EvaluateConfig | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> EvaluationReport:
    """Measure generated poses against real target poses.

    The report has a row for the generated set, one for each way of not learning that the given sets allow,
    and one for the target against itself. Only complete poses count. The target should hold poses that no one
    has learned from; those that equal a guide pose are taken out.

    Args:
        generated: the poses to judge; their skeleton is that of the report.
        target: real poses; on another skeleton they are carried over by `map_joints`, as the others are.
        shots: the guide poses that the generator was adapted to, >= 2; they turn the baselines on.
        source: the source poses; some baselines need them.
        config: the settings; None for the defaults.
        progress: is told of each row.
        **settings: fields of `EvaluateConfig` that replace those of `config`.

    Returns:
        The report; `add_row` of it measures further sets in the same way.

    Raises:
        ConfigError: an unknown setting, or one out of range.
        UsageError: a set is too small, or its joints cannot be carried over.
        DataError: a pose cannot be framed.
    """
    config = config or EvaluateConfig()
    if settings:
        config = make_config(EvaluateConfig, config_dict(config) | settings)
    progress = progress or Progress()
    sets = _Sets(generated.skeleton, config)
    fake = sets.normalized(generated, "generated", config.min_poses)
    real = sets.normalized(target, "target", config.min_poses)
    guides = None if shots is None else sets.normalized(shots, "shots", 2)
    origin = None if source is None else sets.normalized(source, "source", 2)
    if guides is not None and config.exclude_shots:
        real = sets.without_shots(real, guides)

    chosen = [b for b in BASELINES if origin is not None or not b.needs_source]
    if guides is None or not config.baselines:
        chosen = []
    progress.start("evaluate", 2 + len(chosen))
    n_pr = min(config.n_pr, len(fake), len(real) // 2)
    reference = TargetReference(real, sets.skeleton, guides, config, n_pr=n_pr, bandwidth=config.bandwidth)
    curve = None
    if len(real) >= 2 * config.worth_smallest:
        curve = WorthCurve.from_target(
            real,
            smallest=config.worth_smallest,
            largest=config.worth_largest,
            draws=config.worth_draws,
            seed=config.seed,
        )
    scorer = Scorer(real, reference, origin, curve)
    steps = [partial(scorer.given, "generated", "generated", fake)]
    steps += [partial(scorer.baseline, baseline) for baseline in chosen]
    steps.append(partial(scorer.real))
    rows = []
    for done, step in enumerate(steps, start=1):
        rows.append(step())
        progress.advance(done, fd=rows[-1].values["fd"].mean)
    return EvaluationReport(
        config=config_dict(config),
        counts=sets.counts,
        bandwidth=reference.mmd.bandwidth,
        curve=curve,
        details=scorer.details(fake),
        notes=_explain(config, n_pr, reference.mmd.bandwidth, guides) + sets.notes,
        versions=versions(),
        _rows=rows,
        _scorer=scorer,
    )

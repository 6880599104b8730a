"""Choosing the few guide poses of a target domain, and writing down which they were."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from flexpose._atomic import atomic_write
from flexpose.errors import UsageError
from flexpose.poses._random import Stream, uniforms
from flexpose.poses.framing import normalized_poses

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from flexpose.poses.poseset import PoseSet

__all__ = ["FewShotSplit", "FewShotStrategy", "split_fewshot"]

FewShotStrategy = Literal["stratified", "uniform", "kmeans"]

_MANIFEST_VERSION = 1


@dataclass(frozen=True, eq=False)
class FewShotSplit:
    """A choice of guide poses.

    Attributes:
        shots: [S] int64, rows of the guide poses, ascending.
        rest: [N - S] int64, all other rows, ascending.
        manifest: what was chosen, from what and how; ready for JSON.
    """

    shots: NDArray[np.int64]
    rest: NDArray[np.int64]
    manifest: dict[str, Any]

    def write_manifest(self, path: str | PathLike[str]) -> None:
        """Write the manifest as JSON.

        Args:
            path: the file; it is there whole or not at all.

        Raises:
            ResourceError: the disk is full or the folder cannot be written.
        """
        atomic_write(path, (json.dumps(self.manifest, indent=2, ensure_ascii=False) + "\n").encode())


def split_fewshot(
    poses: PoseSet,
    *,
    seed: int,
    shots_per_label: int | None = None,
    shots: int | None = None,
    strategy: str | None = None,
) -> FewShotSplit:
    """Choose guide poses among the complete poses of a set.

    Args:
        poses: the target set. Poses with a missing keypoint, and in a choice by label those with the label
            "", are never chosen; they are in the rest.
        seed: 0 to 2^64 - 1; the same seed chooses the same poses, whatever the numpy release.
        shots_per_label: guide poses of each label; 2 if neither this nor ``shots`` is given.
        shots: guide poses in all.
        strategy: ``stratified``: ``shots_per_label`` of each label at random, or ``shots`` spread over the
            labels as evenly as can be. ``uniform``: ``shots`` at random, whatever their labels. ``kmeans``:
            the first at random, each further one with a probability that grows with the squared distance to
            the nearest one chosen (normalised poses), within each label if ``shots_per_label`` is given.
            None: ``uniform`` if ``shots`` is given, else ``stratified``.

    Returns:
        The split, with its manifest.

    Raises:
        UsageError: both counts or an unknown strategy are given, labels are missing, or there are too few
            poses.
        DataError: ``kmeans`` met a pose that cannot be framed.

    Source: k-means++ seeding, Arthur and Vassilvitskii, SODA 2007, section 2.2.
    """
    if shots is not None and shots_per_label is not None:
        raise UsageError("give shots or shots_per_label, not both")
    if shots is None and shots_per_label is None:
        shots_per_label = 2
    if strategy is None:
        strategy = "stratified" if shots is None else "uniform"
    if strategy not in get_args(FewShotStrategy):
        raise UsageError(f"strategy must be one of {', '.join(get_args(FewShotStrategy))}, got {strategy!r}")
    if strategy == "uniform" and shots is None:
        raise UsageError("strategy 'uniform' needs shots, got shots_per_label")
    for name, count in (("shots", shots), ("shots_per_label", shots_per_label)):
        if count is not None and (isinstance(count, bool) or count < 1):
            raise UsageError(f"{name} must be >= 1, got {count!r}")
    numbers = uniforms(seed, Stream.FEWSHOT, len(poses), 2)
    groups = _groups(poses, numbers[:, 1], shots, shots_per_label, by_label=strategy == "stratified")
    chosen: list[int] = []
    for what, rows, count in groups:
        if len(rows) < count:
            raise UsageError(f"{what} has {len(rows)} complete poses, {count} are wanted")
        if strategy == "kmeans":
            chosen += _spread(poses, rows, count, numbers[:, 0])
        else:
            chosen += rows[np.argsort(numbers[rows, 0], kind="stable")[:count]].tolist()
    taken = np.zeros(len(poses), bool)
    taken[chosen] = True
    shot_rows, rest = np.flatnonzero(taken), np.flatnonzero(~taken)
    return FewShotSplit(shot_rows, rest, _manifest(poses, shot_rows, strategy, seed, shots, shots_per_label))


def _groups(
    poses: PoseSet,
    numbers: NDArray[np.float64],
    shots: int | None,
    shots_per_label: int | None,
    *,
    by_label: bool,
) -> list[tuple[str, NDArray[np.int64], int]]:
    """Rows to choose from, how many, and a name for messages."""
    complete = poses.complete()
    if shots is not None and not by_label:
        return [("the set", np.flatnonzero(complete), shots)]
    if poses.labels is None or not any(poses.labels):
        raise UsageError("poses must have labels for a choice by label, got none: give shots instead")
    labels = np.array(poses.labels)
    names = sorted(set(poses.labels) - {""})
    rows = [np.flatnonzero(complete & (labels == name)) for name in names]
    if shots is None:
        counts = [int(shots_per_label or 0)] * len(names)
    else:
        # The labels that get one more are drawn: in alphabetical order the first would always win.
        lots = np.argsort([numbers[labels == name].min() for name in names], kind="stable")
        counts = [shots // len(names)] * len(names)
        for lot in lots[: shots % len(names)]:
            counts[lot] += 1
    return [(f"label {name!r}", r, count) for name, r, count in zip(names, rows, counts, strict=True)]


def _spread(poses: PoseSet, rows: NDArray[np.int64], count: int, numbers: NDArray[np.float64]) -> list[int]:
    """k-means++ seeding among some rows."""
    points = normalized_poses(poses[rows]).reshape(len(rows), -1)
    drawn = numbers[rows]
    chosen = [int(drawn[0] * len(rows))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    for step in range(1, count):
        nearest[chosen] = 0
        total = nearest.cumsum()
        if total[-1] > 0:
            pick = int(np.searchsorted(total, drawn[step] * total[-1], side="right"))
            pick = min(pick, int(np.flatnonzero(nearest)[-1]))  # rounding must not run past the last one
        else:  # all that is left are copies of what was chosen
            pick = int(np.setdiff1d(np.arange(len(rows)), chosen)[0])
        chosen.append(pick)
        nearest = np.minimum(nearest, ((points - points[pick]) ** 2).sum(axis=1))
    return [int(rows[i]) for i in chosen]


def _manifest(
    poses: PoseSet,
    rows: NDArray[np.int64],
    strategy: str,
    seed: int,
    shots: int | None,
    shots_per_label: int | None,
) -> dict[str, Any]:
    chosen = poses[rows]
    return {
        "format": "flexpose-fewshot",
        "version": _MANIFEST_VERSION,
        "seed": int(seed),
        "strategy": strategy,
        "shots": shots,
        "shots_per_label": shots_per_label,
        "rows": rows.tolist(),
        "ids": chosen.ids.tolist(),
        "labels": None if chosen.labels is None else list(chosen.labels),
        "skeleton": {"name": poses.skeleton.name, "fingerprint": poses.skeleton.fingerprint},
        "source": {"poses": len(poses), "origin": poses.origin, "sha256": poses.content_hash()},
        "shots_sha256": chosen.content_hash(),
    }

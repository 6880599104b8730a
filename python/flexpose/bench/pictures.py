"""Targets with pictures: what an annotator that was trained on a row's poses gets right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import make_config
from ..errors import UsageError
from ..match import (
    MATCH_PRESETS,
    MatchConfig,
    annotate,
    match,
    placement,
    read_pictures,
    score_annotations,
)
from ..poses import PoseSet, frame_poses, map_joints, read_poses
from ..pretrain.data import holdout_split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from numpy.typing import NDArray

    from ..match import Pictures

__all__ = ["PictureTarget", "match_config", "read_picture_target"]

_TEST_SHARE, _TEST_SEED = 0.2, 0  # the same pictures are left for the test in every cell
_LABELS = ("labels.json", "labels.npz")


def match_config(settings: Mapping[str, Any], seed: int) -> MatchConfig:
    """The annotator's settings of a grid: of a preset, if ``preset`` names one, and then what else there is.

    Raises:
        ConfigError: a setting is wrong.
        UsageError: there is no such preset.
    """
    given = dict(settings)
    preset = given.pop("preset", None)
    if preset is not None and preset not in MATCH_PRESETS:
        raise UsageError(f"preset must be one of {', '.join(MATCH_PRESETS)}, got {preset!r}")
    base = MATCH_PRESETS[preset] if preset is not None else {}
    return make_config(MatchConfig, {**base, **given, "seed": seed})


class PictureTarget:
    """Pictures of a target and their labels, a fifth of them for the test.

    Attributes:
        pictures: N pictures.
        labels: their poses.
        known: rows whose pictures are trained on and whose poses may be guide poses.
        test: the other rows, which nothing learns from.

    Raises:
        UsageError: there are too few pictures, or groups of them, to leave some for the test.
    """

    def __init__(self, pictures: Pictures, labels: PoseSet) -> None:
        self.pictures, self.labels = pictures, labels
        self.known, self.test = self._split()
        if len(self.test) == 0:
            raise UsageError(
                f"pictures must be enough, or of enough persons, to leave some for a test, got {len(pictures)}"
            )

    def _split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Whole groups go to either side: the same face in both would be no test."""
        groups = self.pictures.groups
        if groups is None:
            return holdout_split(len(self.pictures), _TEST_SHARE, _TEST_SEED)
        names = np.unique(groups)
        _, held = holdout_split(len(names), _TEST_SHARE, _TEST_SEED)
        tested = np.isin(groups, names[held])
        return np.flatnonzero(~tested), np.flatnonzero(tested)

    def score(
        self, poses: PoseSet, shots: PoseSet, config: MatchConfig, run: Path, device: str
    ) -> dict[str, float]:
        """Train an annotator on the pictures with a row's poses; its errors on the others.

        Where poses lie in pictures is taken from the guide poses, which are labelled in such pictures.

        Raises:
            UsageError, DataError, Interrupted: see `flexpose.match.match`.
            UsageError: the guide poses or the labels lack joints of the row's poses.
        """
        fill, center = placement(map_joints(shots, poses.skeleton))
        placed = replace(config, fill=fill, center=center)
        match(self.pictures[self.known], poses, placed, run, resume=(run / "match").exists(), device=device)
        found = annotate(self.pictures[self.test], run, device=device, dtype=config.dtype)
        return score_annotations(found, self.labels[self.test])

    def score_mean(self, shots: PoseSet) -> dict[str, float]:
        """Errors of the same pose everywhere, the guide poses' mean: what no annotator may be worse than."""
        tested = self.pictures[self.test]
        mean = frame_poses(shots, "keep").normalize(shots.keypoints).mean(0)
        everywhere = tested.denormalize(np.broadcast_to(mean, (len(tested), *mean.shape)))
        found = PoseSet(everywhere, skeleton=shots.skeleton, image_size=tested.sizes)
        return score_annotations(found, self.labels[self.test])


def read_picture_target(name: str, data_root: str | PathLike[str], size_px: int) -> PictureTarget:
    """Read labelled pictures that lie below a folder.

    Args:
        name: of ``NAME.npz`` with pictures and keypoints, or of a folder ``NAME`` with the pictures in ``pictures``
            and their labels, in the order of the pictures' names, in ``labels.json`` or ``labels.npz``.
        data_root: the folder with the user's data sets.
        size_px: side in which pictures are read.

    Returns:
        The fully labelled ones.

    Raises:
        UsageError: neither is there, or there are not as many labels as pictures.
        DataError: a file holds what it must not.
    """
    root = Path(data_root)
    archive, folder = root / f"{name}.npz", root / name
    if archive.is_file():
        pictures, labels = read_pictures(archive, size_px), read_poses(archive)
    else:
        files = [folder / label for label in _LABELS if (folder / label).is_file()]
        if not files:
            raise UsageError(
                f"{name} is not below {root}: give {archive.name} with pictures and keypoints, or a folder {name} with "
                f"pictures and {' or '.join(_LABELS)}"
            )
        pictures, labels = read_pictures(folder / "pictures", size_px), read_poses(files[0])
    if len(pictures) != len(labels):
        raise UsageError(f"{name}: expected a label for each of {len(pictures)} pictures, got {len(labels)}")
    complete = labels.complete()
    return PictureTarget(pictures[complete], labels[complete])

"""The source poses as training pictures: drawn on the fly, the same for a seed and a step on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from ..errors import UsageError
from ..skeleton import joint_map, load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..drawing import Drawing
    from ..poses import PoseSet
    from ..skeleton import Skeleton

__all__ = ["PoseBatches", "drawn_skeleton", "holdout_split", "images_to_tensor", "step_seed"]


def step_seed(seed: int, *indices: int) -> int:
    """A 63-bit seed for one place of a run: nothing needs to be carried from step to step, or over a resume."""
    return int(np.random.SeedSequence((seed, *indices)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def drawn_skeleton(name: str, poses: PoseSet) -> Skeleton:
    """The skeleton that a source of these poses is drawn with.

    Args:
        name: a name, a TOML file, or "auto": body13, which the sources of people that come with the package have, where
            the poses have its joints, else the poses' own.
        poses: the source set.

    Raises:
        UsageError: there is no skeleton of that name.
        DataError: the file is no skeleton.
    """
    if name != "auto":
        return load_skeleton(name)
    people = load_skeleton("body13")
    try:
        joint_map(poses.skeleton, people)
    except UsageError:
        return poses.skeleton
    return people


def holdout_split(count: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (shown, held out), sorted; at least one is shown."""
    order = np.random.default_rng((seed, 1)).permutation(count)
    held = min(round(share * count), count - 1)
    return np.sort(order[held:]), np.sort(order[:held])


def images_to_tensor(images: NDArray[np.uint8], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """uint8 [N, 3, S, S] -> [-1, 1]."""
    return torch.from_numpy(images).to(dtype) / 127.5 - 1


class PoseBatches:
    """Batches of drawn poses.

    Args:
        normalized: [N, K, 2] poses in frame coordinates.
        drawing: how they are drawn.
        batch: pictures a step.
        seed: of the order and the flips.
        flips: mirror every other pose, on average, left and right swapped.
    """

    def __init__(
        self, normalized: NDArray[np.float32], drawing: Drawing, batch: int, seed: int, *, flips: bool
    ) -> None:
        self.normalized, self.drawing, self.batch, self.seed, self.flips = (
            normalized,
            drawing,
            batch,
            seed,
            flips,
        )

    def poses(self, step: int) -> NDArray[np.float32]:
        """[batch, K, 2]: epochs without repetition, each in its own order."""
        count = len(self.normalized)
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        rows = np.empty(self.batch, np.int64)
        for epoch in np.unique(places // count):
            order = np.random.default_rng((self.seed, 2, int(epoch))).permutation(count)
            inside = places // count == epoch
            rows[inside] = order[places[inside] % count]
        chosen = self.normalized[rows]
        if self.flips:
            mirrored = np.random.default_rng((self.seed, 3, step)).random(self.batch) < 0.5
            chosen = np.where(mirrored[:, None, None], self._mirrored(chosen), chosen)
        return chosen

    def with_mirrored(self) -> NDArray[np.float32]:
        """All poses [N, K, 2], and their mirror images after them where flips are on."""
        if not self.flips:
            return self.normalized
        return np.concatenate([self.normalized, self._mirrored(self.normalized)])

    def _mirrored(self, poses: NDArray[np.float32]) -> NDArray[np.float32]:
        return poses[:, self.drawing.skeleton.flip_index] * np.array([-1, 1], np.float32)

    def images(self, step: int, resolution: int | None = None) -> torch.Tensor:
        """[batch, 3, resolution, resolution] float32 in [-1, 1], averaged down from the drawing's size."""
        return self.drawn(self.poses(step), resolution)

    def drawn(self, poses: NDArray[np.float32], resolution: int | None = None) -> torch.Tensor:
        """[N, 3, resolution, resolution] of poses [N, K, 2], as `images`."""
        full = images_to_tensor(self.drawing.images(poses))
        if resolution is None or resolution == self.drawing.size_px:
            return full
        return F.avg_pool2d(full, self.drawing.size_px // resolution)

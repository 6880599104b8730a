"""How guide poses are shown: as given, mirrored, from behind; and which of these the target can be believed to have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from scipy.spatial.distance import cdist

from ..metrics import nearest_shot_distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..drawing import Drawing

F = TypeVar("F", bound=np.floating)

__all__ = ["GuideViews", "all_views", "likely_views", "with_mirrored"]

_KNOWN = 2.5  # times as far from the source as seen from before: bodies are at 0.6 to 2, faces at 5 to 14
# Of the nearest other guide pose's squared distance, in the middle: variance of the kernel in which others count.
_KERNEL = 0.7
_LEAST = 1e-9  # of that variance; guide poses that are all the same have none
_OUTLIER = 0.1  # a view counts as if this near, of the nearest one, to each guide pose: no single one decides
# What is gained by leaving views out grows as the number of guide poses and its noise as the root of it: log
# likelihoods are asked to gain so much, at this power between the two.
_GAIN, _POWER = 0.45, 0.75


class GuideViews(NamedTuple):
    """The guide poses as they are shown: as given, mirrored, from behind.

    Attributes:
        poses: [V, K, 2] in frame coordinates; as given first, in their order.
        shots: [V] the guide pose that each shows.
        mirrored: [V] whether it is mirrored.
        behind: [V] whether it is seen from behind.
        fewer: there were more, and the guide poses spoke against them.
    """

    poses: NDArray[np.float32]
    shots: NDArray[np.intp]
    mirrored: NDArray[np.bool_]
    behind: NDArray[np.bool_]
    fewer: bool = False

    @classmethod
    def as_given(cls, shots: NDArray[np.float32]) -> GuideViews:
        """Guide poses [S, K, 2], each shown as it is."""
        none = np.zeros(len(shots), bool)
        return cls(shots, np.arange(len(shots)), none, none)

    def weights(self, share: float) -> NDArray[np.float64]:
        """[V] how often each is taken, so that those from behind have that share if there are any."""
        there = int(self.behind.sum())
        share = share if there else 0.0
        return np.where(self.behind, share / max(there, 1), (1 - share) / (len(self.behind) - there))

    def where(self, kept: NDArray[np.bool_]) -> GuideViews:
        """Those of them [V] alone."""
        return GuideViews(
            self.poses[kept], self.shots[kept], self.mirrored[kept], self.behind[kept], self.fewer
        )

    def apart(self) -> float:
        """How far the guide poses are from their nearest others, in the middle: the root of the joints' squares."""
        shots = self.where(~self.mirrored & ~self.behind).poses
        return float(np.sqrt(np.median(_squared(shots, GuideViews.as_given(shots)).min(axis=1))))

    @property
    def kinds(self) -> list[str]:
        """Of which kinds there are any: "as given", "mirrored", "from behind"."""
        there = {
            "as given": ~self.mirrored & ~self.behind,
            "mirrored": self.mirrored,
            "from behind": self.behind,
        }
        return [name for name, rows in there.items() if rows.any()]


def with_mirrored(poses: NDArray[F], drawing: Drawing) -> NDArray[F]:
    """Poses [N, K, 2] in frame coordinates, and as a mirror shows them [2 N, K, 2]."""
    mirrored = poses[:, drawing.skeleton.flip_index] * np.array([-1, 1], poses.dtype)
    return np.concatenate([poses, mirrored])


def all_views(shots: NDArray[np.float32], prior: NDArray[np.floating], drawing: Drawing) -> GuideViews:
    """The guide poses as given and mirrored, and both as they look from behind, or from the other side.

    From behind is mirrored, while left and right stay. Only views that the source has poses like: a walker may well
    come or go, but no face is seen from behind.

    Args:
        shots: [S, K, 2] in frame coordinates.
        prior: [N, K, 2] poses of the source, mirrored ones among them.
        drawing: tells which joints are left and right.
    """
    count = len(shots)
    both = with_mirrored(shots, drawing)
    turned = both * np.array([-1, 1], both.dtype)
    known = nearest_shot_distances(turned, prior) <= _KNOWN * nearest_shot_distances(both, prior)
    views = GuideViews(
        np.concatenate([both, turned]),
        np.tile(np.arange(count), 4),
        np.tile(np.repeat([False, True], count), 2),
        np.repeat([False, True], 2 * count),
    )
    return views.where(np.concatenate([np.ones(2 * count, bool), known]))


def likely_views(views: GuideViews, share: float) -> GuideViews:
    """Leave out the mirrored ones, those from behind, or both, where the guide poses speak against them.

    Each guide pose in turn is left out, and the others, in these views, say how likely it is: by a kernel as wide as
    guide poses are apart. A target that shows all views makes all of them likelier than a part, because there are
    more to be near to; one that shows a single side makes the others' views fall where no guide pose is.

    Args:
        views: of all guide poses.
        share: of those from behind, 0 to 1.

    Returns:
        All of them where nothing gains by much.
    """
    shots = views.poses[~views.mirrored & ~views.behind]
    squared = _squared(shots, views)
    nearest = squared.min(axis=1, keepdims=True)
    scale = _KERNEL * float(np.median(squared[:, : len(shots)].min(axis=1)))
    near = np.exp((nearest - squared) / (2 * max(scale, _LEAST)))
    kinds = 2 * views.behind + views.mirrored
    means = [near[:, kinds == kind].mean(axis=1) for kind in np.unique(kinds)]
    least = _OUTLIER * np.max(means, axis=0)

    def likely(kept: NDArray[np.bool_]) -> float:
        """Log likelihood of all guide poses under these views of the others."""
        weights = views.where(kept).weights(share)
        return float(np.log(near[:, kept] @ weights + least).sum())

    everything = np.ones(len(views.poses), bool)
    fewer = [~views.mirrored & ~views.behind, ~views.behind, ~views.mirrored]
    best = max(fewer, key=likely)
    gain = likely(best) - likely(everything)
    return views.where(best)._replace(fewer=True) if gain > _GAIN * len(shots) ** _POWER else views


def _squared(shots: NDArray[np.float32], views: GuideViews) -> NDArray[np.float64]:
    """[S, V] squared distances of guide poses, as given, from views of the others; infinite from their own."""
    squared = cdist(shots.reshape(len(shots), -1), views.poses.reshape(len(views.poses), -1), "sqeuclidean")
    squared[np.arange(len(shots))[:, None] == views.shots[None]] = np.inf
    return np.asarray(squared, np.float64)

"""What a report measures: samples of a run, the same noise without tau, and how they lie to real poses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..evaluate import evaluate
from ..metrics import KinematicReference, angle_pairs
from ..poses import PoseSet
from ..raster import pixels_from_normalized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..drawing import Drawing
    from ..evaluate import EvaluationReport
    from ..metrics import KinematicDistances
    from ..runs import Progress
    from ..sample.loop import Sampler
    from ..skeleton import Skeleton
    from .config import ReportConfig
    from .gather import Run

__all__ = ["Drawn", "Evidence", "Shift", "angle_names", "draw", "kinematic_shift", "look", "nearest", "tsne"]

_CHUNK = 1024  # samples drawn at a time; a multiple of the sampler's own blocks
_IMAGE_SIZE = 256  # pixels of the square that samples are given in, as `sample` has it
SKLEARN_INSTALL = "scikit-learn is not installed: install the extra [report] of flexpose-pda"


@dataclass(frozen=True)
class Drawn:
    """Samples of a generator.

    Attributes:
        poses: [N, K, 2] float32 frame coordinates, as beta read them, brought within the adapter's limits.
        framed: [N, K, 2] float64, put into the frames that they would have as data.
        images: uint8 [M, S, S, 3], the first pictures.
        kept: [N] whether `flexpose sample` would give it: the few that cannot be brought there are left out.
    """

    poses: NDArray[np.float32]
    framed: NDArray[np.float64]
    images: NDArray[np.uint8]
    kept: NDArray[np.bool_]

    @property
    def given(self) -> NDArray[np.float64]:
        """The framed poses that are kept."""
        return self.framed[self.kept]

    def pose_set(self, skeleton: Skeleton) -> PoseSet:
        """As `flexpose sample` gives them."""
        poses = self.poses[self.kept]
        size = np.full((len(poses), 2), _IMAGE_SIZE, np.int32)
        return PoseSet(pixels_from_normalized(poses, _IMAGE_SIZE), skeleton=skeleton, image_size=size)


@dataclass(frozen=True)
class Evidence:
    """What is known of one run that draws.

    Attributes:
        run: the run.
        drawn: its samples.
        before: samples of its source from the same noise; of a source run the same as `drawn`.
        shots: [S, K, 2] its guide poses; None where they were not given.
        target: [T, K, 2]; None where there is none.
        evaluation: against the target; None without one.
    """

    run: Run
    drawn: Drawn
    before: Drawn
    shots: NDArray[np.float32] | None
    target: NDArray[np.float32] | None
    evaluation: EvaluationReport | None


def draw(sampler: Sampler, config: ReportConfig, dtype: Any) -> Drawn:
    """Samples 0 to `config.samples` of a seed, and pictures of the first of them."""
    wanted = max(config.gallery, config.triples, config.neighbors)
    poses, images = [], []
    for begin in range(0, config.samples, _CHUNK):
        count = min(_CHUNK, config.samples - begin)
        read, pictures = sampler.draw(count, config.seed, begin=begin, dtype=dtype)
        poses.append(read)
        images.append(pictures[: max(0, wanted - begin)])
    read = np.concatenate(poses)
    pictures = np.concatenate(images).transpose(0, 2, 3, 1)
    kept = np.ones(len(read), bool)
    if sampler.limits is not None:
        read, kept = sampler.drawing.brought_within(sampler.limits, read)
    framed = sampler.drawing.reframed(read)
    return Drawn(read, framed, np.ascontiguousarray(pictures), kept)


def look(
    run: Run,
    config: ReportConfig,
    *,
    target: PoseSet | None,
    source_poses: PoseSet | None,
    shots: PoseSet | None,
    dtype: Any,
    progress: Progress,
) -> Evidence:
    """Sample a run and measure it.

    Args:
        run: with a sampler.
        config: the settings.
        target: real poses of the target domain.
        source_poses: real poses of the source.
        shots: the guide poses that it was adapted to.
        dtype: type of the convolutions.
        progress: told of the rows of the evaluation.

    Raises:
        UsageError: the run draws nothing, or a set of poses is too small to be measured.
        DataError: poses cannot be framed, or pictures hold no numbers.
    """
    sampler = run.sampler
    if sampler is None:
        raise UsageError(f"{run.path}: draws no poses")
    drawn = draw(sampler, config, dtype)
    before = (
        drawn
        if sampler.transfer is None
        else draw(replace(sampler, transfer=None, limits=None), config, dtype)
    )
    drawing = sampler.drawing
    evaluation = None
    if target is not None:
        evaluation = evaluate(
            drawn.pose_set(drawing.skeleton),
            target,
            shots=shots,
            source=source_poses,
            progress=progress,
            seeds=config.seeds,
            seed=config.seed,
            n_pr=config.n_pr,
            n_baseline=config.n_baseline,
            n_mmd=config.n_mmd,
        )
        if sampler.transfer is not None:
            evaluation.add_row("generator before adaptation", before.given)
    return Evidence(
        run,
        drawn,
        before,
        None if shots is None else drawing.framed(shots).normalized,
        None if target is None else drawing.framed(target).normalized,
        evaluation,
    )


def nearest(
    poses: NDArray[np.floating], shots: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest guide pose [N] of each pose, and its distance: root mean square over the joints."""
    offset = poses[:, None].astype(np.float64) - shots[None].astype(np.float64)
    distances = np.sqrt((offset**2).sum((2, 3)) / poses.shape[1])
    index = distances.argmin(1)
    return index, distances[np.arange(len(poses)), index]


@dataclass(frozen=True)
class Shift:
    """Bones and angles against those of a reference, without tau and with it.

    Attributes:
        reference: what it is, in words.
        bones: names.
        angles: names.
        before: distances of the source's samples.
        after: distances of the adapted samples.
    """

    reference: str
    bones: tuple[str, ...]
    angles: tuple[str, ...]
    before: KinematicDistances
    after: KinematicDistances


def kinematic_shift(evidence: Evidence, drawing: Drawing) -> Shift | None:
    """How the bone ratios and joint angles moved: towards the target, or the guide poses where there is none."""
    skeleton = drawing.skeleton
    known = evidence.shots if evidence.target is None else evidence.target
    if known is None or not skeleton.bones:
        return None
    reference = KinematicReference(known, skeleton)
    names = skeleton.names
    return Shift(
        "the guide poses" if evidence.target is None else "the target poses",
        tuple(f"{names[parent]}-{names[child]}" for parent, child in skeleton.bones),
        angle_names(skeleton),
        reference.distances(evidence.before.given),
        reference.distances(evidence.drawn.given),
    )


def angle_names(skeleton: Skeleton) -> tuple[str, ...]:
    """Each angle by its joint and the far end of the bone that turns against the joint's first one."""
    found = []
    for joint, _, other in angle_pairs(skeleton):
        parent, child = skeleton.bones[other]
        found.append(f"{skeleton.names[joint]}: {skeleton.names[child if parent == joint else parent]}")
    return tuple(found)


def tsne(sets: Mapping[str, NDArray[np.floating]], config: ReportConfig) -> dict[str, NDArray[np.float64]]:
    """t-SNE of all sets at once, so that they share one scale.

    Args:
        sets: poses [N, K, 2] by name; of each at most `config.tsne`, a random choice.
        config: the settings.

    Returns:
        [n, 2] by name.

    Raises:
        UsageError: scikit-learn is not installed.

    Source: van der Maaten and Hinton 2008, JMLR 9, started from the principal components.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise UsageError(SKLEARN_INSTALL) from error
    chosen = {}
    for number, (name, poses) in enumerate(sets.items()):
        rng = np.random.default_rng((config.seed, number))
        rows = np.sort(rng.permutation(len(poses))[: config.tsne])
        chosen[name] = poses[rows].reshape(len(rows), -1).astype(np.float64)
    together = np.concatenate(list(chosen.values()))
    perplexity = min(config.perplexity, (len(together) - 1) / 3)
    model = TSNE(2, init="pca", perplexity=perplexity, random_state=config.seed, learning_rate="auto")
    placed = np.asarray(model.fit_transform(together), np.float64)
    ends = np.cumsum([len(rows) for rows in chosen.values()])[:-1]
    return dict(zip(chosen, np.split(placed, ends), strict=True))

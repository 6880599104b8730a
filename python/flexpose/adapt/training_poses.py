"""The training poses: guide poses, and mixes (the paper's way) or variations of them; and a code for each mix."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..poses import mixup_poses, shrunken_mix_fraction, vary_poses
from ..sample.draw import draw_images, latents, read_keypoints
from .pairing import match_poses
from .shrinkage import Evidence, shrunk_poses, source_part, source_share
from .views import GuideViews, all_views, likely_views, with_mirrored

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..drawing import Drawing, FramedPoses
    from ..models import Generator
    from ..models.regressor import Regressor
    from ..poses import MixedPoses
    from ..runs import Progress
    from .config import AdaptConfig

__all__ = [
    "VariedPoses",
    "guide_poses",
    "guide_views",
    "joined_poses",
    "mixed_poses",
    "paired_codes",
    "varied_poses",
]

_POOL_STREAM = 20
_SHRUNKEN_WARNING = 0.25
_NEIGHBORS = 40
# What variation moves a guide pose by, in the middle, of the distance between guide poses: more is too much. Squared,
# because targets at twice of it want less than half; a fifth at least, or nothing but guide poses was drawn.
_FARTHEST, _LEAST_VARIED = 0.75, 0.2


def guide_poses(shots: FramedPoses, drawing: Drawing, config: AdaptConfig) -> NDArray[np.float32]:
    """T: the guide poses, and mirrored if the settings say so."""
    return with_mirrored(shots.normalized, drawing) if config.flips else shots.normalized


def guide_views(
    shots: FramedPoses, prior: NDArray[np.floating], drawing: Drawing, config: AdaptConfig
) -> GuideViews:
    """The guide poses, mirrored and from behind as far as the settings and the guide poses themselves say so."""
    if not config.flips:
        return GuideViews.as_given(shots.normalized)
    views = all_views(shots.normalized, prior, drawing)
    if config.behind == 0:
        views = views.where(~views.behind)
    return likely_views(views, config.behind) if config.views == "likely" else views


def mixed_poses(
    guides: NDArray[np.float32], drawing: Drawing, config: AdaptConfig, progress: Progress
) -> MixedPoses | None:
    """T* of the paper; None if the settings want none."""
    if config.mixed == 0:
        return None
    mixes = mixup_poses(
        guides,
        config.mixed,
        seed=config.seed,
        beta=config.mixup_beta,
        space=config.mixup_space,
        skeleton=drawing.skeleton,
        return_pairs=True,
    )
    shrunken = shrunken_mix_fraction(mixes.keypoints, guides, drawing.skeleton)
    if shrunken > _SHRUNKEN_WARNING:
        progress.message(
            f"{shrunken:.0%} of the mixed poses have a limb shorter than half of any guide pose's: are left and "
            'right mirrored in some of them? mixup_space "angles" keeps limbs rigid'
        )
    return mixes


class VariedPoses(NamedTuple):
    """T*, and how much of it is the source's.

    Attributes:
        poses: [mixed, K, 2].
        strength: of the variation, 0 to `AdaptConfig.variation`.
        share: of the source's shape in the covariance of the varied poses, 0 to `AdaptConfig.shrinkage`.
        part: of the poses that are the source's own, 0 to `AdaptConfig.source_part`.
    """

    poses: NDArray[np.float32]
    strength: float
    share: float
    part: float


def varied_poses(
    views: GuideViews, prior: NDArray[np.floating], drawing: Drawing, config: AdaptConfig
) -> VariedPoses:
    """Guide poses varied as the source's poses near them vary, and some of the source's own among them.

    By less where that would take them farther than guide poses are from each other: the target is narrower than the
    source's own variation. None of the source's own are among them then, nor where the target lacks some views.
    """
    weights = views.weights(config.behind)

    def varied(strength: float) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        poses, own = vary_poses(
            views.poses,
            prior,
            config.mixed,
            seed=config.seed,
            skeleton=drawing.skeleton,
            weights=weights,
            strength=strength,
            neighbors=_NEIGHBORS,
            return_shots=True,
        )
        return drawing.reframed(poses).astype(np.float32), own

    strength = config.variation
    poses, own = varied(strength)
    moved = float(np.median(np.sqrt(np.square(poses - views.poses[own]).sum(axis=(1, 2)))))
    farthest = _FARTHEST * views.apart()
    narrow = moved > farthest
    if narrow:
        strength *= max((farthest / moved) ** 2, _LEAST_VARIED)
        poses, own = varied(strength)
    evidence = Evidence(poses, own, views.poses, views.shots, weights)
    share = part = 0.0
    if config.shrinkage > 0:
        share = source_share(evidence, prior, most=config.shrinkage, seed=config.seed)
        poses = drawing.reframed(shrunk_poses(poses, prior, share)).astype(np.float32)
    if config.source_part > 0 and not narrow and not views.fewer:
        shrunk = replace(evidence, poses=poses)
        part = source_part(shrunk, prior, most=config.source_part, seed=config.seed)
        count = min(round(part * len(poses)), len(prior))
        poses[len(poses) - count :] = prior[:count]
    return VariedPoses(poses, strength, share, part)


def joined_poses(guides: NDArray[np.float32], mixes: MixedPoses | None) -> NDArray[np.float32]:
    """T and T* [N, K, 2]."""
    return guides if mixes is None else np.concatenate([guides, mixes.keypoints.astype(np.float32)])


def paired_codes(
    generator: Generator,
    beta: Regressor,
    shots: NDArray[np.float32],
    poses: NDArray[np.float32],
    mixes: MixedPoses | None,
    config: AdaptConfig,
    dtype: Any,
) -> Tensor:
    """W [T + T*, w_dim]: a code for each pose, by the pairing of the settings."""
    with torch.inference_mode():
        if config.pairing == "random":
            z = latents(len(poses), generator.config.z_dim, config.seed, stream=_POOL_STREAM)
            return generator.map(z.to(generator.device)).clone()
        needed = len(poses) if config.pairing == "match" else len(shots)
        pool = latents(max(config.pool, needed), generator.config.z_dim, config.seed, stream=_POOL_STREAM)
        codes = generator.map(pool.to(generator.device))
        drawn = read_keypoints(beta, draw_images(generator, codes, dtype=dtype), dtype=dtype)
        if config.pairing == "match":
            return codes[torch.from_numpy(match_poses(poses, drawn))].clone()
        own = codes[torch.from_numpy(match_poses(shots, drawn))]
        if mixes is None:
            return own.clone()
        share = torch.from_numpy(mixes.weight.astype(np.float32))[:, None].to(own.device)
        mixed = share * own[mixes.first] + (1 - share) * own[mixes.second]
        return torch.cat([own, mixed])

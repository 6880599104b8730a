"""The training set of the paper's way: guide poses, mixes of them, and a latent code for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..poses import mixup_poses, shrunken_mix_fraction
from ..sample.draw import draw_images, latents, read_keypoints
from .pairing import match_poses

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..drawing import Drawing, FramedPoses
    from ..models import Generator
    from ..models.regressor import Regressor
    from ..poses import MixedPoses
    from ..runs import Progress
    from .config import AdaptConfig

__all__ = ["guide_poses", "joined_poses", "mixed_poses", "paired_codes"]

_POOL_STREAM = 20
_SHRUNKEN_WARNING = 0.25


def guide_poses(shots: FramedPoses, drawing: Drawing, config: AdaptConfig) -> NDArray[np.float32]:
    """T: the guide poses, and mirrored if the settings say so."""
    poses = shots.normalized
    if config.flips:
        mirrored = poses[:, drawing.skeleton.flip_index] * np.array([-1, 1], np.float32)
        poses = np.concatenate([poses, mirrored])
    return poses


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

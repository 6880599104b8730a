"""What an annotator makes of pictures, and how far that is from labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .._device import find_device
from .._threads import compute_dtype
from ..errors import UsageError
from ..metrics.pose_error import mean_l2, mean_square, pck
from ..poses import PoseSet, map_joints
from ..pretrain.data import images_to_tensor
from .files import load_annotator

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from .pictures import Pictures

__all__ = ["PCK_SHARES", "annotate", "score_annotations"]

PCK_SHARES = (0.1, 0.2)
"""The thresholds of PCK, as shares of the skeleton's torso segment; the paper has both."""

_BATCH = 128


def annotate(
    pictures: Pictures, annotator: str | PathLike[str], *, device: str = "auto", dtype: str = "auto"
) -> PoseSet:
    """Read the pose in each picture.

    Args:
        pictures: N, in the size that the annotator was trained at.
        annotator: a file of `match`, or the run folder that holds one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: of the convolutions: "auto", "float32" or "bfloat16".

    Returns:
        N poses in the pixels of the pictures as they were; all joints are labelled.

    Raises:
        UsageError: the pictures have another size, or there is no such file.
        DataError: the file is no annotator.
    """
    network, skeleton, _ = load_annotator(annotator)
    size = network.config.size_px
    if pictures.size_px != size:
        raise UsageError(f"pictures must have size_px {size}, got {pictures.size_px}")
    where = find_device(device)
    kind = compute_dtype(dtype, where)
    network.to(where)
    found = [np.zeros((0, skeleton.num_keypoints, 2), np.float32)]
    with torch.inference_mode():
        for begin in range(0, len(pictures), _BATCH):
            shown = images_to_tensor(pictures.images[begin : begin + _BATCH]).to(where)
            found.append(network(shown, dtype=kind).normalized.cpu().numpy())
    keypoints = pictures.denormalize(np.concatenate(found))
    return PoseSet(keypoints, skeleton=skeleton, image_size=pictures.sizes)


def score_annotations(found: PoseSet, labels: PoseSet) -> dict[str, float]:
    """Errors of annotations against labels, over the joints that are labelled.

    Args:
        found: N poses of `annotate`.
        labels: the same N, of any skeleton that has the joints.

    Returns:
        ``mean_l2_px``; ``mean_l2_pct``, of the longer side of the picture; ``mse_px2``; ``mean_l2_pct_either_side``,
        where each pose counts with left and right swapped if that is nearer, as KeypointGAN counts it: without a label,
        little tells them apart; ``pck10`` and ``pck20``, by the skeleton's torso segment, where it is labelled.

    Raises:
        UsageError: the numbers differ, a joint is missing, or nothing is labelled.
    """
    if len(found) != len(labels):
        raise UsageError(f"labels must be {len(found)} as the pictures are, got {len(labels)}")
    truth = map_joints(labels, found.skeleton)
    shown = truth.visibility
    sides = found.image_size.max(1)[:, None, None].astype(np.float64)
    mirrored = found.keypoints[:, found.skeleton.flip_index]
    swapped = _sums(mirrored, truth.keypoints, shown) < _sums(found.keypoints, truth.keypoints, shown)
    either = np.where(swapped[:, None, None], mirrored, found.keypoints)
    scores = {
        "mean_l2_px": mean_l2(found.keypoints, truth.keypoints, shown),
        "mean_l2_pct": 100 * mean_l2(found.keypoints / sides, truth.keypoints / sides, shown),
        "mse_px2": mean_square(found.keypoints, truth.keypoints, shown),
        "mean_l2_pct_either_side": 100 * mean_l2(either / sides, truth.keypoints / sides, shown),
    }
    if found.skeleton.torso is None or not (shown[:, list(found.skeleton.torso)] > 0).all(axis=1).any():
        return scores
    for share in PCK_SHARES:
        scores[f"pck{round(100 * share)}"] = pck(
            found.keypoints, truth.keypoints, shown, rho=share, skeleton=found.skeleton
        )
    return scores


def _sums(
    found: NDArray[np.floating], truth: NDArray[np.floating], shown: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Sum of the distances of each pose's labelled joints [N]."""
    distances = np.linalg.norm(found.astype(np.float64) - truth, axis=-1)
    sums: NDArray[np.float64] = np.where(shown > 0, distances, 0.0).sum(1)
    return sums

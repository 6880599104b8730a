"""KeypointGAN's drawing as a torch function: gradients go from a picture's pixels to the joints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ..errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SIGMA", "soft_lines"]

SIGMA = 0.2
"""Softness of the lines: they fall to 1 / e at a distance of its square."""

_SMOOTH = 1e-6  # under the root, as in KeypointGAN: a root has no gradient at zero
_SHORT = 1e-12  # a bone of no length is a point


def soft_lines(
    keypoints: Tensor, bones: Tensor, size_px: int, *, sigma: float = SIGMA, colors: Tensor | None = None
) -> Tensor:
    """Draw poses as soft lines, as bright as the nearest bone makes them.

    Args:
        keypoints: [N, K, 2] in [-1, 1], the edges of the picture; points outside are legal.
        bones: [B, 2] int64, pairs of joints, at least one.
        size_px: side S of the picture, >= 2.
        sigma: softness of the lines, > 0 and finite.
        colors: [B, C] in [0, 1], a colour of each bone; None: all are white, and C is 1.

    Returns:
        [N, C, S, S] in [0, 1], of the type of `keypoints`: exp(-sqrt(d^2 + 1e-6) / sigma^2) times the colour of the
        nearest bone, d the distance to it, where the centres of the first and the last pixel are at -1 and 1. Where a
        joint is nearest, which all bones at it share, the colour is that of the first of them.

    Raises:
        UsageError: an argument has the wrong shape or range.

    Source: Jakab et al., arXiv:1907.02055, section 3.2. The same drawing as bytes: `flexpose.styles.draw_keypointgan`.
    """
    if keypoints.ndim != 3 or keypoints.shape[2] != 2:
        raise UsageError(f"keypoints must be [N, K, 2], got {list(keypoints.shape)}")
    if bones.ndim != 2 or bones.shape[1] != 2 or len(bones) == 0:
        raise UsageError(f"bones must be [B, 2] with B > 0, got {list(bones.shape)}")
    if colors is not None and (colors.ndim != 2 or len(colors) != len(bones)):
        raise UsageError(f"colors must be [{len(bones)}, C], got {list(colors.shape)}")
    if size_px < 2 or not 0 < sigma < math.inf:
        raise UsageError(f"size_px must be >= 2 and sigma > 0 and finite, got {size_px} and {sigma}")
    low, high = (int(joint) for joint in bones.aminmax())
    if low < 0 or high >= keypoints.shape[1]:
        raise UsageError(f"bones must join joints in 0 to {keypoints.shape[1] - 1}, got {low} to {high}")
    axis = torch.linspace(-1, 1, size_px, dtype=keypoints.dtype, device=keypoints.device)
    start, end = keypoints[:, bones[:, 0]], keypoints[:, bones[:, 1]]
    nearest = _nearest(axis, start.detach(), end.detach()).flatten(1)
    index = nearest[..., None].expand(-1, -1, 2)
    start, end = start.gather(1, index), end.gather(1, index)  # [N, S * S, 2], the nearest bone of each pixel
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(1, -1, 2)
    along, to = end - start, grid - start
    share = ((to * along).sum(-1) / along.square().sum(-1).clamp_min(_SHORT)).clamp(0, 1)
    squared = (to - share[..., None] * along).square().sum(-1)
    lines = (-(squared + _SMOOTH).sqrt() / sigma**2).exp()
    if colors is None:
        return lines.reshape(-1, 1, size_px, size_px)
    shown = _of_joints(share.detach(), nearest, bones)
    colored = lines[..., None] * colors.to(lines)[shown]  # [N, S * S, C]
    return colored.transpose(1, 2).reshape(len(lines), -1, size_px, size_px)


@torch.no_grad()
def _nearest(axis: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The nearest bone [N, S, S] of each pixel; the gradient of a minimum is that of the nearest alone."""
    along = end - start
    x = axis[:, None] - start[:, None, :, 0]  # [N, S, B]
    y = axis[:, None] - start[:, None, :, 1]
    length = along.square().sum(-1).clamp_min(_SHORT)[:, None]
    dot = (y * along[:, None, :, 1])[:, :, None] + (x * along[:, None, :, 0])[:, None]  # [N, S, S, B]
    share = (dot / length[:, None]).clamp_(0, 1)
    # |to - share * along|^2 without the vectors.
    squared = (share * length[:, None] - 2 * dot).mul_(share)
    squared += y.square()[:, :, None]
    squared += x.square()[:, None]
    return squared.argmin(-1)


def _of_joints(share: Tensor, nearest: Tensor, bones: Tensor) -> Tensor:
    """The bones [N, P] whose colours are shown: at an end of the nearest bone, the first that has this joint.

    All that have it are as near there, and which of them is found to be nearest is a matter of rounding.
    """
    order = torch.arange(len(bones), device=bones.device).repeat_interleave(2)
    joints = int(bones.max()) + 1
    first = torch.full((joints,), len(bones), device=bones.device).scatter_reduce(
        0, bones.flatten(), order, "amin"
    )
    firsts = first[bones]  # [B, 2]
    start, end = firsts[:, 0][nearest], firsts[:, 1][nearest]
    return torch.where(share <= 0, start, torch.where(share >= 1, end, nearest))

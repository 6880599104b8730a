"""Pictures and poses moved alike: size, place, turn, mirror; and pictures bent, so that joints are seen to follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Similarities", "bend", "draw_similarities", "origins", "resample"]

_KNOTS = 4  # of the field that bends a picture, along each axis


@dataclass(frozen=True, eq=False)
class Similarities:
    """One similarity of the plane for each row, y = R (F x) + t in [-1, 1], where F may mirror x.

    Attributes:
        matrix: R [N, 2, 2], a turn and a scale.
        shift: t [N, 2].
        mirrored: [N] bool.
    """

    matrix: Tensor
    shift: Tensor
    mirrored: Tensor

    def poses(self, keypoints: Tensor, flip_index: Tensor) -> Tensor:
        """Move poses [N, K, 2]; a mirrored one has left and right swapped."""
        mirror = keypoints[:, flip_index] * keypoints.new_tensor([-1.0, 1.0])
        own = torch.where(self.mirrored[:, None, None], mirror, keypoints)
        return own @ self.matrix.transpose(1, 2) + self.shift[:, None]

    def grid(self, size_px: int) -> Tensor:
        """Where each pixel of moved pictures comes from: [N, S, S, 2] in [-1, 1]."""
        inverse = torch.linalg.inv(self.matrix)
        inverse = torch.cat([inverse, -inverse @ self.shift[..., None]], 2)
        mirror = torch.where(self.mirrored, -1.0, 1.0)[:, None, None]
        inverse = torch.cat([inverse[:, :1] * mirror, inverse[:, 1:]], 1)
        return F.affine_grid(inverse, [len(inverse), 1, size_px, size_px], align_corners=False)


def draw_similarities(
    count: int, *, scale: float, shift: float, turn_deg: float, flips: bool, mirrored: Tensor | None = None
) -> Similarities:
    """Draw similarities from torch's generator, uniformly.

    Args:
        count: N.
        scale: sizes are 1 +- this.
        shift: shifts are +- this, in half sides.
        turn_deg: turns are +- this.
        flips: mirror each other one, on average.
        mirrored: [N] bool, which are mirrored, if that is known.
    """
    size = 1 + scale * (2 * torch.rand(count) - 1)
    turn = math.radians(turn_deg) * (2 * torch.rand(count) - 1)
    cos, sin = size * turn.cos(), size * turn.sin()
    matrix = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    drawn = torch.rand(count) < (0.5 if flips else 0.0)
    where = shift * (2 * torch.rand(count, 2) - 1)
    return Similarities(matrix, where, drawn if mirrored is None else mirrored)


def bend(grid: Tensor, warp: float) -> Tensor:
    """Bend a grid [N, S, S, 2] smoothly: each of 4 x 4 knots is off by `warp` half sides, one standard deviation."""
    n, size = grid.shape[:2]
    field = torch.randn(n, 2, _KNOTS, _KNOTS) * warp
    field = F.interpolate(field, size=(size, size), mode="bicubic", align_corners=True)
    return grid + field.permute(0, 2, 3, 1)


def resample(pictures: Tensor, grid: Tensor) -> Tensor:
    """Pictures [N, C, S, S] as a grid says; beyond an edge they are reflected."""
    return F.grid_sample(
        pictures, grid.to(pictures.device), mode="bilinear", padding_mode="reflection", align_corners=False
    )


def origins(grid: Tensor, keypoints: Tensor) -> Tensor:
    """Where points [N, K, 2] of pictures that a grid made were before: [N, K, 2], differentiable in the points."""
    fields = grid.to(keypoints).permute(0, 3, 1, 2)
    found = F.grid_sample(fields, keypoints[:, :, None], padding_mode="border", align_corners=False)
    return found[..., 0].transpose(1, 2)

"""The networks beside the annotator: one paints pictures back from joints, one judges joints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import UsageError
from ..models.regressor import NormConv2d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["COARSEST", "Critic", "Painter"]

COARSEST = 16  # the painter's coarsest features are a sixteenth of the picture
_SLOPE = 0.2
_BONE_GAIN = 4.0  # bones are a quarter of a pose's size: brought to the spread of the joints


def _twice(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        NormConv2d(in_channels, out_channels, stride=stride), NormConv2d(out_channels, out_channels)
    )


class _Down(nn.Module):
    """[N, C, S, S] -> features at 1/2, 1/4, 1/8 and 1/16 of the resolution."""

    def __init__(self, channels: int, c: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                _twice(4 * channels, c),
                _twice(c, 2 * c, stride=2),
                _twice(2 * c, 4 * c, stride=2),
                _twice(4 * c, 4 * c, stride=2),
            ]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        y = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        found = []
        for stage in self.stages:
            y = stage(y)
            found.append(y)
        return found


class Painter(nn.Module):
    """A skeleton [N, 3, S, S] in [0, 1] and another picture of the same person -> the picture in that pose.

    Of the other picture only features at 1/8 and 1/16 of the resolution come through, so that where things are has to
    come from the skeleton. S is a multiple of 16.

    Source: KeypointGAN (Jakab et al. 2020), arXiv:1907.02055, section 3: the decoder Psi.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        c = width
        self.pose, self.looks = _Down(3, c), _Down(3, c)
        self.up = nn.ModuleList([_twice(16 * c, 4 * c), _twice(6 * c, 2 * c), _twice(3 * c, c)])
        self.last = nn.Conv2d(c, 12, 3, padding=1)

    def forward(self, skeletons: Tensor, looks: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Paint [N, 3, S, S] float32, nominally in [-1, 1], with `looks` [N, 3, S, S] in [-1, 1]."""
        if skeletons.shape != looks.shape:
            raise UsageError(f"looks must be {list(skeletons.shape)} as skeletons, got {list(looks.shape)}")
        if skeletons.shape[2] % COARSEST or skeletons.shape[3] % COARSEST:
            raise UsageError(
                f"skeletons must be [N, 3, S, S] with S a multiple of {COARSEST}, got {list(skeletons.shape)}"
            )
        half, quarter, eighth, coarse = self.pose((skeletons * 2 - 1).to(dtype))
        _, _, looks_eighth, looks_coarse = self.looks(looks.to(dtype))
        y = torch.cat([coarse, looks_coarse], 1)
        for stage, beside in zip(self.up, ([eighth, looks_eighth], [quarter], [half]), strict=True):
            y = stage(torch.cat([F.interpolate(y, scale_factor=2, mode="nearest"), *beside], 1))
        y = F.conv2d(y, self.last.weight.to(dtype), padding=1).float()
        return F.pixel_shuffle(y + self.last.bias[:, None, None], 2)  # type: ignore[index]


class Critic(nn.Module):
    """Poses [N, K, 2] in [-1, 1] -> logits [N] of being one of the prior's, from joints and bones.

    KeypointGAN's critic looks at drawings of the poses. The coordinates say the same, in a thousandth of the numbers,
    and without the flat places of a drawing, where a line that is off has no gradient towards where it should be.

    Source: the pose prior of Kanazawa et al. 2018, arXiv:1712.06584, section 3.2, in two dimensions.
    """

    bones: Tensor

    def __init__(self, num_keypoints: int, bones: Tensor, width: int) -> None:
        super().__init__()
        self.num_keypoints = num_keypoints
        self.register_buffer("bones", bones, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * (num_keypoints + len(bones)), width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, 1),
        )

    def forward(self, keypoints: Tensor) -> Tensor:
        """Judge poses."""
        if keypoints.ndim != 3 or keypoints.shape[1:] != (self.num_keypoints, 2):
            raise UsageError(f"keypoints must be [N, {self.num_keypoints}, 2], got {list(keypoints.shape)}")
        spans = keypoints[:, self.bones[:, 1]] - keypoints[:, self.bones[:, 0]]
        logits: Tensor = self.layers(torch.cat([keypoints.flatten(1), _BONE_GAIN * spans.flatten(1)], 1))
        return logits[:, 0]

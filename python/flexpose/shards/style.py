"""How a pose is drawn into a picture, and which poses are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from flexpose.errors import UsageError

__all__ = ["FRAMES", "MISSING", "STYLES", "Frame", "Missing", "RenderStyle", "Style"]

Frame = Literal["bbox", "keep", "root"]
Missing = Literal["drop-pose", "skip-bone", "error"]
Style = Literal["flexpose"]
FRAMES: tuple[str, ...] = get_args(Frame)
MISSING: tuple[str, ...] = get_args(Missing)
STYLES: tuple[str, ...] = get_args(Style)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderStyle:
    """Size, strokes and framing of a rendered pose.

    Args:
        style: ``flexpose``: bones and joints in the colours of the skeleton.
        size_px: side S of the square picture, >= 1.
        line_width_px: full width of a bone, > 0.
        joint_radius_px: radius of a joint's disc, >= 0; 0 draws none.
        frame: what the picture shows: ``bbox`` the pose's own box, ``keep`` the whole original image,
            ``root`` a square around the root joint.
        margin: room around the pose, as a share of its longer side, >= 0; ``keep`` ignores it.
        missing: what an unlabelled joint does: ``skip-bone`` leaves out its bones (and the poses of which
            fewer than two joints are labelled), ``drop-pose`` leaves out the pose, ``error`` stops.

    Raises:
        UsageError: a value is out of range.
    """

    style: Style = "flexpose"
    size_px: int = 128
    line_width_px: float = 2.0
    joint_radius_px: float = 2.0
    frame: Frame = "bbox"
    margin: float = 0.10
    missing: Missing = "skip-bone"

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise UsageError(f"style must be one of {', '.join(STYLES)}, got {self.style!r}")
        if self.size_px < 1:
            raise UsageError(f"size_px must be >= 1, got {self.size_px}")
        if not (math.isfinite(self.line_width_px) and self.line_width_px > 0):
            raise UsageError(f"line_width_px must be > 0, got {self.line_width_px}")
        if not (math.isfinite(self.joint_radius_px) and self.joint_radius_px >= 0):
            raise UsageError(f"joint_radius_px must be >= 0, got {self.joint_radius_px}")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise UsageError(f"margin must be >= 0, got {self.margin}")
        if self.frame not in FRAMES:
            raise UsageError(f"frame must be one of {', '.join(FRAMES)}, got {self.frame!r}")
        if self.missing not in MISSING:
            raise UsageError(f"missing must be one of {', '.join(MISSING)}, got {self.missing!r}")

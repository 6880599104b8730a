"""How a pose is drawn into a picture, and which poses are."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from flexpose.errors import UsageError
from flexpose.raster import DType, Layout, pixels_from_normalized, rasterize
from flexpose.skeleton import joint_map, load_skeleton
from flexpose.styles import (
    OPENPOSE_OPTIONAL,
    OPENPOSE_SKELETON,
    PRESETS,
    Preset,
    draw_keypointgan,
    draw_openpose,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flexpose.skeleton import JointMap, Skeleton

__all__ = ["FRAMES", "MISSING", "STYLES", "Frame", "Missing", "RenderStyle", "Style", "draw_framed"]

Frame = Literal["bbox", "keep", "root"]
Missing = Literal["drop-pose", "skip-bone", "error"]
Style = Literal["flexpose", "openpose", "keypointgan", "gray", "per-bone"]
FRAMES: tuple[str, ...] = get_args(Frame)
MISSING: tuple[str, ...] = get_args(Missing)
STYLES: tuple[str, ...] = get_args(Style)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderStyle:
    """Size, strokes and framing of a rendered pose.

    Args:
        style: ``flexpose``: bones and joints in the colours of the skeleton. ``openpose``: as ControlNet knows poses;
            they are carried over to the skeleton ``openpose18``. ``keypointgan``: soft lines, 1 channel. ``gray``: as
            ``flexpose``, 1 channel. ``per-bone``: each bone alone in a channel of its own, in white. The strokes'
            sizes are for ``flexpose``, ``gray`` and ``per-bone``.
        size_px: side S of the square picture, >= 1.
        line_width_px: full width of a bone, > 0.
        joint_radius_px: radius of a joint's disc, >= 0; 0 draws none.
        frame: what the picture shows: ``bbox`` the pose's own box, ``keep`` the whole original image,
            ``root`` a square around the root joint.
        margin: room around the pose, as a share of its longer side, >= 0; ``keep`` ignores it.
        preset: for which models ``openpose`` draws, see ``draw_openpose``.
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
    preset: Preset = "sd15"

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
        if self.preset not in PRESETS:
            raise UsageError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        if self.preset != "sd15" and self.style != "openpose":
            raise UsageError(f"preset {self.preset} is for the style openpose, got the style {self.style}")

    def config(self) -> dict[str, Any]:
        """The fields, for the plan of a data set; the preset only where it matters."""
        fields = asdict(self)
        if self.style != "openpose":
            del fields["preset"]
        return fields

    def joint_map(self, skeleton: Skeleton) -> JointMap | None:
        """How poses are carried over to the skeleton that the style draws; None if it draws theirs.

        Raises:
            UsageError: the skeleton lacks a joint that must be there.
        """
        if self.style != "openpose":
            return None
        target = load_skeleton(OPENPOSE_SKELETON)
        return None if skeleton == target else joint_map(skeleton, target, OPENPOSE_OPTIONAL)

    def channels(self, skeleton: Skeleton) -> int:
        """Channels of a picture.

        Raises:
            UsageError: a skeleton without bones has no channels in the style ``per-bone``.
        """
        if self.style == "per-bone":
            if not skeleton.bones:
                raise UsageError(f"style per-bone needs bones, got {skeleton.name}, which has none")
            return len(skeleton.bones)
        return 1 if self.style in ("gray", "keypointgan") else 3


def draw_framed(
    keypoints: NDArray[np.float32],
    visibility: NDArray[np.uint8],
    skeleton: Skeleton,
    style: RenderStyle,
    *,
    layout: Layout = "nhwc",
    dtype: DType = "uint8",
    workers: int | None = None,
) -> NDArray[Any]:
    """Draw poses in a style; the bytes are those of a data set on disk.

    Args:
        keypoints: [N, K, 2] in [-1, 1] inside the frame.
        visibility: [N, K], 0 for a joint that is not drawn.
        skeleton: of K keypoints; for the style ``openpose``, ``openpose18``.
        style: how they are drawn.
        layout: as in ``rasterize``.
        dtype: as in ``rasterize``.
        workers: number of threads; None takes as many as the process may use.

    Returns:
        Pictures in `layout`; bfloat16 numbers as uint16 with their bits.

    Raises:
        UsageError: an argument has the wrong shape or range.
        DataError: a visible joint is not finite.
        ResourceError: there is no memory for the pictures.
    """
    pixels = pixels_from_normalized(keypoints, style.size_px)
    if style.style == "openpose":
        images = draw_openpose(
            pixels, visibility, size_px=style.size_px, preset=style.preset, workers=workers
        )
    elif style.style == "keypointgan":
        images = draw_keypointgan(pixels, visibility, skeleton, size_px=style.size_px, workers=workers)
    else:
        return rasterize(
            pixels,
            visibility,
            skeleton,
            size_px=style.size_px,
            line_width_px=style.line_width_px,
            joint_radius_px=style.joint_radius_px,
            layout=layout,
            style=style.style,
            dtype=dtype,
            workers=workers,
        )
    if layout == "nchw":
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images if dtype == "uint8" else _numbers(dtype)[images]


def _numbers(dtype: DType) -> NDArray[Any]:
    """[256]: what the rasteriser makes of each byte."""
    numbers = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    if dtype == "float32":
        return numbers
    bits = numbers.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)

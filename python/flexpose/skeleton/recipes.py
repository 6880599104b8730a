"""The tables behind the joint maps: what a joint may be made of when the source lacks its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexpose.skeleton.schema import Skeleton

__all__ = ["recipe_sources"]

# Points that data sets place differently under one name: the same name is exact within one skeleton only.
_LOOSE_NAMES = frozenset(
    {"chest", "head", "head_top", "neck", "neck_nose", "pelvis", "spine", "thorax", "upper_neck"}
    | {f"{side}_{part}" for side in ("left", "right") for part in ("foot", "hand")}
)

# (skeleton, joint) that is made of others by the data set's own definition. MPII's annotation holds these two
# as the rounded means, to the pixel.
_BY_DEFINITION: dict[tuple[str, str], tuple[str, ...]] = {
    ("mpii16", "pelvis"): ("left_hip", "right_hip"),
    ("mpii16", "thorax"): ("left_shoulder", "right_shoulder"),
    ("openpose18", "neck"): ("left_shoulder", "right_shoulder"),
}

_Recipe = tuple[tuple[str, float], ...]


def _one(name: str) -> _Recipe:
    return ((name, 1.0),)


def _both(name: str) -> _Recipe:
    return ((f"left_{name}", 0.5), (f"right_{name}", 0.5))


def _mix(*parts: tuple[float, _Recipe]) -> _Recipe:
    """Blend recipes, each with its share; shares sum to 1 and may be negative (extrapolation)."""
    return tuple((name, share * weight) for share, recipe in parts for name, weight in recipe)


_NOSE, _SHOULDERS, _HIPS = _one("nose"), _both("shoulder"), _both("hip")
# Shares are medians of upright people, along the line from the hips' to the shoulders' middle, its length 1:
# COCO's nose is 0.33 above the shoulders; MPII's upper neck 0.13 and head top 0.69; LSP's neck 0.15 and head
# top 0.57.
_FACE_OF_MPII = _mix((0.65, _one("upper_neck")), (0.35, _one("head_top")))
_FACE_OF_LSP = _mix((0.55, _one("neck")), (0.45, _one("head_top")))
_NECK_OF_COCO = _mix((0.58, _SHOULDERS), (0.42, _NOSE))

# What may stand in for a joint that the source lacks, the best first.
_APPROXIMATE: dict[str, tuple[_Recipe, ...]] = {
    "nose": (_one("head"), _one("neck_nose"), _FACE_OF_MPII, _FACE_OF_LSP),
    "head": (_NOSE, _both("ear"), _one("neck_nose"), _FACE_OF_MPII, _FACE_OF_LSP),
    "neck_nose": (_NOSE, _one("head"), _FACE_OF_MPII, _FACE_OF_LSP),
    "neck": (_one("upper_neck"), _NECK_OF_COCO, _one("thorax"), _SHOULDERS),
    "upper_neck": (_one("neck"), _NECK_OF_COCO, _one("thorax"), _SHOULDERS),
    "thorax": (_SHOULDERS, _one("neck")),
    "pelvis": (_HIPS,),
    "spine": (
        _mix((0.5, _one("pelvis")), (0.5, _one("thorax"))),
        _mix((0.5, _HIPS), (0.5, _SHOULDERS)),
    ),
    "head_top": (
        _mix((1.9, _NOSE), (-0.9, _SHOULDERS)),
        _mix((1.9, _one("head")), (-0.9, _SHOULDERS)),
    ),
}

# WFLW's points that are those of the 68: every second of the jaw's 33, the upper edge of the brows, all of
# the nose and the mouth, and of each eye's eight all but the middles of the lids.
_WFLW_OF_68: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("contour", "jaw", tuple(range(0, 33, 2))),
    ("right_brow", "right_eyebrow", (0, 1, 2, 3, 4)),
    ("left_brow", "left_eyebrow", (0, 1, 2, 3, 4)),
    ("nose_bridge", "bridge", (0, 1, 2, 3)),
    ("nose_base", "nostril", (0, 1, 2, 3, 4)),
    ("right_eye", "right_lid", (0, 1, 3, 4, 5, 7)),
    ("left_eye", "left_lid", (0, 1, 3, 4, 5, 7)),
    ("mouth_outer", "lip_outer", tuple(range(12))),
    ("mouth_inner", "lip_inner", tuple(range(8))),
)
_SAME_POINT = {
    f"{part}_{i}": f"{wflw}_{index}" for part, wflw, indices in _WFLW_OF_68 for i, index in enumerate(indices)
}


def recipe_sources(
    source: Skeleton, target: Skeleton, joint: str
) -> tuple[list[tuple[int, float]], bool] | None:
    """Find what makes a joint of the target.

    Args:
        source: skeleton that the joint is made from.
        target: skeleton of the joint.
        joint: its name in the target.

    Returns:
        ((source index, weight) list, exact), or None if the source cannot make it.
    """
    where = {name: index for index, name in enumerate(source.names)}
    same = source.name == target.name
    if joint in where and (same or joint not in _LOOSE_NAMES):
        return [(where[joint], 1.0)], True
    made_of = _BY_DEFINITION.get((target.name, joint))
    if made_of and all(name in where for name in made_of):
        return [(where[name], 1 / len(made_of)) for name in made_of], True
    if joint in where:
        return [(where[joint], 1.0)], False
    if _SAME_POINT.get(joint) in where:
        return [(where[_SAME_POINT[joint]], 1.0)], True
    for recipe in _APPROXIMATE.get(joint, ()):
        if all(name in where for name, _ in recipe):
            return [(where[name], weight) for name, weight in recipe], False
    return None

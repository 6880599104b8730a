"""The tables behind the joint maps: what a joint may be made of when the source lacks its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexpose.skeleton.schema import Skeleton

__all__ = ["recipe_sources"]

# Points that data sets place differently under one name: the same name is exact within one skeleton only.
_LOOSE_NAMES = frozenset({
    "chest", "head", "head_top", "neck", "neck_nose", "pelvis", "spine", "thorax", "upper_neck",
})  # fmt: skip

# (skeleton, joint) that is made of others by the data set's own definition.
_BY_DEFINITION: dict[tuple[str, str], tuple[str, ...]] = {
    ("openpose18", "neck"): ("left_shoulder", "right_shoulder"),
}

_Recipe = tuple[tuple[str, float], ...]
_SHOULDERS: _Recipe = (("left_shoulder", 0.5), ("right_shoulder", 0.5))
_HIPS: _Recipe = (("left_hip", 0.5), ("right_hip", 0.5))


def _part(*parts: tuple[_Recipe, float]) -> _Recipe:
    """Blend recipes: each with its share; the shares sum to 1 (they may be negative: extrapolation)."""
    return tuple((name, weight * share) for recipe, share in parts for name, weight in recipe)


def _one(name: str) -> _Recipe:
    return ((name, 1.0),)


# Approximations, the best first. Fractions were read off human proportions, not fitted to any data set.
_APPROXIMATE: dict[str, tuple[_Recipe, ...]] = {
    "nose": (_one("head"), _one("neck_nose"), (("upper_neck", 0.5), ("head_top", 0.5)), (("neck", 0.5), ("head_top", 0.5))),
    "head": (_one("nose"), (("left_ear", 0.5), ("right_ear", 0.5)), (("upper_neck", 0.5), ("head_top", 0.5)),
             (("neck", 0.5), ("head_top", 0.5)), _one("neck_nose")),
    "neck_nose": (_one("nose"), (("upper_neck", 0.5), ("head_top", 0.5)), (("neck", 0.5), ("head_top", 0.5)), _one("head")),
    "neck": (_one("thorax"), _one("upper_neck"), _SHOULDERS),
    "thorax": (_one("neck"), _SHOULDERS),
    "upper_neck": (_one("neck"), _one("thorax"), _SHOULDERS),
    "pelvis": (_HIPS,),
    "spine": ((("pelvis", 0.5), ("thorax", 0.5)), (("pelvis", 0.5), ("neck", 0.5)), _part((_SHOULDERS, 0.5), (_HIPS, 0.5))),
    # The crown lies beyond the face centre, as seen from the shoulders: no mean of joints reaches it.
    "head_top": (_part((_one("nose"), 1.6), (_SHOULDERS, -0.6)), _part((_one("head"), 1.6), (_SHOULDERS, -0.6))),
}  # fmt: skip


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
    for recipe in _APPROXIMATE.get(joint, ()):
        if all(name in where for name, _ in recipe):
            return [(where[name], weight) for name, weight in recipe], False
    return None

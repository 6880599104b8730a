"""The joints of motion capture rigs, by the names that the package has for them."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from flexpose.errors import DataError, UsageError
from flexpose.poses.formats.text import read_text
from flexpose.skeleton import list_skeletons, load_skeleton

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["read_rig", "rig_joints"]

_MAX_BYTES = 1 << 20
# What a joint may be called, the likeliest first. A "shoulder" is the collar bone in rigs that have an "arm".
_MIDDLE = {
    "nose": ("nose",),
    "head": ("head",),
    "head_top": ("headtop", "headtopend", "headend"),
    "neck": ("neck", "neck1"),
    "thorax": ("thorax",),
    "pelvis": ("pelvis", "hips", "hip"),
}
_SIDED = {
    "shoulder": ("upperarm", "uparm", "arm", "shoulder"),
    "elbow": ("elbow", "forearm", "lowerarm", "lowarm"),
    "wrist": ("wrist", "hand"),
    "hip": ("upleg", "upperleg", "thigh", "hip"),
    "knee": ("knee", "lowerleg", "lowleg", "shin", "calf", "leg"),
    "ankle": ("ankle", "foot"),
}


def rig_joints(names: Sequence[str], rig: Mapping[str, str] | None = None) -> dict[str, int]:
    """Find the package's joints among those of a rig.

    Known are CMU's and Mixamo's way (``LeftUpLeg``, ``LeftArm``), Bandai Namco's (``UpperLeg_L``) and their
    mixtures, with or without a prefix such as ``mixamorig:``, and the package's own names.

    Args:
        names: the rig's joints.
        rig: the rig's joint for each of the package's, for rigs that are not known: only these are taken.

    Returns:
        The index in ``names`` for each joint that was found, by the package's name.

    Raises:
        UsageError: ``rig`` names a joint that is not there.
    """
    if rig is not None:
        for joint, name in rig.items():
            if name not in names:
                raise UsageError(
                    f"{joint} must be a joint of the rig, got {name!r}; it has {', '.join(names)}"
                )
        return {joint: list(names).index(name) for joint, name in rig.items()}
    where: dict[str, int] = {}
    for index, name in enumerate(names):
        where.setdefault(re.sub(r"[\s_.-]", "", name.rsplit(":", 1)[-1]).lower(), index)
    own = {name for skeleton in list_skeletons() for name in load_skeleton(skeleton).names}
    found = {name: index for index, name in enumerate(names) if name in own}
    for joint, spellings in _MIDDLE.items():
        _put(found, joint, spellings, where)
    for joint, spellings in _SIDED.items():
        for side in ("left", "right"):
            forms = [
                form
                for part in spellings
                for form in (f"{side}{part}", f"{part}{side[0]}", f"{side[0]}{part}")
            ]
            _put(found, f"{side}_{joint}", forms, where)
    return found


def _put(found: dict[str, int], joint: str, spellings: Sequence[str], where: Mapping[str, int]) -> None:
    index = next((where[text] for text in spellings if text in where), None)
    if index is not None:
        found.setdefault(joint, index)


def read_rig(path: Path) -> dict[str, str]:
    """Read a rig's names: TOML lines such as ``left_hip = "thigh.L"``.

    Args:
        path: the file.

    Returns:
        The rig's joint for each joint of the package.

    Raises:
        DataError: not TOML, or a value is no text.
        ResourceError: the file cannot be read.
    """
    try:
        table = tomllib.loads(read_text(path, _MAX_BYTES))
    except tomllib.TOMLDecodeError as err:
        raise DataError(f"must be TOML: {err}", path=path) from err
    for joint, name in table.items():
        if not isinstance(name, str):
            raise DataError(f"must be the name of a joint, got {name!r}", path=path, field=joint)
    return table

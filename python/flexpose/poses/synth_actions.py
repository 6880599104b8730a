"""What the synthetic people do: joint angles of a few actions, as means, spreads and swings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACTIONS", "ANGLES", "LIMITS", "MIRROR", "Action"]

_SIDES = ("left", "right")

# All in degrees. Upright, arms and legs hanging straight down is 0 everywhere.
#   pelvis_pitch, pelvis_roll: the whole body bends forward, or falls to its left.
#   lean, side, twist: the spine bends forward, to the left, turns to the left, against the pelvis.
#   head_pitch, head_yaw: the head looks down, to the left, against the spine.
#   *_shoulder: the upper arm swings forward; *_abduct: it spreads sideways; *_rotate: it turns about itself,
#   outwards; *_elbow: bends. *_hip: the thigh swings forward; *_spread: sideways; *_knee: bends.
_BODY = ("pelvis_pitch", "pelvis_roll", "lean", "side", "twist", "head_pitch", "head_yaw")
_LIMB = ("shoulder", "abduct", "rotate", "elbow", "hip", "spread", "knee")
ANGLES: tuple[str, ...] = _BODY + tuple(f"{side}_{part}" for side in _SIDES for part in _LIMB)

_RANGES = {
    "pelvis_pitch": (-100, 100), "pelvis_roll": (-100, 100), "lean": (-25, 90), "side": (-35, 35),
    "twist": (-45, 45), "head_pitch": (-40, 50), "head_yaw": (-70, 70),
    "shoulder": (-50, 175), "abduct": (-25, 170), "rotate": (-80, 95), "elbow": (0, 148),
    "hip": (-30, 125), "spread": (-15, 60), "knee": (0, 145),
}  # fmt: skip
# Anatomical range of each angle, after textbook ranges of motion, rounded.
LIMITS: dict[str, tuple[float, float]] = {
    name: _RANGES[name if name in _BODY else name.split("_", 1)[1]] for name in ANGLES
}


def _mirrored(name: str) -> tuple[str, float]:
    if name in _BODY:
        return name, -1.0 if name in {"pelvis_roll", "side", "twist", "head_yaw"} else 1.0
    side, part = name.split("_", 1)
    return f"{'right' if side == 'left' else 'left'}_{part}", 1.0


# For each angle: where it comes from in the mirrored pose, and its sign.
MIRROR: tuple[tuple[int, float], ...] = tuple(
    (ANGLES.index(other), sign) for other, sign in (_mirrored(name) for name in ANGLES)
)


@dataclass(frozen=True)
class Action:
    """Angles of an action; a name without a side stands for both sides.

    Attributes:
        mean: mean of each angle, degrees; 0 where not named.
        spread: standard deviation, degrees; ``SPREADS`` where not named.
        swing: amplitude and phase (degrees) of a cyclic part: amplitude * sin(cycle + phase), the cycle being
            drawn for each pose. It makes arms and legs of a gait go together.
        one_sided: whether left and right may be exchanged; a pose is mirrored then every other time.
    """

    mean: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    swing: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    one_sided: bool = False


SPREADS: dict[str, float] = {
    "pelvis_pitch": 4, "pelvis_roll": 3, "lean": 6, "side": 4, "twist": 8, "head_pitch": 10, "head_yaw": 18,
    "shoulder": 12, "abduct": 8, "rotate": 16, "elbow": 14, "hip": 8, "spread": 4, "knee": 7,
}  # fmt: skip

_ARMS_DOWN = {"shoulder": 4.0, "abduct": 9.0, "rotate": -15.0, "elbow": 18.0, "spread": 4.0, "knee": 5.0}


def _gait(stride: float, lean: float, elbow: float, knee: float, arm: float) -> Action:
    """Legs in opposite phase, arms against the legs; the knee bends most while its leg swings forward."""
    return Action(
        mean={
            **_ARMS_DOWN,
            "lean": lean,
            "elbow": elbow,
            "hip": stride * 0.25,
            "knee": 10 + knee / 2,
            "shoulder": 0,
        },
        spread={"hip": 5, "knee": 6, "shoulder": 7},
        swing={
            "left_hip": (stride, 0),
            "right_hip": (stride, 180),
            "left_knee": (knee / 2, 60),
            "right_knee": (knee / 2, 240),
            "left_shoulder": (arm, 180),
            "right_shoulder": (arm, 0),
            "twist": (stride * 0.3, 180),
        },
    )


ACTIONS: dict[str, Action] = {
    "stand": Action(mean=_ARMS_DOWN, spread={"hip": 5, "knee": 4}),
    "walk": _gait(stride=24, lean=4, elbow=25, knee=42, arm=22),
    "run": _gait(stride=42, lean=14, elbow=88, knee=88, arm=38),
    "sit": Action(
        mean={
            "hip": 82,
            "knee": 84,
            "spread": 10,
            "lean": 6,
            "shoulder": 28,
            "abduct": 8,
            "elbow": 52,
            "rotate": -25,
        },
        spread={"hip": 9, "knee": 12, "spread": 6, "shoulder": 16, "elbow": 24, "lean": 10},
    ),
    "reach": Action(
        mean={
            **_ARMS_DOWN,
            "left_shoulder": 118,
            "left_abduct": 15,
            "left_elbow": 18,
            "lean": 8,
            "hip": 6,
            "knee": 10,
        },
        spread={"left_shoulder": 30, "left_abduct": 20, "left_elbow": 14, "hip": 10, "knee": 10},
        one_sided=True,
    ),
    "wave": Action(
        mean={**_ARMS_DOWN, "left_abduct": 98, "left_shoulder": 8, "left_rotate": 78, "left_elbow": 78},
        spread={"left_abduct": 18, "left_elbow": 28, "left_rotate": 16},
        one_sided=True,
    ),
    "squat": Action(
        mean={
            "hip": 92,
            "knee": 108,
            "spread": 16,
            "lean": 24,
            "pelvis_pitch": 8,
            "shoulder": 72,
            "abduct": 10,
            "elbow": 35,
            "rotate": -10,
            "head_pitch": -18,
        },
        spread={"hip": 14, "knee": 14, "lean": 9, "shoulder": 26, "elbow": 26},
    ),
    "bend": Action(
        mean={
            "lean": 52,
            "pelvis_pitch": 22,
            "hip": 24,
            "knee": 18,
            "shoulder": 52,
            "elbow": 14,
            "spread": 6,
            "head_pitch": -8,
        },
        spread={"lean": 15, "pelvis_pitch": 10, "shoulder": 22, "hip": 10, "knee": 12},
    ),
    "kick": Action(
        mean={
            **_ARMS_DOWN,
            "left_hip": 62,
            "left_knee": 28,
            "right_hip": -6,
            "right_knee": 12,
            "lean": -2,
            "abduct": 38,
            "elbow": 38,
            "right_shoulder": 34,
            "left_shoulder": -14,
        },
        spread={"left_hip": 20, "left_knee": 20, "abduct": 16, "left_shoulder": 18, "right_shoulder": 18},
        one_sided=True,
    ),
    "jack": Action(
        mean={"abduct": 98, "elbow": 14, "spread": 18, "rotate": 10, "knee": 8, "hip": 3},
        spread={"shoulder": 8},
        swing={
            "left_abduct": (58, 0),
            "right_abduct": (58, 0),
            "left_spread": (15, 0),
            "right_spread": (15, 0),
        },
    ),
}

"""Synthetic people: a jointed 3D figure before a camera, with domains that differ in a known way.

They are the data of demos and tests: no person was measured. A domain says who is there (bone ratios), what
they do (actions, angle offsets) and who looks (camera, rotation, noise); source and target differ in all of
these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import UsageError
from flexpose.poses._random import Stream, normals, uniforms
from flexpose.poses.poseset import PoseSet
from flexpose.poses.synth_actions import ACTIONS, ANGLES, LIMITS, MIRROR, SPREADS
from flexpose.skeleton import Skeleton, load_skeleton, map_joints

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["SEGMENTS", "SynthDomain", "source_domain", "synth_poses", "target_domain"]

# Lengths in body heights: between joint centres, after the segment table of Drillis and Contini (1966); the
# two halves are those of the widths of shoulders and hips; head_up and head_out lead from the shoulders'
# middle to the nose.
SEGMENTS: Mapping[str, float] = MappingProxyType({
    "shoulder_half": 0.108, "hip_half": 0.058, "torso": 0.285, "head_up": 0.105, "head_out": 0.055,
    "upper_arm": 0.176, "forearm": 0.152, "thigh": 0.242, "shank": 0.238,
})  # fmt: skip
_NAMES = tuple(SEGMENTS)
_CHUNK = 1 << 15
_FIRST = 8  # uniform numbers of a pose; the normal ones follow: angles, segments, camera, keypoint noise
_CAMERA = 4
_NORMALS = -(-(len(ANGLES) + len(_NAMES) + _CAMERA + 26) // 2) * 2


@dataclass(frozen=True, kw_only=True)
class SynthDomain:
    """Who, what and from where: everything that poses of a domain have in common.

    Attributes:
        name: name of the domain.
        actions: which of ``ACTIONS``, drawn with equal chance; they are the labels.
        rotation_deg: mean and standard deviation of the rotation in the image, clockwise.
        azimuth_deg: mean and standard deviation of the camera's way around the person; 0 sees the face, 90
            the person's left side.
        back_share: share of poses seen from the other side, 0 to 1.
        elevation_deg: mean and standard deviation of the camera's height above the horizon.
        distance: distance of the camera, in body heights, >= 2.
        bone_ratios: factors of some ``SEGMENTS``; the others have 1.
        bone_spread: standard deviation of the logarithm of each person's segment lengths.
        angle_offsets: degrees added to the mean of some angles (a name without a side means both).
        angle_scale: factor of all spreads of angles.
        image_size: (width, height) in pixels, >= 16.
        height_share: least and greatest size of the person's box (longer side) in image sides (shorter one).
        noise: standard deviation of the keypoints' noise, in shares of the person's box.
    """

    name: str
    actions: tuple[str, ...] = tuple(ACTIONS)
    rotation_deg: tuple[float, float] = (0.0, 3.0)
    azimuth_deg: tuple[float, float] = (0.0, 40.0)
    back_share: float = 0.0
    elevation_deg: tuple[float, float] = (5.0, 6.0)
    distance: float = 4.0
    bone_ratios: tuple[tuple[str, float], ...] = ()
    bone_spread: float = 0.05
    angle_offsets: tuple[tuple[str, float], ...] = ()
    angle_scale: float = 1.0
    image_size: tuple[int, int] = (640, 480)
    height_share: tuple[float, float] = (0.4, 0.95)
    noise: float = 0.004

    def __post_init__(self) -> None:
        if not self.actions:
            raise UsageError("actions must name at least one action, got none")
        _known("actions", self.actions, tuple(ACTIONS))
        _known("bone_ratios", [name for name, _ in self.bone_ratios], _NAMES)
        _known("angle_offsets", [name for name, _ in self.angle_offsets], (*ANGLES, *SPREADS))
        low, high = self.height_share
        for field, good, wanted in (
            ("back_share", 0 <= self.back_share <= 1, "0 to 1"),
            ("distance", self.distance >= 2, ">= 2"),
            ("bone_ratios", all(ratio > 0 for _, ratio in self.bone_ratios), "factors > 0"),
            ("bone_spread", self.bone_spread >= 0, ">= 0"),
            ("angle_scale", self.angle_scale >= 0, ">= 0"),
            ("image_size", min(self.image_size) >= 16, ">= 16"),
            ("height_share", 0 < low <= high <= 1, "0 < least <= greatest <= 1"),
            ("noise", 0 <= self.noise < 0.1, "0 to 0.1"),
        ):
            if not good:
                raise UsageError(f"{field} must be {wanted}, got {getattr(self, field)}")


def source_domain() -> SynthDomain:
    """Many people doing ten things, seen from all around: a source as varied as photographs from the web."""
    return SynthDomain(
        name="source",
        azimuth_deg=(0.0, 48.0),
        back_share=0.2,
        elevation_deg=(4.0, 9.0),
        rotation_deg=(0.0, 7.0),
        bone_spread=0.07,
        angle_scale=1.25,
    )


def target_domain() -> SynthDomain:
    """Four actions of long-armed, short-legged people under a raised, tilted camera from one side."""
    return SynthDomain(
        name="target",
        actions=("reach", "squat", "walk", "wave"),
        azimuth_deg=(38.0, 14.0),
        elevation_deg=(24.0, 3.0),
        rotation_deg=(14.0, 3.0),
        bone_ratios=(
            ("upper_arm", 1.12),
            ("forearm", 1.15),
            ("thigh", 0.9),
            ("shank", 0.88),
            ("shoulder_half", 1.12),
            ("torso", 1.06),
        ),
        bone_spread=0.03,
        angle_offsets=(("lean", 10.0), ("elbow", 16.0), ("knee", 8.0), ("head_pitch", 8.0)),
        angle_scale=0.8,
        image_size=(1000, 1000),
        height_share=(0.45, 0.8),
        noise=0.003,
    )


_PRESETS = {"source": source_domain, "target": target_domain}


def synth_poses(
    n: int,
    *,
    seed: int,
    domain: SynthDomain | str | None = None,
    skeleton: Skeleton | None = None,
) -> PoseSet:
    """Make up poses.

    Args:
        n: number of poses, >= 0; pose i is the same whatever n.
        seed: 0 to 2^64 - 1.
        domain: a domain, or ``source`` or ``target`` for a preset; None: ``source``.
        skeleton: skeleton of the poses; None: ``body13``. Another must be one that ``map_joints`` can make of
            it.

    Returns:
        N complete poses inside their images, the action as label, ids 1 to N.

    Raises:
        UsageError: n, the seed or the domain is not valid, or the skeleton cannot be made of ``body13``.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise UsageError(f"n must be an integer >= 0, got {n!r}")
    if domain is None or isinstance(domain, str):
        name = "source" if domain is None else domain
        if name not in _PRESETS:
            raise UsageError(f"domain must be one of {', '.join(_PRESETS)}, got {name!r}")
        domain = _PRESETS[name]()
    body = load_skeleton("body13")
    keypoints = np.zeros((int(n), body.num_keypoints, 2), np.float32)
    actions = np.zeros(int(n), np.int64)
    for start in range(0, int(n), _CHUNK):
        rows = slice(start, min(start + _CHUNK, int(n)))
        drawn = uniforms(seed, Stream.SYNTH, rows.stop - start, _FIRST + _NORMALS, start=start)
        keypoints[rows], actions[rows] = _chunk(drawn, domain)
    poses = PoseSet(
        keypoints,
        skeleton=body,
        image_size=domain.image_size,
        labels=[domain.actions[i] for i in actions],
        origin=f"synth {domain.name}, seed {seed}",
    )
    return poses if skeleton is None else map_joints(poses, skeleton)


def _known(field: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{field} must be of {', '.join(known)}, got {name!r}")


@lru_cache(maxsize=64)
def _angle_table(domain: SynthDomain) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[actions, angles, 4] mean, spread, amplitude, phase (degrees), and [actions] whether one-sided."""
    offsets = dict(domain.angle_offsets)
    table = np.zeros((len(domain.actions), len(ANGLES), 4))
    for row, name in enumerate(domain.actions):
        action = ACTIONS[name]
        for column, angle in enumerate(ANGLES):
            both = angle.split("_", 1)[1] if angle not in SPREADS else angle
            mean = action.mean.get(angle, action.mean.get(both, 0.0))
            mean += offsets.get(angle, offsets.get(both, 0.0))
            spread = action.spread.get(angle, action.spread.get(both, SPREADS[both])) * domain.angle_scale
            table[row, column] = mean, spread, *action.swing.get(angle, (0.0, 0.0))
    return table, np.array([ACTIONS[name].one_sided for name in domain.actions])


def _chunk(drawn: NDArray[np.float64], domain: SynthDomain) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """[n, 13, 2] pixels and [n] indices of actions, from [n, ...] uniform numbers."""
    action = (drawn[:, 0] * len(domain.actions)).astype(np.int64)
    mirrored, cycle, back = drawn[:, 1] < 0.5, 360 * drawn[:, 2], drawn[:, 3] < domain.back_share
    normal = normals(drawn[:, _FIRST:])
    parts = np.split(normal, np.cumsum([len(ANGLES), len(_NAMES), _CAMERA, 26]), axis=1)
    table, one_sided = _angle_table(domain)
    mean, spread, amplitude, phase = (table[action, :, i] for i in range(4))
    swing = amplitude * np.sin(np.radians(cycle[:, None] + phase))
    angles = mean + spread * np.clip(parts[0], -2.5, 2.5) + swing
    limits = np.array([LIMITS[name] for name in ANGLES])
    angles = np.clip(angles, limits[:, 0], limits[:, 1])
    flip = mirrored & one_sided[action]
    order, sign = np.array([i for i, _ in MIRROR]), np.array([s for _, s in MIRROR])
    angles[flip] = (angles[:, order] * sign)[flip]
    ratios = dict(domain.bone_ratios)
    base = np.array([SEGMENTS[name] * ratios.get(name, 1.0) for name in _NAMES])
    lengths = base * np.exp(domain.bone_spread * np.clip(parts[1], -3, 3))
    points = _figure(np.radians(angles), lengths)
    camera = np.clip(parts[2], -3, 3)
    azimuth = domain.azimuth_deg[0] + domain.azimuth_deg[1] * camera[:, 0] + 180 * back
    elevation = domain.elevation_deg[0] + domain.elevation_deg[1] * camera[:, 1]
    rotation = domain.rotation_deg[0] + domain.rotation_deg[1] * camera[:, 2]
    flat = _project(points, np.radians(azimuth), np.radians(elevation), np.radians(rotation), domain.distance)
    return _placed(flat, drawn[:, 4:7], np.clip(parts[3], -3, 3).reshape(-1, 13, 2), domain), action


def _turn(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 3, 3] right-handed rotations about x (0), y (1) or z (2)."""
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.zeros((len(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1
    matrix[:, i, i] = matrix[:, j, j] = c
    matrix[:, i, j], matrix[:, j, i] = -s, s
    return matrix


def _limb(
    frame: NDArray[np.float64], swing: NDArray[np.float64], spread: NDArray[np.float64], side: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Direction of an upper arm or thigh and the direction to its front, both [n, 3]."""
    basis = frame @ _turn(2, side * spread)
    down = np.stack([np.zeros_like(swing), -np.cos(swing), np.sin(swing)], axis=-1)
    front = np.stack([np.zeros_like(swing), np.sin(swing), np.cos(swing)], axis=-1)
    return tuple((basis @ v[..., None])[..., 0] for v in (down, front))


def _figure(angles: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Forward kinematics: [n, 13, 3] in body heights, x to the person's left, y up, z to the front.

    Args:
        angles: [n, len(ANGLES)] radians.
        lengths: [n, len(SEGMENTS)].

    Returns:
        The points of body13; the middle of the hips is the origin.
    """
    angle = {name: angles[:, i] for i, name in enumerate(ANGLES)}
    size = {name: lengths[:, i, None] for i, name in enumerate(_NAMES)}
    pelvis = _turn(2, -angle["pelvis_roll"]) @ _turn(0, angle["pelvis_pitch"])
    chest = pelvis @ _turn(1, angle["twist"]) @ _turn(0, angle["lean"]) @ _turn(2, -angle["side"])
    head = chest @ _turn(1, angle["head_yaw"]) @ _turn(0, angle["head_pitch"])
    points = np.zeros((len(angles), 13, 3))
    neck = size["torso"] * chest[:, :, 1]
    points[:, 0] = neck + size["head_up"] * head[:, :, 1] + size["head_out"] * head[:, :, 2]
    for first, side, name in ((1, 1.0, "left"), (2, -1.0, "right")):
        shoulder = neck + side * size["shoulder_half"] * chest[:, :, 0]
        upper, front = _limb(chest, angle[f"{name}_shoulder"], angle[f"{name}_abduct"], side)
        turn, bend = angle[f"{name}_rotate"][:, None], angle[f"{name}_elbow"][:, None]
        front = np.cos(turn) * front - side * np.sin(turn) * np.cross(upper, front)
        elbow = shoulder + size["upper_arm"] * upper
        hip = side * size["hip_half"] * pelvis[:, :, 0]
        thigh, ahead = _limb(pelvis, angle[f"{name}_hip"], angle[f"{name}_spread"], side)
        fold = angle[f"{name}_knee"][:, None]
        knee = hip + size["thigh"] * thigh
        points[:, first] = shoulder
        points[:, first + 2] = elbow
        points[:, first + 4] = elbow + size["forearm"] * (np.cos(bend) * upper + np.sin(bend) * front)
        points[:, first + 6] = hip
        points[:, first + 8] = knee
        points[:, first + 10] = knee + size["shank"] * (np.cos(fold) * thigh - np.sin(fold) * ahead)
    return points


def _project(
    points: NDArray[np.float64],
    azimuth: NDArray[np.float64],
    elevation: NDArray[np.float64],
    rotation: NDArray[np.float64],
    distance: float,
) -> NDArray[np.float64]:
    """Perspective image of the points, y down, in no unit; [n, K, 3] -> [n, K, 2]."""
    view = _turn(0, elevation) @ _turn(1, -azimuth)
    # The camera stands on +z and looks back: the person's left is on the right of the image.
    seen = points @ view.transpose(0, 2, 1)
    flat = seen[..., :2] / (distance - seen[..., 2:])
    x, y = flat[..., 0], -flat[..., 1]
    c, s = np.cos(rotation)[:, None], np.sin(rotation)[:, None]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)


def _placed(
    flat: NDArray[np.float64], drawn: NDArray[np.float64], noise: NDArray[np.float64], domain: SynthDomain
) -> NDArray[np.float64]:
    """Scale to the drawn size, add noise, put somewhere inside the image; [n, K, 2] pixels."""
    low, high = flat.min(axis=1), flat.max(axis=1)
    share = domain.height_share[0] + (domain.height_share[1] - domain.height_share[0]) * drawn[:, 0]
    side = share * min(domain.image_size)
    points = flat * (side / (high - low).max(axis=1))[:, None, None]
    points += noise * (domain.noise * side)[:, None, None]
    low, high = points.min(axis=1), points.max(axis=1)
    room = np.array(domain.image_size, np.float64) - (high - low)
    # Noise may widen a box that filled the image; it then stays centred, and sticks out a little.
    corner = np.where(room > 0, room * drawn[:, 1:3], room / 2)
    placed: NDArray[np.float64] = points + (corner - low)[:, None]
    return np.clip(placed, 0, np.array(domain.image_size, np.float64))

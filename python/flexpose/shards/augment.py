"""Variation of poses: mirror images, turned limbs, scale and rotation, the same for a seed, an epoch and an index."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np

from flexpose.errors import UsageError
from flexpose.poses._random import Stream, uniforms_at
from flexpose.skeleton import kinematic_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from flexpose.skeleton import Skeleton

__all__ = ["Augment", "Ranges", "augment_labelled", "augment_poses", "augment_visibility", "limb_names"]

Ranges = tuple[float, float] | tuple[tuple[float, float], ...]

_COLUMNS = 8  # uniform numbers a pose: flip, limb, its angle, scale, rotation; three are spare
_FLIP, _LIMB, _LIMB_ANGLE, _SCALE, _ROTATION = range(5)
_MAX_DEGREES = 360.0
_MAX_SCALE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """How poses vary. In this order: mirrored, one limb turned, scaled, rotated.

    A range is (low, high), or several of them, ((low, high), ...): a value is drawn evenly over their union. The
    centre of scale and rotation is that of the frame. A turned pose may reach over the edge of its picture.

    Args:
        rotation_deg: rotation of the whole pose, degrees within -360 to 360; from x towards y (clockwise as seen).
        limb_rotation_deg: rotation of one limb about the joint that it hangs on.
        limbs: first joints of the limbs to choose from, such as ``left_knee`` for what hangs on the left hip;
            none for any limb of the skeleton, see ``limb_names``.
        scale: factor, above 0 to 100.
        flip: probability, 0 to 1, of the mirror image with left and right swapped.

    Raises:
        UsageError: a value is out of range.

    Source: FlexPose, arXiv:2412.13463, Fig. 9 and 10, with rotation -45 to 45, one leg by 135 to 225, scale 0.7 to
    0.9 or 1.1 to 1.2. It leaves the leg and its centre open: here a random one, about the hip.
    """

    rotation_deg: Ranges = (0.0, 0.0)
    limb_rotation_deg: Ranges = (0.0, 0.0)
    limbs: tuple[str, ...] = ()
    scale: Ranges = (1.0, 1.0)
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("rotation_deg", -_MAX_DEGREES, _MAX_DEGREES),
            ("limb_rotation_deg", -_MAX_DEGREES, _MAX_DEGREES),
            ("scale", np.nextafter(0, 1), _MAX_SCALE),
        ):
            object.__setattr__(self, name, _checked_ranges(name, getattr(self, name), low, high))
        if isinstance(self.limbs, str) or not all(isinstance(limb, str) and limb for limb in self.limbs):
            raise UsageError(f"limbs must be names of keypoints, got {self.limbs!r}")
        object.__setattr__(self, "limbs", tuple(self.limbs))
        if not _is_number(self.flip) or not 0 <= self.flip <= 1:
            raise UsageError(f"flip must be a probability, 0 to 1, got {self.flip!r}")
        object.__setattr__(self, "flip", float(self.flip))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it from a command line, such as ``rotation=30,limb=135:225@left_knee,scale=0.8:1.2,flip=0.5``.

        Args:
            text: items with commas between them. ``rotation`` and ``limb`` in degrees, ``LOW:HIGH`` or A for -A:A;
                ``scale`` as ``LOW:HIGH`` or one factor; ``/`` joins several ranges. ``limb`` may name first joints
                of limbs after ``@``. ``flip`` is a probability. An empty text varies nothing.

        Returns:
            The variation.

        Raises:
            UsageError: the text is not of this form, or a value is out of range.
        """
        values: dict[str, Ranges | tuple[str, ...] | float] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = (part.strip() for part in item.partition("="))
            if not equals or key not in _KEYS:
                raise UsageError(f"augment must be made of {', '.join(_KEYS)}=VALUE, got {item!r}")
            if _KEYS[key] in values:
                raise UsageError(f"augment must give {key} once, got it twice")
            if key == "limb":
                value, at, limbs = value.partition("@")
                values["limbs"] = tuple(part.strip() for part in limbs.split("/")) if at else ()
            values[_KEYS[key]] = _number(key, value) if key == "flip" else tuple(_parsed_ranges(key, value))
        return cls(**values)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """The text that ``parse`` reads back to an equal value; what varies nothing is left out."""
        items = []
        for key, name in _KEYS.items():
            value = getattr(self, name)
            limbs = "@" + "/".join(self.limbs) if key == "limb" and self.limbs else ""
            if value == getattr(_NOTHING, name) and not limbs:
                continue
            text = repr(value) if key == "flip" else "/".join(f"{low!r}:{high!r}" for low, high in value)
            items.append(f"{key}={text}{limbs}")
        return ",".join(items)


_KEYS = {"rotation": "rotation_deg", "limb": "limb_rotation_deg", "scale": "scale", "flip": "flip"}


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float | np.integer | np.floating)


def _checked_ranges(name: str, value: Ranges, least: float, most: float) -> tuple[tuple[float, float], ...]:
    pairs: tuple[object, ...] = (value,) if len(value) == 2 and all(map(_is_number, value)) else value
    checked = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise UsageError(f"{name} must be (low, high) or several of them, got {value!r}")
        low, high = (float(end) for end in pair)
        if not least <= low <= high <= most:  # also refuses NaN
            raise UsageError(
                f"{name} must have {least:g} <= low <= high <= {most:g}, got {low:g} to {high:g}"
            )
        checked.append((low, high))
    if not checked:
        raise UsageError(f"{name} must be (low, high) or several of them, got {value!r}")
    if len({low == high for low, high in checked}) > 1:
        raise UsageError(
            f"{name} must be ranges or single values, got both, of which only ranges would be drawn"
        )
    return tuple(checked)


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"augment: {key} must be a number, got {text!r}") from None


def _parsed_ranges(key: str, text: str) -> Iterator[tuple[float, float]]:
    for part in text.split("/"):
        low, colon, high = part.partition(":")
        if colon:
            yield _number(key, low), _number(key, high)
        else:
            value = _number(key, part)
            yield (value, value) if key == "scale" else (-abs(value), abs(value))


_NOTHING = Augment()


@dataclass(frozen=True, slots=True)
class _Limbs:
    """L limbs: the joint each hangs on [L], its own joints [L, K], and the joints next to the first [L, K]."""

    pivot: NDArray[np.int64]
    members: NDArray[np.bool_]
    first: NDArray[np.bool_]


@lru_cache(maxsize=64)
def _limbs(skeleton: Skeleton) -> _Limbs:
    """Every part that comes off when one joint is taken out of the skeleton, those with a root joint left out.

    No bone leads from such a part to anything but that joint, so turning it keeps the length of every bone, also of
    those that close a loop, such as the sides of a torso.
    """
    k = skeleton.num_keypoints
    bones = np.zeros((k, k), bool)
    for a, b in skeleton.bones:
        bones[a, b] = bones[b, a] = True
    joined = bones.copy()
    tree = kinematic_tree(skeleton)
    for a, b in tree.edges:  # these also tie on what no bone does, such as the eyes of a face
        joined[a, b] = joined[b, a] = True
    roots = list(skeleton.root) if len(skeleton.root) < k else [tree.root]
    pivots, members, first = [], [], []
    for pivot in range(k):
        seen = np.zeros(k, bool)
        seen[pivot] = True
        for start in np.flatnonzero(joined[pivot]):
            if seen[start]:
                continue
            part, queue = np.zeros(k, bool), [int(start)]
            part[start] = True
            while queue:
                beyond = joined[queue.pop()] & ~part
                beyond[pivot] = False
                part |= beyond
                queue += np.flatnonzero(beyond).tolist()
            seen |= part
            beside = part & bones[pivot]
            if not part[roots].any() and beside.any():
                pivots.append(pivot)
                members.append(part)
                first.append(beside)
    shape = (len(pivots), k)
    return _Limbs(
        np.array(pivots, np.int64),
        np.array(members, bool).reshape(shape),
        np.array(first, bool).reshape(shape),
    )


def limb_names(skeleton: Skeleton) -> tuple[str, ...]:
    """The limbs that may be turned, each by its first joint, ``left_knee`` for what hangs on the left hip.

    Args:
        skeleton: any skeleton.

    Returns:
        Names for ``Augment.limbs``, one a limb.
    """
    return tuple(skeleton.names[int(row.argmax())] for row in _limbs(skeleton).first)


def _chosen_limbs(augment: Augment, skeleton: Skeleton) -> NDArray[np.int64]:
    """Numbers of the limbs to choose from."""
    limbs = _limbs(skeleton)
    if not augment.limbs:
        return np.arange(len(limbs.pivot))
    chosen: list[int] = []
    for name in augment.limbs:
        found = limbs.first[:, skeleton.index(name)].nonzero()[0].tolist()
        if not found:
            raise UsageError(f"limbs must be among {', '.join(limb_names(skeleton))}, got {name!r}")
        chosen += found
    return np.array(chosen, np.int64)


def _drawn(uniform: NDArray[np.float64], ranges: Ranges) -> NDArray[np.float64]:
    """Values spread evenly over a union of ranges; over single values alone, each as often as the others."""
    low, high = np.array(ranges, np.float64).T
    wide = bool((high > low).any())
    weight = high - low if wide else np.ones(len(low))
    ends = np.cumsum(weight)
    place = uniform * ends[-1]
    piece = np.minimum(np.searchsorted(ends, place, side="right"), len(ends) - 1)
    inside = place - (ends - weight)[piece] if wide else 0.0
    values: NDArray[np.float64] = np.minimum(low[piece] + inside, high[piece])
    return values


def _cos_sin(degrees: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine by sums and products alone: the same bits on every processor, and exact at right angles.

    The library's own functions differ in the last bit between instruction sets, and shards of one data set may be
    made on different machines.
    """
    quarter = np.rint(degrees / 90.0)
    x = (degrees - 90.0 * quarter) * (math.pi / 180.0)
    square = x * x
    cos, sin = np.ones_like(x), np.ones_like(x)
    for n in range(9, 0, -1):  # Taylor series in Horner's form; the next term is below 2^-60 for |x| <= pi/4
        cos = 1.0 - cos * square / float((2 * n - 1) * (2 * n))
        sin = 1.0 - sin * square / float(2 * n * (2 * n + 1))
    sin = sin * x
    turn = quarter.astype(np.int64) % 4
    return np.choose(turn, [cos, -sin, -cos, sin]), np.choose(turn, [sin, cos, -sin, -cos])


def _rotated(points: NDArray[np.float64], degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [N, K, 2], each row turned about the origin by its angle [N]."""
    cos, sin = (part[:, None] for part in _cos_sin(degrees))
    x, y = points[..., 0], points[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def augment_poses(
    normalized: NDArray[np.floating],
    skeleton: Skeleton,
    augment: Augment,
    seed: int,
    indices: NDArray[np.int64],
    *,
    epoch: int = 0,
    visibility: NDArray[np.uint8] | None = None,
) -> NDArray[np.float32]:
    """Vary poses; what comes out for one depends on its coordinates, the seed, the epoch and its index alone.

    Args:
        normalized: [N, K, 2] poses in frame coordinates.
        skeleton: K keypoints.
        augment: what varies.
        seed: 0 to 2^64 - 1.
        indices: [N] place of each pose in the whole set, 0 to 2^48 - 1.
        epoch: 0 to 2^64 - 1; each draws anew.
        visibility: [N, K], 0 for a joint that is not labelled; None: all are. A limb that hangs on such a joint
            stays as it is. Mirror images have another visibility: see ``augment_labelled``.

    Returns:
        [N, K, 2] float32; joints that are not labelled are 0.

    Raises:
        UsageError: wrong shapes, seed or indices out of range, or a limb that the skeleton does not have.
    """
    if visibility is None:
        visibility = np.full(np.shape(normalized)[:2], 2, np.uint8)
    return augment_labelled(normalized, visibility, skeleton, augment, seed, indices, epoch=epoch)[0]


def augment_labelled(
    normalized: NDArray[np.floating],
    visibility: NDArray[np.uint8],
    skeleton: Skeleton,
    augment: Augment,
    seed: int,
    indices: NDArray[np.int64],
    *,
    epoch: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """``augment_poses``, and the visibility that goes with its result.

    Args:
        normalized: [N, K, 2] poses in frame coordinates.
        visibility: [N, K], 0 for a joint that is not labelled.
        skeleton: K keypoints.
        augment: what varies.
        seed: 0 to 2^64 - 1.
        indices: [N] place of each pose in the whole set, 0 to 2^48 - 1.
        epoch: 0 to 2^64 - 1; each draws anew.

    Returns:
        [N, K, 2] float32 and [N, K] uint8, left and right swapped where a pose is mirrored.

    Raises:
        UsageError: as ``augment_poses``.
    """
    poses, seen = np.array(normalized, np.float64), np.array(visibility, np.uint8)
    n, k = len(poses), skeleton.num_keypoints
    if poses.shape != (n, k, 2):
        raise UsageError(f"normalized must be [N, {k}, 2], got {list(poses.shape)}")
    if seen.shape != (n, k):
        raise UsageError(f"visibility must be [{n}, {k}], got {list(seen.shape)}")
    indices = _checked_indices(indices, n)
    chosen = _chosen_limbs(augment, skeleton)
    # Each variation has its own column, so that asking for one more leaves the others as they are.
    numbers = uniforms_at(seed, Stream.AUGMENT, indices, _COLUMNS, lap=epoch)
    flips = numbers[:, _FLIP] < augment.flip
    poses[seen == 0] = 0
    if flips.any():
        poses[flips] = poses[flips][:, skeleton.flip_index] * np.array([-1.0, 1.0])
        seen[flips] = seen[flips][:, skeleton.flip_index]
    angle = _drawn(numbers[:, _LIMB_ANGLE], augment.limb_rotation_deg)
    if len(chosen) and angle.any():
        limbs = _limbs(skeleton)
        limb = chosen[(numbers[:, _LIMB] * len(chosen)).astype(np.int64)]
        rows = np.arange(n)
        pivot = poses[rows, limbs.pivot[limb]][:, None]
        turned = pivot + _rotated(poses - pivot, angle)
        moves = limbs.members[limb] & (seen[rows, limbs.pivot[limb]] > 0)[:, None]
        poses = np.where(moves[..., None], turned, poses)
    poses *= _drawn(numbers[:, _SCALE], augment.scale)[:, None, None]
    poses = _rotated(poses, _drawn(numbers[:, _ROTATION], augment.rotation_deg))
    poses[seen == 0] = 0
    return poses.astype(np.float32), seen


def augment_visibility(
    visibility: NDArray[np.uint8],
    skeleton: Skeleton,
    augment: Augment,
    seed: int,
    indices: NDArray[np.int64],
    *,
    epoch: int = 0,
) -> NDArray[np.uint8]:
    """The visibility [N, K] that goes with the result of ``augment_poses``; see ``augment_labelled`` for both.

    Raises:
        UsageError: wrong shapes, or seed or indices out of range.
    """
    nowhere = np.zeros((*np.shape(visibility), 2))
    return augment_labelled(nowhere, visibility, skeleton, augment, seed, indices, epoch=epoch)[1]


def _checked_indices(indices: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    array = np.asarray(indices)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer):
        raise UsageError(f"indices must be [{n}] integers, got {list(array.shape)} {array.dtype}")
    return array.astype(np.int64)

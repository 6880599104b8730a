"""The skeleton of a pose: its keypoints, bones, left/right pairs, tolerances and colours."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from flexpose.errors import UsageError
from flexpose.skeleton.palette import palette

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

__all__ = ["DEFAULT_SIGMA", "MAX_KEYPOINTS", "Skeleton", "checked_names", "mirror_pairs"]

MAX_KEYPOINTS = 1024
MAX_BONES = 1024
DEFAULT_SIGMA = 0.05  # of a keypoint without a published one: the middle of COCO's face and limb values


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pair ``left_x`` (or ``x_left``, ``Left_x`` ...) with its right counterpart, by name.

    Args:
        names: keypoint names.

    Returns:
        (left, right) index pairs in the order of the left keypoints; names without one are left out.
    """
    where = {name.lower(): index for index, name in enumerate(names)}
    pairs = []
    for index, name in enumerate(names):
        low = name.lower()
        if low.startswith("left"):
            other = "right" + low[4:]
        elif low.endswith("left"):
            other = low[:-4] + "right"
        else:
            continue
        if other in where:
            pairs.append((index, where[other]))
    return tuple(pairs)


class Skeleton:
    """What the K numbers pairs of a pose mean: names, bones, mirror pairs, OKS sigmas and colours.

    Immutable, equal and hashable by content (its ``fingerprint``).

    Args:
        name: name of the skeleton, not empty.
        names: K unique keypoint names, 1 to 1,024.
        bones: B pairs (parent, child) of different keypoints, 0-based; they are drawn in this order.
        flip_pairs: (left, right) index pairs; each keypoint in one pair at most. None: found by name.
        sigmas: [K] OKS sigmas > 0 (standard deviation of the labelling error over the object's scale).
            None: ``DEFAULT_SIGMA`` for all.
        root: keypoints whose mean is the root of the pose. None: all of them.
        torso: the reference segment of a length-normalised score (PCK), or None.
        palette_seed: seed of the colours, 0 to 2^63 - 1.
        bone_colors: [B, 3] uint8 RGB; None: from the palette.
        joint_colors: [K, 3] uint8 RGB; None: from the palette, after the bones' colours.
        description: one line on what it is and where its order is defined; not part of the identity.

    Raises:
        UsageError: an argument is out of range or contradicts another.
    """

    __slots__ = (
        "_fingerprint",
        "_flip_index",
        "bone_colors",
        "bones",
        "description",
        "flip_pairs",
        "joint_colors",
        "name",
        "names",
        "palette_seed",
        "root",
        "sigmas",
        "torso",
    )

    name: str
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    sigmas: NDArray[np.float64]
    bone_colors: NDArray[np.uint8]
    joint_colors: NDArray[np.uint8]
    palette_seed: int
    root: tuple[int, ...]
    torso: tuple[int, int] | None
    description: str
    _flip_index: NDArray[np.int64]
    _fingerprint: str

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        bones: Sequence[Sequence[int]] = (),
        *,
        flip_pairs: Sequence[Sequence[int]] | None = None,
        sigmas: ArrayLike | None = None,
        root: Sequence[int] | None = None,
        torso: Sequence[int] | None = None,
        palette_seed: int = 0,
        bone_colors: ArrayLike | None = None,
        joint_colors: ArrayLike | None = None,
        description: str = "",
    ) -> None:
        names = checked_names(name, names)
        k = len(names)
        if len(bones) > MAX_BONES:
            raise UsageError(f"bones must be {MAX_BONES} at most, got {len(bones)}")
        pairs = _checked_pairs("bones", bones, k)
        if len(set(pairs)) != len(pairs):
            raise UsageError("bones must be unique, got one twice")
        flips = mirror_pairs(names) if flip_pairs is None else _checked_pairs("flip_pairs", flip_pairs, k)
        if len({index for pair in flips for index in pair}) != 2 * len(flips):
            raise UsageError("flip_pairs must name each keypoint once at most, got one twice")
        if isinstance(palette_seed, bool) or not 0 <= palette_seed < 2**63:
            raise UsageError(f"palette_seed must be in 0 to 2^63 - 1, got {palette_seed}")
        roots = tuple(range(k)) if root is None else tuple(_checked_index("root", i, k) for i in root)
        if not roots or len(set(roots)) != len(roots):
            raise UsageError(f"root must name at least one keypoint, each once, got {list(roots)}")
        colours = palette(len(pairs) + k, palette_seed)
        flip_index = np.arange(k, dtype=np.int64)
        for left, right in flips:
            flip_index[left], flip_index[right] = right, left
        values: dict[str, Any] = {
            "name": name,
            "names": names,
            "bones": pairs,
            "flip_pairs": flips,
            "sigmas": _checked_sigmas(sigmas, k),
            "palette_seed": int(palette_seed),
            "bone_colors": _checked_colors("bone_colors", bone_colors, colours[: len(pairs)]),
            "joint_colors": _checked_colors("joint_colors", joint_colors, colours[len(pairs) :]),
            "root": roots,
            "torso": None if torso is None else _checked_pairs("torso", [torso], k)[0],
            "description": str(description),
            "_flip_index": flip_index,
        }
        for key, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, key, value)
        object.__setattr__(self, "_fingerprint", hashlib.sha256(self._canonical()).hexdigest())

    def _canonical(self) -> bytes:
        identity = {
            "name": self.name,
            "names": self.names,
            "bones": self.bones,
            "flip_pairs": self.flip_pairs,
            "sigmas": [float(sigma).hex() for sigma in self.sigmas],
            "bone_colors": self.bone_colors.tolist(),
            "joint_colors": self.joint_colors.tolist(),
            "root": self.root,
            "torso": self.torso,
        }
        return json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()

    def __setattr__(self, key: str, value: object) -> NoReturn:
        raise AttributeError(f"a Skeleton is immutable: cannot set {key}")

    def __delattr__(self, key: str) -> NoReturn:
        raise AttributeError(f"a Skeleton is immutable: cannot delete {key}")

    def __eq__(self, other: object) -> bool:
        return self._fingerprint == other._fingerprint if isinstance(other, Skeleton) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fingerprint)

    def __repr__(self) -> str:
        return f"Skeleton({self.name!r}, {self.num_keypoints} keypoints, {len(self.bones)} bones)"

    def __reduce__(self) -> tuple[Callable[[str], Skeleton], tuple[str]]:
        return Skeleton.from_toml, (self.to_toml(),)  # copies and worker processes get it by its definition

    @property
    def num_keypoints(self) -> int:
        """K, the number of keypoints."""
        return len(self.names)

    @property
    def flip_index(self) -> NDArray[np.int64]:
        """[K] where each keypoint of a mirrored pose comes from; its own inverse. Read-only."""
        return self._flip_index

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the definition, colours included and the description left out."""
        return self._fingerprint

    def index(self, name: str) -> int:
        """The index of a keypoint.

        Args:
            name: keypoint name.

        Returns:
            Its 0-based index.

        Raises:
            UsageError: there is no such keypoint.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise UsageError(f"keypoint must be one of {', '.join(self.names)}, got {name!r}") from None

    def to_toml(self) -> str:
        """The definition as TOML text, colours included; ``from_toml`` reads it back to an equal skeleton."""
        from flexpose.skeleton.definition import toml_from_skeleton

        return toml_from_skeleton(self)

    @classmethod
    def from_toml(cls, source: str | PathLike[str]) -> Skeleton:
        """Read a definition.

        Args:
            source: path of a TOML file, or TOML text (a string that holds a line break or ``=``).

        Returns:
            The skeleton.

        Raises:
            DataError: the text is not TOML, or a key is unknown, missing or out of range.
            UsageError: there is no such file.
        """
        from flexpose.skeleton.definition import skeleton_from_toml

        return skeleton_from_toml(source)


def checked_names(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Check the name of a skeleton and those of its keypoints.

    Args:
        name: text that is not empty.
        names: 1 to 1,024 unique texts, none empty.

    Returns:
        The keypoint names.

    Raises:
        UsageError: one of them is not as it must be.
    """
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"name must be text that is not empty, got {name!r}")
    if isinstance(names, str) or not 1 <= len(names) <= MAX_KEYPOINTS:
        raise UsageError(f"names must be 1 to {MAX_KEYPOINTS} keypoint names, got {len(names)}")
    seen = set()
    for item in names:
        if not isinstance(item, str) or not item.strip():
            raise UsageError(f"names must be text that is not empty, got {item!r}")
        if item in seen:
            raise UsageError(f"names must be unique, got {item!r} twice")
        seen.add(item)
    return tuple(str(item) for item in names)


def _checked_index(field: str, value: object, k: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise UsageError(f"{field} must hold keypoint indices, got {value!r}")
    if not 0 <= value < k:
        raise UsageError(f"{field} must hold keypoint indices from 0 to {k - 1}, got {value}")
    return int(value)


def _checked_pairs(field: str, pairs: Sequence[Sequence[int]], k: int) -> tuple[tuple[int, int], ...]:
    checked = []
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise UsageError(f"{field} must hold pairs of keypoint indices, got {pair!r}")
        first, second = (_checked_index(field, value, k) for value in pair)
        if first == second:
            raise UsageError(f"{field} must join two different keypoints, got {first} twice")
        checked.append((first, second))
    return tuple(checked)


def _checked_sigmas(sigmas: ArrayLike | None, k: int) -> NDArray[np.float64]:
    if sigmas is None:
        return np.full(k, DEFAULT_SIGMA)
    try:
        array = np.array(sigmas, np.float64)
    except (TypeError, ValueError) as err:
        raise UsageError(f"sigmas must be numbers: {err}") from err
    if array.shape != (k,):
        raise UsageError(f"sigmas must be [{k}], got {list(array.shape)}")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise UsageError("sigmas must be finite and > 0")
    return array


def _checked_colors(field: str, colors: ArrayLike | None, default: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if colors is None:
        return default.copy()
    try:
        array = np.array(colors)
    except ValueError as err:
        raise UsageError(f"{field} must be {list(default.shape)}: {err}") from err
    if array.size == 0 and default.size == 0:
        return default.copy()
    if array.shape != default.shape:
        raise UsageError(f"{field} must be {list(default.shape)}, got {list(array.shape)}")
    if not np.issubdtype(array.dtype, np.integer) or array.min() < 0 or array.max() > 255:
        raise UsageError(f"{field} must be integers from 0 to 255")
    return array.astype(np.uint8)

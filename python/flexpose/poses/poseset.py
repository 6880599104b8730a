"""The one in-memory type of poses: immutable, checked once."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from flexpose.errors import DataError, UsageError
from flexpose.skeleton.schema import Skeleton

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["PoseSet"]

_MAX_SIDE = 2**31 - 1


class PoseSet:
    """N poses of one skeleton with visibility, image sizes, ids and labels.

    The constructor copies, checks and freezes: whoever holds a PoseSet holds valid poses. Indexing with an
    integer, slice, index array or boolean mask gives a PoseSet again.

    Args:
        keypoints: [N, K, 2] numbers, pixels; (0, 0) is the image corner and pixel centres lie at +0.5. Points
            that are not labelled are set to 0; they may come in as NaN.
        visibility: [N, K] 0 not labelled, 1 occluded, 2 visible (bool: False is 0, True is 2). None: all 2.
        skeleton: K keypoints.
        image_size: (width, height) of all or [N, 2], integers >= 1. None: for each pose the smallest image
            from (0, 0) that holds its labelled points.
        ids: [N] integers; they need not be unique. None: 1 to N.
        labels: N class labels, "" for none; None where poses have no classes.
        origin: where the poses come from (a path, a generator), for messages and manifests.

    Attributes:
        keypoints: [N, K, 2] float32, read-only.
        visibility: [N, K] uint8, read-only.
        skeleton: the skeleton.
        image_size: [N, 2] int32 (width, height), read-only.
        ids: [N] int64, read-only.
        labels: N strings or None.
        origin: text or None.

    Raises:
        UsageError: an argument has the wrong shape or type.
        DataError: a labelled point is not finite, or a visibility or size is out of range; names the record.
    """

    __slots__ = ("ids", "image_size", "keypoints", "labels", "origin", "skeleton", "visibility")

    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    skeleton: Skeleton
    image_size: NDArray[np.int32]
    ids: NDArray[np.int64]
    labels: tuple[str, ...] | None
    origin: str | None

    def __init__(
        self,
        keypoints: ArrayLike,
        visibility: ArrayLike | None = None,
        *,
        skeleton: Skeleton,
        image_size: ArrayLike | None = None,
        ids: ArrayLike | None = None,
        labels: Sequence[str] | None = None,
        origin: str | None = None,
    ) -> None:
        if not isinstance(skeleton, Skeleton):
            raise UsageError(f"skeleton must be a Skeleton, got {type(skeleton).__name__}")
        kp, vis = _checked_points(keypoints, visibility, skeleton.num_keypoints, origin)
        n = len(kp)
        values: dict[str, Any] = {
            "keypoints": kp,
            "visibility": vis,
            "skeleton": skeleton,
            "image_size": _checked_sizes(image_size, kp, origin),
            "ids": _checked_ids(ids, n),
            "labels": _checked_labels(labels, n),
            "origin": None if origin is None else str(origin),
        }
        self._freeze(values)

    def _freeze(self, values: dict[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, key, value)

    @classmethod
    def _trusted(cls, values: dict[str, Any]) -> Self:
        """Build from fields that come out of a checked PoseSet and need no second check."""
        poses = object.__new__(cls)
        poses._freeze(values)
        return poses

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __setattr__(self, key: str, value: object) -> NoReturn:
        raise AttributeError(f"a PoseSet is immutable: use replace({key}=...)")

    def __delattr__(self, key: str) -> NoReturn:
        raise AttributeError(f"a PoseSet is immutable: cannot delete {key}")

    def __getstate__(self) -> dict[str, Any]:
        return self._fields()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._freeze(state)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | ArrayLike) -> Self:
        rows = self._rows(index)
        fields = self._fields()
        for name in ("keypoints", "visibility", "image_size", "ids"):
            fields[name] = fields[name][rows]
        if self.labels is not None:
            fields["labels"] = tuple(self.labels[i] for i in np.arange(len(self))[rows])
        return self._trusted(fields)

    def _rows(self, index: int | slice | ArrayLike) -> slice | NDArray[np.intp]:
        n = len(self)
        if isinstance(index, slice):
            return index
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            if not -n <= index < n:
                raise IndexError(f"index must be in {-n} to {n - 1}, got {index}")
            return np.array([index], np.intp)
        array = np.asarray(index)
        if array.ndim != 1:
            raise UsageError(f"index must be an integer, a slice, or a [M] array, got {list(array.shape)}")
        if array.dtype == bool:
            if len(array) != n:
                raise UsageError(f"a boolean index must be [{n}], got [{len(array)}]")
            return np.flatnonzero(array)
        if array.size == 0:
            return np.zeros(0, np.intp)
        if not np.issubdtype(array.dtype, np.integer):
            raise UsageError(f"an index array must hold integers or booleans, got {array.dtype}")
        if array.min() < -n or array.max() >= n:
            raise IndexError(f"index must be in {-n} to {n - 1}, got {array.min()} to {array.max()}")
        return array.astype(np.intp)

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal, ``origin`` left out: it says where, not what."""
        if not isinstance(other, PoseSet):
            return NotImplemented
        return (
            self.skeleton == other.skeleton
            and self.labels == other.labels
            and all(
                np.array_equal(getattr(self, name), getattr(other, name))
                for name in ("keypoints", "visibility", "image_size", "ids")
            )
        )

    __hash__ = None  # type: ignore[assignment]  # equal by content, and the content may be large

    def __repr__(self) -> str:
        labels = "" if self.labels is None else f", {len(set(self.labels))} labels"
        origin = "" if self.origin is None else f", origin={self.origin!r}"
        shape = list(self.keypoints.shape)
        return f"PoseSet({len(self)} poses, {self.skeleton.name}, keypoints {shape}{labels}{origin})"

    def replace(self, **fields: Any) -> Self:
        """A copy with some fields replaced, checked as the constructor checks.

        Args:
            **fields: constructor arguments.

        Returns:
            The new PoseSet.

        Raises:
            UsageError: there is no such field, or its value does not fit the others.
        """
        unknown = set(fields) - set(self.__slots__)
        if unknown:
            raise UsageError(f"replace() takes {', '.join(self.__slots__)}, got {', '.join(sorted(unknown))}")
        return type(self)(**{**self._fields(), **fields})

    @staticmethod
    def concat(parts: Sequence[PoseSet]) -> PoseSet:
        """Put sets of one skeleton after each other; ids stay as they are.

        Args:
            parts: at least one PoseSet; where only some have labels, the others get "".

        Returns:
            The poses in the order given; ``origin`` stays where all have the same.

        Raises:
            UsageError: there is none, or the skeletons differ.
        """
        if not parts:
            raise UsageError("concat needs at least one PoseSet, got none")
        first = parts[0]
        for part in parts:
            if part.skeleton != first.skeleton:
                raise UsageError(
                    f"concat needs one skeleton, got {first.skeleton.name} and {part.skeleton.name}: "
                    "use map_joints"
                )
        fields: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("keypoints", "visibility", "image_size", "ids")
        }
        labelled = any(part.labels is not None for part in parts)
        fields["labels"] = (
            tuple(label for part in parts for label in (part.labels or ("",) * len(part)))
            if labelled
            else None
        )
        fields["skeleton"] = first.skeleton
        fields["origin"] = first.origin if len({part.origin for part in parts}) == 1 else None
        return PoseSet._trusted(fields)

    def complete(self) -> NDArray[np.bool_]:
        """[N] True where every keypoint is labelled (visible or occluded)."""
        return np.asarray((self.visibility > 0).all(axis=1))

    def content_hash(self) -> str:
        """SHA-256 (hex) of everything that equality compares; the same on every platform."""
        digest = hashlib.sha256(f"poses/1 {self.skeleton.fingerprint} {len(self)}".encode())
        for array, kind in (
            (self.keypoints + np.float32(0), "<f4"),  # -0.0 equals 0.0, so they hash alike
            (self.visibility, "|u1"),
            (self.image_size, "<i4"),
            (self.ids, "<i8"),
        ):
            digest.update(np.ascontiguousarray(array).astype(kind, copy=False).tobytes())
        digest.update(json.dumps(self.labels).encode())
        return digest.hexdigest()

    def flipped(self) -> Self:
        """The mirror image of each pose: x becomes width - x, and left and right change places.

        Twice is the identity up to float32 rounding of ``width - x``.
        """
        order = self.skeleton.flip_index
        kp = self.keypoints[:, order].copy()
        vis = self.visibility[:, order].copy()
        kp[..., 0] = self.image_size[:, None, 0] - kp[..., 0].astype(np.float64)
        kp[vis == 0] = 0
        return self._trusted({**self._fields(), "keypoints": kp, "visibility": vis})


def _numbers(field: str, value: ArrayLike) -> NDArray[Any]:
    """An array of real numbers, or UsageError: ragged lists, text and objects stop here."""
    try:
        array = np.asarray(value)
    except ValueError as err:
        raise UsageError(f"{field} must be an array of numbers: {err}") from err
    if array.dtype != bool and not (
        np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    ):
        if array.size == 0:
            return array.astype(np.float64)
        raise UsageError(f"{field} must be numbers, got {array.dtype}")
    return array


def _checked_points(
    keypoints: ArrayLike, visibility: ArrayLike | None, k: int, origin: str | None
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    raw = _numbers("keypoints", keypoints)
    if raw.ndim != 3 or raw.shape[1:] != (k, 2):
        raise UsageError(f"keypoints must be [N, {k}, 2], got {list(raw.shape)}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf and is reported below
        kp = np.array(raw, np.float32)
    if visibility is None:
        vis = np.full(kp.shape[:2], 2, np.uint8)
    else:
        raw = _numbers("visibility", visibility)
        if raw.shape != kp.shape[:2]:
            raise UsageError(f"visibility must be {list(kp.shape[:2])}, got {list(raw.shape)}")
        if raw.dtype == bool:
            vis = raw.astype(np.uint8) * np.uint8(2)
        else:
            bad = ~np.isin(raw, (0, 1, 2)).all(axis=1)
            if bad.any():
                record = int(bad.argmax())
                raise DataError("must be 0, 1 or 2", path=origin, record=record, field="visibility")
            vis = raw.astype(np.uint8)
    bad = (~np.isfinite(kp).all(axis=2) & (vis > 0)).any(axis=1)
    if bad.any():
        record = int(bad.argmax())
        joint = int((~np.isfinite(kp[record]).all(axis=1) & (vis[record] > 0)).argmax())
        raise DataError(
            f"must be finite where labelled, got {kp[record, joint].tolist()} at joint {joint}",
            path=origin,
            record=record,
            field="keypoints",
        )
    kp[vis == 0] = 0
    return kp, vis


def _checked_sizes(
    image_size: ArrayLike | None, kp: NDArray[np.float32], origin: str | None
) -> NDArray[np.int32]:
    n = len(kp)
    if image_size is None:
        # Points not labelled are 0 and do not widen a box that starts at 0.
        far = np.ceil(kp.astype(np.float64).max(axis=1)) if n else np.zeros((0, 2))
        return np.clip(far, 1, _MAX_SIDE).astype(np.int32)
    raw = _numbers("image_size", image_size)
    if raw.shape not in {(2,), (n, 2)}:
        raise UsageError(f"image_size must be (width, height) or [{n}, 2], got {list(raw.shape)}")
    raw = np.broadcast_to(raw, (n, 2))
    bad = ~((raw >= 1) & (raw <= _MAX_SIDE) & (raw == np.floor(raw))).all(axis=1)
    if bad.any():
        record = int(bad.argmax())
        raise DataError(
            f"must be integers >= 1, got {raw[record].tolist()}",
            path=origin,
            record=record,
            field="image_size",
        )
    return raw.astype(np.int32)


def _checked_ids(ids: ArrayLike | None, n: int) -> NDArray[np.int64]:
    if ids is None:
        return np.arange(1, n + 1, dtype=np.int64)
    raw = _numbers("ids", ids)
    if raw.shape != (n,):
        raise UsageError(f"ids must be [{n}], got {list(raw.shape)}")
    if n and not np.issubdtype(raw.dtype, np.integer):
        raise UsageError(f"ids must be integers, got {raw.dtype}")
    if n and raw.dtype == np.uint64 and int(raw.max()) > np.iinfo(np.int64).max:
        raise UsageError(f"ids must be below 2^63, got {int(raw.max())}")
    return raw.astype(np.int64)


def _checked_labels(labels: Sequence[str] | None, n: int) -> tuple[str, ...] | None:
    if labels is None:
        return None
    if isinstance(labels, str) or len(labels) != n:
        raise UsageError(f"labels must be {n} strings, got {labels!r:.60}")
    for label in labels:
        if not isinstance(label, str):
            raise UsageError(f"labels must be strings, got {label!r}")
    return tuple(str(label) for label in labels)

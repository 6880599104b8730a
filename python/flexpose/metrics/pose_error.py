"""Errors of predicted poses against labelled ones, joint by joint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import DataError, UsageError
from .arrays import as_keypoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..skeleton import Skeleton

__all__ = ["PckNorm", "mean_l2", "mean_square", "pck", "pck_lengths"]

PckNorm = Literal["torso", "bbox", "image"]


def _errors(
    pred: ArrayLike, truth: ArrayLike, visibility: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Squared errors [N, K], the truth [N, K, 2], and which joints count [N, K]."""
    given = np.asarray(truth)
    predicted = as_keypoints(pred, "pred")
    if given.shape != predicted.shape:
        raise UsageError(f"truth must be {list(predicted.shape)} as pred is, got {list(given.shape)}")
    counted = np.ones(given.shape[:2], np.bool_)
    if visibility is not None:
        flags = np.asarray(visibility)
        if flags.shape != given.shape[:2]:
            raise UsageError(f"visibility must be {list(given.shape[:2])}, got {list(flags.shape)}")
        counted = flags > 0
    known = np.where(counted[..., None], np.asarray(given, dtype=np.float64), 0.0)
    bad = ~np.isfinite(known).all(axis=(1, 2))
    if bad.any():
        raise DataError("NaN or infinite value at a labelled joint", record=int(bad.argmax()), field="truth")
    offset = predicted - known
    return np.einsum("nkc,nkc->nk", offset, offset), known, counted


def _mean(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> float:
    if not counted.any():
        raise UsageError("visibility must have at least one labelled joint, got none")
    return float(values[counted].mean())


def mean_l2(pred: ArrayLike, truth: ArrayLike, visibility: ArrayLike | None = None) -> float:
    """Mean distance between predicted and true joints: the headline error.

    Args:
        pred: [N, K, 2].
        truth: [N, K, 2], the same unit; unlabelled joints may hold anything.
        visibility: [N, K]; joints with 0 are left out. None: all count.

    Returns:
        Mean over the labelled joints of all poses, in the unit of the input.

    Raises:
        UsageError: the shapes differ, or no joint is labelled.
        DataError: a coordinate that counts is not finite.
    """
    squared, _, counted = _errors(pred, truth, visibility)
    return _mean(np.sqrt(squared), counted)


def mean_square(pred: ArrayLike, truth: ArrayLike, visibility: ArrayLike | None = None) -> float:
    """Mean squared distance between predicted and true joints; see `mean_l2`.

    Returns:
        Mean over the labelled joints of all poses, in the square of the unit of the input.

    Raises:
        UsageError: the shapes differ, or no joint is labelled.
        DataError: a coordinate that counts is not finite.
    """
    squared, _, counted = _errors(pred, truth, visibility)
    return _mean(squared, counted)


def pck_lengths(
    truth: ArrayLike,
    visibility: ArrayLike | None = None,
    *,
    norm: PckNorm | tuple[int, int] = "torso",
    skeleton: Skeleton | None = None,
    image_size: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """The length of each pose that a PCK threshold is a share of.

    Args:
        truth: [N, K, 2] pixels.
        visibility: [N, K]; joints with 0 are unknown.
        norm: `torso`: the skeleton's torso segment (left shoulder to right hip); `bbox`: the longer side of
            the box around the labelled joints; `image`: the longer side of the image; two joints: their
            distance (outer corners of the eyes for faces).
        skeleton: for `torso`.
        image_size: (width, height) or [N, 2], for `image`.

    Returns:
        [N] pixels; NaN where the joints that it needs are not labelled.

    Raises:
        UsageError: wrong shape, unknown norm, or what the norm needs is missing.
        DataError: a labelled coordinate is not finite.
    """
    _, points, counted = _errors(np.zeros(np.shape(truth)), truth, visibility)
    if norm == "torso":
        if skeleton is None or skeleton.torso is None:
            raise UsageError("skeleton must be given and have a torso segment for norm 'torso'")
        norm = skeleton.torso
    if isinstance(norm, tuple):
        one, two = norm
        if not (0 <= one < points.shape[1] and 0 <= two < points.shape[1]):
            raise UsageError(f"norm must name joints in 0 to {points.shape[1] - 1}, got {norm}")
        lengths = np.hypot(*(points[:, one] - points[:, two]).T)
        return np.where(counted[:, one] & counted[:, two], lengths, np.nan)
    if norm == "bbox":
        known = counted.any(axis=1)
        high = np.where(counted[..., None], points, -np.inf).max(axis=1)
        low = np.where(counted[..., None], points, np.inf).min(axis=1)
        sides = np.full(len(points), np.nan)
        sides[known] = (high[known] - low[known]).max(axis=1)
        return sides
    if norm == "image":
        if image_size is None:
            raise UsageError("image_size must be given for norm 'image'")
        sizes = np.asarray(image_size, dtype=np.float64)
        if sizes.shape not in {(2,), (len(points), 2)}:
            raise UsageError(f"image_size must be [2] or [{len(points)}, 2], got {list(sizes.shape)}")
        return np.broadcast_to(sizes.max(axis=-1), (len(points),)).copy()
    raise UsageError(f"norm must be 'torso', 'bbox', 'image' or two joints, got {norm!r}")


def pck(
    pred: ArrayLike,
    truth: ArrayLike,
    visibility: ArrayLike | None = None,
    *,
    rho: float = 0.1,
    norm: PckNorm | tuple[int, int] | ArrayLike = "torso",
    skeleton: Skeleton | None = None,
    image_size: ArrayLike | None = None,
) -> float:
    """Share of correct keypoints: joints that lie within `rho` times a length of their pose.

    Args:
        pred: [N, K, 2] pixels.
        truth: [N, K, 2] pixels; unlabelled joints may hold anything.
        visibility: [N, K]; joints with 0 are left out. None: all count.
        rho: share of the length, > 0.
        norm: which length, see `pck_lengths`; or the lengths themselves, [N] pixels.
        skeleton: for the norm `torso`.
        image_size: for the norm `image`.

    Returns:
        Share in [0, 1] of the labelled joints of the poses whose length is known and above 0; poses without
        such a length (a torso that is not labelled) are left out.

    Raises:
        UsageError: the shapes differ, an argument is out of range, or nothing is left to count.
        DataError: a coordinate that counts is not finite.

    Source: Yang and Ramanan 2013, "Articulated human detection with flexible mixtures of parts".
    """
    if not rho > 0.0:
        raise UsageError(f"rho must be > 0, got {rho}")
    squared, points, counted = _errors(pred, truth, visibility)
    if isinstance(norm, str | tuple):
        lengths = pck_lengths(points, counted, norm=norm, skeleton=skeleton, image_size=image_size)  # type: ignore[arg-type]
    else:
        lengths = np.asarray(norm, dtype=np.float64)
        if lengths.shape != (len(points),):
            raise UsageError(f"norm must be [{len(points)}], got {list(lengths.shape)}")
    usable = np.isfinite(lengths) & (lengths > 0.0)
    counted = counted & usable[:, None]
    if not counted.any():
        raise UsageError("norm leaves no pose with a labelled joint and a length above 0")
    limits = np.where(usable, rho * lengths, 0.0)
    # The comparison is on the distance itself, so that an error of exactly rho times the length counts.
    hits = np.sqrt(squared) <= limits[:, None]
    return float(hits[counted].mean())

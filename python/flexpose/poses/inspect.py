"""Looking at a set of poses before trusting it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flexpose.poses.poseset import PoseSet

__all__ = ["summarize"]

_FENCE = 3.0  # Tukey's outer fence: beyond the upper quartile by this many interquartile ranges
_FEWEST = 8  # fewer lengths tell no quartiles
_LISTED = 20


def summarize(poses: PoseSet) -> dict[str, Any]:
    """Say what a set of poses holds, and what in it looks wrong.

    Args:
        poses: any poses.

    Returns:
        A dict that is ready for JSON: ``poses``, ``complete`` (all keypoints labelled), ``labelled`` (at
        least one), ``skeleton`` and ``skeleton_fingerprint``; ``joints`` (per keypoint: name, visible,
        occluded, missing, labelled_share); ``labels`` (poses of each); ``image_width``, ``image_height`` and
        ``box_px`` (longer side of the labelled keypoints' box) as min, median, max, or None for no poses;
        ``image_sizes`` (the most frequent ones); ``outside_image`` (poses with a labelled keypoint beyond the
        image's edges); ``no_extent`` (poses that cannot be framed: all at one point); ``duplicates`` (poses
        equal to an earlier one) and ``duplicate_ids``; ``bone_outliers`` with ``poses`` (how many have a bone
        that is far longer than others have it), ``rows`` (the first of them) and ``bones`` (per bone). A bone
        is measured in box sides; far longer is beyond the upper quartile by 3 interquartile ranges. Short
        bones are not counted, since foreshortening makes them.
    """
    seen = poses.visibility > 0
    n = len(poses)
    boxes = _box_sides(poses, seen)
    outliers, per_bone = _bone_outliers(poses, seen, boxes)
    rows = np.flatnonzero(outliers)
    sizes = Counter((int(w), int(h)) for w, h in poses.image_size.tolist())
    beyond = (poses.keypoints < 0) | (poses.keypoints > poses.image_size[:, None].astype(np.float32))
    equal = Counter(
        kp.tobytes() + vis.tobytes()
        for kp, vis in zip(poses.keypoints + np.float32(0), poses.visibility, strict=True)
    )
    return {
        "poses": n,
        "complete": int(poses.complete().sum()),
        "labelled": int(seen.any(axis=1).sum()),
        "skeleton": poses.skeleton.name,
        "skeleton_fingerprint": poses.skeleton.fingerprint,
        "joints": [
            {
                "name": name,
                "visible": int((poses.visibility[:, joint] == 2).sum()),
                "occluded": int((poses.visibility[:, joint] == 1).sum()),
                "missing": int((poses.visibility[:, joint] == 0).sum()),
                "labelled_share": float(seen[:, joint].mean()) if n else None,
            }
            for joint, name in enumerate(poses.skeleton.names)
        ],
        "labels": dict(sorted(Counter(poses.labels or ()).items())),
        "image_width": _spread(poses.image_size[:, 0]),
        "image_height": _spread(poses.image_size[:, 1]),
        "image_sizes": [
            {"width": w, "height": h, "poses": count} for (w, h), count in sizes.most_common(_LISTED)
        ],
        "box_px": _spread(boxes[seen.any(axis=1)]),
        "outside_image": int((beyond.any(axis=2) & seen).any(axis=1).sum()),
        "no_extent": int((boxes < 1e-3).sum()),
        "duplicates": n - len(equal),
        "duplicate_ids": n - len(np.unique(poses.ids)),
        "bone_outliers": {"poses": len(rows), "rows": rows[:_LISTED].tolist(), "bones": per_bone},
    }


def _spread(values: NDArray[Any]) -> dict[str, float] | None:
    if values.size == 0:
        return None
    kind = int if np.issubdtype(values.dtype, np.integer) else float
    return {"min": kind(values.min()), "median": float(np.median(values)), "max": kind(values.max())}


def _box_sides(poses: PoseSet, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[N] longer side of the labelled keypoints' box, 0 where there are none."""
    kp = poses.keypoints.astype(np.float64)
    low = np.where(seen[..., None], kp, np.inf).min(axis=1)
    high = np.where(seen[..., None], kp, -np.inf).max(axis=1)
    sides = np.zeros(len(poses))
    some = seen.any(axis=1)
    sides[some] = (high[some] - low[some]).max(axis=1)
    return sides


def _bone_outliers(
    poses: PoseSet, seen: NDArray[np.bool_], boxes: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], list[dict[str, Any]]]:
    flagged = np.zeros(len(poses), bool)
    per_bone = []
    names = poses.skeleton.names
    for a, b in poses.skeleton.bones:
        rows = np.flatnonzero(seen[:, a] & seen[:, b] & (boxes > 0))
        offset = poses.keypoints[rows, a].astype(np.float64) - poses.keypoints[rows, b]
        ratio = np.hypot(offset[:, 0], offset[:, 1]) / boxes[rows]
        far = np.zeros(len(rows), bool)
        median = None
        if len(rows) >= _FEWEST:
            q1, median, q3 = (float(q) for q in np.percentile(ratio, (25, 50, 75)))
            far = ratio > q3 + _FENCE * (q3 - q1)
        flagged[rows[far]] = True
        per_bone.append(
            {"bone": [names[a], names[b]], "median": median, "outliers": int(far.sum()), "poses": len(rows)}
        )
    return flagged, per_bone

"""COCO keypoints JSON: persons of COCO itself, and of everything that writes its layout.

Coordinates are the file's own numbers, rounded once to float32: nothing is shifted by half a pixel. (In COCO
itself they are whole numbers, the index of the pixel that was clicked.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose import _rust
from flexpose._atomic import atomic_path
from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.poses.bad import BadRecord, BadRecords
from flexpose.poses.poseset import PoseSet
from flexpose.skeleton import Skeleton, find_skeleton, list_skeletons, load_skeleton, map_joints

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["CocoReport", "read_coco", "read_coco_report", "write_coco"]

_OWN_KEYS = frozenset(
    {"id", "image_id", "category_id", "keypoints", "num_keypoints", "iscrowd", "bbox"}
    | {"width", "height", "name", "skeleton"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoReport:
    """What a COCO file held and what became poses.

    Attributes:
        path: the file.
        images: records of ``images``.
        annotations: records of ``annotations``.
        poses: annotations that became poses.
        bad: annotations left out because something is wrong with them.
        crowd: annotations left out because ``iscrowd`` is 1.
        unlabelled: annotations left out because they have no ``keypoints`` or no labelled one.
        count_mismatch: annotations whose ``num_keypoints`` is not the number of labelled keypoints; they are
            read all the same, since the keypoints themselves tell.
        unknown_size: poses whose image gives no width and height; their size is that of the pose.
    """

    path: str
    images: int
    annotations: int
    poses: int
    crowd: int
    unlabelled: int
    count_mismatch: int
    unknown_size: int
    bad: int = 0


def read_coco(
    path: str | PathLike[str],
    skeleton: Skeleton | str | None = None,
    *,
    label_field: str | None = None,
    bad: BadRecords | None = None,
) -> PoseSet:
    """Read the poses of a COCO keypoints file; ``read_coco_report`` says more, and what was left out."""
    return read_coco_report(path, skeleton, label_field=label_field, bad=bad)[0]


def read_coco_report(
    path: str | PathLike[str],
    skeleton: Skeleton | str | None = None,
    *,
    label_field: str | None = None,
    bad: BadRecords | None = None,
) -> tuple[PoseSet, CocoReport]:
    """Read the poses of a COCO keypoints file, and count what was left out.

    The reader is strict: every id must be unique and refer to something, every number must be one, and each
    annotation must hold three numbers for each joint of its category. Annotations that are crowds or have no
    labelled keypoint make no pose.

    Args:
        path: the file; it is read once, as a stream.
        skeleton: skeleton that is wanted, or its name; poses of another one are mapped (``map_joints``).
            None: the package's skeleton with the file's joint names, else one of the file's names and bones.
            A file whose category names no joints needs it.
        label_field: annotation field with the class label, text or an integer. None: ``action``, ``label`` or
            ``class``, the first in use, else the category's name where poses have different categories.
        bad: None: the first annotation with something wrong in it is an error. Otherwise such annotations are
            left out and noted here, those with NaN and Infinity, which Python's json writes, included. Images,
            categories, and what is not JSON stay strict.

    Returns:
        The poses in file order, ids being those of the annotations, and the report.

    Raises:
        UsageError: the file is not there or may not be read, or its joints do not make the skeleton.
        DataError: the file holds what it must not. ``record`` is the 0-based index in ``annotations``, unless
            ``field`` names another section (``images.width``).
        ResourceError: reading failed half way.
    """
    wanted = load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    if label_field in _OWN_KEYS:
        raise UsageError(f"label_field must not be a field of COCO's own, got {label_field!r}")
    path = os.fsdecode(path)
    try:
        data = _rust.read_coco(path, label_field, bad is not None)
    except OSError as err:
        raise ResourceError(f"{path}: could not be read: {err}") from err
    own = _own_skeleton(path, data, wanted)
    poses = _poses(path, data, own)
    report = CocoReport(path=path, poses=len(poses), bad=data["bad_count"], **data["counts"])
    if bad is not None:
        found = [BadRecord(path, *record) for record in data["bad"]]
        bad.add(found, poses=len(poses), count=data["bad_count"])
    if wanted is not None and own != wanted:
        try:
            poses = map_joints(poses, wanted)
        except UsageError as err:
            raise UsageError(f"{path}: {err}") from err
    return poses, report


def _poses(path: str, data: dict[str, Any], own: Skeleton) -> PoseSet:
    """The poses of a file, which the reader has checked."""
    labels = data["labels"]
    if labels is not None:
        table, codes = labels
        labels = tuple([table[code] for code in codes.tolist()])
    n, size = len(data["ids"]), data["image_size"]
    fields = {
        "keypoints": data["keypoints"].reshape(n, own.num_keypoints, 2),
        "visibility": data["visibility"].reshape(n, own.num_keypoints),
        "skeleton": own,
        "image_size": size,
        "ids": data["ids"],
        "labels": labels,
        "origin": path,
    }
    if size.all():
        return PoseSet._trusted(fields)
    poses = PoseSet(**{**fields, "image_size": None})
    return poses.replace(image_size=np.where(size > 0, size, poses.image_size))


def _own_skeleton(path: str, data: dict[str, Any], wanted: Skeleton | None) -> Skeleton:
    """The skeleton of the file's own joints, in the file's order."""
    names, k = data["names"], data["keypoints"].shape[1]
    if names is None:
        return _assumed_skeleton(path, k, len(data["ids"]), wanted)
    if wanted is not None and wanted.names == tuple(names):
        return wanted
    known = find_skeleton(names)
    if known is not None:
        return known
    try:
        return Skeleton(data["category"] or "unnamed", names, [(a - 1, b - 1) for a, b in data["bones"]])
    except UsageError as err:
        raise DataError(f"(counted from 0) {err}", path=path, field="categories.skeleton") from err


def _assumed_skeleton(path: str, k: int, n: int, wanted: Skeleton | None) -> Skeleton:
    """The skeleton of a file that names no joints, which only the caller can know."""
    if wanted is not None and (wanted.num_keypoints == k or n == 0):
        return wanted
    if wanted is not None:
        raise DataError(
            f"no category names its joints, so poses must have the {wanted.num_keypoints} keypoints of "
            f"{wanted.name}, got {k}",
            path=path,
            field="keypoints",
        )
    fitting = [name for name in list_skeletons() if load_skeleton(name).num_keypoints == k]
    example = fitting[0] if fitting else "<name or TOML file>"
    raise DataError(
        f"no category names its joints, so the file does not tell what its {k} keypoints are: "
        f"say it with skeleton={example!r}",
        path=path,
        field="categories.keypoints",
    )


def write_coco(
    poses: PoseSet, path: str | PathLike[str], *, category: str | None = None, description: str = ""
) -> None:
    """Write poses as a COCO keypoints file: one image and one annotation each, image id = annotation id.

    Numbers have the fewest digits that give the same float32 again, so ``read_coco`` gives back equal
    coordinates, visibility, ids, labels (as ``action``) and image sizes. It leaves out poses without a
    labelled keypoint, though they are written. Of a skeleton that is not the package's, the file holds the
    name, the keypoint names and the bones, and not its colours, sigmas and pairs.

    Args:
        poses: poses with unique ids and coordinates within 1e7 pixels.
        path: the file; it is there whole or not at all.
        category: name of the category. None: ``person`` for a skeleton of the package, else the skeleton's.
        description: text for the file's ``info``.

    Raises:
        DataError: an id comes twice, or a coordinate or image size is out of the format's range.
        ResourceError: the disk is full or the folder cannot be written.
    """
    skeleton = poses.skeleton
    if category is None:
        category = skeleton.name if find_skeleton(skeleton.names) is None else "person"
    try:
        with atomic_path(path) as temporary:
            _rust.write_coco(
                os.fspath(temporary),
                np.ascontiguousarray(poses.keypoints),
                np.ascontiguousarray(poses.visibility),
                np.ascontiguousarray(poses.image_size),
                np.ascontiguousarray(poses.ids),
                None if poses.labels is None else list(poses.labels),
                names=list(skeleton.names),
                bones=list(skeleton.bones),
                category=category,
                description=description,
            )
    except UnicodeEncodeError as err:
        raise DataError(f"text must be Unicode, got {err.object!r:.60}: {err.reason}") from err

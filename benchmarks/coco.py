"""Reading COCO keypoints JSON: flexpose against Python's json, orjson and pycocotools.

    FLEXPOSE_DATA=... python benchmarks/coco.py [--repeats 15] [--no-write]

Two files: the persons of COCO 2017 train with 13 labelled body joints (whole numbers; skipped without FLEXPOSE_DATA),
and as many poses of detectors (fractions of pixels, written by this package). The yardstick is ``json.load`` alone,
which gives dictionaries; "and arrays" builds the arrays from them that ``read_poses`` gives. Each peer that gives
poses must give the same bits; orjson is left out where it is not installed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexpose import _rust
from flexpose._atomic import atomic_write
from flexpose.poses import PoseSet, read_poses, write_poses
from flexpose.skeleton import load_skeleton
from harness import RESULTS, Suite, arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Arrays = tuple["NDArray[Any]", ...]
REAL = "person_keypoints_train2017_body13.json"


def arrays_of(document: dict[str, Any]) -> Arrays:
    """Keypoints, visibility, image sizes and ids of a parsed file."""
    sizes = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
    annotations = document["annotations"]
    numbers = np.array([one["keypoints"] for one in annotations]).reshape(len(annotations), -1, 3)
    visibility = numbers[..., 2].astype(np.uint8)
    keypoints = np.where(visibility[..., None] > 0, numbers[..., :2], 0).astype(np.float32)
    size = np.array([sizes[one["image_id"]] for one in annotations], np.int32)
    return keypoints, visibility, size, np.array([one["id"] for one in annotations])


def fields_of(poses: PoseSet) -> Arrays:
    return poses.keypoints, poses.visibility, poses.image_size, poses.ids


def rust_alone(path: Path) -> Arrays:
    data = _rust.read_coco(str(path))
    return tuple(data[name] for name in ("keypoints", "visibility", "image_size", "ids"))


def with_json(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as stream:
        document: dict[str, Any] = json.load(stream)
    return document


def with_orjson(path: Path) -> dict[str, Any]:
    import orjson

    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document


def with_pycocotools(path: Path) -> dict[str, Any]:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        document: dict[str, Any] = COCO(str(path)).dataset
    return document


def equal(found: Any, wanted: Any) -> None:
    """The same bits; what was only parsed is made arrays first."""
    for one, other in zip(
        *(arrays_of(x) if isinstance(x, dict) else x for x in (found, wanted)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def compare(suite: Suite, name: str, path: Path) -> None:
    peers: dict[str, Callable[[], Any]] = {
        "json.load alone": functools.partial(with_json, path),
        "json.load and arrays": lambda: arrays_of(with_json(path)),
        "pycocotools COCO()": functools.partial(with_pycocotools, path),
    }
    if importlib.util.find_spec("orjson") is not None:
        peers["orjson.loads alone"] = functools.partial(with_orjson, path)
        peers["orjson.loads and arrays"] = lambda: arrays_of(with_orjson(path))
    peers["flexpose, Rust alone"] = functools.partial(rust_alone, path)
    peers["flexpose.poses.read_poses"] = lambda: fields_of(read_poses(path))
    suite.compare(name, peers, work=path.stat().st_size / 1e6, unit="MB", equal=equal)


def detector_poses(n: int) -> PoseSet:
    """Poses as detectors give them: float32 fractions of pixels, a third of the joints occluded or missing."""
    rng = np.random.default_rng(0)
    visibility = rng.choice([0, 1, 2, 2, 2, 2], (n, 17))
    visibility[:, 0] = 2
    keypoints = rng.uniform(0, 640, (n, 17, 2))
    return PoseSet(keypoints, visibility, skeleton=load_skeleton("coco17"), image_size=(640, 640))


def main() -> None:
    options = arguments(__doc__, repeats=15)
    suite = Suite("coco", repeats=options.repeats)
    data = os.environ.get("FLEXPOSE_DATA")
    if data:
        compare(suite, "31,647 persons of COCO 2017, whole numbers", Path(data) / REAL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poses.json"
        write_poses(detector_poses(31_647), path)
        compare(suite, "31,647 poses of a detector, fractions", path)
    if options.no_write:
        return
    suite.write()
    table = "\n".join(line for comparison in suite.comparisons for line in comparison.lines()).strip()
    head = "# Reading COCO keypoints JSON\n\nMade by `benchmarks/coco.py`; the method is that of `harness.py`.\n\n"
    atomic_write(RESULTS / "coco.md", f"{head}```\n{table}\n```\n".encode())


if __name__ == "__main__":
    main()

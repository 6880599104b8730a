"""PNG files of drawn poses: speed and size against what encodes PNG today, on one thread.

    python benchmarks/png.py [--repeats N]

The pictures are the package's own: COCO people of whom at least 15 joints of 17 are labelled, as ``coco17`` and as
``body13``, framed, with the standard pen. The poses come from FLEXPOSE_DATA; without it they are made up. Before
anything is timed, each file of each peer must decode to the picture, by Pillow. Peers that are not installed
(imagecodecs, fpng-py) are left out, which is said. The yardstick is ``cv2.imencode`` as it is; all start from ready
pictures.

The goals: 8 times the speed, files of at most 1.1 times the size.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy loads its BLAS

import cv2
import numpy as np
from PIL import Image

from flexpose._atomic import atomic_write
from flexpose.poses import frame_poses, read_poses
from flexpose.poses.synth import synth_poses
from flexpose.raster import encode_pngs, pixels_from_normalized, rasterize
from flexpose.runs import versions
from flexpose.skeleton import load_skeleton, map_joints
from harness import RESULTS, Suite, machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from flexpose.poses import PoseSet

PICTURES = 256
SIZES = (64, 128, 256)
YARDSTICK = "cv2.imencode"
GOAL_SPEED, GOAL_SIZE = 8.0, 1.1


def people() -> tuple[PoseSet, str]:
    """The poses, and where they are from."""
    folder = os.environ.get("FLEXPOSE_DATA")
    if not folder:
        return synth_poses(PICTURES, seed=0), "made-up body13 poses"
    poses = read_poses(Path(folder) / "coco_train2017.npz", load_skeleton("coco17"))
    complete = np.flatnonzero((poses.visibility > 0).sum(axis=1) >= 15)
    chosen = np.random.default_rng(0).permutation(complete)[:PICTURES]
    return poses[np.sort(chosen)], "COCO 2017 people"


def drawings(poses: PoseSet, name: str, size: int) -> NDArray[np.uint8]:
    """[N, S, S, 3]."""
    skeleton = load_skeleton(name)
    mapped = poses if poses.skeleton.name == name else map_joints(poses, skeleton)
    keypoints = pixels_from_normalized(frame_poses(poses).normalize(mapped.keypoints), size)
    return rasterize(keypoints, mapped.visibility, skeleton, size_px=size)


def by_pillow(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def peers(images: NDArray[np.uint8]) -> dict[str, Callable[[], list[bytes]]]:
    """Each encodes all pictures. OpenCV takes red for blue, which costs and changes nothing."""
    level1 = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    found: dict[str, Callable[[], list[bytes]]] = {
        YARDSTICK: lambda: [cv2.imencode(".png", image)[1].tobytes() for image in images],
        "flexpose": lambda: encode_pngs(images, workers=1),
        "cv2.imencode, level 1": lambda: [cv2.imencode(".png", i, level1)[1].tobytes() for i in images],
        "Pillow, level 1": lambda: [by_pillow(image) for image in images],
    }
    try:
        import fpng_py

        size = images.shape[1]
        found["fpng"] = lambda: [
            bytes(fpng_py.fpng_encode_image_to_memory(image.tobytes(), size, size, 3)) for image in images
        ]
    except ImportError:
        print("fpng-py is not installed: left out")
    try:
        import imagecodecs

        found["imagecodecs spng, level 1"] = lambda: [
            bytes(imagecodecs.spng_encode(image, level=1)) for image in images
        ]
    except ImportError:
        print("imagecodecs is not installed: left out")
    return found


def decoded(files: list[bytes]) -> NDArray[np.uint8]:
    """The pictures in the files."""
    pictures = []
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            pictures.append(np.asarray(image))
    return np.stack(pictures)


def measure(suite: Suite, poses: PoseSet) -> dict[str, dict[str, float]]:
    """Fills the suite; mean bytes of a file by work and peer."""
    sizes: dict[str, dict[str, float]] = {}
    for name in ("coco17", "body13"):
        if name == "coco17" and poses.skeleton.name != name:
            continue
        for size in SIZES:
            images = drawings(poses, name, size)
            bgr = np.ascontiguousarray(images[..., ::-1])
            work = f"{name}, {size} px"

            def equal(
                files: list[bytes],
                _: object,
                pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]] = (images, bgr),
            ) -> None:
                found = decoded(files)
                # OpenCV's files of RGB arrays hold BGR.
                assert any(np.array_equal(found, wanted) for wanted in pictures)

            encoders = peers(images)
            suite.compare(work, encoders, work=len(images), unit="pictures", equal=equal, yardstick=YARDSTICK)
            sizes[work] = {peer: float(np.mean([len(f) for f in run()])) for peer, run in encoders.items()}
    return sizes


def table(suite: Suite, sizes: dict[str, dict[str, float]], origin: str) -> str:
    """What `png.md` says."""
    lines = [
        "# PNG files",
        "",
        f"Made by `python benchmarks/png.py --repeats {suite.repeats}`: {PICTURES} pictures of {origin}, one thread, "
        "interleaved repeats; every file was decoded and compared first.",
        "",
        f"Machine: {machine()}. Versions: {versions()}. OpenCV {cv2.__version__}, Pillow {Image.__version__}.",
        "",
        f"Speed is that of `{YARDSTICK}` of the same pictures, times so much: the median of the quotients of CPU "
        "seconds within each repeat, which a busy machine disturbs least, and of the seconds. Goals: "
        f"at least {GOAL_SPEED:g} times the speed, at most {GOAL_SIZE:g} times the size.",
        "",
        "| work | encoder | us a picture | speed, CPU | speed | bytes | size |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for comparison in suite.comparisons:
        bytes_of = sizes[comparison.name]
        for peer in comparison.peers:
            share = bytes_of[peer.name] / bytes_of[YARDSTICK]
            speed = float(np.median(peer.cpu_ratios))
            met = "" if peer.name != "flexpose" else " missed" if speed < GOAL_SPEED else " met"
            lines.append(
                f"| {comparison.name} | {peer.name} | {min(peer.cpu_seconds) / comparison.work * 1e6:.1f} | "
                f"{speed:.2f}{met} | {np.median(peer.ratios):.2f} | {bytes_of[peer.name]:.0f} | {share:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15, help="interleaved repeats of each peer")
    parser.add_argument("--no-write", action="store_true", help="only print")
    arguments = parser.parse_args()
    suite = Suite("png", repeats=arguments.repeats)
    poses, origin = people()
    sizes = measure(suite, poses)
    text = table(suite, sizes, origin)
    print("\n" + text)
    if not arguments.no_write:
        path = suite.write()
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        data["bytes_mean"] = sizes
        atomic_write(path, (json.dumps(data, indent=2) + "\n").encode())
        atomic_write(RESULTS / "png.md", text.encode())


if __name__ == "__main__":
    main()

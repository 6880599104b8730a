"""Rendering a data set: against what a user's loop does today, with 2 and with 32 workers, and poses alone.

The loop draws with OpenCV's anti-aliased lines at sub-pixel places, encodes by cv2.imencode and writes by
webdataset.TarWriter. It has the joints in pixels already and syncs nothing; flexpose frames the poses, hashes and syncs
what it writes. Both write a JSON of the same joints beside each picture.

Usage: python benchmarks/render.py [--repeats N] [--full] [--no-write]
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import webdataset
from PIL import Image

from flexpose._atomic import atomic_write
from flexpose._cpus import allowed_threads
from flexpose.poses import frame_poses, synth_poses
from flexpose.raster import pixels_from_normalized
from flexpose.shards import RenderStyle, open_dataset, plan_render, write_shards, write_webdataset
from harness import RESULTS, Suite, arguments

if TYPE_CHECKING:
    from flexpose.poses import PoseSet

SHIFT = 4  # OpenCV's fixed point: sixteenths of a pixel
PIXELS_ARE_ALIKE = 12.0  # mean absolute difference: OpenCV's lines are wider than asked for


def opencv_loop(poses: PoseSet, pixels: np.ndarray, path: Path, style: RenderStyle) -> Path:
    """What is done today, pose by pose."""
    bones, bone_colors = poses.skeleton.bones, poses.skeleton.bone_colors.tolist()
    joint_colors = poses.skeleton.joint_colors.tolist()
    width, radius = round(style.line_width_px), round(style.joint_radius_px * (1 << SHIFT))
    with webdataset.TarWriter(str(path)) as sink:
        for row in range(len(poses)):
            image = np.zeros((style.size_px, style.size_px, 3), np.uint8)
            # OpenCV's pixel centres lie at whole numbers.
            places = np.rint((pixels[row] - 0.5) * (1 << SHIFT)).astype(int).tolist()
            for (a, b), color in zip(bones, bone_colors, strict=True):
                cv2.line(image, places[a], places[b], color, width, cv2.LINE_AA, SHIFT)
            for place, color in zip(places, joint_colors, strict=True):
                cv2.circle(image, place, radius, color, -1, cv2.LINE_AA, SHIFT)
            about = {"id": int(poses.ids[row]), "keypoints": pixels[row].tolist()}
            _, png = cv2.imencode(".png", image[..., ::-1])
            sink.write({"__key__": f"{row:08d}", "json": json.dumps(about).encode(), "png": png.tobytes()})
    return path


def samples(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Keys, joints and pictures of a tar."""
    keys, joints, pictures = [], [], []
    with tarfile.open(path) as archive:
        for member in archive:
            opened = archive.extractfile(member)
            if opened is None:
                raise AssertionError(f"{member.name} is no file")
            if member.name.endswith(".json"):
                keys.append(member.name[:8])
                joints.append(json.load(opened)["keypoints"])
            else:
                with Image.open(io.BytesIO(opened.read())) as image:
                    pictures.append(np.asarray(image))
    return keys, np.array(joints, np.float32), np.stack(pictures)


def alike(path: Path, reference: Path) -> None:
    """The same poses, and pictures that show them."""
    keys, joints, pictures = samples(path)
    other_keys, other_joints, others = samples(reference)
    if keys != other_keys:
        raise AssertionError("other keys")
    np.testing.assert_allclose(joints, other_joints, atol=1e-3)
    difference = np.abs(pictures.astype(float) - others).mean()
    if difference > PIXELS_ARE_ALIKE:
        raise AssertionError(f"pictures differ by {difference:.1f}")


def same_files(folder: Path, reference: Path) -> None:
    """The same data set, byte for byte."""
    if (folder / "index.json").read_bytes() != (reference / "index.json").read_bytes():
        raise AssertionError("the indices, and so the hashes of the shards, differ")
    open_dataset(folder)


def data_set(poses: PoseSet, folder: Path, style: RenderStyle, kind: Any, workers: int, size: int) -> Path:
    """A data set from nothing: plan, shards, index."""
    shutil.rmtree(folder, ignore_errors=True)
    plan = plan_render(poses, folder, style, kind=kind, shard_size=size)
    write_shards(plan, workers=workers)
    return folder


def run(suite: Suite, folder: Path, *, full: bool) -> None:
    cores = allowed_threads()
    for size in (64, 128):
        poses, style = synth_poses(2000, seed=1), RenderStyle(size_px=size)
        pixels = pixels_from_normalized(frame_poses(poses).normalize(poses.keypoints), size)

        def loop(poses: PoseSet = poses, pixels: np.ndarray = pixels, style: RenderStyle = style) -> Path:
            return opencv_loop(poses, pixels, folder / "loop.tar", style)

        def ours(workers: int, poses: PoseSet = poses, style: RenderStyle = style) -> Path:
            path = folder / f"ours-{workers}.tar"
            write_webdataset(poses, path, style, workers=workers)
            return path

        suite.compare(
            f"render, PNG and tar, {size} px, {len(poses)} poses",
            {
                "OpenCV, imencode, webdataset.TarWriter": loop,
                "flexpose, 1 thread": partial(ours, 1),
                f"flexpose, {cores} threads": partial(ours, cores),
            },
            work=len(poses),
            unit="pictures",
            equal=alike,
        )

    number = 50_000 if full else 10_000
    many, style = synth_poses(number, seed=2), RenderStyle()
    suite.compare(
        f"webdataset, 128 px, {number} poses in shards of 2500",
        {
            f"{workers} workers": partial(
                data_set, many, folder / str(workers), style, "webdataset", workers, 2500
            )
            for workers in (2, 32, 1)
        },
        work=number,
        unit="poses",
        equal=same_files,
    )
    suite.compare(
        f"keypoints, {number} poses in shards of 10000",
        {"flexpose": partial(data_set, many, folder / "keypoints", style, "keypoints", 2, 10_000)},
        work=number,
        unit="poses",
        equal=same_files,
    )


def main() -> None:
    args = arguments(__doc__)
    cv2.setNumThreads(1)
    suite, folder = Suite("render", repeats=args.repeats), Path(tempfile.mkdtemp(prefix="render-"))
    try:
        run(suite, folder, full=args.full)
    finally:
        shutil.rmtree(folder)
    if not args.no_write:
        suite.write()
        lines = [line for comparison in suite.comparisons for line in comparison.lines()]
        text = "# Rendering\n\nMade by `python benchmarks/render.py`; machine and versions are in render.json.\n\n```"
        atomic_write(RESULTS / "render.md", ("\n".join([text, *lines, "```"]) + "\n").encode())


if __name__ == "__main__":
    main()

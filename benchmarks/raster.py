"""alpha against what draws skeletons today, on one thread and on two.

    python benchmarks/raster.py [--repeats N] [--only 64|128|256|face]

The yardstick is OpenCV's LINE_AA with sub-pixel coordinates, drawing in place into one buffer. `DRAM` peers fill a
buffer of all pictures that no cache holds; `L2` peers fill a block of at most 512 KiB again and again, as a consumer
would have it that reads each block at once. `typical loop` is what users write: zeros for each picture, draw, stack,
copy to NCHW. Peers that are not installed (skia-python, aggdraw, pillow) are left out, which is said.

Before anything is timed, flexpose must be within 2 grey levels of the dense twin in tests/reference, all its forms must
give the same bytes, and the other libraries' pictures must show the same thing.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy loads its BLAS

import cv2
import numpy as np

from flexpose import _rust
from flexpose._atomic import atomic_write
from flexpose.raster import rasterize
from flexpose.runs import versions
from flexpose.skeleton import Skeleton, load_skeleton
from harness import RESULTS, Comparison, Suite, machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from reference import raster as twin

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_BYTES = 1 << 19
COMPARED = 32  # pictures that are held against each other
BUFFER_BYTES = {"64": 48 << 20, "face": 48 << 20, "128": 96 << 20, "256": 192 << 20}

# Joints of h36m17 in frame coordinates, standing.
STANDING = [
    *[
        (0, 0),
        (-0.14, 0),
        (-0.16, 0.45),
        (-0.18, 0.9),
        (0.14, 0),
        (0.16, 0.45),
        (0.18, 0.9),
        (0, -0.28),
        (0, -0.55),
    ],
    *[
        (0, -0.7),
        (0, -0.92),
        (0.24, -0.55),
        (0.4, -0.25),
        (0.45, 0.1),
        (-0.24, -0.55),
        (-0.4, -0.25),
        (-0.45, 0.1),
    ],
]


def bodies(n: int, size: int) -> np.ndarray:
    """[n, 17, 2] pixels: the standing pose with each joint moved, turned and scaled at random."""
    rng = np.random.default_rng(0)
    poses = np.array(STANDING) + rng.normal(0, 0.06, (n, 17, 2))
    angle = rng.normal(0, 0.3, n)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    poses = np.einsum("nij,nkj->nki", turn, poses) * rng.uniform(0.7, 1, (n, 1, 1))
    return ((poses * 0.9 + 1) / 2 * size).astype(np.float32)


def faces(n: int, size: int) -> np.ndarray:
    """[n, 68, 2] pixels: a made-up face, each point moved a little, turned and scaled at random."""

    def arc(
        count: int, center: tuple[float, float], radii: tuple[float, float], start: float, end: float
    ) -> Any:
        angle = np.radians(np.linspace(start, end, count))
        return np.array(center) + np.array(radii) * np.stack([np.cos(angle), np.sin(angle)], -1)

    parts = [arc(17, (0, -0.1), (0.75, 0.95), 180, 0)]
    parts += [arc(5, (x, -0.35), (0.25, 0.12), 200, 340) for x in (-0.38, 0.38)]
    parts += [
        np.stack([np.zeros(4), np.linspace(-0.25, 0.1, 4)], -1),
        arc(5, (0, 0.15), (0.15, 0.05), 180, 0),
    ]
    parts += [arc(7, (x, -0.2), (0.14, 0.07), 180, 540)[:6] for x in (-0.38, 0.38)]
    parts += [arc(13, (0, 0.45), (0.3, 0.15), 180, 540)[:12], arc(9, (0, 0.45), (0.2, 0.06), 180, 540)[:8]]
    rng = np.random.default_rng(1)
    points = np.concatenate(parts) + rng.normal(0, 0.01, (n, 68, 2))
    angle = rng.normal(0, 0.15, n)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    points = np.einsum("nij,nkj->nki", turn, points) * rng.uniform(0.7, 1, (n, 1, 1))
    return ((points * 0.9 + 1) / 2 * size).astype(np.float32)


@dataclass(frozen=True)
class Work:
    """What is drawn, and where to."""

    name: str
    skeleton: Skeleton
    keypoints: np.ndarray
    size: int
    width: int
    radius: int

    def __len__(self) -> int:
        return len(self.keypoints)

    @cached_property
    def bones(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Ends and colour."""
        bones = zip(self.skeleton.bones, self.skeleton.bone_colors.tolist(), strict=True)
        return [(a, b, tuple(color)) for (a, b), color in bones]

    @cached_property
    def discs(self) -> list[tuple[int, ...]]:
        """Colour of each joint."""
        return [tuple(color) for color in self.skeleton.joint_colors.tolist()]

    @cached_property
    def points(self) -> list[list[tuple[float, float]]]:
        """Pixels as Python numbers: what these libraries take."""
        return [[tuple(point) for point in pose] for pose in self.keypoints.tolist()]

    @cached_property
    def subpixels(self) -> list[list[tuple[int, int]]]:
        """Sixteenths of a pixel, with pixel centres at whole numbers as OpenCV has them."""
        whole = np.round((self.keypoints - 0.5) * 16).astype(np.int64)
        return [[tuple(point) for point in pose] for pose in whole.tolist()]

    @cached_property
    def buffer(self) -> np.ndarray:
        """Memory for all pictures, touched once."""
        return np.ones((len(self), self.size, self.size, 3), np.uint8)

    @cached_property
    def block(self) -> np.ndarray:
        """Memory for as many pictures as stay in the second cache."""
        number = max(1, BLOCK_BYTES // (self.size * self.size * 3))
        return np.ones((number, self.size, self.size, 3), np.uint8)

    @property
    def planes(self) -> np.ndarray:
        """The same memory, in planes."""
        return self.buffer.reshape(len(self), 3, self.size, self.size)

    def flexpose(self, **options: Any) -> np.ndarray:
        """All pictures, into `out` if given."""
        images = rasterize(
            self.keypoints,
            None,
            self.skeleton,
            size_px=self.size,
            line_width_px=self.width,
            joint_radius_px=self.radius,
            **options,
        )
        return images[:COMPARED]

    def flexpose_l2(self, workers: int = 1) -> np.ndarray:
        """All pictures, block by block into the same memory."""
        block = self.block
        for start in range(0, len(self), len(block)):
            part = self.keypoints[start : start + len(block)]
            rasterize(
                part,
                None,
                self.skeleton,
                size_px=self.size,
                line_width_px=self.width,
                joint_radius_px=self.radius,
                out=block[: len(part)],
                workers=workers,
            )
            if start == 0:
                first = block[:COMPARED].copy()
        return first

    def opencv_one(self, image: np.ndarray, pose: list[tuple[int, int]]) -> None:
        """One picture by OpenCV."""
        for a, b, color in self.bones:
            cv2.line(image, pose[a], pose[b], color, self.width, cv2.LINE_AA, 4)
        for point, color in zip(pose, self.discs, strict=True):
            cv2.circle(image, point, self.radius * 16, color, -1, cv2.LINE_AA, 4)

    def opencv(self) -> np.ndarray:
        """LINE_AA in place: the yardstick."""
        for image, pose in zip(self.buffer, self.subpixels, strict=True):
            image.fill(0)
            self.opencv_one(image, pose)
        return self.buffer[:COMPARED]

    def opencv_loop(self) -> np.ndarray:
        """What users write."""
        images = []
        for pose in self.subpixels:
            image = np.zeros((self.size, self.size, 3), np.uint8)
            self.opencv_one(image, pose)
            images.append(image)
        batch = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
        return batch[:COMPARED].transpose(0, 2, 3, 1)

    def fill(self, value: int) -> None:
        """Memset of all pictures."""
        self.buffer.fill(value)

    def fill_l2(self) -> None:
        """Memset of the block, as often as all pictures need it."""
        for _ in range(0, len(self), len(self.block)):
            self.block.fill(0)

    def skia(self) -> np.ndarray:
        """Anti-aliased, 4 channels of which 3 are kept."""
        import skia

        image = np.zeros((self.size, self.size, 4), np.uint8)
        surface = skia.Surface(image, colorType=skia.kRGBA_8888_ColorType)
        paint = skia.Paint(AntiAlias=True, StrokeWidth=self.width, StrokeCap=skia.Paint.kRound_Cap)
        bones = [(a, b, skia.Color(*color)) for a, b, color in self.bones]
        discs = [skia.Color(*color) for color in self.discs]
        canvas = surface.getCanvas()
        for place, pose in zip(self.buffer, self.points, strict=True):
            canvas.clear(skia.ColorBLACK)
            paint.setStyle(skia.Paint.kStroke_Style)
            for a, b, color in bones:
                paint.setColor(color)
                canvas.drawLine(*pose[a], *pose[b], paint)
            paint.setStyle(skia.Paint.kFill_Style)
            for point, color in zip(pose, discs, strict=True):
                paint.setColor(color)
                canvas.drawCircle(*point, self.radius, paint)
            place[:] = image[..., :3]
        return self.buffer[:COMPARED]

    def aggdraw(self) -> np.ndarray:
        """Anti-aliased, with straight ends."""
        import aggdraw

        draw = aggdraw.Draw("RGB", (self.size, self.size), "black")
        pens = [(a, b, aggdraw.Pen(color, self.width)) for a, b, color in self.bones]
        brushes = [aggdraw.Brush(color) for color in self.discs]
        black = aggdraw.Brush("black")
        for place, pose in zip(self.buffer, self.points, strict=True):
            draw.rectangle((0, 0, self.size, self.size), black)
            for a, b, pen in pens:
                draw.line((*pose[a], *pose[b]), pen)
            for (x, y), brush in zip(pose, brushes, strict=True):
                draw.ellipse((x - self.radius, y - self.radius, x + self.radius, y + self.radius), brush)
            place[:] = np.frombuffer(draw.tobytes(), np.uint8).reshape(place.shape)
        return self.buffer[:COMPARED]

    def pil(self) -> np.ndarray:
        """Without anti-aliasing: it has none."""
        from PIL import Image, ImageDraw

        for place, pose in zip(self.buffer, self.points, strict=True):
            image = Image.new("RGB", (self.size, self.size))
            draw = ImageDraw.Draw(image)
            for a, b, color in self.bones:
                draw.line((*pose[a], *pose[b]), color, self.width)
            for (x, y), color in zip(pose, self.discs, strict=True):
                draw.ellipse((x - self.radius, y - self.radius, x + self.radius, y + self.radius), color)
            place[:] = np.asarray(image)
        return self.buffer[:COMPARED]


def check(work: Work) -> int:
    """Hold flexpose against the twin, and its forms against each other; returns the largest difference."""
    exact = work.flexpose(workers=1)
    pen = {"size_px": work.size, "line_width_px": work.width, "joint_radius_px": work.radius}
    expected = twin.rasterize(work.keypoints[:COMPARED], None, work.skeleton, **pen, chunk=8)
    difference = int(np.abs(exact.astype(np.int16) - expected).max())
    if difference > 2:
        raise AssertionError(f"{work.name}: {difference} grey levels from the definition")
    planes = work.flexpose(workers=2, layout="nchw").transpose(0, 2, 3, 1)
    for other in (planes, work.flexpose(workers=2, out=work.buffer), work.flexpose_l2()):
        np.testing.assert_array_equal(exact[: len(other)], other)
    return difference


def same_picture(found: object, wanted: object) -> None:
    """Raise if two libraries did not draw the same poses; they differ in the width of lines and in edges."""
    if found is None:  # a memset
        return
    assert isinstance(found, np.ndarray)
    assert isinstance(wanted, np.ndarray)
    found, wanted = found.astype(np.float64), wanted[: len(found)].astype(np.float64)
    similarity = (found * wanted).sum() / np.sqrt((found**2).sum() * (wanted**2).sum())
    assert similarity > 0.85, f"cosine of the pictures is {similarity:.3f}"


def peers(work: Work) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {
        "OpenCV LINE_AA in place": lambda: work.opencv().copy(),
        "OpenCV typical loop": work.opencv_loop,
        "flexpose DRAM": lambda: work.flexpose(workers=1, out=work.buffer).copy(),
        "flexpose DRAM, 2 threads": lambda: work.flexpose(workers=2, out=work.buffer).copy(),
        "flexpose L2": work.flexpose_l2,
        "flexpose DRAM, NCHW": lambda: (
            work.flexpose(workers=1, layout="nchw", out=work.planes).transpose(0, 2, 3, 1).copy()
        ),
        "flexpose new array, NCHW": lambda: work.flexpose(workers=1, layout="nchw").transpose(0, 2, 3, 1),
        "memset 0 DRAM": lambda: work.fill(0),
        "memset 1 DRAM": lambda: work.fill(1),
        "memset 0 L2": work.fill_l2,
    }
    for module, name, draw in (
        ("skia", "skia-python", work.skia),
        ("aggdraw", "aggdraw", work.aggdraw),
        ("PIL", "PIL, no anti-aliasing", work.pil),
    ):
        try:
            __import__(module)
        except ImportError:
            print(f"{name} is not installed and left out")
        else:
            found[name] = lambda draw=draw: draw().copy()
    return found


def works(only: str | None) -> list[Work]:
    """The four pieces of work, or one of them."""
    body, face = load_skeleton("h36m17"), load_skeleton("face68")
    found = []
    for name, size, width in (("64", 64, 2), ("128", 128, 3), ("256", 256, 4), ("face", 64, 2)):
        if only in (None, name):
            number = BUFFER_BYTES[name] // (size * size * 3)
            keypoints = faces(number, size) if name == "face" else bodies(number, size)
            found.append(Work(name, face if name == "face" else body, keypoints, size, width, width))
    return found


# What is wanted: work, peer, reference, factor.
GOALS = [
    ("64", "flexpose DRAM", "OpenCV LINE_AA in place", 20),
    ("64", "flexpose DRAM, 2 threads", "OpenCV LINE_AA in place", 35),
    ("64", "flexpose DRAM, NCHW", "OpenCV typical loop", 25),
    ("128", "flexpose DRAM", "OpenCV LINE_AA in place", 10),
    ("128", "flexpose L2", "OpenCV LINE_AA in place", 16),
    ("128", "flexpose DRAM, 2 threads", "OpenCV LINE_AA in place", 18),
    ("128", "flexpose DRAM, NCHW", "OpenCV typical loop", 25),
    ("256", "flexpose DRAM", "memset 0 DRAM", 0.85),
    ("256", "flexpose DRAM", "memset 1 DRAM", 0.85),
    ("256", "flexpose L2", "OpenCV LINE_AA in place", 10),
    ("256", "flexpose DRAM, NCHW", "OpenCV typical loop", 25),
    ("face", "flexpose DRAM", "OpenCV LINE_AA in place", 20),
    ("face", "flexpose DRAM, NCHW", "OpenCV typical loop", 25),
]


def report(comparisons: list[Comparison], differences: dict[str, int], repeats: int) -> str:
    """The tables of `raster.md`."""
    lines = ["# Drawing", ""]
    lines += [
        f"Made by `python benchmarks/raster.py --repeats {repeats}`; medians of interleaved repeats.",
        "",
    ]
    lines += [
        f"Machine: {machine()}. Versions: {versions()}. OpenCV {cv2.__version__}. Levels: {_rust.levels()}.",
        "",
    ]
    lines += [
        "Pictures are uint8 RGB; `64`: 17 joints, 16 bones, width and disc radius 2 px; `128`: 3 px; `256`: 4 px;"
    ]
    lines += [
        "`face`: 68 points, 63 bones, 64 px, 2 px. Largest difference from the definition (the dense twin), in"
    ]
    lines += [f"grey levels: {', '.join(f'{name}: {value}' for name, value in differences.items())}.", ""]
    lines += [
        "The median ratio is the one that counts. On a busy machine, where pieces of work are interrupted, the ratio of"
    ]
    lines += [
        "the fastest repeats says more about the code; at one thread the ratio of the CPU seconds is free of others."
    ]
    lines += [
        "",
        "| work | what | goal | median | fastest | CPU | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    measured = {(comparison.name, peer.name): peer for comparison in comparisons for peer in comparison.peers}
    for name, peer, reference, goal in GOALS:
        if (name, peer) in measured:
            ours, theirs = measured[name, peer], measured[name, reference]
            median = float(np.median(np.divide(theirs.seconds, ours.seconds)))
            fastest = min(theirs.seconds) / min(ours.seconds)
            cpu = float(np.median(np.divide(theirs.cpu_seconds, ours.cpu_seconds)))
            lines.append(
                f"| {name} | {peer} | {goal:g} x {reference} | {median:.2f} | {fastest:.2f} | {cpu:.2f} | "
                f"{'met' if median >= goal else 'missed'} |"
            )
    lines += [
        "",
        "## Limits",
        "",
        "Fastest repeats, us a picture. What goes into memory has to be drawn and has to be written; stores past the",
    ]
    lines += [
        "caches overlap with the drawing only as far as the processor's store buffers reach. `draw` is drawing in the"
    ]
    lines += [
        "cache, `write` a memset with ones, `both` is flexpose into memory. Planes pass through the cache once more."
    ]
    lines += [
        "",
        "What was found out about a picture of 256 px on the processor of these tables (AMD Zen 4, counted in CPU",
    ]
    lines += [
        "seconds on a busy machine, fastest repeats): drawing the tiles without writing them takes 6.2 us, writing",
        "black tiles without drawing 4.3 us, a memset with ones 7.0 us; so 0.85 of it, 8.2 us, needs both at once.",
        "A sixth of the lines hold anything (524 of 3,072, of planes 972); black ones written past the caches cost a",
        "third of others, but only whole: a line written in two ways costs many times as much. Tried and not kept, as",
        "no faster: black stretches of rows from a register instead of the tile (the branches cost what the loads",
        "did), ordinary stores where something is drawn (twice the time), clearing tiles as a whole, planes that are",
        "separated only where something is drawn (1.2 to 1.9 times the time), larger and smaller tiles for planes.",
        "",
        "A user's loop at 256 px spends its time in page faults of its own arrays, and they vary: on a quiet machine",
        "four runs had 23, 27, 30 and 30 times the loop's speed for planes, by medians of seven repeats each.",
    ]
    lines += [
        "",
        "| work | draw | write | write zeros | both | planes, both |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    names = ("flexpose L2", "memset 1 DRAM", "memset 0 DRAM", "flexpose DRAM", "flexpose DRAM, NCHW")
    for comparison in comparisons:
        fastest = [min(measured[comparison.name, peer].seconds) / comparison.work * 1e6 for peer in names]
        lines.append(f"| {comparison.name} | {' | '.join(f'{value:.2f}' for value in fastest)} |")
    for comparison in comparisons:
        lines += ["", f"## {comparison.name}: {comparison.work:g} pictures", ""]
        lines += [
            "| | us a picture | fastest | x OpenCV LINE_AA | CPU share |",
            "| --- | --- | --- | --- | --- |",
        ]
        for peer in comparison.peers:
            median = float(np.median(peer.seconds)) / comparison.work
            lines.append(
                f"| {peer.name} | {median * 1e6:.2f} | {min(peer.seconds) / comparison.work * 1e6:.2f} | "
                f"{np.median(peer.ratios):.2f} | "
                f"{peer.cpu_share:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="interleaved repeats of each peer")
    parser.add_argument("--only", choices=list(BUFFER_BYTES), help="one piece of work; nothing is written")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    suite = Suite("raster", options.repeats)
    differences = {}
    for work in works(options.only):
        differences[work.name] = check(work)
        suite.compare(work.name, peers(work), work=len(work), unit="pictures", equal=same_picture)
    text = report(suite.comparisons, differences, options.repeats)
    print(text)
    if options.only is None:
        suite.write()
        atomic_write(RESULTS / "raster.md", text.encode())


if __name__ == "__main__":
    main()

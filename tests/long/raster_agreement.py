"""The rasteriser against the dense twin on many random poses, and all its levels against each other.

    python tests/long/raster_agreement.py [--poses 100000] [--seed 0]

Prints a line a pen and size; exits 1 if a channel is ever more than 2 grey levels away, if the mean difference
reaches 0.01, or if a byte depends on the instructions, the layout or the number of threads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flexpose import _rust
from flexpose.raster import rasterize
from flexpose.skeleton import load_skeleton
from reference import raster as twin

# skeleton, side, bone width, disc radius, share of the poses
CASES = [
    ("body13", 12, 2.0, 2.0, 0.4),
    ("body13", 24, 1.0, 0.75, 0.2),
    ("coco17", 32, 2.0, 2.0, 0.2),
    ("h36m17", 48, 3.0, 3.0, 0.1),
    ("hand21", 33, 4.0, 1.0, 0.05),
    ("face68", 64, 2.0, 2.0, 0.02),
    ("body13", 64, 0.3, 0.0, 0.03),
]


def random_poses(
    rng: np.random.Generator, n: int, num_keypoints: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Poses of all kinds: spread out, huddled, with coinciding joints, far away, partly invisible."""
    keypoints = rng.uniform(-0.3 * size, 1.3 * size, (n, num_keypoints, 2))
    huddled = rng.random(n) < 0.2
    center = rng.uniform(0, size, (n, 1, 2))
    keypoints[huddled] = (center + (keypoints - size / 2) * 0.1)[huddled]
    twins = rng.random(n) < 0.1
    keypoints[twins, 1::3] = keypoints[twins, :1]
    far = rng.random((n, num_keypoints)) < 0.01
    keypoints[far] *= 100
    whole = rng.random(n) < 0.1
    keypoints[whole] = np.round(keypoints[whole] * 2) / 2
    return keypoints.astype(np.float32), rng.random((n, num_keypoints)) < 0.95


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--poses", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    drawn, good = 0, True
    native = _rust.rasterize
    print(f"levels: {', '.join(_rust.levels())}")
    print(
        f"{'skeleton':10s} {'px':>4s} {'width':>6s} {'radius':>6s} {'poses':>8s} {'largest':>8s}"
        f" {'mean':>9s} {'differ':>9s}"
    )
    for name, size, width, radius, share in CASES:
        skeleton = load_skeleton(name)
        pen = {"size_px": size, "line_width_px": width, "joint_radius_px": radius}
        left = max(1, round(options.poses * share))
        poses, largest, total, differing, channels = left, 0, 0, 0, 0
        while left:
            n = min(left, 500)
            keypoints, visibility = random_poses(rng, n, skeleton.num_keypoints, size)
            images = rasterize(keypoints, visibility, skeleton, workers=1, **pen)
            for level in _rust.levels():
                with mock.patch.object(
                    _rust, "rasterize", lambda *a, level=level, **k: native(*a, **k, level=level)
                ):
                    same = rasterize(keypoints, visibility, skeleton, layout="nchw", workers=2, **pen)
                if not np.array_equal(same.transpose(0, 2, 3, 1), images):
                    print(f"{level}, nchw, two threads: other bytes")
                    good = False
            difference = np.abs(
                images.astype(np.int16) - twin.rasterize(keypoints, visibility, skeleton, **pen)
            )
            largest = max(largest, int(difference.max()))
            total += int(difference.sum())
            differing += int(np.count_nonzero(difference))
            channels += difference.size
            left -= n
        drawn += poses
        mean = total / channels
        good = good and largest <= 2 and mean < 0.01
        print(
            f"{name:10s} {size:4d} {width:6g} {radius:6g} {poses:8d} {largest:8d}"
            f" {mean:9.2e} {differing / channels:9.2e}",
            flush=True,
        )
    print(f"{drawn} poses: {'agree' if good else 'DISAGREE'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

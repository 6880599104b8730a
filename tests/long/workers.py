"""One content from any number of threads and from any processor: data sets rendered again and again, hashed whole.

Usage: python tests/long/workers.py [--runs 100] [--poses 3000] [--kinds webdataset,npy,keypoints] [--size 64]

The numbers of threads take turns; as many as asked for really run, more than the machine has processors. The pictures
themselves are drawn once more with each set of vector instructions that this processor has. Prints a table and exits 1
if a byte differs.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from flexpose import _rust
from flexpose.poses import frame_poses, synth_poses
from flexpose.raster import pixels_from_normalized
from flexpose.shards import RenderStyle, plan_render, write, write_shards

THREADS = (1, 2, 3, 7, 32)


def content(folder: Path) -> str:
    """Hash over the names and bytes of all files of a data set but the journal, whose lines may come in any order."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("journal"):
            total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--poses", type=int, default=3000)
    parser.add_argument("--kinds", default="webdataset,npy,keypoints")
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    write.allowed_threads = lambda: max(THREADS)  # or no more would run than there are processors
    poses = synth_poses(args.poses, seed=0)
    different = 0
    print(f"{'kind':<12} {'threads':>8} {'runs':>6}  content")
    for kind in args.kinds.split(","):
        seen: Counter[tuple[int, str]] = Counter()
        for run in range(args.runs):
            threads = THREADS[run % len(THREADS)]
            base = Path(tempfile.mkdtemp(prefix="workers-"))
            try:
                plan = plan_render(
                    poses, base / "out", RenderStyle(size_px=args.size), kind=kind, shard_size=500
                )
                write_shards(plan, workers=threads)
                seen[threads, content(base / "out")] += 1
            finally:
                shutil.rmtree(base)
        for (threads, digest), count in sorted(seen.items()):
            print(f"{kind:<12} {threads:>8} {count:>6}  {digest[:16]}", flush=True)
        different += len({digest for _, digest in seen}) - 1

    skeleton = poses.skeleton
    keypoints = pixels_from_normalized(frame_poses(poses).normalize(poses.keypoints), args.size)
    hashes = {}
    for level in _rust.levels():
        out = np.empty((len(poses), args.size, args.size, 3), np.uint8)
        _rust.rasterize(
            keypoints.astype(np.float32),
            np.ascontiguousarray(poses.visibility),
            np.asarray(skeleton.bones, np.int64).reshape(-1, 2),
            np.ascontiguousarray(skeleton.bone_colors),
            np.ascontiguousarray(skeleton.joint_colors),
            out,
            line_width_px=2.0,
            joint_radius_px=2.0,
            planar=False,
            style="flexpose",
            workers=1,
            level=level,
        )
        hashes[level] = hashlib.sha256(out.tobytes()).hexdigest()
        print(f"{'pictures':<12} {level:>8} {1:>6}  {hashes[level][:16]}")
    different += len(set(hashes.values())) - 1
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

"""Memory of a rendering: resident set of `render --workers 32` over numbers of poses, against what it may take.

Usage: python tests/long/memory.py [--poses 2000,20000,200000] [--size 128] [--kind webdataset] [--workers 32]

Each number is rendered by the command in a process of its own, whose largest resident set the system tells. The poses
themselves are in memory and take some bytes each, as the process that only reads them shows; the pictures add none.
Exits 1 if a process takes more than 64 MB and 8 MB a worker.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Nothing large may be imported or made here: a process begins with the memory of the one that starts it.
RENDER = "from flexpose.cli import main; main()"
MAKE = "import sys; from flexpose.poses import *; write_poses(synth_poses(int(sys.argv[1]), seed=0), sys.argv[2])"
READ = "import sys; from flexpose.poses import read_poses; poses = read_poses(sys.argv[1])"
BASE_MB, WORKER_MB = 64, 8


def peak_mb(code: str, *arguments: str | Path) -> float:
    """Largest resident set of a Python process, in MB."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(sys.executable, command, {**os.environ, "OMP_NUM_THREADS": "1"}, file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"failed: {command}")
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--poses", default="2000,20000,200000")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--kind", default="webdataset")
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="where the data sets go; a temporary folder if not given")
    args = parser.parse_args()
    allowed = BASE_MB + WORKER_MB * args.workers
    base, over = Path(tempfile.mkdtemp(prefix="memory-", dir=args.folder)), False
    print(f"{'poses':>10} {'reading MB':>11} {'peak MB':>9} {'allowed MB':>11}")
    try:
        for number in map(int, args.poses.split(",")):
            file = base / f"{number}.npz"
            peak_mb(MAKE, str(number), file)
            options = ["--size", str(args.size), "--format", args.kind, "--workers", str(args.workers)]
            reading = peak_mb(READ, file)
            peak = peak_mb(RENDER, "render", file, base / "out", *options)
            print(f"{number:>10} {reading:>11.1f} {peak:>9.1f} {allowed:>11}", flush=True)
            over |= peak > allowed
            shutil.rmtree(base / "out")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())

"""Loader processes after a render in their parent: how many of N runs hang, fail or give other pictures.

In a run, a process draws with several threads, then goes through an epoch with a DataLoader whose workers are started
by fork, spawn or forkserver, and hashes every batch. It hangs if it takes longer than the timeout. A process does ten
runs, so that all but its first are after workers of runs before.

    python tests/long/forks.py --runs 200
    python tests/long/forks.py --runs 200 --quota 1.5      # in a control group with so many CPUs, where we may make one
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("fork", "spawn", "forkserver")
POSES, BATCH, SIZE, THREADS = 512, 16, 64, 4
RUNS_A_PROCESS = 10


def digest_of_an_epoch(method: str | None, workers: int) -> str:
    """Draw here, then load; the hash of all batches."""
    from torch.utils.data import DataLoader

    from flexpose.poses import synth_poses
    from flexpose.shards import RenderStyle
    from flexpose.shards.dataset import PoseImages, PoseImageStream

    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    poses, style = synth_poses(POSES, seed=1), RenderStyle(size_px=SIZE)
    PoseImages(poses, style, workers=THREADS).__getitems__(list(range(POSES)))
    stream = PoseImageStream(poses, BATCH, style, augment="rotation=30,flip=0.5", workers=THREADS)
    digest = hashlib.sha256()
    for batch in DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context=method):
        digest.update(batch.image.numpy().tobytes() + batch.index.numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def cpu_group(cpus: float | None) -> Iterator[Path | None]:
    """A control group with a quota of `cpus`: the file that takes its members. None for no quota."""
    if cpus is None:
        yield None
        return
    root, period = Path("/sys/fs/cgroup"), 100_000
    unified = (root / "cgroup.controllers").exists()
    group = (root if unified else root / "cpu") / f"flexpose-forks-{os.getpid()}"
    try:
        group.mkdir()
        try:
            if unified:
                (group / "cpu.max").write_text(f"{round(cpus * period)} {period}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(period))
                (group / "cpu.cfs_quota_us").write_text(str(round(cpus * period)))
            yield group / "cgroup.procs"
        finally:
            while (group / "cgroup.procs").read_text():  # those that were killed are still on their way out
                time.sleep(0.1)
            group.rmdir()
    except OSError as error:
        raise SystemExit(f"no control group can be made here: {error}") from error


class Child:
    """A process that does runs of one method, one after the other, and says the hash of each."""

    def __init__(self, method: str, workers: int, runs: int, members: Path | None) -> None:
        command = [
            sys.executable,
            __file__,
            "--child",
            method,
            "--workers",
            str(workers),
            "--runs",
            str(runs),
        ]
        if members:
            command = ["sh", "-c", f'echo $$ > {members} && exec "$@"', "sh", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)

    def line(self, timeout: float) -> str | None:
        """Its next line, empty at the end; None if it takes too long."""
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return None
        return self.process.stdout.readline().decode().strip()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def runs_of(
    method: str, workers: int, runs: int, timeout: float, members: Path | None, expected: str
) -> Iterator[tuple[str, float]]:
    """For each run "ok", "hang", "failed" or "differs", and its seconds."""
    while runs > 0:
        child = Child(method, workers, min(runs, RUNS_A_PROCESS), members)
        child.line(timeout)  # it is there
        for _ in range(min(runs, RUNS_A_PROCESS)):
            start, line = time.monotonic(), child.line(timeout)
            kind = {None: "hang", "": "failed", expected: "ok"}.get(line, "differs")
            yield kind, time.monotonic() - start
            runs -= 1
            if kind in ("hang", "failed"):
                break
        child.end()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="of each method")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds")
    parser.add_argument("--quota", type=float, help="CPUs of a control group to run in")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        # The server then forks workers that have torch, and the modules, in them: more that could go wrong, and sooner.
        multiprocessing.set_forkserver_preload(["torch", "flexpose.shards.dataset"])
        digest_of_an_epoch(None, 0)  # imports are no part of a run
        print("ready", flush=True)
        for _ in range(given.runs):
            print(digest_of_an_epoch(given.child, given.workers), flush=True)
        return 0
    expected = digest_of_an_epoch(None, 0)
    print(
        f"{'method':<12}{'runs':>6}{'ok':>6}{'hang':>6}{'failed':>8}{'differs':>9}{'median s':>10}{'max s':>8}"
    )
    good = True
    with cpu_group(given.quota) as members:
        for method in given.methods:
            runs = list(runs_of(method, given.workers, given.runs, given.timeout, members, expected))
            ended = [kind for kind, _ in runs]
            seconds = sorted(second for _, second in runs)
            counts = [ended.count(kind) for kind in ("ok", "hang", "failed", "differs")]
            cells = f"{counts[0]:>6}{counts[1]:>6}{counts[2]:>8}{counts[3]:>9}"
            print(
                f"{method:<12}{len(runs):>6}{cells}{seconds[len(runs) // 2]:>10.1f}{seconds[-1]:>8.1f}",
                flush=True,
            )
            good &= counts[0] == len(runs)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

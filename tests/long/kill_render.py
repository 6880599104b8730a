"""Kill a rendering again and again, go on each time, and compare with an undisturbed one.

Usage: python tests/long/kill_render.py [--kills 200] [--poses 200000] [--kind webdataset] [--signal KILL] ...

A process is started on the data set (``--resume``) and ended by a signal at a time drawn evenly from the time that the
rest of the rendering takes, as the last ones went; the next one goes on with what it left. When one finishes before
its signal, the data set is compared file by file with the undisturbed one and the next data set begins. After every
kill the journal is looked at: a shard that has a line must keep it and its bytes.

SIGTERM and SIGINT (``--signal TERM``) must end the process with exit code 130; the longest time that took is told.
Prints a table, or JSON with ``--json``, and exits 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flexpose.cli._signals import terminate_as_interrupt
from flexpose.poses import synth_poses
from flexpose.shards import RenderStyle, draft_render, write_shards

if TYPE_CHECKING:
    from flexpose.shards import RenderPlan

INTERRUPTED = 130


@dataclass
class Counts:
    """What happened."""

    kills: int = 0
    finished: int = 0
    different: int = 0
    lost_shards: int = 0
    written_twice: int = 0
    wrong_exit: int = 0
    slowest_exit_s: float = 0.0
    shards: int = 0
    whole_s: float = 0.0
    seconds: float = 0.0


def hashes(folder: Path) -> dict[str, str]:
    """Hash of each file that readers see; the journal may have its lines in another order."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("journal"):
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "blake2b").hexdigest()
    return found


def journal(folder: Path) -> dict[int, str]:
    """The whole lines of the journal by their shards."""
    path = folder / "journal.jsonl"
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")[:-1]
    return {json.loads(line)["shard"]: line.decode() for line in lines if line.endswith(b"}")}


def child(plan: RenderPlan, workers: int | None) -> NoReturn:
    """Render, and leave with the exit code that the command has."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with terminate_as_interrupt():
            plan.publish(resume=True)
            write_shards(plan, workers=workers, resume=True)
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        os._exit(code)


def run(plan: RenderPlan, workers: int | None, after: float, number: signal.Signals, counts: Counts) -> bool:
    """Start a process and end it after some seconds; whether it had finished before."""
    pid = os.fork()
    if pid == 0:
        child(plan, workers)
    time.sleep(after)
    os.kill(pid, number)  # it is there, finished or not, until it is waited for
    sent = time.monotonic()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return True
    counts.kills += 1
    expected = -number if number == signal.SIGKILL else INTERRUPTED
    counts.wrong_exit += code != expected
    counts.slowest_exit_s = max(counts.slowest_exit_s, time.monotonic() - sent)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--poses", type=int, default=200_000)
    parser.add_argument("--kind", default="webdataset")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--shard-size", type=int, default=5_000)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM", "INT"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop earlier than the kills")
    parser.add_argument("--folder", type=Path, help="where the data sets go; a temporary folder if not given")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    number = signal.Signals[f"SIG{args.signal}"]
    rng, counts = random.Random(args.seed), Counts()
    base = Path(tempfile.mkdtemp(prefix="kill-", dir=args.folder))
    try:
        poses = synth_poses(args.poses, seed=args.seed)
        style = RenderStyle(size_px=args.size)
        plans = [
            draft_render(poses, base / name, style, kind=args.kind, shard_size=args.shard_size)
            for name in ("whole", "killed")
        ]
        begin = time.monotonic()
        run(plans[0], args.workers, 0, signal.SIGCONT, counts)
        counts.whole_s, counts.shards = time.monotonic() - begin, len(plans[0].shards)
        expected = hashes(base / "whole")
        begin = time.monotonic()
        out, before, each = base / "killed", dict[int, str](), counts.whole_s / counts.shards
        while counts.kills < args.kills or before:
            over = counts.kills >= args.kills or time.monotonic() - begin > 60 * args.minutes
            after = 0.0 if over else rng.uniform(0, each * (counts.shards - len(before) + 1))
            started = time.monotonic()
            done = run(plans[1], args.workers, after, signal.SIGCONT if over else number, counts)
            now = journal(out)
            counts.lost_shards += sum(shard not in now for shard in before)
            counts.written_twice += sum(now.get(shard) != line for shard, line in before.items())
            if len(now) > len(before):
                each = (time.monotonic() - started) / (len(now) - len(before))
            before = now
            if done:
                counts.finished += 1
                counts.different += hashes(out) != expected
                shutil.rmtree(out)
                before = {}
                if over:
                    break
        counts.seconds = time.monotonic() - begin
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if args.json:
        print(json.dumps(asdict(counts)))
    else:
        for name, value in asdict(counts).items():
            print(f"{name:>16}  {value:.3f}" if isinstance(value, float) else f"{name:>16}  {value}")
    failures = counts.different + counts.lost_shards + counts.written_twice + counts.wrong_exit
    return 1 if failures or not counts.kills else 0


if __name__ == "__main__":
    sys.exit(main())

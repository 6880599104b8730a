"""What reading a file costs: in a process of its own, under a limit of its memory."""

from __future__ import annotations

import json
import os
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LIMIT_MB", "Verdict", "judge"]

LIMIT_MB = 200


@dataclass(frozen=True)
class Verdict:
    """How a child process that read one file ended.

    Attributes:
        error: name of the class of the error; "" if the file was read, "signal N" if the process died.
        message: of the error.
        seconds: of the processor, for the reading alone; a busy machine does not change them much.
        grown_mb: growth of the resident memory's peak.
    """

    error: str
    message: str
    seconds: float
    grown_mb: float


def judge(read: Callable[[Path], object], path: Path) -> Verdict:
    """Read a file in a fork of this process, which may map `LIMIT_MB` more than it has now."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receiver)
            os.write(sender, json.dumps(_confess(read, path)).encode())
        finally:
            os._exit(0)  # no cleanup of the parent's: it is the parent's
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        said = stream.read()
    status = os.waitpid(child, 0)[1]
    if not said:
        return Verdict(f"signal {os.WTERMSIG(status)}", "", 0.0, 0.0)
    return Verdict(*json.loads(said))


def _confess(read: Callable[[Path], object], path: Path) -> tuple[str, str, float, float]:
    with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123
        mapped = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (LIMIT_MB << 20), resource.RLIM_INFINITY))
    # The peak of a fork begins with what it holds, not with the peak of its parent.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, error, message = time.process_time(), "", ""
    try:
        read(path)
    except BaseException as caught:
        error, message = type(caught).__name__, str(caught)
    seconds = time.process_time() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return error, message[:2000], seconds, grown / 1024

"""How many threads this process may really use: affinity and the control group's CPU quota."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["affinity_threads", "allowed_threads", "cgroup_quota"]


def affinity_threads() -> int:
    """Number of CPUs that the process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return None if quota <= 0 else quota / period
    except (OSError, ValueError, ZeroDivisionError):
        return None


def cgroup_quota(root: str = "/") -> float | None:
    """CPUs that the control group grants, in whole and parts; None if it sets no limit.

    Each group from the process's own up to the top one may set a limit; the smallest holds.

    Args:
        root: folder in which ``proc`` and ``sys`` lie.

    Returns:
        The quota over its period, e.g. 1.5, or None.
    """
    base = Path(root)
    try:
        lines = (base / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = (
            [base / "sys/fs/cgroup"]
            if not controllers
            else [base / "sys/fs/cgroup/cpu", base / f"sys/fs/cgroup/{controllers}"]
        )
        read = _quota_v1 if controllers else _quota_v2
        parts = [part for part in group.split("/") if part]
        for mount in mounts:
            quotas += [read(mount.joinpath(*parts[:depth])) for depth in range(len(parts), -1, -1)]
    return min((quota for quota in quotas if quota is not None), default=None)


def allowed_threads() -> int:
    """Threads worth starting: the CPUs of the affinity, or fewer where the control group grants fewer."""
    quota = cgroup_quota()
    threads = affinity_threads()
    return threads if quota is None else max(1, min(threads, math.ceil(quota)))

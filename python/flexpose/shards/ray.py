"""Shards on a Ray cluster: one task a shard, Ray's own retries, files on a file system that all nodes share."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from flexpose import __version__
from flexpose.errors import FlexposeError, ResourceError, UsageError

from .mend import finish_dataset
from .write import RenderReport, write_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .plan import RenderPlan

    Result = TypeVar("Result")

__all__ = ["map_shards", "render_on_ray"]

_INSTALL = "the extra [ray] of flexpose-pda"
_STARTS = 4
"""How often a Ray of its own is started before it is given up."""


def render_on_ray(
    plan: RenderPlan,
    *,
    address: str | None = None,
    cpus_per_task: int = 1,
    max_retries: int = 10,
    full: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RenderReport:
    """Write all shards of a published plan that are not there yet on the nodes of a Ray cluster, and the index.

    Args:
        plan: from ``plan_render``, with its poses. Its folder must be on a file system that all nodes share.
        address: of the cluster, see ``map_shards``.
        cpus_per_task: CPUs that the drawing of a shard occupies, and its threads.
        max_retries: how often the nodes of one shard may die.
        full: hash the shards that are finished, instead of looking at their lengths.
        progress: called after each shard with the number of poses done.

    Returns:
        What was written, the same files as ``write_shards`` writes but for the journals: there is one a shard.

    Raises:
        UsageError: see ``map_shards``.
        ResourceError: a disk is full, another process writes the shards, or the nodes of a shard died too often.
    """
    shared = replace(plan, out=plan.out.absolute())
    work = functools.partial(_write_shard, shared, cpus_per_task, full)
    reports = []
    numbers = range(len(plan.shards))
    for _, report in map_shards(
        work, numbers, address=address, cpus_per_task=cpus_per_task, max_retries=max_retries
    ):
        reports.append(report)
        if progress:
            progress(sum(each.rendered for each in reports))
    # Where nodes see each other's files late, none may have seen that it was the last.
    finish_dataset(shared.out)
    return RenderReport(
        path=plan.out,
        rendered=plan.count,
        left_out=plan.left_out,
        bad=plan.bad.count if plan.bad else 0,
        bytes=sum(report.bytes for report in reports),
        shards=len(plan.shards),
        written=sum(report.written for report in reports),
        complete=True,
    )


def _write_shard(plan: RenderPlan, workers: int, full: bool, shard: int) -> RenderReport:
    # Ray runs a task again when its node is dead, and nobody else could tell: a lock that lies here is the dead one's.
    whole = len(plan.shards) == 1
    (plan.out / (".lock" if whole else f".lock-{shard:05d}-{shard + 1:05d}")).unlink(missing_ok=True)
    return write_shards(plan, None, range(shard, shard + 1), workers=workers, resume=True, full=full)


def map_shards(
    work: Callable[[int], Result],
    shards: Sequence[int],
    *,
    address: str | None = None,
    cpus_per_task: int = 1,
    max_retries: int = 10,
) -> Iterator[tuple[int, Result]]:
    """Run `work` for each shard on the nodes of a Ray cluster, and hand out the results as they come in.

    A task whose node or process dies is run again, on any node, by Ray. So `work` may run twice for a shard, once
    to a dead end: it must publish its files under their final names in one step each, and the same bytes every time.
    It must hold no lock, because what holds a lock on a dead node cannot be asked. What only one process may do, such
    as adding lines to a journal, is done by the caller with the results.

    Ray is left as it was found: connected if it was, else no longer. Closing the iterator cancels the tasks that are
    left.

    Args:
        work: called with the number of a shard; goes to the nodes once, with all that it refers to.
        shards: numbers to call it with.
        address: of the cluster, such as ``10.0.0.1:6379`` or ``auto`` for that of this machine. None: what
            RAY_ADDRESS says, else a Ray of its own on this machine.
        cpus_per_task: CPUs of a node that a task occupies, >= 1.
        max_retries: how often the nodes of one task may die.

    Yields:
        (shard, result) in the order in which they are finished.

    Raises:
        UsageError: Ray is not installed, an argument is out of range, there is no such cluster, or its nodes have
            another version of flexpose.
        ResourceError: the nodes of a task died too often, or Ray does not start on this machine.
        Exception: whatever `work` raises; the other tasks are cancelled, and no retry is made.
    """
    if cpus_per_task < 1:
        raise UsageError(f"cpus_per_task must be >= 1, got {cpus_per_task}")
    if max_retries < 0:
        raise UsageError(f"max_retries must be >= 0, got {max_retries}")
    # No command of this project sends anything anywhere; Ray asks for it when it starts a cluster of its own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"Ray is not installed: install {_INSTALL}") from error
    connected = ray.is_initialized()
    if not connected:
        _connect(ray, address)
    waiting: dict[Any, int] = {}
    try:
        # In a list it is not unpacked before the task has compared the versions.
        parcel = [ray.put(work)]
        task = ray.remote(num_cpus=cpus_per_task, max_retries=max_retries)(_run)
        waiting = {task.remote(parcel, shard, __version__): shard for shard in shards}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done), _result(ray, done)
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        if not connected:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    # A busy machine may take minutes to start a process; Ray would end it after one, and start another.
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")
    if (address or os.environ.get("RAY_ADDRESS", "")) not in ("", "local"):
        try:
            _init(ray, address)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(f"address must be that of a Ray cluster, got {address!r}: {error}") from error
        return
    for attempt in range(1, _STARTS + 1):
        try:
            _init(ray, "local")  # None would join whatever Ray somebody else has started on this machine
        except Exception as error:  # Ray says so with a bare one: its processes get half a minute to come up
            ray.shutdown()
            if attempt == _STARTS:
                raise ResourceError(
                    f"Ray did not start on this machine in {_STARTS} tries: {error}; wait until it is less busy, or "
                    "name a cluster that runs by its address"
                ) from error
        else:
            return


def _init(ray: Any, address: str | None) -> None:
    ray.init(address=address, log_to_driver=False, logging_level="WARNING", include_dashboard=False)


def _run(parcel: list[Any], shard: int, version: str) -> Any:
    """What a node does."""
    import ray

    if version != __version__:
        raise UsageError(f"nodes must have flexpose {version} as the caller, got {__version__}")
    work = ray.get(parcel[0])
    return work(shard)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, FlexposeError):
            raise cause from None  # the traceback of another process says nothing to the user
        if isinstance(cause, ray.exceptions.RayError):
            raise ResourceError(f"a node or a process died: {cause}") from error
        raise
    except ray.exceptions.RayError as error:
        raise ResourceError(f"a node or a process died too often: {error}") from error

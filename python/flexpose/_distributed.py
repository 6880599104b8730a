"""Several processes that work as one: torchrun starts them, each takes its share of a step, the first one writes.

There is no wrapper around the networks. A step of training has several optimisers, penalties on some steps alone and
averages of weights; with one sum over all processes before each optimiser's step, every process holds the same bits
after it, and what one process alone does is still to be read in the step.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ._cpus import allowed_threads
from ._device import check_device, find_device
from .errors import DeviceError, FlexposeError, Interrupted, ResourceError, UsageError
from .runs import RunFolder, StopSignal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["ALONE", "PeerError", "SharedStop", "World", "join", "started_processes"]

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_TIMEOUT = timedelta(minutes=10)  # of one exchange: what one process may be behind the others, or hang
_MEETING = timedelta(minutes=5)  # until all have started
_FAREWELL_S = 5.0  # in which they tell each other that they end


class PeerError(FlexposeError):
    """Another process failed; carries its message and its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class World:
    """One of the processes of a job, and what it exchanges with the others; by itself each call is free.

    Every process makes the same calls in the same order. If one fails instead, the call raises `PeerError` in the
    others.

    Attributes:
        rank: its number; 0 is the one that writes and shows.
        size: how many there are.
        device: where it computes, as torch names it.
        told: the first process ends as well, and tells the user why.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: str = "cpu", store: Any = None) -> None:
        self.rank, self.size, self.device, self._store = rank, size, device, store
        self.told = False

    @property
    def leads(self) -> bool:
        """Whether this process writes and shows."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of `count` things this process takes; sizes differ by one at most."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def average(self, tensors: Sequence[Tensor], weight: float) -> None:
        """Replace tensors, in one exchange, by their sum over the processes, each times its `weight`.

        The result is the same bits in every process: each number is added up in one place.
        """
        if self.size == 1:
            return
        import torch

        bucket = torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).mul_(weight)
        self._exchange("all_reduce", bucket)
        parts = torch.split(bucket, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def average_step(
        self, parameters: Iterable[Tensor], figures: Mapping[str, Tensor], weight: float
    ) -> dict[str, float]:
        """The figures of a step over all processes; before it ends, the gradients of `parameters` are, too.

        Args:
            parameters: those without a gradient are passed over.
            figures: means over this process's share, without axes.
            weight: this process's part of the whole.
        """
        values = {name: figure.detach().clone() for name, figure in figures.items()}
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.average([*gradients, *values.values()], weight)
        return {name: value.item() for name, value in values.items()}

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self._gather(np.array([flag])).any()) if self.size > 1 else flag

    def gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows of all processes, in the order of their ranks; bytes stay as they are."""
        if self.size == 1:
            return rows
        counts = self._gather(np.array([len(rows)]))
        padded = np.zeros((int(counts.max()), *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        if padded.size == 0:
            return rows
        return np.concatenate(
            [part[:count] for part, count in zip(self._gather(padded), counts[:, 0], strict=True)]
        )

    def _gather(self, array: NDArray[Any]) -> NDArray[Any]:
        """[size, ...]: arrays of one shape."""
        import torch

        own = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        parts = [torch.empty_like(own) for _ in range(self.size)]
        self._exchange("all_gather", parts, own)
        return np.stack([part.numpy().view(array.dtype).reshape(array.shape) for part in parts])

    def barrier(self) -> None:
        """Wait until all have come here."""
        self.any(False)

    def check_same(self, **facts: object) -> None:
        """See to it that all processes have the same facts, JSON-ready values; also a barrier.

        Raises:
            UsageError: one has others than the first; the first such fact is named.
        """
        for name, fact in facts.items():
            digest = np.frombuffer(hashlib.sha256(json.dumps(fact).encode()).digest(), np.uint8)
            digests = self.gather(digest[None])
            others = np.flatnonzero((digests != digests[0]).any(1))
            if len(others):
                raise UsageError(
                    f"{name} must be the same in all processes, got others in process {others[0]}"
                )

    @contextmanager
    def run_folder(
        self,
        path: Path,
        verb: str,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        resume: bool,
    ) -> Iterator[RunFolder | None]:
        """The `RunFolder` for the process that writes, None for the others; nobody goes on before it is checked."""
        if not self.leads:
            self.barrier()
            yield None
            return
        with RunFolder(path, verb, config=config, inputs=inputs, resume=resume) as run:
            self.barrier()
            yield run

    def _exchange(self, name: str, *arguments: Any) -> None:
        from torch import distributed

        try:
            getattr(distributed, name)(*arguments)
        except RuntimeError as error:  # a closed connection, or the time is over
            raise self._reason() from error

    def _reason(self) -> PeerError:
        """Why another process does not answer, as it told before it ended."""
        try:
            if self._told(["failure"], 1.0):
                failure = json.loads(self._store.get("failure"))
                return PeerError(f"process {failure['rank']}: {failure['message']}", failure["code"])
        except RuntimeError:  # the one that held the store is gone
            pass
        return PeerError(
            f"another of the {self.size} processes ended without a word, or hangs", ResourceError.exit_code
        )

    def _told(self, keys: list[str], seconds: float) -> bool:
        """Whether others say these things within the time."""
        end = time.monotonic() + seconds
        while not self._store.check(keys):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _farewell(self, error: BaseException) -> None:
        """Tell the others why this process ends, and wait for them a little."""
        from torch import distributed

        failure = {
            "rank": self.rank,
            "message": str(error) or type(error).__name__,
            "code": _exit_code(error),
        }
        try:
            self._store.compare_set("failure", "", json.dumps(failure))
            distributed.destroy_process_group()  # closes the connections: those who wait for us wake up
            if self.leads:  # it may hold the store, so it goes last
                self._store.set("left/0", "1")
                self._told([f"left/{rank}" for rank in range(1, self.size)], _FAREWELL_S)
            else:
                self.told = self._told(["left/0"], _FAREWELL_S)
                self._store.set(f"left/{self.rank}", "1")
        except RuntimeError:  # the one that held the store is gone
            return


ALONE = World()
"""The world of a process that torchrun did not start."""


class SharedStop(StopSignal):
    """A `StopSignal` that all processes obey at the same step: a signal to one counts once all have agreed."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world, self._signalled = world, False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        self._restore()

    def agree(self) -> None:
        """Set `requested` if a signal has come to any process."""
        self.requested = self._world.any(self._signalled)


@dataclass(frozen=True)
class _Place:
    """What torchrun tells a process about itself."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def started_processes() -> int:
    """How many processes torchrun started, this one among them; 1 without it.

    Raises:
        UsageError: the environment holds only a part of what torchrun sets.
    """
    place = _place()
    return 1 if place is None else place.size


def _place() -> _Place | None:
    if not {"RANK", "WORLD_SIZE"} & os.environ.keys():
        return None
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if missing:
        raise UsageError(f"torchrun sets {', '.join(_VARIABLES)}; got no {' and no '.join(missing)}")
    try:
        rank, size, local_rank = (int(os.environ[name]) for name in _VARIABLES[:3])
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    except ValueError as error:
        raise UsageError(f"expected whole numbers in RANK, WORLD_SIZE and LOCAL_RANK: {error}") from None
    if not (0 <= rank < size and 0 <= local_rank < local_size <= size):
        raise UsageError(
            f"expected RANK < WORLD_SIZE and LOCAL_RANK < LOCAL_WORLD_SIZE, got {rank} of {size} and "
            f"{local_rank} of {local_size}"
        )
    return _Place(rank, size, local_rank, local_size)


def _device(place: _Place, asked: str) -> str:
    """A card for each process where there are cards, else the processor."""
    import torch

    check_device(asked)
    if ":" in asked:
        raise UsageError(
            f"device must be auto, cpu or cuda where torchrun gives each process its card, got {asked!r}"
        )
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return "cpu"
    cards = torch.cuda.device_count()
    if place.local_size > cards:
        raise DeviceError(
            f"expected a card for each process, got {place.local_size} processes and {cards} cards; "
            "device cpu is for work on the processors"
        )
    torch.cuda.set_device(place.local_rank)
    return find_device(f"cuda:{place.local_rank}")


@contextmanager
def join(device: str = "auto") -> Iterator[World]:
    """Meet the other processes that torchrun started; without torchrun, the world of one.

    A process that leaves the block by an exception makes every later exchange of the others raise `PeerError`.

    Args:
        device: where to compute, see `find_device`; under torchrun "auto" and "cuda" are a card for each process.

    Raises:
        UsageError: the environment holds only a part of what torchrun sets, or `device` is no device.
        DeviceError: there are fewer cards than processes, or the one asked for cannot be used.
        ResourceError: the others did not come.
    """
    place = _place()
    if place is None:
        yield World(device=find_device(device))
        return
    device = _device(place, device)
    if place.size == 1:
        yield World(device=device)
        return
    world = _meet(place, device)
    from torch import distributed

    try:
        yield world
        world.barrier()
    except BaseException as error:
        world._farewell(error)
        raise
    distributed.destroy_process_group()


def _meet(place: _Place, device: str) -> World:
    import torch

    # Its functions take the group that there is when they are defined as their default. Were they defined while ours
    # is there (torch's compiler imports them), they would keep it, and its threads, beyond `destroy_process_group`.
    import torch.distributed.nn
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, allowed_threads() // place.local_size))
    # Flags and rows go by the processor also where gradients go by cards: they never wait for a card's queue.
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    try:
        store, rank, size = next(rendezvous("env://", timeout=_MEETING))
        store = PrefixStore("flexpose", store)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise ResourceError(
            f"expected {place.size} processes to meet at {where}, process {place.rank} did not: {error}"
        ) from error
    return World(rank, size, device, store)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, FlexposeError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return Interrupted.exit_code
    return ResourceError.exit_code if isinstance(error, (OSError, MemoryError)) else 1

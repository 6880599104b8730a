"""Pictures of poses for training: drawn when they are asked for, the same for a seed, an epoch and an index.

`PoseImages` with an `EpochSampler` is a map-style data set; `PoseImageStream` makes whole batches itself. Both give
the same pictures from any number of workers and after any resume, under fork, spawn and forkserver: what they carry
into another process is paths and numbers, never a thread or an open file.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack, cast

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from flexpose.errors import UsageError

from .augment import Augment, augment_labelled
from .order import EpochOrder, Uneven
from .sources import open_source
from .style import draw_framed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from flexpose.poses import PoseSet
    from flexpose.raster import DType
    from flexpose.skeleton import Skeleton

    from .read import ShardIndex
    from .style import RenderStyle

    Source = str | PathLike[str] | PoseSet | ShardIndex

__all__ = ["EpochSampler", "PoseBatch", "PoseImageStream", "PoseImages", "PoseItem"]

_STATE = 1
_CHUNK = 4096  # numbers of an order that are computed at a time: one by one they cost more than the drawing
_AHEAD = 64  # batches, likewise
_DRAWN: dict[torch.dtype, DType] = {
    torch.uint8: "uint8",
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
}
"""Numbers that pictures are drawn in; others are made of bytes."""


class PoseItem(NamedTuple):
    """One picture.

    Attributes:
        image: [C, S, S], uint8 or, in [-1, 1], of a floating type.
        keypoints: [K, 2] float32, frame coordinates; 0 where not labelled.
        visibility: [K] uint8, 0 not labelled, 1 occluded, 2 visible.
        index: row of the pose in the input.
    """

    image: torch.Tensor
    keypoints: torch.Tensor
    visibility: torch.Tensor
    index: int  # type: ignore[assignment]  # nobody searches the tuple


class PoseBatch(NamedTuple):
    """n pictures of an epoch.

    Attributes:
        image: [n, C, S, S], uint8 or, in [-1, 1], of a floating type.
        keypoints: [n, K, 2] float32, frame coordinates; 0 where not labelled.
        visibility: [n, K] uint8.
        index: [n] int64, row of each pose in the input.
        epoch: the epoch.
        number: which batch of this process's epoch it is, from 0.
    """

    image: torch.Tensor
    keypoints: torch.Tensor
    visibility: torch.Tensor
    index: torch.Tensor  # type: ignore[assignment]  # nobody searches the tuple
    epoch: int
    number: int


class Drawing(TypedDict, total=False):
    """What `PoseImageStream` passes on to `PoseImages`, which says what each is."""

    skeleton: Skeleton | str | None
    augment: Augment | str | None
    dtype: torch.dtype
    workers: int | None


class PoseImages(Dataset[PoseItem]):
    """Pictures of poses by number, for a ``DataLoader`` with an `EpochSampler`.

    An item is asked for by its number or by (epoch, number), which is what `EpochSampler` gives; a batch is drawn in
    one call. By number alone, the epoch is that of `set_epoch`, which workers that live on between epochs do not hear
    of; it matters for `augment` alone.

    Args:
        source: poses, a file that ``read_poses`` takes, or a finished data set on disk (of any kind: stored pictures
            are not read, as their poses travel with them). A file or a folder goes to workers that are not forked by
            its path, poses in memory as they are.
        style: how poses are framed and drawn. None: as the data set was rendered, else the defaults. The frames of a
            data set are those that it was rendered with.
        skeleton: the skeleton that is wanted, or its name; None: that of the poses.
        augment: how they vary, or its text; see ``Augment.parse``.
        seed: of the variation, 0 to 2^64 - 1.
        dtype: of the pictures: ``torch.uint8``, or a floating type for [-1, 1].
        workers: threads that draw a batch; None for as many as the process may use. Leave it at 1 in the workers of
            a ``DataLoader``.

    Raises:
        UsageError: an argument is out of range, or there is no such source.
        DataError: a file is not valid; what its poses hold is checked when they are read.
    """

    def __init__(
        self,
        source: Source,
        style: RenderStyle | None = None,
        *,
        skeleton: Skeleton | str | None = None,
        augment: Augment | str | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.uint8,
        workers: int | None = 1,
    ) -> None:
        self._poses = open_source(source, style, skeleton)
        self._augment = Augment.parse(augment) if isinstance(augment, str) else augment or Augment()
        if dtype != torch.uint8 and not dtype.is_floating_point:
            raise UsageError(f"dtype must be torch.uint8 or a floating type, got {dtype}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise UsageError(f"seed must be an integer from 0 to 2^64 - 1, got {seed!r}")
        self._seed, self._dtype, self._workers = seed, dtype, workers
        self._epoch = 0
        # A limb that the skeleton lacks is refused here, not in a worker.
        self.draw(np.zeros(0, np.int64), epoch=0)

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the keypoints."""
        return self._poses.skeleton

    @property
    def style(self) -> RenderStyle:
        """How the poses are framed and drawn."""
        return self._poses.style

    def set_epoch(self, epoch: int) -> None:
        """Draw the variation of this epoch for items that are asked for by number alone."""
        self._epoch = _checked_epoch(epoch)

    def draw(self, rows: NDArray[np.int64], *, epoch: int, number: int = 0) -> PoseBatch:
        """Draw some poses.

        Args:
            rows: [n] numbers of poses, 0 to the length - 1.
            epoch: whose variation it is.
            number: which batch of the epoch it is; it is told on.
        """
        framed, style = self._poses.take(rows), self._poses.style
        keypoints, visibility, index = framed.keypoints, framed.visibility, framed.index
        if self._augment != Augment():
            keypoints, visibility = augment_labelled(
                keypoints, visibility, self.skeleton, self._augment, self._seed, index, epoch=epoch
            )
        pixels = draw_framed(
            keypoints,
            visibility,
            self.skeleton,
            style,
            layout="nchw",
            dtype=_DRAWN.get(self._dtype, "uint8"),
            workers=self._workers,
        )
        image = torch.from_numpy(pixels)
        if self._dtype == torch.bfloat16:
            image = image.view(torch.bfloat16)
        elif self._dtype not in _DRAWN:
            image = image.to(torch.float64).div_(127.5).sub_(1).to(self._dtype)
        points, seen, rows_in_input = map(torch.from_numpy, (keypoints, visibility, index))
        return PoseBatch(image, points, seen, rows_in_input, epoch, number)

    def __len__(self) -> int:
        return len(self._poses)

    def __getitem__(self, key: int | tuple[int, int]) -> PoseItem:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> list[PoseItem]:
        """The items of a batch; ``DataLoader`` asks for them by this name."""
        pairs = np.array(
            [key if isinstance(key, tuple) else (self._epoch, key) for key in keys], object
        ).reshape(-1, 2)
        epochs, rows = pairs[:, 0], pairs[:, 1].astype(np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"index must be in {-len(self)} to {len(self) - 1}, got {keys}")
        items: list[PoseItem | None] = [None] * len(keys)
        # A batch is of one epoch, unless somebody asks otherwise.
        for epoch in dict.fromkeys(epochs.tolist()):
            places = np.flatnonzero(epochs == epoch)
            batch = self.draw(rows[places], epoch=_checked_epoch(epoch))
            columns = (batch.image, batch.keypoints, batch.visibility, batch.index.tolist())
            for place, *values in zip(places.tolist(), *columns, strict=True):
                items[place] = PoseItem(*values)
        return cast("list[PoseItem]", items)


class EpochSampler(Sampler[tuple[int, int]]):
    """The order of an epoch for `PoseImages`, as pairs (epoch, number); resumable in the middle.

    Each pass over it is the epoch of `set_epoch` (0 at first). ``DataLoader`` draws from a sampler ahead of what the
    training has seen, so the sampler cannot know where the training is: `state_after` is told. (A loader that counts
    what it hands out, such as torchdata's ``StatefulDataLoader``, needs none of it.)

    Args:
        size: number of poses, such as ``len(dataset)``.
        seed: of the order, 0 to 2^64 - 1.
        shuffle: a new random order each epoch; else that of the poses.
        rank: number of this process, 0 to world_size - 1.
        world_size: number of processes that share an epoch.
        uneven: where world_size does not divide size: ``keep`` every pose once, so that some processes get one
            more; ``pad`` with poses from the start of the order; ``drop`` the last ones of the order.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
        uneven: Uneven = "keep",
    ) -> None:
        self._order = EpochOrder(
            size=size, seed=seed, shuffle=shuffle, rank=rank, world_size=world_size, uneven=uneven
        )
        self._epoch = self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Go through this epoch in the next pass; a position that was loaded for the same epoch stays."""
        if _checked_epoch(epoch) != self._epoch:
            self._epoch, self._start = epoch, 0

    def __len__(self) -> int:
        """Items of the next pass."""
        return len(self._order) - self._start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, length = self._epoch, len(self._order)
        for first in range(self._start, length, _CHUNK):
            places = np.arange(first, min(first + _CHUNK, length))
            for row in self._order.rows(places, epoch).tolist():
                yield epoch, row

    def state_after(self, consumed: int) -> dict[str, Any]:
        """What `load_state_dict` goes on from.

        Args:
            consumed: items of the current epoch that this process's training has seen, from the epoch's start.

        Returns:
            Numbers, for JSON or a checkpoint.
        """
        return _state(self._order, self._epoch, "item", consumed, len(self._order))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the next pass where `state` was taken.

        Raises:
            UsageError: the state is of another order or another split.
        """
        self._epoch, self._start = _loaded_state(self._order, state, "item", len(self._order))


class PoseImageStream(IterableDataset[PoseBatch]):
    """Pictures of poses, batch by batch, for ``DataLoader(stream, batch_size=None, num_workers=W)``.

    Batch b of an epoch comes from worker b modulo W, which is the order in which a ``DataLoader`` asks its workers:
    the batches and their order are those of a single process, for any W. One batch is drawn in one call. Each pass is
    the epoch of `set_epoch` (0 at first).

    Args:
        source: as in `PoseImages`.
        batch_size: pictures a batch, >= 1.
        style: as in `PoseImages`.
        seed: of order and variation, 0 to 2^64 - 1.
        drop_last: leave out a last batch that is not full.
        shuffle: this, rank, world_size and uneven are as in `EpochSampler`.
        rank: see there.
        world_size: see there.
        uneven: see there.
        drawing: skeleton, augment, dtype and workers, as in `PoseImages`.

    Raises:
        UsageError: an argument is out of range, or there is no such source.
        DataError: a file is not valid.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        style: RenderStyle | None = None,
        *,
        seed: int = 0,
        drop_last: bool = False,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
        uneven: Uneven = "keep",
        **drawing: Unpack[Drawing],
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UsageError(f"batch_size must be an integer >= 1, got {batch_size!r}")
        self._images = PoseImages(source, style, seed=seed, **drawing)
        self._order = EpochOrder(
            size=len(self._images),
            seed=seed,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
            uneven=uneven,
        )
        self.batch_size, self.drop_last = batch_size, drop_last
        items = len(self._order)
        self._batches = items // batch_size if drop_last else -(-items // batch_size)
        self._epoch = self._start = 0
        self._reader = 0  # the process of the last pass

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the keypoints."""
        return self._images.skeleton

    @property
    def style(self) -> RenderStyle:
        """How the poses are framed and drawn."""
        return self._images.style

    def set_epoch(self, epoch: int) -> None:
        """Go through this epoch in the next pass; a position that was loaded for the same epoch stays.

        Workers that live on between epochs (``persistent_workers``) do not hear of it and refuse a second pass.
        """
        if _checked_epoch(epoch) != self._epoch:
            self._epoch, self._start = epoch, 0

    def __len__(self) -> int:
        """Batches of the next pass."""
        return self._batches - self._start

    def __iter__(self) -> _Pass:
        worker = get_worker_info()
        number, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        stale = worker is not None and self._reader == os.getpid()
        self._reader = os.getpid()
        return _Pass(self, self._epoch, self._start + number, step, stale)

    def _rows(self, epoch: int, numbers: range) -> list[NDArray[np.int64]]:
        """Which poses some batches consist of."""
        spans = [
            range(n * self.batch_size, min((n + 1) * self.batch_size, len(self._order))) for n in numbers
        ]
        rows = self._order.rows(np.concatenate([np.arange(span.start, span.stop) for span in spans]), epoch)
        return np.split(rows, np.cumsum([len(span) for span in spans])[:-1])

    def state_after(self, batch: PoseBatch | None) -> dict[str, Any]:
        """What `load_state_dict` goes on from.

        Args:
            batch: the last one that the training has seen, wherever it was made and whatever was fetched ahead of
                it; None if it has seen none of the epoch of `set_epoch`.

        Returns:
            Numbers, for JSON or a checkpoint.
        """
        epoch, seen = (self._epoch, 0) if batch is None else (int(batch.epoch), int(batch.number) + 1)
        own = {"batch_size": self.batch_size, "drop_last": self.drop_last}
        return {**_state(self._order, epoch, "batch", seen, self._batches), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the next pass, and the same epoch, where `state` was taken; with any number of workers.

        Raises:
            UsageError: the state is of another order, split or batch size.
        """
        state = dict(state)
        for name in ("batch_size", "drop_last"):
            if state.pop(name, None) != getattr(self, name):
                raise UsageError(f"state must be of the same {name}, {getattr(self, name)}")
        self._epoch, self._start = _loaded_state(self._order, state, "batch", self._batches)


class _Pass:
    """One process's way through an epoch of a `PoseImageStream`: every `step`-th batch.

    It can say where it is and be set there, which is what torchdata's ``StatefulDataLoader`` asks for in its workers.
    """

    def __init__(self, stream: PoseImageStream, epoch: int, number: int, step: int, stale: bool) -> None:
        self._stream, self._epoch, self._number, self._step, self._stale = stream, epoch, number, step, stale
        self._ahead: list[NDArray[np.int64]] = []  # rows of the next batches, the next one last

    def __iter__(self) -> _Pass:
        return self

    def __next__(self) -> PoseBatch:
        if self._stale:
            raise UsageError(
                "persistent_workers must be off for a PoseImageStream: workers do not hear of set_epoch"
            )
        if self._number >= self._stream._batches:
            raise StopIteration
        if not self._ahead:
            end = min(self._stream._batches, self._number + _AHEAD * self._step)
            self._ahead = self._stream._rows(self._epoch, range(self._number, end, self._step))[::-1]
        batch = self._stream._images.draw(self._ahead.pop(), epoch=self._epoch, number=self._number)
        self._number += self._step
        return batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self._epoch, "number": self._number, "step": self._step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state["step"] != self._step:
            raise UsageError(f"state must be of {self._step} workers, got {state['step']}")
        self._epoch, self._number, self._ahead = state["epoch"], state["number"], []


def _checked_epoch(epoch: int) -> int:
    if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer) or not 0 <= epoch < 2**64:
        raise UsageError(f"epoch must be an integer from 0 to 2^64 - 1, got {epoch!r}")
    return int(epoch)


def _state(order: EpochOrder, epoch: int, unit: str, seen: int, most: int) -> dict[str, Any]:
    if isinstance(seen, bool) or not isinstance(seen, int) or not 0 <= seen <= most:
        raise UsageError(f"{unit}s seen must be 0 to {most}, got {seen!r}")
    # Processes go in step, so that the state of one fits all: the rank is left out.
    how = {key: value for key, value in asdict(order).items() if key != "rank"}
    return {"format": _STATE, "epoch": epoch, unit: seen, **how}


def _loaded_state(order: EpochOrder, state: dict[str, Any], unit: str, most: int) -> tuple[int, int]:
    """Epoch and position of a state, after a comparison of everything else with `order`."""
    expected = _state(order, 0, unit, 0, most)
    if not isinstance(state, dict) or set(state) != set(expected):
        raise UsageError(f"state must have {', '.join(expected)}, got {state!r:.200}")
    for name in set(expected) - {"epoch", unit}:
        if state[name] != expected[name]:
            raise UsageError(f"state must be of the same {name}, {expected[name]!r}, got {state[name]!r:.60}")
    # One process of several may have an item less than the one that took the state.
    position = min(int(_state(order, 0, unit, state[unit], most + 1)[unit]), most)
    return _checked_epoch(state["epoch"]), position

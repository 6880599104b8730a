"""In which order an epoch visits the poses, and which of them a process of several gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from flexpose.errors import UsageError
from flexpose.poses._random import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EpochOrder", "Uneven", "shuffled"]

Uneven = Literal["keep", "pad", "drop"]

_ROUNDS = 8


def shuffled(places: NDArray[np.int64], size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """What stands at some places of a random order of 0 to size - 1, without making the whole of it.

    A Feistel network permutes the next power of four, and numbers beyond `size` go through it again. So a process
    needs memory and time for its own places alone, and every process sees the same order.

    Args:
        places: [N] numbers from 0 to size - 1.
        size: 1 to 2^62.
        seed: 0 to 2^64 - 1.
        epoch: 0 to 2^64 - 1; each has an order of its own.

    Returns:
        [N] numbers from 0 to size - 1, all different where the places are.
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    keys = np.random.Philox(key=(int(Stream.ORDER) << 64) | int(seed), counter=int(epoch) << 64).random_raw(
        _ROUNDS
    )
    values = places.astype(np.uint64)
    walking = np.arange(len(values))
    while len(walking):
        values[walking] = _feistel(values[walking], np.uint64(half), keys)
        walking = walking[values[walking] >= size]
    return values.astype(np.int64)


def _feistel(values: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << half) | right


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64: every bit of the input reaches every bit of the output."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOrder:
    """The poses that one process of several visits, epoch by epoch. Process r gets places r, r + world_size, ...

    Args:
        size: number of poses, >= 0.
        seed: of the order, 0 to 2^64 - 1.
        shuffle: a new random order each epoch; else that of the poses.
        rank: number of this process, 0 to world_size - 1.
        world_size: number of processes, >= 1.
        uneven: where world_size does not divide size: ``keep`` every pose once, so that some processes get one
            more; ``pad`` with poses from the start of the order; ``drop`` the last ones of the order.

    Raises:
        UsageError: a value is out of range.
    """

    size: int
    seed: int = 0
    shuffle: bool = True
    rank: int = 0
    world_size: int = 1
    uneven: Uneven = "keep"

    def __post_init__(self) -> None:
        if not 0 <= self.size <= 2**48:
            raise UsageError(f"size must be 0 to 2^48, got {self.size}")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed must be an integer from 0 to 2^64 - 1, got {self.seed!r}")
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise UsageError(f"rank must be 0 to world_size - 1, got {self.rank} of {self.world_size}")
        if self.uneven not in get_args(Uneven):
            raise UsageError(f"uneven must be one of {', '.join(get_args(Uneven))}, got {self.uneven!r}")

    def __len__(self) -> int:
        """How many poses this process visits in an epoch."""
        share, rest = divmod(self.size, self.world_size)
        if self.uneven == "drop" or not rest:
            return share
        return share + (self.uneven == "pad" or self.rank < rest)

    def rows(self, places: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Numbers of the poses at some of this process's places.

        Args:
            places: [N] numbers from 0 to len(self) - 1.
            epoch: 0 to 2^64 - 1.

        Returns:
            [N] numbers from 0 to size - 1.
        """
        order = (np.asarray(places, np.int64) * self.world_size + self.rank) % max(self.size, 1)
        return shuffled(order, self.size, self.seed, epoch) if self.shuffle else order

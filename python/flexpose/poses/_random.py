"""Random numbers that stay: Philox words by seed, purpose and row, turned into numbers by our own arithmetic.

``numpy.random.Generator`` may change its streams between releases; a bit generator's words may not. And what
is drawn for row i does not depend on how many rows there are.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stream", "normals", "uniforms"]


class Stream(IntEnum):
    """What numbers are for; each purpose has its own stream under one seed. Values are part of the format."""

    FEWSHOT = 1
    MIXUP = 2
    SYNTH = 3


def uniforms(seed: int, stream: Stream, rows: int, columns: int, *, start: int = 0) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), 53 random bits each.

    Args:
        seed: 0 to 2^64 - 1.
        stream: what they are for.
        rows: N rows, of which row i always holds the same numbers.
        columns: numbers in a row.
        start: index of the first row.

    Returns:
        [rows, columns] float64.

    Raises:
        UsageError: the seed is out of range.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise UsageError(f"seed must be an integer from 0 to 2^64 - 1, got {seed!r}")
    blocks = -(-columns // 4)  # a Philox counter step yields 4 words
    philox = np.random.Philox(key=(int(stream) << 64) | int(seed))
    philox.advance(start * blocks)
    words = philox.random_raw(rows * blocks * 4).reshape(rows, blocks * 4)[:, :columns]
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal numbers from uniform ones, two from two (Box and Muller).

    Args:
        uniform: [..., 2 C] in [0, 1).

    Returns:
        [..., 2 C] float64.
    """
    half = uniform.shape[-1] // 2
    radius = np.sqrt(-2 * np.log1p(-uniform[..., :half]))
    angle = 2 * np.pi * uniform[..., half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)

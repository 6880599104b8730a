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

__all__ = ["Stream", "normals", "uniforms", "uniforms_at"]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_KEY_STEPS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_ROUNDS = 10
_CHUNK = 4096  # counters whose words are worked on at a time: they stay in the cache


class Stream(IntEnum):
    """What numbers are for; each purpose has its own stream under one seed. Values are part of the format."""

    FEWSHOT = 1
    MIXUP = 2
    SYNTH = 3
    AUGMENT = 4
    ORDER = 5
    VARIATION = 6
    CAMERA = 7
    SHRINKAGE = 8


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
    _check_word("seed", seed)
    blocks = -(-columns // 4)  # a Philox counter step yields 4 words
    philox = np.random.Philox(key=(int(stream) << 64) | int(seed))
    philox.advance(start * blocks)
    return _fractions(philox.random_raw(rows * blocks * 4).reshape(rows, blocks * 4)[:, :columns])


def uniforms_at(
    seed: int, stream: Stream, rows: NDArray[np.integer], columns: int, *, lap: int = 0
) -> NDArray[np.float64]:
    """What ``uniforms`` holds in some of its rows, wherever they are.

    Args:
        seed: 0 to 2^64 - 1.
        stream: what they are for.
        rows: [N] numbers of the rows, 0 to 2^48 - 1, in any order.
        columns: numbers in a row, 1 to 2^16.
        lap: 0 for the numbers of ``uniforms``; each other one, up to 2^64 - 1, has numbers of its own.

    Returns:
        [N, columns] float64.

    Raises:
        UsageError: seed, lap or a row is out of range.
    """
    _check_word("seed", seed)
    _check_word("lap", lap)
    places = np.asarray(rows)
    if places.size and not (places.min() >= 0 and places.max() < 2**48):
        raise UsageError(f"rows must be 0 to 2^48 - 1, got {places.min()} to {places.max()}")
    blocks = -(-columns // 4)
    # The bit generator counts before it computes: its first block has the counter 1.
    counters = np.add.outer(
        places.astype(np.uint64) * np.uint64(blocks), np.arange(1, blocks + 1, dtype=np.uint64)
    )
    counters = counters.ravel()
    words = np.empty((len(counters), 4), np.uint64)
    for start in range(0, len(counters), _CHUNK):
        words[start : start + _CHUNK] = _philox(
            counters[start : start + _CHUNK], int(lap), int(seed), int(stream)
        )
    return _fractions(words.reshape(len(places), blocks * 4)[:, :columns])


def _check_word(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**64:
        raise UsageError(f"{name} must be an integer from 0 to 2^64 - 1, got {value!r}")


def _fractions(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _philox(counters: NDArray[np.uint64], second: int, *key: int) -> NDArray[np.uint64]:
    """Philox 4x64-10 (Salmon et al., SC 2011) of the counters (c, second, 0, 0): [N, 4]."""
    c0, c2 = counters, np.zeros_like(counters)
    c1, c3 = np.full_like(counters, second), np.zeros_like(counters)
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, _MULTIPLIERS[0])
        high2, low2 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high2 ^ c1 ^ np.uint64(k0), low2, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = ((k + step) % 2**64 for k, step in zip((k0, k1), _KEY_STEPS, strict=True))
    return np.stack([c0, c1, c2, c3], axis=1)


def _product(a: NDArray[np.uint64], constant: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The upper and the lower 64 bits of a * constant."""
    b_high, b_low = np.uint64(constant >> 32), np.uint64(constant & 0xFFFFFFFF)
    a_high, a_low = a >> _HALF, a & _LOW
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF), a * np.uint64(constant)


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

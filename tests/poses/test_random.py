"""Random numbers: independent of the count, and the same as Philox defines them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flexpose.errors import UsageError
from flexpose.poses._random import Stream, normals, uniforms, uniforms_at


def test_rows_do_not_depend_on_the_count():
    for columns in (1, 3, 4, 9):
        whole = uniforms(5, Stream.SYNTH, 50, columns)
        assert whole.shape == (50, columns)
        assert np.array_equal(uniforms(5, Stream.SYNTH, 7, columns), whole[:7])
        assert np.array_equal(uniforms(5, Stream.SYNTH, 20, columns, start=30), whole[30:])


def test_rows_wherever_they_are():
    """A row by its number holds what the bit generator holds there, in any order, twice, far out."""
    rows = np.random.default_rng(0).integers(0, 20_000, 9000)
    for columns in (1, 3, 8):
        whole = uniforms(5, Stream.AUGMENT, 20_000, columns)
        assert np.array_equal(uniforms_at(5, Stream.AUGMENT, rows, columns), whole[rows])
    for seed, lap, row in [(0, 0, 2**48 - 1), (2**64 - 1, 1, 0), (77, 2**64 - 1, 12345), (3, 9, 2**40 + 1)]:
        philox = np.random.Philox(key=(int(Stream.ORDER) << 64) | seed, counter=lap << 64)
        philox.advance(row * 2)
        expected = (philox.random_raw(8) >> np.uint64(11)) * 2.0**-53
        drawn = uniforms_at(seed, Stream.ORDER, np.array([7, row]), 8, lap=lap)
        assert np.array_equal(drawn[1], expected)
        assert not np.array_equal(drawn[0], expected)
    assert uniforms_at(0, Stream.ORDER, np.zeros(0, np.int64), 8).shape == (0, 8)


@pytest.mark.parametrize(
    ("rows", "lap", "word"), [([-1], 0, "rows"), ([2**48], 0, "rows"), ([0], -1, "lap"), ([0], 2**64, "lap")]
)
def test_rows_out_of_range(rows, lap, word):
    with pytest.raises(UsageError, match=word):
        uniforms_at(0, Stream.ORDER, np.array(rows), 4, lap=lap)


def _philox4x64(counter: int, key: int) -> list[int]:
    """Philox 4x64-10 as published (Salmon et al., SC 2011), written out."""
    mask = 2**64 - 1
    c = [(counter >> (64 * i)) & mask for i in range(4)]
    k = [key & mask, key >> 64]
    for _ in range(10):
        a, b = c[0] * 0xD2E7470EE14C6C93, c[2] * 0xCA5A826395121157
        c = [(b >> 64) ^ c[1] ^ k[0], b & mask, (a >> 64) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


def test_words_are_those_of_philox():
    # numpy counts before it computes: its first block is counter 1.
    drawn = uniforms(42, Stream.MIXUP, 3, 4)
    for row in range(3):
        words = _philox4x64(row + 1, (2 << 64) | 42)
        assert drawn[row].tolist() == [(word >> 11) / 2**53 for word in words]


def test_seeds_and_streams_differ():
    drawn = [uniforms(seed, stream, 2, 2).tolist() for seed in (0, 1, 2**64 - 1) for stream in Stream]
    assert len({str(d) for d in drawn}) == len(drawn)


def test_distributions():
    u = uniforms(0, Stream.SYNTH, 20_000, 2)
    assert u.min() >= 0
    assert u.max() < 1
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    z = normals(u)
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.03
    assert np.isfinite(normals(np.zeros((1, 2)))).all()


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, None])
def test_seed_out_of_range(seed):
    with pytest.raises(UsageError, match="seed must be"):
        uniforms(seed, Stream.SYNTH, 1, 1)

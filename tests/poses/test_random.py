"""Random numbers: independent of the count, and the same as Philox defines them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flexpose.errors import UsageError
from flexpose.poses._random import Stream, normals, uniforms


def test_rows_do_not_depend_on_the_count():
    for columns in (1, 3, 4, 9):
        whole = uniforms(5, Stream.SYNTH, 50, columns)
        assert whole.shape == (50, columns)
        assert np.array_equal(uniforms(5, Stream.SYNTH, 7, columns), whole[:7])
        assert np.array_equal(uniforms(5, Stream.SYNTH, 20, columns, start=30), whole[30:])


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

"""Orders of epochs: permutations, evenly random, the same from any part, split without loss."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flexpose.errors import UsageError
from flexpose.shards.order import EpochOrder, shuffled


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_is_a_permutation(size: int, seed: int, epoch: int) -> None:
    order = shuffled(np.arange(size), size, seed, epoch)
    assert sorted(order.tolist()) == list(range(size))


def test_any_part_of_it_is_that_of_the_whole() -> None:
    whole = shuffled(np.arange(1000), 1000, 3, 7)
    some = np.array([999, 0, 5, 5, 500])
    assert np.array_equal(shuffled(some, 1000, 3, 7), whole[some])
    far = shuffled(np.arange(10**12, 10**12 + 1000), 2**41, 0, 0)
    assert len(set(far.tolist())) == 1000
    assert far.min() >= 0
    assert far.max() < 2**41
    assert stats.kstest(far / 2**41, "uniform").pvalue > 1e-3


def test_order_by_order_differs() -> None:
    orders = {tuple(shuffled(np.arange(100), 100, seed, epoch)) for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400
    assert tuple(range(100)) not in orders


@pytest.mark.parametrize("size", [3, 7, 16, 33])
def test_every_pose_comes_everywhere_alike(size: int) -> None:
    epochs = 3000
    orders = np.array([shuffled(np.arange(size), size, 5, epoch) for epoch in range(epochs)])
    seen = np.array([np.bincount(column, minlength=size) for column in orders.T])
    statistic = ((seen - epochs / size) ** 2 / (epochs / size)).sum()
    assert 1e-4 < stats.chi2.cdf(statistic, (size - 1) ** 2) < 1 - 1e-4


def test_neighbours_part() -> None:
    order = shuffled(np.arange(20_000), 20_000, 0, 0)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(order, np.arange(20_000))[0, 1]) < 0.03


@pytest.mark.parametrize(("size", "world"), list(itertools.product([0, 1, 2, 5, 12, 100], [1, 2, 3, 7])))
@pytest.mark.parametrize("shuffle", [False, True])
def test_split(size: int, world: int, shuffle: bool) -> None:
    def parts(uneven: str) -> list[list[int]]:
        orders = [
            EpochOrder(size=size, shuffle=shuffle, rank=rank, world_size=world, uneven=uneven)  # type: ignore[arg-type]
            for rank in range(world)
        ]
        return [order.rows(np.arange(len(order)), epoch=2).tolist() for order in orders]

    kept, padded, dropped = (parts(uneven) for uneven in ("keep", "pad", "drop"))
    assert sorted(itertools.chain(*kept)) == list(range(size)), "nothing lost, nothing twice"
    assert max(map(len, kept)) - min(map(len, kept)) <= 1
    assert {len(part) for part in padded} == {-(-size // world)}
    assert set(itertools.chain(*padded)) == set(range(size))
    assert {len(part) for part in dropped} == {size // world}
    together = list(itertools.chain(*dropped))
    assert len(set(together)) == len(together)
    if not shuffle:
        assert kept == [list(range(rank, size, world)) for rank in range(world)]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"size": -1}, "size"),
        ({"size": 2, "seed": -1}, "seed"),
        ({"size": 2, "rank": 1}, "rank"),
        ({"size": 2, "rank": -1}, "rank"),
        ({"size": 2, "world_size": 0}, "rank"),
        ({"size": 2, "uneven": "cut"}, "uneven"),
    ],
)
def test_wrong_values(values: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        EpochOrder(**values)  # type: ignore[arg-type]

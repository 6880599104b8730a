"""The assignment against all permutations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from flexpose.adapt.pairing import centred, match_poses


def cost(targets: np.ndarray, candidates: np.ndarray, rows: tuple[int, ...]) -> float:
    total = 0.0
    for target, row in zip(targets, rows, strict=True):
        a, b = target - target.mean(0), candidates[row] - candidates[row].mean(0)
        total += float(((a - b) ** 2).sum())
    return total


@pytest.mark.parametrize(("count", "pool"), [(4, 4), (4, 6), (5, 5), (3, 7), (1, 5)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_permutation_is_cheaper(count: int, pool: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, candidates = rng.standard_normal((count, 5, 2)), rng.standard_normal((pool, 5, 2))
    found = match_poses(targets, candidates)
    assert found.dtype == np.int64
    assert len(set(found.tolist())) == count
    best = min(permutations(range(pool), count), key=lambda rows: cost(targets, candidates, rows))
    assert found.tolist() == list(best)


def test_a_greedy_choice_would_be_wrong() -> None:
    """Both targets lie nearest to candidate 0; the sum is least if the first gives it up."""
    place = np.array([[0.0, 0.0], [1.0, 0.0]])
    targets = np.stack([place * 1.0, place * 1.4])
    candidates = np.stack([place * 1.2, place * 0.7, place * 9.0])
    assert match_poses(targets, candidates).tolist() == [1, 0]


def test_place_does_not_count() -> None:
    rng = np.random.default_rng(3)
    targets, candidates = rng.standard_normal((6, 13, 2)), rng.standard_normal((9, 13, 2))
    moved = match_poses(targets + np.array([5.0, -3.0]), candidates + rng.standard_normal((9, 1, 2)))
    np.testing.assert_array_equal(moved, match_poses(targets, candidates))


def test_own_poses_find_themselves() -> None:
    poses = np.random.default_rng(4).standard_normal((20, 13, 2)).astype(np.float32)
    order = np.random.default_rng(5).permutation(20)
    np.testing.assert_array_equal(order[match_poses(poses, poses[order])], np.arange(20))


def test_many_are_matched_in_parts() -> None:
    rng = np.random.default_rng(7)
    targets, candidates = rng.standard_normal((1203, 9, 2)), rng.standard_normal((1500, 9, 2))
    found = match_poses(targets, candidates)
    assert len(set(found.tolist())) == 1203
    assert found.max() < 1500
    a, b = centred(targets), centred(candidates)
    every = ((a[:, None] - b[None]) ** 2).sum(2)
    best = every[linear_sum_assignment(every)].sum()
    assert best < every[np.arange(1203), found].sum() < 1.25 * best
    # The parts are interleaved: every second target has every second candidate.
    np.testing.assert_array_equal(found % 2, np.arange(1203) % 2)


def test_centred() -> None:
    poses = np.random.default_rng(6).standard_normal((3, 4, 2)).astype(np.float32)
    flat = centred(poses)
    assert flat.shape == (3, 8)
    assert flat.dtype == np.float64
    np.testing.assert_allclose(flat.reshape(3, 4, 2).mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(flat.reshape(3, 4, 2), poses - poses.mean(1, keepdims=True), atol=1e-6)

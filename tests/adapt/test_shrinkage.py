"""How much of the source's covariance the training poses get, and that they get it."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.adapt.shrinkage import Evidence, shrunk_poses, source_part, source_share

RNG = np.random.default_rng(0)
JOINTS = 4
SPREAD = RNG.normal(size=(2 * JOINTS, 2 * JOINTS)) * np.geomspace(1, 0.1, 2 * JOINTS)


def drawn(n: int, seed: int, spread: np.ndarray = SPREAD) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 2 * JOINTS)) @ spread
    return np.asarray(rows.reshape(n, JOINTS, 2))


def covariance(poses: np.ndarray) -> np.ndarray:
    return np.asarray(np.cov(poses.reshape(len(poses), -1), rowvar=False))


def share(shots: np.ndarray, prior: np.ndarray, copies: int = 30, **options: float) -> float:
    """Guide poses that are repeated, not varied."""
    count = len(shots)
    own = np.tile(np.arange(count), copies)
    return source_share(
        Evidence(shots[own], own, shots, np.arange(count), np.ones(count)),
        prior,
        most=options.get("most", 1.0),
        seed=int(options.get("seed", 0)),
    )


@pytest.mark.parametrize("seed", range(4))
def test_few_poses_of_the_source_itself_are_given_its_covariance(seed: int) -> None:
    assert share(drawn(10, seed), drawn(5000, 99)) >= 0.5


@pytest.mark.parametrize("seed", range(4))
def test_many_poses_of_another_domain_keep_their_own(seed: int) -> None:
    other = SPREAD[:, ::-1] * 0.5
    assert share(drawn(200, seed, other), drawn(5000, 99)) <= 0.1


def test_fewer_guide_poses_take_more_of_a_source_that_is_alike() -> None:
    alike = SPREAD * np.linspace(0.8, 1.25, 2 * JOINTS)
    means = [
        np.mean([share(drawn(count, seed, alike), drawn(5000, 99)) for seed in range(6)])
        for count in (12, 48, 400)
    ]
    assert means[0] > means[1] > means[2]


def test_the_share_has_a_limit() -> None:
    shots, prior = drawn(10, 0), drawn(5000, 99)
    assert share(shots, prior, most=0.33) == 0.33
    assert share(shots, prior, most=0.0) == 0.0


def test_views_of_one_guide_pose_are_left_out_together() -> None:
    """Each guide pose twice: were the twin not left out too, it would speak for the guide poses' own covariance."""
    shots, prior = drawn(12, 3), drawn(5000, 99)
    own = np.tile(np.arange(24), 30)
    twice = np.concatenate([shots, shots])
    shot_of_view, ones = np.tile(np.arange(12), 2), np.ones(24)
    together = source_share(Evidence(twice[own], own, twice, shot_of_view, ones), prior, most=1.0, seed=0)
    apart = source_share(Evidence(twice[own], own, twice, np.arange(24), ones), prior, most=1.0, seed=0)
    assert together == share(shots, prior)
    assert apart < together


def test_views_count_by_their_weights() -> None:
    """A view of weight 0 says nothing, however unlikely it is."""
    shots, prior = drawn(12, 4), drawn(5000, 99)
    views = np.concatenate([shots, 50 * drawn(1, 5)])
    own = np.tile(np.arange(12), 30)
    weights = np.append(np.ones(12), 0.0)
    shot_of_view = np.append(np.arange(12), 0)
    found = source_share(Evidence(shots[own], own, views, shot_of_view, weights), prior, most=1.0, seed=0)
    assert found == share(shots, prior)


@pytest.mark.parametrize("count", [1, 2])
def test_next_to_nothing_to_leave_out(count: int) -> None:
    found = share(drawn(count, 0), drawn(500, 99), most=0.4)
    assert found == 0.0 if count == 1 else 0.0 <= found <= 0.4


def test_a_prior_that_is_one_pose_has_no_shape() -> None:
    assert share(drawn(10, 0), np.ones((50, JOINTS, 2))) == 0.0


@pytest.mark.parametrize("part", [0.0, 0.25, 1.0])
def test_shrunk_poses_have_the_covariance_between(part: float) -> None:
    poses = (drawn(3000, 1, SPREAD[::-1] + 0.1) + 0.5).astype(np.float32)
    prior = drawn(20_000, 2) - 3
    moved = shrunk_poses(poses, prior, part)
    assert moved.shape == poses.shape
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved.mean(0), poses.mean(0), atol=1e-5)
    own, shape = covariance(poses), covariance(prior)
    wanted = (1 - part) * own + part * shape * np.trace(own) / np.trace(shape)
    np.testing.assert_allclose(covariance(moved), wanted, atol=5e-3 * np.trace(wanted))


def test_no_share_changes_nothing() -> None:
    poses = drawn(10, 1).astype(np.float32)
    assert shrunk_poses(poses, drawn(10, 2), 0.0) is poses


# --- poses of the source's own


def part(shots: np.ndarray, prior: np.ndarray, most: float = 0.4) -> float:
    count = len(shots)
    own = np.tile(np.arange(count), 30)
    evidence = Evidence(shots[own], own, shots, np.arange(count), np.ones(count))
    return source_part(evidence, prior, most=most, seed=0)


@pytest.mark.parametrize("seed", range(4))
def test_guide_poses_of_the_source_itself_take_its_poses(seed: int) -> None:
    assert part(drawn(12, seed), drawn(5000, 99)) == 0.4
    assert part(drawn(12, seed), drawn(5000, 99), most=0.15) == 0.15
    assert part(drawn(12, seed), drawn(5000, 99), most=0.0) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_guide_poses_of_another_domain_take_none(seed: int) -> None:
    """Narrow, and elsewhere: the source's poses among theirs would only make them less likely."""
    away = 0.2 * drawn(20, seed) + 3.0
    assert part(away, drawn(5000, 99)) == 0.0
    assert part(0.1 * drawn(200, seed), drawn(5000, 99)) == 0.0


def test_one_guide_pose_alone_says_nothing() -> None:
    assert part(drawn(1, 0), drawn(500, 99)) == 0.0

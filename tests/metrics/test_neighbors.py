"""Metrics of nearest neighbours against a twin that holds all distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from flexpose.errors import DataError, UsageError
from flexpose.metrics import NeighborReference, density_coverage, precision_recall

if TYPE_CHECKING:
    from numpy.typing import NDArray


def twin(real: NDArray[np.float64], fake: NDArray[np.float64], k: int) -> tuple[float, float, float, float]:
    real_radius = np.sort(cdist(real, real), axis=1)[:, k]  # column 0 is the row itself
    fake_radius = np.sort(cdist(fake, fake), axis=1)[:, k]
    between = cdist(real, fake)
    inside = between <= real_radius[:, None]
    precision = inside.any(axis=0).mean()
    recall = (between <= fake_radius[None]).any(axis=1).mean()
    return (
        float(precision),
        float(recall),
        float(inside.sum(axis=0).mean() / k),
        float(inside.any(axis=1).mean()),
    )


# Sizes below, at and above the block of 256 rows.
@pytest.mark.parametrize(("n", "m"), [(20, 30), (256, 255), (300, 600)])
@pytest.mark.parametrize("k", [1, 5])
def test_equals_the_twin(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(n + m)
    real, fake = rng.standard_normal((n, 4)), rng.normal(0.7, 0.8, (m, 4))
    expected = twin(real, fake, k)
    assert 0.1 < expected[0] < 0.99
    assert precision_recall(real, fake, k) == pytest.approx(expected[:2])
    assert density_coverage(real, fake, k) == pytest.approx(expected[2:])


def test_one_reference_for_several_sets() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((100, 13, 2))
    reference = NeighborReference(real, 3)
    for scale in (0.5, 1.5):
        fake = rng.standard_normal((80, 13, 2)) * scale
        flat = real.reshape(100, 26), fake.reshape(80, 26)
        assert reference.precision_recall(fake) == pytest.approx(twin(*flat, 3)[:2])
        assert reference.density_coverage(fake) == pytest.approx(twin(*flat, 3)[2:])


def test_copies_of_few_rows_are_precise_but_do_not_recall() -> None:
    real = np.random.default_rng(1).standard_normal((200, 6)) + 1000.0
    fake = np.repeat(real[:4], 20, axis=0)
    # Each fake row has 19 equals, so its radius is 0: only the rows copied are recalled, rounding or not.
    assert precision_recall(real, fake) == (1.0, 0.02)


def test_equal_rows_are_at_distance_zero() -> None:
    real = np.repeat(np.random.default_rng(4).standard_normal((300, 26)) * 1e3, 2, axis=0)
    assert not NeighborReference(real, 1)._radii.any()


def test_far_sets_share_nothing() -> None:
    real = np.random.default_rng(2).standard_normal((50, 3))
    assert precision_recall(real, real + 100) == (0.0, 0.0)
    assert density_coverage(real, real + 100) == (0.0, 0.0)


def test_the_same_rows_share_everything() -> None:
    real = np.random.default_rng(3).standard_normal((400, 3))
    assert precision_recall(real, real) == (1.0, 1.0)
    density, coverage = density_coverage(real, real)
    assert coverage == 1.0
    assert density == pytest.approx(1 + 1 / 5)  # each ball holds its own centre and k others


@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (np.zeros((5, 2)), np.zeros((9, 2)), 5, "real must have at least 6 rows, got 5"),
        (np.zeros((9, 2)), np.zeros((5, 2)), 5, "fake must have at least 6 rows, got 5"),
        (
            np.zeros((9, 2)),
            np.zeros((9, 3)),
            5,
            "fake and real must have the same number of columns, got 3 and 2",
        ),
        (np.zeros((9, 2)), np.zeros((9, 2)), 0, "k must be >= 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(
    real: NDArray[np.float64], fake: NDArray[np.float64], k: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        precision_recall(real, fake, k)


def test_density_needs_one_fake_row_only() -> None:
    assert density_coverage(np.eye(4), np.eye(4)[:1], 1) == (1.0 * 4, 1.0)


def test_values_that_are_not_finite_are_named() -> None:
    bad = np.eye(8)
    bad[6, 0] = np.inf
    with pytest.raises(DataError, match="record 6: fake"):
        density_coverage(np.eye(8), bad, 2)

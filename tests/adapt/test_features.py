"""Gamma: its levels, and a distance in which each level weighs the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flexpose.adapt.features import Gamma
from flexpose.errors import UsageError
from flexpose.models import Regressor, RegressorConfig


@pytest.fixture(scope="module")
def beta() -> Regressor:
    torch.manual_seed(0)
    return Regressor(RegressorConfig(size_px=16, num_keypoints=5, width=8)).requires_grad_(False)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def gamma(beta: Regressor, *names: Any) -> Gamma:
    return Gamma(names, beta, dtype=torch.float32)


PYRAMID = [(6, 3, 16, 16), (6, 3, 8, 8), (6, 3, 4, 4)]
BETA = [(6, 8, 8, 8), (6, 16, 4, 4), (6, 32, 2, 2)]
KEYPOINTS = [(6, 5, 2)]


@pytest.mark.parametrize(
    ("names", "shapes"),
    [
        (("pyramid",), PYRAMID),
        (("beta",), BETA),
        (("keypoints",), KEYPOINTS),
        (("beta", "pyramid"), PYRAMID + BETA),
        (("beta", "pyramid", "keypoints"), PYRAMID + BETA + KEYPOINTS),
    ],
)
def test_levels(beta: Regressor, pictures: torch.Tensor, names: Any, shapes: list[tuple[int, ...]]) -> None:
    assert [tuple(level.shape) for level in gamma(beta, *names)(pictures)] == shapes


def test_levels_are_the_picture_halved_and_what_beta_makes_of_it(
    beta: Regressor, pictures: torch.Tensor
) -> None:
    levels = gamma(beta, "beta", "pyramid", "keypoints")(pictures)
    for i in range(3):
        side = 16 >> i
        expected = pictures.reshape(6, 3, side, 1 << i, side, 1 << i).mean((3, 5))
        torch.testing.assert_close(levels[i], expected)
    for level, feature in zip(levels[3:6], beta.features(pictures), strict=True):
        assert torch.equal(level, feature)
    assert torch.equal(levels[6], beta(pictures).normalized)


def test_distance_by_hand(beta: Regressor, pictures: torch.Tensor) -> None:
    measure = gamma(beta, "beta", "pyramid", "keypoints")
    targets = measure.targets(pictures, batch=4)
    other = pictures.flip(3)
    terms = []
    for mine, theirs in zip(measure(other), measure(pictures), strict=True):
        spread = (theirs - theirs.mean(0)).square().sum(0) / 5
        terms.append((mine - theirs).square().mean() / spread.mean())
    torch.testing.assert_close(measure.distance(other, targets), torch.stack(terms).mean(), rtol=1e-4, atol=0)


def test_distance_of_the_targets_to_themselves_is_nothing(beta: Regressor, pictures: torch.Tensor) -> None:
    measure = gamma(beta, "beta", "pyramid", "keypoints")
    assert measure.distance(pictures, measure.targets(pictures, batch=6)) == 0
    split = measure.targets(pictures, batch=1)
    assert measure.distance(pictures, split) < 1e-9


def test_a_guess_of_the_mean_costs_one_on_each_level_of_the_pyramid(
    beta: Regressor, pictures: torch.Tensor
) -> None:
    measure = gamma(beta, "pyramid")
    targets = measure.targets(pictures, batch=6)
    mean = pictures.mean(0, keepdim=True).expand(6, -1, -1, -1)
    torch.testing.assert_close(measure.distance(mean, targets), torch.tensor(5 / 6))


def test_targets_that_do_not_vary_are_no_division_by_nothing(beta: Regressor, pictures: torch.Tensor) -> None:
    measure = gamma(beta, "beta", "pyramid")
    same = pictures[:1].expand(6, -1, -1, -1)
    targets = measure.targets(same, batch=6)
    assert measure.distance(pictures, targets).isfinite()


def test_gradient_reaches_the_pictures(beta: Regressor, pictures: torch.Tensor) -> None:
    for name in ("beta", "pyramid", "keypoints"):
        measure = gamma(beta, name)
        targets = measure.targets(pictures, batch=6)
        images = pictures.flip(2).requires_grad_()
        measure.distance(images, targets).backward()
        assert images.grad is not None
        assert images.grad.isfinite().all()
        assert images.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["beta", "keypoints"])
def test_what_needs_beta_is_refused_without_one(name: Any) -> None:
    with pytest.raises(UsageError, match=f"need a beta, got pyramid, {name} without one"):
        Gamma(("pyramid", name), None, dtype=torch.float32)

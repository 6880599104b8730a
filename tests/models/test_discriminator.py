"""The discriminator: every resolution, fades, the spread of a batch, and R1's second derivative."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from flexpose.errors import UsageError
from flexpose.models import Discriminator
from flexpose.models.discriminator import _minibatch_std


def make(size: int = 32) -> Discriminator:
    torch.manual_seed(0)
    network = Discriminator(size, 4 * size, 12)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def network() -> Discriminator:
    return make().requires_grad_(False)


@pytest.mark.parametrize("side", [32, 16, 8])
@pytest.mark.parametrize("n", [1, 3, 4, 6])
def test_a_logit_for_each_picture_at_each_resolution(network: Discriminator, side: int, n: int) -> None:
    logits = network(torch.randn(n, 3, side, side))
    assert logits.shape == (n,)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3, 64, 64), (2, 1, 32, 32), (2, 3, 24, 24), (3, 32, 32)])
def test_wrong_shape(network: Discriminator, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        UsageError, match=r"image must be \[N, 3, S, S\] with S one of \[32, 16, 8\], got"
    ) as caught:
        network(torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)


def test_picture_must_be_square(network: Discriminator) -> None:
    with pytest.raises(UsageError, match="image must be"):
        network(torch.zeros(2, 3, 32, 16))


@pytest.mark.parametrize("side", [32, 16])
def test_ends_of_a_fade(network: Discriminator, side: int) -> None:
    images = torch.randn(4, 3, side, side)
    halved = network(F.avg_pool2d(images, 2))
    torch.testing.assert_close(network(images, fade=0.0), halved)
    torch.testing.assert_close(network(images, fade=1 - 1e-7), network(images), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(network(images), halved)


def test_the_coarsest_picture_has_nothing_to_fade_from(network: Discriminator) -> None:
    with pytest.raises(UsageError, match="fade"):
        network(torch.randn(2, 3, 8, 8), fade=0.5)


def test_bfloat16_is_close(network: Discriminator) -> None:
    images = torch.randn(4, 3, 32, 32)
    exact, low = network(images), network(images, dtype=torch.bfloat16)
    assert low.dtype == torch.float32
    assert 0 < (low - exact).norm() / exact.norm() < 0.1


# --- spread of the batch


@pytest.mark.parametrize(("n", "group"), [(8, 4), (4, 4), (6, 3), (5, 1), (2, 2), (1, 1), (9, 3)])
def test_spread_is_that_of_its_group(n: int, group: int) -> None:
    torch.manual_seed(n)
    x = torch.randn(n, 5, 4, 4, dtype=torch.float64)
    got = _minibatch_std(x, 4)
    assert got.shape == (n, 6, 4, 4)
    assert torch.equal(got[:, :5], x)
    for i in range(n):
        mates = x[i % (n // group) :: n // group].numpy()
        assert len(mates) == group
        expected = np.sqrt(mates.var(0) + 1e-8).mean()
        np.testing.assert_allclose(got[i, 5].numpy(), expected, rtol=1e-6)


def test_a_collapsed_batch_is_seen(network: Discriminator) -> None:
    torch.manual_seed(1)
    varied = torch.randn(4, 3, 32, 32)
    collapsed = varied[:1].expand(4, -1, -1, -1)
    assert torch.allclose(network(collapsed), network(collapsed)[:1].expand(4), atol=1e-5)
    assert (network(collapsed)[0] - network(varied)[0]).abs() > 1e-3


# --- R1


def r1(network: Discriminator, images: torch.Tensor, *, graph: bool) -> torch.Tensor:
    images = images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(network(images, dtype=torch.float64).sum(), images, create_graph=graph)
    return grad.square().sum((1, 2, 3)).mean()


def test_r1_s_gradient_equals_a_difference_in_float64() -> None:
    network = make(16).double()
    torch.manual_seed(2)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    parameters = list(network.parameters())
    directions = [torch.randn_like(p) for p in parameters]
    # The last bias shifts all logits alike: R1 does not depend on it.
    gradients = torch.autograd.grad(r1(network, images, graph=True), parameters, allow_unused=True)
    slope = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True) if g is not None)
    values, step = [], 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=sign * step)
        values.append(r1(network, images, graph=False).item())
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=-sign * step)
    assert np.isfinite(slope)
    assert abs(slope) > 1e-6
    np.testing.assert_allclose(slope, (values[0] - values[1]) / (2 * step), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fade", [1.0, 0.3])
def test_r1_is_finite_where_a_batch_is_black(dtype: torch.dtype, fade: float) -> None:
    """Equal pictures have no spread: its square root must not blow up the second derivative."""
    network = make(16)
    images = torch.full((4, 3, 16, 16), -1.0, requires_grad=True)
    (grad,) = torch.autograd.grad(network(images, dtype=dtype, fade=fade).sum(), images, create_graph=True)
    grad.square().sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_every_parameter_is_trained() -> None:
    network = make(16)
    network(torch.randn(4, 3, 16, 16), fade=0.5).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name

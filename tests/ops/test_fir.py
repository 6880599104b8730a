"""The FIR op against `scipy.signal.upfirdn`, its adjoint, and its cache."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.signal
import torch
from torch.autograd import gradcheck, gradgradcheck

from flexpose.errors import UsageError
from flexpose.ops import fir_kernel, upfirdn2d

TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8
PADDINGS = [(0, 0), (2, 1), (1, 1), (2, 2), (3, 0), (0, 4)]


def along(x: np.ndarray, axis: int, up: int, down: int, padding: tuple[int, int]) -> np.ndarray:
    """One axis by scipy: the whole convolution, then the part that the padding lets through."""
    full = scipy.signal.upfirdn(TAPS * up, x, up=up, axis=axis)
    before, after = padding
    count = x.shape[axis] * up + before + after - 3
    places = np.arange(count) - before + 3
    inside = (places >= 0) & (places < full.shape[axis])
    shape = [1] * x.ndim
    shape[axis] = count
    taken = np.take(full, np.where(inside, places, 0), axis) * inside.reshape(shape)
    return np.take(taken, np.arange(0, count, down), axis)


@pytest.mark.parametrize(("up", "down", "padding"), list(product([1, 2, 3], [1, 2], PADDINGS)))
def test_equals_scipy(up: int, down: int, padding: tuple[int, int]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 8))
    expected = along(along(x, 2, up, down, padding), 3, up, down, padding)
    got = upfirdn2d(torch.from_numpy(x), up=up, down=down, padding=padding)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_kernel() -> None:
    kernel = fir_kernel(dtype=torch.float64)
    np.testing.assert_array_equal(kernel.numpy(), np.outer(TAPS, TAPS))
    assert kernel.sum() == 1
    for gain in (1, 4):
        assert torch.equal((kernel * gain).bfloat16().double(), kernel * gain), "exact in bfloat16"


def test_constant_pictures_stay_constant_inside() -> None:
    ones = torch.ones(1, 2, 6, 6, dtype=torch.float64)
    doubled = upfirdn2d(ones, up=2, padding=(2, 1))
    assert doubled.shape == (1, 2, 12, 12)
    torch.testing.assert_close(doubled[..., 2:-2, 2:-2], torch.ones(1, 2, 8, 8, dtype=torch.float64))
    halved = upfirdn2d(ones, down=2, padding=(1, 1))
    assert halved.shape == (1, 2, 3, 3)
    torch.testing.assert_close(halved[..., 1, 1], torch.ones(1, 2, dtype=torch.float64))


def test_a_ramp_keeps_its_place() -> None:
    """Doubling must not shift: pixel centres of the doubled picture lie a quarter pixel beside the old ones."""
    ramp = torch.arange(8, dtype=torch.float64).expand(1, 1, 8, 8)
    doubled = upfirdn2d(ramp, up=2, padding=(2, 1))[0, 0, 8]
    centres = (torch.arange(16, dtype=torch.float64) + 0.5) / 2 - 0.5
    torch.testing.assert_close(doubled[3:-3], centres[3:-3])
    halved = upfirdn2d(ramp, down=2, padding=(1, 1))[0, 0, 1]
    torch.testing.assert_close(halved[1:-1], (torch.arange(4, dtype=torch.float64) * 2 + 0.5)[1:-1])


@pytest.mark.parametrize(
    ("up", "down", "padding"), [(1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 2, (3, 0))]
)
def test_gradients(up: int, down: int, padding: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)

    def op(x: torch.Tensor) -> torch.Tensor:
        return upfirdn2d(x, up=up, down=down, padding=padding)

    assert gradcheck(op, x)
    assert gradgradcheck(op, x, fast_mode=True)


@pytest.mark.parametrize(("channels", "dtype"), [(37, torch.float32), (1, torch.float64), (1, torch.float32)])
def test_inference_mode_does_not_poison_the_cache(channels: int, dtype: torch.dtype) -> None:
    from flexpose.ops import fir

    fir._kept_kernel.cache_clear()
    x = torch.randn(1, channels, 4, 4, dtype=dtype)
    with torch.inference_mode():
        first = upfirdn2d(x, padding=(2, 1)).clone()
    x.requires_grad_()
    second = upfirdn2d(x, padding=(2, 1))
    second.sum().backward()
    assert torch.equal(first, second)
    assert x.grad is not None


def test_channels_do_not_mix() -> None:
    x = torch.zeros(1, 3, 5, 5)
    x[0, 1, 2, 2] = 1
    y = upfirdn2d(x, padding=(2, 1))
    assert not y[0, [0, 2]].any()
    assert y[0, 1].any()


@pytest.mark.parametrize("shape", [(3, 4, 4), (4,), (1, 2, 3, 4, 5)])
def test_wrong_rank(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"x must be \[N, C, H, W\], got \[") as caught:
        upfirdn2d(torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)

"""The FIR op against `scipy.signal.upfirdn`, its gradients, its cache, and each way to compute it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from torch.autograd import gradcheck, gradgradcheck

from flexpose.errors import UsageError
from flexpose.ops import fir_kernel, upfirdn2d, upfirdn2d_ref, winograd
from flexpose.ops.separable import separable_filter, separable_suits

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
    for op in (upfirdn2d, upfirdn2d_ref):
        got = op(torch.from_numpy(x), up=up, down=down, padding=padding)
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


@pytest.mark.parametrize("channels", [3, 16, 19])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("up", "down", "padding"), list(product([1, 2, 3], [1, 2], [*PADDINGS, (-1, 2)])))
def test_the_pass_in_rust_equals_scipy(
    up: int, down: int, padding: tuple[int, int], dtype: torch.dtype, channels: int
) -> None:
    x = torch.randn(2, channels, 5, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    cut = max(-padding[0], 0)
    wide = x.double().numpy()
    rows = along(wide, 2, up, 1, (padding[0] + cut, padding[1]))[:, :, cut::1][:, :, ::down]
    expected = along(rows, 3, up, 1, (padding[0] + cut, padding[1]))[..., cut::1][..., ::down]
    gain = float(up * up)
    got = separable_filter(x, up, down, padding[0], expected.shape[2:], gain)
    assert got.is_contiguous(memory_format=torch.channels_last)
    exact = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 4e-3, "atol": 1e-6}
    np.testing.assert_allclose(got.double().numpy(), expected, **exact)


def test_who_is_sent_to_the_pass_in_rust(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, 16, 4, 4)
    monkeypatch.setattr(winograd, "fast_types", lambda: frozenset({torch.float32}))
    assert separable_suits(x, 2, 1)
    assert separable_suits(x, 1, 2)
    assert not separable_suits(x, 1, 1), "oneDNN is faster"
    assert not separable_suits(x[:, :3], 2, 1)
    assert not separable_suits(x.double(), 2, 1)
    assert not separable_suits(x.to("meta"), 2, 1)


@pytest.mark.parametrize(("up", "down", "padding"), [(2, 1, (2, 1)), (1, 2, (1, 1)), (2, 2, (0, 3))])
@pytest.mark.parametrize("size", [(5, 8), (6, 3)])
def test_gradients_through_the_pass_in_rust(
    up: int, down: int, padding: tuple[int, int], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "fast_types", lambda: frozenset({torch.float32}))
    found = []
    for op, dtype in ((upfirdn2d, torch.float32), (upfirdn2d_ref, torch.float64)):
        torch.manual_seed(0)
        x = torch.randn(2, 16, *size).to(dtype).requires_grad_()
        y = op(x, up=up, down=down, padding=padding, gain=0.5)
        (once,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        (twice,) = torch.autograd.grad(once.square().sum(), x)
        found.append([t.detach().double() for t in (y, once, twice)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize("form", ["contiguous", "last", "sliced", "turned"])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
def test_any_layout(form: str, up: int, down: int) -> None:
    x = torch.randn(2, 16, 6, 8)
    given = {
        "contiguous": x,
        "last": x.contiguous(memory_format=torch.channels_last),
        "sliced": torch.randn(2, 33, 6, 17)[:, 1::2, :, ::2][..., :8],
        "turned": x.transpose(2, 3),
    }[form]
    y = upfirdn2d(given, up=up, down=down, padding=(2, 1))
    expected = upfirdn2d_ref(given.double(), up=up, down=down, padding=(2, 1))
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-6)
    last = torch.channels_last if form == "last" else torch.contiguous_format
    assert y.is_contiguous(memory_format=last)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck's own
@pytest.mark.parametrize(("channels", "dtype"), [(3, torch.float64), (16, torch.float32)])
def test_opcheck(channels: int, dtype: torch.dtype) -> None:
    x = torch.randn(2, channels, 5, 6, dtype=dtype).contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(torch.ops.flexpose.upfirdn2d.default, (x.requires_grad_(), 1, 2, 1, 2, 3, 1.0))


def test_empty_inference_autocast_and_compile() -> None:
    for shape, expected in (((0, 3, 4, 4), (0, 3, 8, 8)), ((2, 0, 4, 4), (2, 0, 8, 8))):
        empty = torch.zeros(shape, requires_grad=True)
        y = upfirdn2d(empty, up=2, padding=(2, 1))
        assert y.shape == expected
        y.sum().backward()
        assert empty.grad is not None
        assert empty.grad.shape == shape
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    expected_y = upfirdn2d_ref(x, down=2, padding=(1, 1))
    with torch.inference_mode():
        assert torch.equal(upfirdn2d(x, down=2, padding=(1, 1)), expected_y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert upfirdn2d(x.float(), down=2, padding=(1, 1)).dtype == torch.float32

    def f(x: torch.Tensor) -> torch.Tensor:
        return upfirdn2d(x, down=2, padding=(1, 1)).square()

    a = x.clone().requires_grad_()
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    found, wanted = (torch.autograd.grad(g(a).sum(), a) for g in (compiled, f))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("up", "down", "padding"),
    [(1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 2, (3, 0)), (1, 3, (2, 2))],
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


@pytest.mark.parametrize("options", [{"up": 0}, {"down": 0}, {"padding": (0, -1)}])
def test_wrong_factors_and_sizes(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        upfirdn2d(torch.zeros(1, 1, 4, 4), **options)

"""Convolutions by minimal filtering: forward, gradients of both orders, errors, and who is sent there."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from flexpose.models import Generator
from flexpose.ops import modulated_conv2d, modulated_conv2d_ref, winograd
from flexpose.ops.scaled_conv import scaled_conv2d
from flexpose.ops.weight_gradient import weight_gradient
from flexpose.ops.winograd import weight_gradient_suits, winograd_conv2d, winograd_suits

SIZES = [(8, 8), (9, 11), (8, 13)]


def tensors(height: int, width: int, up: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "x": torch.randn(3, 48, height, width),
        "weight": torch.randn(32, 48, 3, 3),
        "styles": torch.randn(3, 48),
        "tau": torch.randn(48, 48) / 7,
        "noise": torch.randn(1, 1, height * up, width * up),
        "bias": torch.randn(32),
    }


def call(op: Any, a: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    rest = {k: v for k, v in a.items() if k not in {"x", "weight", "styles"}}
    return op(a["x"], a["weight"], a["styles"], **rest, **options)


def off(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found.detach().double() - truth.detach()).norm() / truth.detach().norm())


@pytest.fixture(autouse=True)
def _everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portable instructions give the same, so the way is tested on every processor."""
    monkeypatch.setattr(winograd, "fast_types", lambda: frozenset({torch.float32, torch.bfloat16}))


@pytest.mark.parametrize(("size", "up"), list(product(SIZES, [1, 2])))
def test_float32_is_nearly_exact(size: tuple[int, int], up: int) -> None:
    a = tensors(*size, up)
    assert winograd_suits(a["x"], a["weight"], up)
    truth = call(modulated_conv2d_ref, {k: v.double() for k, v in a.items()}, up=up, clamp=2.0)
    assert off(call(modulated_conv2d, a, up=up, clamp=2.0), truth) < 2e-6


@pytest.mark.parametrize(("size", "demodulate"), list(product(SIZES, [True, False])))
def test_bfloat16_errs_at_most_twice_as_much_as_plain_torch(size: tuple[int, int], demodulate: bool) -> None:
    low = {k: v.bfloat16() for k, v in tensors(*size).items()}
    assert winograd_suits(low["x"], low["weight"], 1)
    truth = call(modulated_conv2d_ref, {k: v.double() for k, v in low.items()}, demodulate=demodulate)
    got, plain = (
        off(call(op, low, demodulate=demodulate), truth) for op in (modulated_conv2d, modulated_conv2d_ref)
    )
    assert 0 < got <= 2 * plain


@pytest.mark.parametrize("train_weight", [False, True])
def test_gradients_equal_the_reference_s(train_weight: bool) -> None:
    """Of both orders, where the adjoint suits as well."""
    found = []
    for op in (modulated_conv2d, modulated_conv2d_ref):
        a = tensors(8, 9)
        a["weight"] = torch.randn(32, 32, 3, 3, generator=torch.Generator().manual_seed(4))
        a |= {"x": a["x"][:, :32], "styles": a["styles"][:, :32], "tau": a["tau"][:32, :32]}
        if op is modulated_conv2d_ref:
            a = {k: v.double() for k, v in a.items()}
        wanted = [a["x"], a["styles"], a["tau"], *([a["weight"]] if train_weight else [])]
        for tensor in wanted:
            tensor.requires_grad_()
        y = call(op, a)
        upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
        first = torch.autograd.grad(y, wanted, upstream, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted)
        found.append([*first, *second])
    for got, expected in zip(*found, strict=True):
        assert off(got, expected) < 1e-3  # a sign about zero may turn


def test_the_operator_of_the_backward_pass_has_gradients_in_all() -> None:
    torch.manual_seed(0)
    leaves = [torch.randn(s, requires_grad=True) for s in ((2, 32, 8, 8), (32, 32, 3, 3), (2, 32), (2, 32))]
    for adjoint in (False, True):

        def plain(x: Any, w: Any, pre: Any, post: Any, adjoint: bool = adjoint) -> torch.Tensor:
            convolve = torch.nn.functional.conv_transpose2d if adjoint else torch.nn.functional.conv2d
            return convolve(x * pre[:, :, None, None], w, padding=1) * post[:, :, None, None]

        y, expected = scaled_conv2d(*leaves, adjoint), plain(*leaves)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-3)
        upstream = torch.randn_like(expected)
        pairs = zip(
            torch.autograd.grad(y, leaves, upstream),
            torch.autograd.grad(expected, leaves, upstream),
            strict=True,
        )
        for got, wanted in pairs:
            assert off(got, wanted.double()) < 1e-5


def test_adjoint_weight() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 32, 8, 10), torch.randn(32, 64, 3, 3)
    got = winograd_conv2d(x, weight, torch.ones(2, 32), torch.ones(2, 64), adjoint=True)
    torch.testing.assert_close(
        got, torch.nn.functional.conv_transpose2d(x, weight, padding=1), rtol=1e-4, atol=1e-3
    )


def test_noise_of_each_image() -> None:
    a = tensors(8, 8) | {"noise": torch.randn(3, 1, 8, 8)}
    truth = call(modulated_conv2d_ref, {k: v.double() for k, v in a.items()})
    assert off(call(modulated_conv2d, a), truth) < 2e-6


@pytest.mark.parametrize(
    ("shape", "weight", "dtype", "up"),
    [
        ((1, 32, 4, 4), (32, 32, 3, 3), torch.float32, 1),
        ((1, 32, 8, 8), (24, 32, 3, 3), torch.float32, 1),
        ((1, 24, 8, 8), (32, 24, 3, 3), torch.float32, 1),
        ((1, 32, 8, 8), (32, 32, 1, 1), torch.float32, 1),
        ((1, 32, 8, 8), (32, 32, 5, 5), torch.float32, 1),
        ((1, 32, 8, 8), (32, 32, 3, 3), torch.float64, 1),
        ((1, 32, 8, 8), (32, 32, 3, 3), torch.float16, 1),
        ((1, 32, 8, 8), (32, 32, 3, 3), torch.bfloat16, 2),
    ],
)
def test_others_go_the_plain_way(shape: Any, weight: Any, dtype: torch.dtype, up: int) -> None:
    assert not winograd_suits(torch.zeros(shape, dtype=dtype), torch.zeros(weight), up)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_does_not_depend_on_its_batch(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    from flexpose.models import synthesis

    torch.manual_seed(0)
    generator = Generator(size_px=16, channel_base=512, channel_max=32).requires_grad_(False)
    styles = generator.styles(generator.map(torch.randn(5, 128)))
    whole = generator.synthesize(styles, dtype=dtype)
    monkeypatch.setattr(synthesis, "_SLICE_BYTES", 1)
    with torch.no_grad():
        sliced = generator.synthesize(styles, dtype=dtype)
    assert off(sliced, whole.double()) < (1e-5 if dtype == torch.float32 else 1e-2)
    one = generator.synthesize([s[3:4] for s in styles], dtype=dtype)
    assert torch.equal(sliced[3:4], one)


# --- the weight's gradient


def made_of(dtype: torch.dtype, height: int, width: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    shapes = (3, 64, height, width), (3, 32, height, width), (3, 64), (3, 32)
    x, gradient, pre, post = (torch.randn(s) for s in shapes)
    return [x.to(dtype), gradient.to(dtype), pre, post]


def weight_gradient_ref(
    x: torch.Tensor, gradient: torch.Tensor, pre: torch.Tensor, post: torch.Tensor
) -> torch.Tensor:
    u, of_c = x * pre[:, :, None, None], gradient * post[:, :, None, None]
    return torch.nn.grad.conv2d_weight(u, (of_c.shape[1], u.shape[1], 3, 3), of_c, padding=1)


@pytest.mark.parametrize("size", SIZES)
def test_weight_gradient_in_float32(size: tuple[int, int]) -> None:
    given = made_of(torch.float32, *size)
    assert weight_gradient_suits(given[0], 32)
    truth = weight_gradient_ref(*(t.double() for t in given))
    assert off(weight_gradient(*given), truth) < 4e-6


@pytest.mark.parametrize("size", SIZES)
def test_weight_gradient_in_bfloat16_errs_at_most_twice_as_much_as_plain_torch(size: tuple[int, int]) -> None:
    given = made_of(torch.bfloat16, *size)
    truth = weight_gradient_ref(*(t.double() for t in given))
    plain = weight_gradient_ref(*(t.bfloat16() for t in given))
    assert off(weight_gradient(*given), truth) < 2 * off(plain, truth)


def test_weight_gradient_is_differentiated() -> None:
    given = [t.requires_grad_() for t in made_of(torch.float32, 8, 9)]
    wide = [t.detach().double().requires_grad_() for t in given]
    found = torch.autograd.grad(weight_gradient(*given).pow(3).sum(), given)
    wanted = torch.autograd.grad(weight_gradient_ref(*wide).pow(3).sum(), wide)
    for a, b in zip(found, wanted, strict=True):
        assert off(a, b) < 2e-5


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck's own
def test_weight_gradient_opcheck() -> None:
    given = tuple(t.requires_grad_() for t in made_of(torch.float32, 8, 9))
    torch.library.opcheck(torch.ops.flexpose.weight_gradient.default, given)


def test_who_is_sent_to_the_weight_gradient() -> None:
    x = torch.zeros(1, 32, 8, 8)
    assert weight_gradient_suits(x, 64)
    assert not weight_gradient_suits(x, 48)
    assert not weight_gradient_suits(x[:, :16], 64)
    assert not weight_gradient_suits(x[:, :, 1:], 64), "small pictures"
    assert not weight_gradient_suits(x.double(), 64)
    assert not weight_gradient_suits(x.to("meta"), 64)


@pytest.mark.parametrize("adjoint", [False, True])
def test_scaled_convolution_gives_every_gradient(adjoint: bool) -> None:
    torch.manual_seed(0)
    shapes = (2, 32, 8, 9), (64, 32, 3, 3), (2, 64 if adjoint else 32), (2, 32 if adjoint else 64)
    given = [torch.randn(s) for s in shapes]
    if adjoint:
        given[0] = torch.randn(2, 64, 8, 9)

    def ref(x: Any, weight: Any, pre: Any, post: Any) -> Any:
        u = x * pre[:, :, None, None]
        conv = torch.nn.functional.conv_transpose2d if adjoint else torch.nn.functional.conv2d
        return conv(u, weight, padding=1) * post[:, :, None, None]

    narrow = [t.clone().requires_grad_() for t in given]
    wide = [t.double().requires_grad_() for t in given]
    found = torch.autograd.grad(scaled_conv2d(*narrow, adjoint).pow(3).sum(), narrow)
    wanted = torch.autograd.grad(ref(*wide).pow(3).sum(), wide)
    for a, b in zip(found, wanted, strict=True):
        assert off(a, b) < 2e-5

"""bias_act against its formula written with NumPy, its gradients of both orders, and what torch makes of it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from flexpose.errors import UsageError
from flexpose.ops import bias_act, bias_act_ref
from flexpose.ops.bias_act import activation_gradient

SHAPES = [(2, 3, 5, 4), (3, 4), (2, 3, 7), (1, 1, 1, 1), (0, 3, 5, 4), (2, 3, 0, 4), (2, 2, 3, 2, 2)]


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(len(shape))
    return torch.randn(shape, dtype=torch.float64).to(dtype), torch.randn(shape[1], dtype=torch.float64).to(
        dtype
    )


def by_formula(
    x: torch.Tensor, bias: torch.Tensor | None, leaky: bool, gain: float, clamp: float | None
) -> Any:
    z = x.numpy()
    if bias is not None:
        z = z + bias.numpy().reshape(-1, *(1,) * (x.ndim - 2))
    y = np.where(z < 0, 0.2 * z, z) if leaky else z
    y = y * gain
    return y if clamp is None else np.minimum(np.maximum(y, -clamp), clamp)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("leaky", "gain", "clamp"), list(product([True, False], [None, 0.7, -1.5], [None, 0.8]))
)
def test_equals_its_formula(
    shape: tuple[int, ...], leaky: bool, gain: float | None, clamp: float | None
) -> None:
    x, bias = inputs(shape)
    factor = gain if gain is not None else 2**0.5 if leaky else 1.0
    options: dict[str, Any] = {
        "activation": "lrelu" if leaky else "linear",
        "gain": gain,
        "clamp": clamp,
    }
    for b in (bias, None):
        expected = by_formula(x, b, leaky, factor, clamp)
        for op in (bias_act, bias_act_ref):
            np.testing.assert_allclose(op(x, b, **options).numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_short_types_err_at_most_twice_as_much_as_the_definition(dtype: torch.dtype) -> None:
    x, bias = inputs((4, 16, 9, 7), dtype)
    truth = bias_act_ref(x.double(), bias.double(), clamp=1.5)
    off, plain = ((op(x, bias, clamp=1.5).double() - truth).norm() for op in (bias_act, bias_act_ref))
    assert off <= 2 * plain + 1e-6 * truth.norm()
    assert bias_act(x, bias).dtype == dtype


@pytest.mark.parametrize(("leaky", "gain", "clamp"), list(product([True, False], [None, -0.7], [None, 0.8])))
@pytest.mark.parametrize("shape", [(2, 3, 3, 2), (3, 4)])
def test_gradients_of_both_orders(
    shape: tuple[int, ...], leaky: bool, gain: float | None, clamp: float | None
) -> None:
    tensors = [t.requires_grad_() for t in inputs(shape)]

    def op(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return bias_act(x, bias, activation="lrelu" if leaky else "linear", gain=gain, clamp=clamp)

    assert gradcheck(op, tensors)
    assert gradgradcheck(op, tensors)


def test_a_penalty_on_the_gradient_is_that_of_the_definition() -> None:
    """As R1 and the regularisation of path lengths take it: the gradient of a function of the gradient."""
    x, bias = inputs((2, 3, 4, 5))
    found = []
    for op in (bias_act, bias_act_ref):
        a, b = x.clone().requires_grad_(), bias.clone().requires_grad_()
        (slope,) = torch.autograd.grad(op(a * a, b, clamp=2.0).pow(3).sum(), a, create_graph=True)
        slope.square().sum().backward()
        found.append((a.grad, b.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_only_the_result_is_kept() -> None:
    x, bias = (t.requires_grad_() for t in inputs((2, 3, 4, 5)))
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = bias_act(x, bias)
    assert [t.data_ptr() for t in kept] == [y.data_ptr()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_results_at_the_limit_pass_no_gradient_in_a_short_type(dtype: torch.dtype) -> None:
    x = (100 * inputs((2, 3, 4, 5))[0]).to(dtype).requires_grad_()
    bias_act(x, clamp=0.3).sum().backward()  # 0.3 is no number of 16 bits
    assert x.grad is not None
    assert not x.grad.any()


def test_nan_is_seen() -> None:
    x = torch.tensor([[float("nan"), 1.0]], requires_grad=True)
    y = bias_act(x, clamp=2.0)
    assert y.isnan().tolist() == [[True, False]]


@pytest.mark.parametrize("form", ["contiguous", "last", "sliced", "turned", "expanded"])
def test_any_layout(form: str) -> None:
    x, bias = inputs((2, 4, 5, 6), torch.float32)
    given = {
        "contiguous": x,
        "last": x.contiguous(memory_format=torch.channels_last),
        "sliced": torch.randn(2, 9, 5, 13)[:, 1::2, :, ::2][:, :, :, :6],
        "turned": x.transpose(2, 3),
        "expanded": x[:1].expand(3, -1, -1, -1),
    }[form]
    before = given.clone()
    y = bias_act(given, bias)
    torch.testing.assert_close(y, bias_act_ref(before, bias), rtol=1e-6, atol=1e-6)
    assert torch.equal(given, before), "the input is left alone"
    last = form == "last"
    assert y.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert activation_gradient(y, y, leaky=True, gain=1.0, clamp=None).stride() == y.stride()


def test_a_bias_of_another_type_gets_its_own_type_s_gradient() -> None:
    x, bias = inputs((2, 3, 4, 5))
    bias.requires_grad_()
    bias_act(x.bfloat16(), bias).sum().backward()
    assert bias.grad is not None
    assert bias.grad.dtype == torch.float64


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck's own
@pytest.mark.parametrize(("shape", "clamp"), [((2, 3, 4, 5), 0.8), ((2, 3), None)])
def test_opcheck(shape: tuple[int, ...], clamp: float | None) -> None:
    x, bias = inputs(shape)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    given = (x.requires_grad_(), bias.requires_grad_(), True, 1.5, clamp)
    torch.library.opcheck(torch.ops.flexpose.bias_act.default, given)
    gradient = torch.randn_like(x).requires_grad_()
    torch.library.opcheck(
        torch.ops.flexpose.activation_gradient.default, (gradient, x.detach(), True, 1.5, clamp)
    )


def test_inference_mode_and_autocast() -> None:
    x, bias = inputs((2, 3, 4, 5), torch.float32)
    expected = bias_act_ref(x, bias)
    with torch.inference_mode():
        torch.testing.assert_close(bias_act(x, bias), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = bias_act(x, bias)
    assert y.dtype == torch.float32, "the input's type is the type of the computation"
    torch.testing.assert_close(y, expected)


def test_compiles_whole() -> None:
    x, bias = (t.requires_grad_() for t in inputs((2, 3, 4, 5)))

    def f(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return bias_act(x, bias, clamp=1.0).square()

    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    wanted = torch.autograd.grad(f(x, bias).sum(), [x, bias])
    found = torch.autograd.grad(compiled(x, bias).sum(), [x, bias])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("x", "bias", "options", "message"),
    [
        (torch.zeros(3), None, {}, r"x must be \[N, C, \.\.\.\], got \[3\]"),
        (torch.zeros(2, 3), torch.zeros(2), {}, r"bias must be \[3\], got \[2\]"),
        (torch.zeros(2, 3), torch.zeros(3, 1), {}, r"bias must be \[3\], got \[3, 1\]"),
        (
            torch.zeros(2, 3),
            None,
            {"activation": "relu"},
            "activation must be 'linear' or 'lrelu', got 'relu'",
        ),
        (torch.zeros(2, 3), None, {"clamp": -1.0}, r"clamp must not be negative, got -1\.0"),
        (torch.zeros(2, 3), None, {"clamp": float("nan")}, "clamp must not be negative, got nan"),
    ],
)
def test_wrong_arguments(x: Any, bias: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bias_act(x, bias, **options)

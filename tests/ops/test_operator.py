"""The operator as torch sees it: schema, fake kernel, compiling, autocast, and a backward pass that does as asked."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from flexpose.ops import modulated_conv2d, modulated_conv2d_ref
from flexpose.ops.operator import run_operator

N, I, O, H, W = 2, 4, 5, 6, 7  # noqa: E741  unequal: catches swapped axes


def tensors(up: int = 1, kernel: int = 3, *, grad: bool = True, n: int = N) -> dict[str, torch.Tensor]:
    torch.manual_seed(kernel * 10 + up)
    shapes = {
        "x": (n, I, H, W),
        "weight": (O, I, kernel, kernel),
        "styles": (n, I),
        "tau": (I, I),
        "noise": (n, 1, H * up, W * up),
        "bias": (O,),
    }
    return {k: torch.randn(s, dtype=torch.float64, requires_grad=grad) for k, s in shapes.items()}


def call(op: Any, a: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    rest = {k: v for k, v in a.items() if k not in {"x", "weight", "styles"}}
    return op(a["x"], a["weight"], a["styles"], **rest, **options)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck's own
@pytest.mark.parametrize(
    ("up", "demodulate", "clamp", "channels_last"), [(2, True, 1.0, True), (1, False, None, False)]
)
def test_opcheck(up: int, demodulate: bool, clamp: float | None, channels_last: bool) -> None:
    a = tensors(up, grad=False)
    x = a["x"].contiguous(memory_format=torch.channels_last) if channels_last else a["x"]
    leaves = [t.clone().requires_grad_() for t in (a["weight"], a["styles"], a["noise"], a["bias"])]
    torch.library.opcheck(
        torch.ops.flexpose.modulated_conv2d.default,
        (x.requires_grad_(), *leaves, demodulate, up, True, 2.0**0.5, clamp),
    )


def test_fake_kernel_tells_shape_type_and_layout() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        x = torch.empty(3, 8, 5, 6, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
        y = modulated_conv2d(x, torch.empty(7, 8, 3, 3), torch.empty(3, 8), up=2)
    assert (y.shape, y.dtype) == ((3, 7, 10, 12), torch.bfloat16)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("up", [1, 2])
def test_compiles_as_one_graph(up: int) -> None:
    """With gradients, through `torch.compile` without a break."""
    a = tensors(up)
    leaves = list(a.values())

    def loss(*leaves: torch.Tensor) -> torch.Tensor:
        named = dict(zip(a, leaves, strict=True))
        return call(modulated_conv2d, named, up=up, clamp=2.0).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected, got = loss(*leaves), compiled(*leaves)
    torch.testing.assert_close(got, expected)
    for one, other in zip(
        torch.autograd.grad(got, leaves), torch.autograd.grad(expected, leaves), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_autocast_casts_the_activations_alone() -> None:
    a = {name: tensor.float() for name, tensor in tensors(grad=False).items()}
    with torch.autocast("cpu", torch.bfloat16):
        y = call(modulated_conv2d, a)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, call(modulated_conv2d, a | {"x": a["x"].bfloat16()}))


@pytest.mark.parametrize(
    ("up", "shape"), list(product([1, 2], [(0, I, H, W), (N, I, 0, W), (N, I, 1, 1), (1, I, 3, 1)]))
)
def test_empty_and_odd_sizes(up: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, styles = torch.randn(shape, dtype=torch.float64), torch.randn(shape[0], I, dtype=torch.float64)
    x.requires_grad_()
    weight = torch.randn(O, I, 3, 3, dtype=torch.float64)
    y = modulated_conv2d(x, weight, styles, up=up)
    assert y.shape == (shape[0], O, shape[2] * up, shape[3] * up)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape
    if y.numel():
        torch.testing.assert_close(y, modulated_conv2d_ref(x, weight, styles, up=up), rtol=1e-10, atol=1e-12)


# --- frozen weights


class Watch(TorchDispatchMode):
    """Counts convolutions, and keeps the shapes of what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[list[bool]] = []
        self.shapes: set[tuple[int, ...]] = set()
        self.sums = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution_backward.default:
            self.masks.append(list(args[-1]))
        self.sums += func is torch.ops.aten.sum.dim_IntList
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.shapes.add(tuple(tensor.shape))
        return result


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
def test_frozen_weight_costs_nothing_and_the_rest_is_exact(up: int, demodulate: bool) -> None:
    """The adaptation's gradients, those of input, styles and tau, equal autograd of the reference."""
    a = tensors(up)
    for name in ("weight", "noise", "bias"):
        a[name].requires_grad_(False)
    wanted = [a["x"], a["styles"], a["tau"]]
    upstream = torch.randn(N, O, H * up, W * up, dtype=torch.float64)
    y = call(modulated_conv2d, a, up=up, demodulate=demodulate)
    with Watch() as watch:
        got = torch.autograd.grad(y, wanted, upstream)
    own = [mask for mask in watch.masks if mask[1]]
    assert own == [], "no gradient of a weight"
    assert (O, I, 3, 3) not in watch.shapes
    expected = torch.autograd.grad(
        call(modulated_conv2d_ref, a, up=up, demodulate=demodulate), wanted, upstream
    )
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def test_nothing_goes_below_the_first_free_layer() -> None:
    """Styles alone are free: no gradient of the input; input alone: no sums over the picture."""
    a = tensors(grad=False)
    styles = a["styles"].requires_grad_()
    y = call(modulated_conv2d, a)
    with Watch() as watch:
        y.sum().backward()
    assert len(watch.masks) == 1
    assert styles.grad is not None
    a = tensors(grad=False)
    del a["noise"], a["bias"]
    x = a["x"].requires_grad_()
    y = call(modulated_conv2d, a)
    with Watch() as watch:
        y.sum().backward()
    assert x.grad is not None
    assert watch.sums == 0


def test_frozen_weight_that_changes_is_seen() -> None:
    a = {name: tensor.float() for name, tensor in tensors(grad=False).items()}
    before = call(modulated_conv2d, a)
    assert torch.equal(call(modulated_conv2d, a), before)
    a["weight"].mul_(3).add_(1)
    torch.testing.assert_close(call(modulated_conv2d, a), call(modulated_conv2d_ref, a), rtol=1e-4, atol=1e-5)
    assert not torch.equal(call(modulated_conv2d, a), before)


def test_weight_that_an_optimiser_or_data_changes_is_seen() -> None:
    """Also on the way of kernels that are transformed first: 32 channels, 8 px."""
    torch.manual_seed(0)
    x, styles = torch.randn(1, 32, 8, 8), torch.randn(1, 32)
    weight = torch.randn(32, 32, 3, 3, requires_grad=True)
    for change in (lambda: weight.data.mul_(2), lambda: weight.data.add_(1), lambda: None):
        y = modulated_conv2d(x, weight, styles, demodulate=False)
        expected = modulated_conv2d_ref(x, weight, styles, demodulate=False)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-3)
        change()
    torch.optim.SGD([weight], lr=0.1).step(lambda: y.sum().backward())  # type: ignore[arg-type]
    torch.testing.assert_close(
        modulated_conv2d(x, weight, styles), modulated_conv2d_ref(x, weight, styles), rtol=1e-4, atol=1e-4
    )


def test_a_weight_takes_what_was_prepared_with_it() -> None:
    from flexpose.ops import frozen

    weight = torch.randn(O, I, 3, 3)
    modulated_conv2d(torch.randn(N, I, H, W), weight, torch.randn(N, I))
    assert weight in frozen._kept
    count = len(frozen._kept)
    del weight
    assert len(frozen._kept) == count - 1


def test_training_after_inference_mode() -> None:
    a = {name: tensor.float() for name, tensor in tensors(grad=False).items()}
    with torch.inference_mode():
        first = call(modulated_conv2d, a).clone()
    a["styles"].requires_grad_()
    second = call(modulated_conv2d, a)
    second.sum().backward()
    assert torch.equal(first, second)


def test_path_length_is_differentiated_twice() -> None:
    """The regulariser of StyleGAN2, |J^T y| by a gradient that is trained through, equals the reference's."""
    gradients = []
    for op in (modulated_conv2d, modulated_conv2d_ref):
        a = tensors(2)
        (jacobian,) = torch.autograd.grad(
            (call(op, a, up=2) * torch.linspace(-1, 1, 2 * W, dtype=torch.float64)).sum(),
            a["styles"],
            create_graph=True,
        )
        penalty = (jacobian.square().sum(1).sqrt() - 1).square().sum()
        gradients.append(torch.autograd.grad(penalty, [a["weight"], a["styles"], a["tau"], a["x"]]))
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


def test_float16_and_mixed_types() -> None:
    a = tensors(grad=False)
    truth = call(modulated_conv2d_ref, a)
    low = {name: tensor.float() for name, tensor in a.items()} | {"x": a["x"].half()}
    y = call(modulated_conv2d, low)
    assert y.dtype == torch.float16
    assert (y.double() - truth).norm() / truth.norm() < 4e-3


def test_operator_is_registered_under_its_name() -> None:
    assert run_operator._qualname == "flexpose::modulated_conv2d"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_results_at_the_limit_pass_no_gradient_in_a_short_type(dtype: torch.dtype) -> None:
    """0.3 is no number of 16 bits: the limit that counts is the one that stands in the result."""
    a = {k: v.detach().to(dtype if k == "x" else torch.float32) for k, v in tensors(grad=False).items()}
    a["x"] = (100 * a["x"]).requires_grad_()
    y = call(modulated_conv2d, a, clamp=0.3)
    assert (y.abs() == torch.tensor(0.3, dtype=dtype)).float().mean() > 0.9
    y.backward(torch.where(y.abs() == y.abs().max(), 1.0, 0.0).to(dtype))
    assert a["x"].grad is not None
    assert not a["x"].grad.any()


def test_a_fused_backward_runs_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the input and the styles alone, once; a second derivative or a trained weight take the operators' way."""
    calls = []

    def fused(
        gradient: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        styles: torch.Tensor,
        *rest: Any,
        **o: Any,
    ) -> Any:
        calls.append((o["need_x"], o["need_styles"]))
        with torch.enable_grad():
            given = [t.detach().requires_grad_() for t in (x, styles)]
            options = {k: v for k, v in o.items() if not k.startswith("need")}
            y = modulated_conv2d_ref(given[0], weight, given[1], **options)
            return torch.autograd.grad(y, given, gradient)

    a = tensors(grad=False)
    a["x"].requires_grad_()
    a["tau"].requires_grad_()
    wanted = torch.autograd.grad(call(modulated_conv2d, a, clamp=1.0).square().sum(), [a["x"], a["tau"]])
    monkeypatch.setattr("flexpose.ops.operator.fused_backward", lambda x, weight, up: fused)
    loss = call(modulated_conv2d, a, clamp=1.0).square().sum()
    found = torch.autograd.grad(loss, [a["x"], a["tau"]], retain_graph=True)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert calls == [(True, True)]
    torch.autograd.grad(loss, a["x"], create_graph=True)
    a["weight"].requires_grad_()
    call(modulated_conv2d, a).sum().backward()
    assert len(calls) == 1

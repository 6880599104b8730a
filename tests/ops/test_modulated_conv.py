"""The shared-weight form against the reference, and the reference against StyleGAN2's equations written as loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from torch.autograd import gradcheck, gradgradcheck

from flexpose.errors import UsageError
from flexpose.ops import modulated_conv2d, modulated_conv2d_ref

BOTH = [modulated_conv2d, modulated_conv2d_ref]
N, I, O, H, W = 2, 4, 5, 6, 7  # noqa: E741  unequal: catches swapped axes


def arguments(kernel: int, up: int, *, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    torch.manual_seed(kernel * 10 + up)
    made = {
        "x": torch.randn(N, I, H, W),
        "weight": torch.randn(O, I, kernel, kernel),
        "styles": torch.randn(N, I) + 1,
        "tau": torch.randn(I, I),
        "noise": torch.randn(N, 1, H * up, W * up),
        "bias": torch.randn(O),
    }
    return {name: tensor.to(dtype) for name, tensor in made.items()}


# --- Eq. 1 and 3 as loops


def upsampled(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Zeros between the pixels, the kernel about each of them, then the [1, 3, 3, 1] filter of gain 4: [2H, 2W]."""
    h, w = image.shape
    size, margin = kernel.shape[0], 4
    canvas = np.zeros((2 * h + 2 * margin, 2 * w + 2 * margin))
    for i, j, a, b in product(range(h), range(w), range(size), range(size)):
        canvas[margin + 2 * i + a - size // 2, margin + 2 * j + b - size // 2] += image[i, j] * kernel[a, b]
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    filtered = scipy.signal.convolve2d(canvas, taps, mode="full")
    # The filter's middle lies between its second and its third tap; new pixel 0 is the earlier of the two about it.
    begin = margin + 1
    return filtered[begin : begin + 2 * h, begin : begin + 2 * w]


def plain(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Same-size cross-correlation, as networks mean by convolution."""
    return scipy.signal.correlate2d(image, kernel, mode="same")


def literal(
    a: dict[str, np.ndarray],
    *,
    use_tau: bool,
    demodulate: bool,
    up: int,
    slope: float,
    gain: float,
    clamp: float,
) -> np.ndarray:
    result = np.zeros((N, O, H * up, W * up))
    for n in range(N):
        s = a["tau"] @ a["styles"][n] if use_tau else a["styles"][n]
        for o in range(O):
            kernel = np.stack([s[i] * a["weight"][o, i] for i in range(I)])  # Eq. 1
            if demodulate:
                kernel = kernel / np.sqrt((kernel**2).sum() + 1e-8)  # Eq. 3
            for i in range(I):
                result[n, o] += (upsampled if up == 2 else plain)(a["x"][n, i], kernel[i])
            result[n, o] += a["noise"][n, 0] + a["bias"][o]
    result = np.where(result < 0, result * slope, result) * gain
    return np.clip(result, -clamp, clamp)


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize(("kernel", "up"), list(product([1, 3], [1, 2])))
@pytest.mark.parametrize(("use_tau", "demodulate"), [(False, True), (True, True), (True, False)])
def test_equals_the_equations(op: Any, kernel: int, up: int, use_tau: bool, demodulate: bool) -> None:
    a = arguments(kernel, up)
    if not use_tau:
        del a["tau"]
    got = call(op, a, up, {"demodulate": demodulate, "clamp": 3.0})
    expected = literal(
        {name: tensor.numpy() for name, tensor in arguments(kernel, up).items()},
        use_tau=use_tau,
        demodulate=demodulate,
        up=up,
        slope=0.2,
        gain=np.sqrt(2),
        clamp=3.0,
    )
    assert np.abs(expected).max() == 3.0, "the limit is reached"
    torch.testing.assert_close(got, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


# --- the fast form against the reference


OPTIONS: list[dict[str, Any]] = [
    {},
    {"demodulate": False},
    {"without": ["tau"]},
    {"without": ["noise"]},
    {"without": ["bias"]},
    {"without": ["noise", "bias"]},
    {"without": ["tau", "noise", "bias"], "demodulate": False},
    {"activation": "linear"},
    {"activation": "linear", "demodulate": False, "without": ["noise"]},
    {"activation": "linear", "gain": 0.7},
    {"gain": 3.0},
    {"gain": 3.0, "without": ["noise", "bias"]},
    {"gain": -1.5},
    {"gain": 0.0},
    {"clamp": 0.5},
    {"clamp": 0.5, "gain": 2.0, "without": ["noise", "bias"]},
]


def call(op: Any, a: dict[str, torch.Tensor], up: int, options: dict[str, Any]) -> torch.Tensor:
    options = dict(options)
    a = {name: tensor for name, tensor in a.items() if name not in options.pop("without", [])}
    return op(a.pop("x"), a.pop("weight"), a.pop("styles"), **a, up=up, **options)


@pytest.mark.parametrize(("kernel", "up"), list(product([1, 3], [1, 2])))
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_the_reference_in_float64(kernel: int, up: int, options: dict[str, Any]) -> None:
    a = arguments(kernel, up)
    got, expected = (call(op, a, up, options) for op in BOTH)
    assert got.shape == (N, O, H * up, W * up)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(N, 1, H, W), (1, 1, H, W), (N, 1, 1, 1), ()])
def test_noise_is_broadcast(shape: tuple[int, ...]) -> None:
    a = arguments(3, 1) | {"noise": torch.randn(shape, dtype=torch.float64)}
    got, expected = (call(op, a, 1, {}) for op in BOTH)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_demodulated_outputs_have_unit_variance() -> None:
    """Eq. 2 and 3: for inputs of unit variance, whatever the styles and the scale of the weight."""
    torch.manual_seed(0)
    x = torch.randn(8, 16, 24, 24)
    y = modulated_conv2d(x, torch.randn(6, 16, 3, 3) * 30, torch.randn(8, 16) * 5, activation="linear")
    torch.testing.assert_close(y[..., 1:-1, 1:-1].std((2, 3)), torch.ones(8, 6), rtol=0.15, atol=0)


@pytest.mark.parametrize("op", BOTH)
def test_arguments_are_left_alone(op: Any) -> None:
    a = arguments(3, 2)
    before = {name: tensor.clone() for name, tensor in a.items()}
    call(op, a, 2, {"clamp": 0.5})
    for name, tensor in a.items():
        assert torch.equal(tensor, before[name])


def test_samples_do_not_meet() -> None:
    a = arguments(3, 2)
    whole = call(modulated_conv2d, a, 2, {})
    for n in range(N):
        one = {k: v[n : n + 1] if k in {"x", "styles", "noise"} else v for k, v in a.items()}
        torch.testing.assert_close(
            call(modulated_conv2d, one, 2, {}), whole[n : n + 1], rtol=1e-12, atol=1e-13
        )


# --- gradients


def differentiable(kernel: int, up: int) -> list[torch.Tensor]:
    torch.manual_seed(3)
    shapes = [(2, 3, 3, 2), (2, 3, kernel, kernel), (2, 3), (3, 3), (2, 1, 3 * up, 2 * up), (2,)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize(
    ("kernel", "up", "demodulate"), [(3, 1, True), (3, 2, True), (1, 2, True), (3, 1, False)]
)
def test_gradients_in_every_argument(kernel: int, up: int, demodulate: bool) -> None:
    def op(*tensors: torch.Tensor) -> torch.Tensor:
        x, weight, styles, tau, noise, bias = tensors
        return modulated_conv2d(
            x, weight, styles, tau=tau, noise=noise, bias=bias, up=up, demodulate=demodulate
        )

    tensors = differentiable(kernel, up)
    assert gradcheck(op, tensors)
    assert gradgradcheck(op, tensors, fast_mode=True)


@pytest.mark.parametrize(("kernel", "up"), list(product([1, 3], [1, 2])))
def test_gradients_equal_those_of_the_reference(kernel: int, up: int) -> None:
    gradients = []
    for op in BOTH:
        a = {name: tensor.requires_grad_() for name, tensor in arguments(kernel, up).items()}
        y = call(op, a, up, {"clamp": 2.0})
        torch.manual_seed(9)
        gradients.append(torch.autograd.grad(y, list(a.values()), torch.randn_like(y)))
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)


def test_inference_before_training() -> None:
    """The filter that an inference leaves in the cache must serve a training step after it."""
    a = arguments(3, 2, dtype=torch.float32)
    with torch.inference_mode():
        call(modulated_conv2d, a, 2, {})
    x = a["x"].clone().requires_grad_()
    call(modulated_conv2d, a | {"x": x}, 2, {}).sum().backward()
    assert x.grad is not None


# --- low precision


@pytest.mark.parametrize(("kernel", "up"), list(product([1, 3], [1, 2])))
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_is_at_most_twice_the_reference_s(
    kernel: int, up: int, demodulate: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    shapes = {"x": (4, 32, 8, 8), "weight": (24, 32, kernel, kernel), "styles": (4, 32), "bias": (24,)}
    exact = {name: torch.randn(shape).to(dtype).double() for name, shape in shapes.items()}
    truth = call(modulated_conv2d_ref, exact, up, {"demodulate": demodulate})
    low = {name: tensor.to(dtype) for name, tensor in exact.items()}
    results = [call(op, low, up, {"demodulate": demodulate}) for op in BOTH]
    assert all(result.dtype == dtype for result in results)
    got, expected = ((result.double() - truth).square().mean().sqrt() for result in results)
    assert got <= 2 * expected
    assert expected > 0


def test_styles_stay_exact_where_activations_are_bfloat16() -> None:
    """Demodulation is computed in the styles' type, so that a style of 1000 costs no more than one of 1."""
    torch.manual_seed(0)
    x, weight, styles = torch.randn(2, 8, 6, 6).bfloat16(), torch.randn(5, 8, 3, 3), torch.randn(2, 8)
    truth = modulated_conv2d_ref(x.double(), weight.double(), styles.double())
    for scale in (1, 1024, 1 / 1024):
        y = modulated_conv2d(x, weight, styles * scale)
        assert y.dtype == torch.bfloat16
        assert ((y.double() - truth).norm() / truth.norm()) < 1e-2


# --- errors


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(I, H, W)}, r"x must be \[N, I, H, W\], got \[4, 6, 7\]"),
        ({"weight": torch.zeros(O, I, 3)}, r"weight must be \[O, 4, k, k\] with odd k, got \[5, 4, 3\]"),
        ({"weight": torch.zeros(O, I + 1, 3, 3)}, r"weight must be .*, got \[5, 5, 3, 3\]"),
        ({"weight": torch.zeros(O, I, 3, 1)}, r"weight must be .*, got \[5, 4, 3, 1\]"),
        ({"weight": torch.zeros(O, I, 4, 4)}, r"odd k, got \[5, 4, 4, 4\]"),
        ({"styles": torch.zeros(N, I + 1)}, r"styles must be \[2, 4\], got \[2, 5\]"),
        ({"styles": torch.zeros(I)}, r"styles must be \[2, 4\], got \[4\]"),
        ({"tau": torch.zeros(I, O)}, r"tau must be \[4, 4\], got \[4, 5\]"),
        ({"up": 3}, "up must be 1 or 2, got 3"),
        ({"activation": "relu"}, "activation must be 'linear' or 'lrelu', got 'relu'"),
    ],
)
def test_wrong_arguments(op: Any, changes: dict[str, Any], message: str) -> None:
    a = {
        "x": torch.zeros(N, I, H, W),
        "weight": torch.zeros(O, I, 3, 3),
        "styles": torch.zeros(N, I),
    } | changes
    with pytest.raises(UsageError, match=message):
        op(a.pop("x"), a.pop("weight"), a.pop("styles"), **a)

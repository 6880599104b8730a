"""The kernels on a processor, and what both the processor and a card are compared with: the reference in float64."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# Relative error (Frobenius) that is allowed against float64, R13 of the project's figures for float32 and bfloat16.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


@dataclass(frozen=True)
class Case:
    """One call of the modulated convolution; x is [n, i, h, w], the weight [o, i, k, k]."""

    n: int
    i: int
    o: int
    h: int
    w: int
    k: int = 3
    up: int = 1
    tau: bool = True
    demodulate: bool = True
    noise: tuple[int, ...] | None = None  # its shape with -1 for the sides of the result; None for no noise
    bias: bool = True
    activation: str = "lrelu"
    gain: float | None = None
    clamp: float | None = None

    def __str__(self) -> str:
        return f"{self.n}x{self.i}x{self.h}x{self.w}-{self.o}-k{self.k}-up{self.up}"


# Odd sides, channels that fill no vector and no tile, tiles of many samples, more than one tile each way.
CASES = (
    Case(2, 5, 7, 5, 3),
    Case(1, 16, 24, 1, 1, noise=(-1, -1)),
    Case(3, 8, 3, 9, 4, k=1, demodulate=False, activation="linear", tau=False, clamp=0.7),
    Case(2, 40, 72, 5, 7, noise=(1, 1, -1, -1)),
    Case(11, 8, 8, 4, 4, noise=(11, 1, -1, -1), gain=0.5),
    Case(1, 24, 16, 13, 19, noise=(1, -1), clamp=1.0),
    Case(1, 33, 65, 3, 4),
    Case(2, 5, 7, 5, 3, up=2, noise=(2, 1, -1, -1)),
    Case(2, 40, 72, 5, 7, up=2, tau=False),
    Case(2, 16, 8, 3, 5, k=1, up=2, noise=(-1, -1), bias=False),
    Case(5, 8, 16, 4, 4, up=2, demodulate=False, clamp=2.0),
)


@dataclass(frozen=True)
class Inputs:
    case: Case
    x: torch.Tensor
    weight: torch.Tensor
    styles: torch.Tensor
    options: dict[str, Any]

    @property
    def modulated(self) -> torch.Tensor:
        tau = self.options["tau"]
        return self.styles if tau is None else self.styles @ tau.T


def make_inputs(case: Case, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> Inputs:
    random = torch.Generator().manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    x = draw(case.n, case.i, case.h, case.w).to(device, dtype).contiguous(memory_format=torch.channels_last)
    weight = (draw(case.o, case.i, case.k, case.k) / (case.i * case.k**2) ** 0.5).to(device, dtype)
    styles = (1 + draw(case.n, case.i)).to(device, wide)
    tau = (torch.eye(case.i) + 0.2 * draw(case.i, case.i) / case.i**0.5).to(device, wide)
    noise = None
    if case.noise is not None:
        sides = [side * case.up for side in (case.h, case.w)]
        shape = [
            *case.noise[:-2],
            *(s if n == -1 else n for n, s in zip(case.noise[-2:], sides, strict=True)),
        ]
        noise = (0.3 * draw(*shape)).to(device, wide)
    options = {
        "tau": tau if case.tau else None,
        "demodulate": case.demodulate,
        "up": case.up,
        "noise": noise,
        "bias": draw(case.o).to(device, wide) if case.bias else None,
        "activation": case.activation,
        "gain": case.gain,
        "clamp": case.clamp,
    }
    return Inputs(case, x, weight, styles, options)


def in_float64(inputs: Inputs) -> Inputs:
    def widen(value: Any) -> Any:
        return value.double() if isinstance(value, torch.Tensor) else value

    return replace(
        inputs,
        x=inputs.x.double(),
        weight=inputs.weight.double(),
        styles=inputs.styles.double(),
        options={name: widen(value) for name, value in inputs.options.items()},
    )


def reference(inputs: Inputs) -> torch.Tensor:
    from flexpose.ops import modulated_conv2d_ref

    return modulated_conv2d_ref(inputs.x, inputs.weight, inputs.styles, **inputs.options)


def reference_gradients(
    inputs: Inputs, grad_y: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients in float64 for x and tau @ styles, where the side of each kink and limit is that of `y`.

    Rounding moves a few values across a kink, and the gradient there jumps: that is no error of the backward pass.
    """
    from flexpose.ops import modulated_conv2d_ref

    wide, y = in_float64(inputs), y.double()
    case = inputs.case
    gain = case.gain if case.gain is not None else 2.0**0.5 if case.activation == "lrelu" else 1.0
    slope = torch.full_like(y, gain)
    if case.activation == "lrelu":
        slope[y <= 0] *= 0.2
    if case.clamp is not None:
        slope[y.abs() >= torch.tensor(case.clamp, dtype=inputs.x.dtype).double()] = 0
    x, modulated = wide.x.requires_grad_(), wide.modulated.requires_grad_()
    z = modulated_conv2d_ref(
        x, wide.weight, modulated, demodulate=case.demodulate, up=case.up, activation="linear"
    )
    of_x, of_modulated = torch.autograd.grad(z, (x, modulated), grad_y.double() * slope)
    return of_x, of_modulated


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    assert found.isfinite().all()
    assert found.shape == truth.shape
    return ((found.double() - truth).norm() / truth.norm()).item()


def check_forward(inputs: Inputs, **changed: Any) -> torch.Tensor:
    """Run the forward pass and compare it with float64; `changed` replaces arguments by equivalent ones."""
    from flexpose import cuda

    arguments = {"x": inputs.x, "weight": inputs.weight, "styles": inputs.styles, **inputs.options, **changed}
    y = cuda.modulated_conv2d(
        arguments.pop("x"), arguments.pop("weight"), arguments.pop("styles"), **arguments
    )
    dtype = inputs.x.dtype
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    truth = reference(in_float64(inputs))
    error = relative(y, truth)
    assert error <= TOLERANCE[dtype]
    if dtype.itemsize == 2:
        # The promise for 16 bits: at most twice the error of plain torch in the same type.
        assert error <= 2 * relative(reference(inputs_on_one_type(inputs)), truth)
    return y


def inputs_on_one_type(inputs: Inputs) -> Inputs:
    """All tensors in the type of x, as the reference wants them."""
    dtype = inputs.x.dtype
    options = {
        name: value.to(dtype) if isinstance(value, torch.Tensor) else value
        for name, value in inputs.options.items()
    }
    return replace(inputs, styles=inputs.styles.to(dtype), options=options)


def check_backward(inputs: Inputs, y: torch.Tensor) -> None:
    from flexpose import cuda

    dtype = inputs.x.dtype
    random = torch.Generator().manual_seed(99)
    grad_y = torch.randn(y.shape, generator=random, dtype=torch.float64).to(y.device, dtype)
    of_x, of_modulated = reference_gradients(inputs, grad_y, y)
    call = (grad_y, inputs.x, inputs.weight, inputs.styles, y)
    both = cuda.modulated_conv2d_backward(*call, **inputs.options)
    for need_x, need_styles in ((True, True), (True, False), (False, True)):
        found = cuda.modulated_conv2d_backward(
            *call, **inputs.options, need_x=need_x, need_styles=need_styles
        )
        assert (found[0] is not None, found[1] is not None) == (need_x, need_styles)
        if found[0] is not None:
            assert relative(found[0], of_x) <= TOLERANCE[dtype]
        if found[1] is not None:
            assert relative(found[1], of_modulated) <= 3 * TOLERANCE[dtype]
            assert torch.equal(found[1], both[1])


@pytest.fixture(scope="session")
def emulator() -> Any:
    """`flexpose._cuda` built to run on the processor; from the cache if the sources have not changed."""
    if not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a C++ compiler")
    pytest.importorskip("pybind11")
    from flexpose.cuda.build import build
    from flexpose.cuda.load import load_module

    return load_module(build(emulate=True, strict=True).module, package="flexpose_emulator")


@pytest.fixture
def emulated(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Let `flexpose.cuda` use the emulator; call it with a seed, or another size of the pretended card."""
    from flexpose.cuda import load

    monkeypatch.setattr(load, "kernels", lambda: emulator)

    def settings(
        *, seed: int = 0, shared_limit: int = 99 * 1024, processors: int = 2, dry: bool = False
    ) -> None:
        emulator.emulate(seed=seed, shared_limit=shared_limit, processors=processors, dry=dry)

    settings()
    yield settings
    settings()


@pytest.fixture(scope="session")
def parity() -> Any:
    """The helpers of this file, for the tests beside it."""
    import types

    return types.SimpleNamespace(
        check_forward=check_forward,
        check_backward=check_backward,
        make_inputs=make_inputs,
        relative=relative,
        reference=reference,
        in_float64=in_float64,
        tolerance=TOLERANCE,
        case=Case,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=str)
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", DTYPES, ids=[str(d).removeprefix("torch.") for d in DTYPES])

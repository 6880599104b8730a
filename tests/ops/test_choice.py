"""Which back end runs, what is said of it, and the table of measurements that may be damaged at any time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
import torch

from flexpose.errors import ConfigError, DeviceError
from flexpose.ops import (
    bias_act,
    bias_act_ref,
    choice,
    measure,
    modulated_conv2d,
    modulated_conv2d_ref,
    set_backend,
    tuning,
    upfirdn2d,
    upfirdn2d_ref,
)
from flexpose.ops.tuning import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

X = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(1))
STYLES = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As at the start of a process, with an empty cache folder."""
    monkeypatch.delenv("FLEXPOSE_BACKEND", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(choice, "_asked", None)
    caches = (choice.candidates, choice._cuda_module, Table.of)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_auto_on_a_cpu_takes_the_cpu_s() -> None:
    assert choice.backend() == "auto"
    assert choice.chosen(X, WEIGHT, 1) == "cpu"


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_each_gives_the_same(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXPOSE_BACKEND", name)
    assert choice.chosen(X, WEIGHT, 2) == name
    y = modulated_conv2d(X, WEIGHT, STYLES, up=2)
    torch.testing.assert_close(y, modulated_conv2d_ref(X, WEIGHT, STYLES, up=2), rtol=1e-4, atol=1e-5)


def test_compile_gives_the_same_at_more_shapes_than_torch_would_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "_compiler", lambda: choice.Candidate(True, "a compiler"))
    monkeypatch.setattr(choice, "_compiled_reference", lambda: COMPILED)
    set_backend("compile")
    for size in range(3, 14):
        x = torch.randn(1, 4, size, size)
        y = modulated_conv2d(x, WEIGHT, STYLES[:1])
        torch.testing.assert_close(y, modulated_conv2d_ref(x, WEIGHT, STYLES[:1]), rtol=1e-4, atol=1e-5)


COMPILED = torch.compile(choice.shared_conv2d, dynamic=False, backend="eager")


def test_decided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXPOSE_BACKEND", "reference")
    assert choice.backend() == "reference"
    monkeypatch.setenv("FLEXPOSE_BACKEND", "cpu")
    assert choice.backend() == "reference"
    set_backend("auto")
    assert choice.backend() == "auto"


@pytest.mark.parametrize("name", ["fast", "CPU", "cuda0"])
def test_unknown_names(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="name must be one of auto, reference, cpu, cuda, compile, got"):
        set_backend(name)
    monkeypatch.setenv("FLEXPOSE_BACKEND", name)
    with pytest.raises(ConfigError, match="FLEXPOSE_BACKEND must be one of"):
        modulated_conv2d(X, WEIGHT, STYLES)


# --- cuda


def fake_cuda(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    module = types.ModuleType("flexpose.cuda")
    for name, function in functions.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, "flexpose.cuda", module)
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: object())


def test_cuda_without_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"'cuda' cannot run: flexpose\.cuda is not part of this build"):
        set_backend("cuda")
    assert choice.backend() == "auto", "the wish that failed changes nothing"


def test_cuda_that_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, available=lambda: (False, "torch sees no GPU"))
    monkeypatch.setenv("FLEXPOSE_BACKEND", "cuda")
    with pytest.raises(DeviceError, match="torch sees no GPU"):
        modulated_conv2d(X, WEIGHT, STYLES)


def test_cuda_that_fails_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("libcudart is not there")

    fake_cuda(monkeypatch, available=broken)
    assert choice.candidates()["cuda"] == choice.Candidate(False, "ImportError: libcudart is not there")
    modulated_conv2d(X, WEIGHT, STYLES)  # auto goes on


def test_cuda_does_not_take_tensors_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, available=lambda: (True, "an H100"), supports=lambda *_: True)
    set_backend("cuda")
    with pytest.raises(DeviceError, match="x is on cpu"):
        modulated_conv2d(X, WEIGHT, STYLES)


class OnGpu:
    """As much of a tensor on a GPU as the choice looks at."""

    is_cuda, device, dtype, shape = True, torch.device("cuda", 0), torch.bfloat16, torch.Size([1, 4, 8, 8])


@pytest.mark.parametrize(("supported", "name"), [(True, "cuda"), (False, "reference")])
def test_auto_on_a_gpu_asks_the_kernel(supported: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, available=lambda: (True, "an H100"), supports=lambda *_: supported)
    monkeypatch.setattr(tuning, "_device_name", lambda device: "H100")
    assert choice.chosen(OnGpu(), WEIGHT, 1) == name  # type: ignore[arg-type]
    monkeypatch.setattr(choice, "_asked", "cuda")
    if supported:
        assert choice.chosen(OnGpu(), WEIGHT, 1) == "cuda"  # type: ignore[arg-type]
    else:
        with pytest.raises(DeviceError, match="no kernel for x"):
            choice.chosen(OnGpu(), WEIGHT, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_operators_without_a_weight_run_on_the_card(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the CPU that say they are on a card, and kernels that write down what they are asked."""
    calls: list[dict[str, Any]] = []

    def filter_and_activate(x: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.append(options)
        if options.get("filtered", True):
            return upfirdn2d_ref(x, **options | {"gain": options["gain"] / options["up"] ** 2})
        assert x.ndim == 4
        rest = {key: options[key] for key in ("bias", "activation", "clamp")}
        return bias_act_ref(x, gain=options["activation_gain"], **rest)

    def gradient(g: torch.Tensor, y: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.append(options)
        return g * torch.where(y > 0, 1.0, 0.2) * options["gain"] * (y.abs() < options["clamp"])

    fake_cuda(
        monkeypatch,
        available=lambda: (True, "an H100"),
        filter_and_activate=filter_and_activate,
        activation_gradient=gradient,
    )
    assert choice.plain_choice(OnGpu()) == "cuda"  # type: ignore[arg-type]
    monkeypatch.setattr(choice, "_asked", asked)
    assert choice.plain_choice(OnGpu()) == "cuda"  # type: ignore[arg-type]
    for module in ("bias_act", "upfirdn"):
        monkeypatch.setattr(sys.modules[f"flexpose.ops.{module}"], "plain_choice", lambda x: "cuda")
    x, bias = X.clone().requires_grad_(), torch.randn(4, requires_grad=True)
    for shape in ((2, 4, 5, 6), (10, 4), (2, 4, 15)):
        given = x.reshape(-1)[: math.prod(shape)].reshape(shape)
        found = torch.autograd.grad(bias_act(given, bias, clamp=1.0).pow(3).sum(), [x, bias])
        wanted = torch.autograd.grad(bias_act_ref(given, bias, clamp=1.0).pow(3).sum(), [x, bias])
        torch.testing.assert_close(found, wanted)
    for up, down in ((1, 1), (2, 1), (1, 2)):
        found, wanted = (
            torch.autograd.grad(op(x, up=up, down=down, padding=(2, 1)).pow(3).sum(), x)
            for op in (upfirdn2d, upfirdn2d_ref)
        )
        torch.testing.assert_close(found, wanted)
    assert len(calls) == 3 * 2 + 3 * 2


def test_operators_without_a_weight_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reference", "cpu"):
        monkeypatch.setattr(choice, "_asked", name)
        assert choice.plain_choice(X) == name
    monkeypatch.setattr(choice, "_asked", "cpu")
    with pytest.raises(DeviceError, match="'cpu' cannot run: x is on cuda:0"):
        choice.plain_choice(OnGpu())  # type: ignore[arg-type]
    monkeypatch.setattr(choice, "_asked", "auto")
    monkeypatch.setattr(choice, "_cuda_module", lambda: (None, "none"))
    choice.candidates.cache_clear()
    assert choice.plain_choice(OnGpu()) == "reference"  # type: ignore[arg-type]
    monkeypatch.setattr(choice, "_asked", "cuda")
    for op in (bias_act, upfirdn2d):
        with pytest.raises(DeviceError, match="'cuda' cannot run: none"):
            op(X)
    monkeypatch.setattr(choice, "candidates", lambda: {"cuda": choice.Candidate(True, "an H100")})
    for op in (bias_act, upfirdn2d):
        with pytest.raises(DeviceError, match="x is on cpu"):
            op(X)
    monkeypatch.setattr(choice, "candidates", lambda: {"compile": choice.Candidate(True, "")})
    monkeypatch.setattr(choice, "_asked", "compile")
    assert choice.plain_choice(X) == "reference"


@pytest.mark.needs_cuda
@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_equals_the_reference(up: int, dtype: torch.dtype) -> None:
    a = [t.cuda() for t in (X, WEIGHT, STYLES)]
    truth = modulated_conv2d_ref(*(t.double() for t in a), up=up)
    y = modulated_conv2d(a[0].to(dtype), a[1], a[2], up=up)
    assert (y.double() - truth).norm() / truth.norm() < (1e-5 if dtype == torch.float32 else 2e-2)


def test_compile_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(choice.shutil, "which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"torch\.compile needs a C\+\+ compiler"):
        set_backend("compile")


# --- the table


def test_measured_winner_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table.of(X.device)
    table.add(tuning.shape_key(X, WEIGHT, 1), {"cpu": 2e-3, "reference": 1e-3})
    assert choice.chosen(X, WEIGHT, 1) == "reference"
    assert choice.chosen(X, WEIGHT, 2) == "cpu", "another shape"
    table.add(tuning.shape_key(X, WEIGHT, 1), {"compile": 1e-3, "cpu": 2e-3})
    monkeypatch.setattr(choice, "_compiler", lambda: choice.Candidate(False, "the compiler is gone"))
    choice.candidates.cache_clear()
    assert choice.chosen(X, WEIGHT, 1) == "cpu"


def test_tuning_writes_what_the_next_process_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"cpu": choice.Candidate(True, ""), "reference": choice.Candidate(True, "")}
    monkeypatch.setattr(measure, "candidates", lambda: here)
    lines = list(measure.tune(8, channel_base=64, channel_max=8, batch=2))
    assert len(lines) == 4, "one at 4 px, two at 8 px, and the summary"
    again = Table(torch.device("cpu"))
    assert len(again.rows) == 3
    assert all(set(row) == {"cpu", "reference"} for row in again.rows.values())
    assert "3 shapes measured" in again.note
    assert not list(again.path.parent.glob("*.tmp*"))


GOOD = {"float32 n2": {"cpu": 0.5}}


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: b"",
        lambda facts: b"\xff\xfe{",
        lambda facts: b"[" * 100_000,
        lambda facts: b"[]",
        lambda facts: json.dumps({"rows": GOOD}).encode(),
        lambda facts: json.dumps(facts).encode(),
        lambda facts: json.dumps(facts | {"torch": "0.1", "rows": GOOD}).encode(),
        lambda facts: json.dumps(facts | {"rows": {"a": {"cpu": "fast"}}}).encode(),
        lambda facts: json.dumps(facts | {"rows": {"a": {"cpu": -1.0}}}).encode(),
        lambda facts: json.dumps(facts | {"rows": {"a": {"os.system": 1.0}}}).encode(),
        lambda facts: json.dumps(facts | {"rows": {"a": 3}}).encode(),
    ],
)
def test_damaged_table_is_ignored_and_made_again(damage: Any) -> None:
    table = Table(torch.device("cpu"))
    assert "nothing measured" in table.note
    table.path.parent.mkdir(parents=True)
    table.path.write_bytes(damage(table.facts))
    found = Table(torch.device("cpu"))
    assert found.rows == {}
    assert "damaged" in found.note
    found.add(*next(iter(GOOD.items())))
    found.write()
    assert Table(torch.device("cpu")).rows == GOOD


def test_tables_of_other_machines_lie_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Table(torch.device("cpu"))
    monkeypatch.setattr(tuning, "_device_name", lambda device: "another processor")
    assert Table(torch.device("cpu")).path != here.path


def test_cache_folder_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert tuning.cache_folder().name in {"flexpose", "cache"}


@pytest.mark.parametrize("value", ["cuda", "nonsense"])
def test_import_never_fails(value: str) -> None:
    code = "import flexpose.ops, flexpose.models"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ) | {"FLEXPOSE_BACKEND": value},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr

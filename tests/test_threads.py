"""Number types by name, and the OpenMP setting that must not override a user's own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from flexpose import _threads


def test_names_of_types() -> None:
    assert _threads.compute_dtype("float32") is torch.float32
    assert _threads.compute_dtype("bfloat16") is torch.bfloat16


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(_threads, "has_native_bfloat16", lambda: native)
    assert _threads.compute_dtype("auto") is expected


def test_no_native_bfloat16_without_torch_saying_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(_threads.has_native_bfloat16(), bool)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert _threads.has_native_bfloat16() is False


@pytest.mark.parametrize("own", [None, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_PROC_BIND"])
def test_openmp_is_calmed_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch, own: str | None) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_PROC_BIND"):
        monkeypatch.delenv(name, raising=False)
    if own is not None:
        monkeypatch.setenv(own, "mine")
    _threads.calm_openmp()
    expected = {None: "10000", "GOMP_SPINCOUNT": "mine"}.get(own)
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)


_CHURN = """
import resource
from flexpose._threads import keep_memory
kept = keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        b"x" * (64 << 20)  # 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def test_freed_memory_is_used_again() -> None:
    """Pages are touched for the first time once, not once for every array; a user's own settings stay."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}

    def run(extra: dict[str, str]) -> tuple[str, int]:
        command = [sys.executable, "-c", _CHURN]
        done = subprocess.run(command, env=clean | extra, capture_output=True, text=True, check=True)
        kept, faults = done.stdout.split()
        return kept, int(faults)

    kept, faults = run({"MALLOC_ARENA_MAX": "2"})
    assert kept == "False"
    assert faults > 10_000
    if platform.libc_ver()[0] == "glibc":
        kept, faults = run({})
        assert kept == "True"
        assert faults < 1000

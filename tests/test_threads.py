"""Number types by name, and the OpenMP setting that must not override a user's own."""

from __future__ import annotations

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
    import os

    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_PROC_BIND"):
        monkeypatch.delenv(name, raising=False)
    if own is not None:
        monkeypatch.setenv(own, "mine")
    _threads.calm_openmp()
    expected = {None: "10000", "GOMP_SPINCOUNT": "mine"}.get(own)
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)

"""What every test may rely on: one torch thread, untouched random state, real data, honest GPU marks."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Tiny tensors are many times faster on one thread; set before torch can be imported, and for child processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

CUDA_REQUIRED = os.environ.get("FLEXPOSE_REQUIRE_CUDA", "") not in {"", "0"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `needs_cuda` tests without a GPU, unless the run promised one: then they run, and fail."""
    marked = [item for item in items if item.get_closest_marker("needs_cuda")]
    if not marked or CUDA_REQUIRED:
        return
    import torch

    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs an NVIDIA GPU (FLEXPOSE_REQUIRE_CUDA=1 makes this an error)")
        for item in marked:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _one_torch_thread_and_random_state() -> Iterator[None]:
    """Keep each test on one torch thread, and give the next one the random state that this one found."""
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch = sys.modules.get("torch")
    torch_state = None
    if torch is not None:
        torch.set_num_threads(1)
        torch_state = torch.get_rng_state()
    yield
    random.setstate(python)
    np.random.set_state(numpy_state)  # noqa: NPY002
    if torch is not None and torch_state is not None:
        torch.set_rng_state(torch_state)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real poses that FLEXPOSE_DATA names; the test is skipped if there is none."""
    named = os.environ.get("FLEXPOSE_DATA")
    if not named:
        pytest.skip("FLEXPOSE_DATA is not set: no folder of real poses")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"FLEXPOSE_DATA must be a folder, got {named}")
    return folder

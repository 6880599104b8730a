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

    from flexpose.poses import PoseSet

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


@pytest.fixture
def poses() -> PoseSet:
    """Six body13 poses of random joints in 200 x 160 px; poses 1 and 4 miss a wrist, pose 5 all but one."""
    from flexpose.poses import PoseSet
    from flexpose.skeleton import load_skeleton

    rng = np.random.default_rng(7)
    skeleton = load_skeleton("body13")
    keypoints = rng.uniform(10, 150, (6, 13, 2)).astype(np.float32)
    visibility = np.full((6, 13), 2, np.uint8)
    visibility[[1, 4], 5] = 0
    visibility[2, 3] = 1
    visibility[5, 1:] = 0
    labels = ["walk", "walk", "sit", "sit", "", "walk"]
    return PoseSet(keypoints, visibility, skeleton=skeleton, image_size=(200, 160), labels=labels)

"""One finished tiny run, for all that only read it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generator and the beta of runs that nothing broke."""
    return tiny.train_source(tmp_path_factory.mktemp("unbroken"))


@pytest.fixture
def beta_there(tmp_path: Path, unbroken: Path) -> None:
    """What the drawing lessons need to find in the folder of a run."""
    shutil.copy(unbroken / "beta.safetensors", tmp_path)

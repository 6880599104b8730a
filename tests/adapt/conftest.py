"""One tiny source and one finished adaptation of it, for all that only read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flexpose.adapt import adapt

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator and a beta."""
    return tiny.train_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A folder with the adapter of a run that nothing broke."""
    folder = tmp_path_factory.mktemp("adapted")
    adapt(tiny.target_poses(), tiny.ADAPT, folder, source=source)
    return folder

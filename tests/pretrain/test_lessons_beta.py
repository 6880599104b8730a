"""The beta that the drawing lessons read with: what is asked of it before a run begins."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from flexpose.checkpoint import read_header
from flexpose.errors import ConfigError, DataError, UsageError
from flexpose.pretrain import pretrain, train_beta

from .. import tiny
from .runs import assert_same_run, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("beta_there")


def test_lessons_without_a_beta_say_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    with pytest.raises(UsageError) as caught:
        run(folder)
    assert str(caught.value) == (
        f"the drawing lessons need {folder / 'beta.safetensors'}: run `flexpose train-beta` into {folder} first, "
        "or set keypoint_weight = 0"
    )
    assert not folder.exists(), "nothing was begun"


@pytest.mark.parametrize("changes", [{"keypoint_weight": 0.0}, {"lessons": ()}])
def test_who_reads_no_joints_needs_no_beta(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tmp_path / "bare"
    watch = tiny.Watch()
    run(folder, config=replace(tiny.PRETRAIN, **changes), progress=watch)
    assert (folder / "generator.safetensors").exists()
    assert not any("error_px" in figures for figures in watch.figures)
    record = json.loads((folder / "pretrain" / "config.json").read_text(encoding="utf-8"))
    assert set(record["inputs"]) == {"poses", "skeleton"}


def test_a_beta_for_other_pictures_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    other = replace(tiny.BETA, line_width_px=1.5, margin=0.2, steps=1)
    file = train_beta(tiny.source_poses(), other, folder)
    with pytest.raises(UsageError) as caught:
        run(folder)
    assert str(caught.value) == (
        f"{file} and a generator of these settings were trained on different pictures: "
        "line_width_px 1.5 and 2.0, margin 0.2 and 0.1"
    )
    assert not (folder / "pretrain").exists()


def test_a_broken_beta_is_refused(tmp_path: Path) -> None:
    (tmp_path / "beta.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="no safetensors file"):
        run(tmp_path)


def test_resume_with_another_beta_is_refused(tmp_path: Path, unbroken: Path) -> None:
    with pytest.raises(tiny.Killed):
        run(tmp_path, progress=tiny.KillAt(8))
    record = json.loads((tmp_path / "pretrain" / "config.json").read_text(encoding="utf-8"))
    assert record["inputs"]["beta"] == read_header(unbroken / "beta.safetensors")["hash"]
    train_beta(tiny.source_poses(), replace(tiny.BETA, steps=2), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "beta.safetensors", tmp_path)
    with pytest.raises(ConfigError, match=r"inputs\.beta"):
        run(tmp_path, resume=True)
    shutil.copy(unbroken / "beta.safetensors", tmp_path)
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_poses_that_are_all_the_same_cannot_be_lessons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need poses that differ"):
        pretrain(tiny.source_poses()[np.zeros(5, np.int64)], replace(tiny.PRETRAIN, flips=False), tmp_path)
    assert not (tmp_path / "generator.safetensors").exists()

"""`flexpose render`: the options reach the pictures."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.poses import write_poses
from flexpose.shards import RenderStyle, write_webdataset

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses import PoseSet


@pytest.fixture
def file(tmp_path: Path, poses: PoseSet) -> Path:
    path = tmp_path / "in.npz"
    write_poses(poses, path)
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["render", *(str(part) for part in arguments)], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_ending_chooses_the_format(file: Path, tmp_path: Path) -> None:
    run(file, tmp_path / "shard.tar")
    assert tarfile.is_tarfile(tmp_path / "shard.tar")
    run(file, tmp_path / "folder")
    assert len(list((tmp_path / "folder").glob("*.png"))) == 5
    run(file, tmp_path / "named", "--format", "webdataset")
    assert tarfile.is_tarfile(tmp_path / "named")


def test_options_reach_the_style(file: Path, tmp_path: Path, poses: PoseSet) -> None:
    drawing = ["--size", 40, "--line-width", 3, "--joint-radius", 1, "--frame", "keep", "--margin", 0.2]
    choice = ["--missing", "drop-pose", "--limit", 4, "--workers", 2]
    told = json.loads(run(file, tmp_path / "a.tar", *drawing, *choice, "--json"))
    assert told == {"path": str(tmp_path / "a.tar"), "rendered": 3, "left_out": 1}
    style = RenderStyle(
        size_px=40, line_width_px=3, joint_radius_px=1, frame="keep", margin=0.2, missing="drop-pose"
    )
    write_webdataset(poses[:4], tmp_path / "b.tar", style)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_grid_is_one_picture(file: Path, tmp_path: Path) -> None:
    run(file, tmp_path / "grid.png", "--grid", "--size", 16, "--columns", 2, "--limit", 3)
    with Image.open(tmp_path / "grid.png") as image:
        assert np.asarray(image).shape == (33, 33, 3)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["out.png"], "give --grid"),
        (["out.png", "--grid", "--format", "png"], "leave out --format"),
        (["out", "--size", "0"], "--size"),
        (["out", "--frame", "crop"], "--frame"),
        (["out", "--line-width", "-1"], "line_width_px must be > 0, got -1"),
        (["out", "--skeleton", "octopus"], "body13"),
    ],
)
def test_wrong_usage_is_told(file: Path, tmp_path: Path, arguments: list[str], part: str) -> None:
    out, *rest = arguments
    assert part in run(file, tmp_path / out, *rest, code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz"]


def test_a_pose_that_may_not_miss_a_joint_is_bad_data(file: Path, tmp_path: Path) -> None:
    assert "record 1" in run(file, tmp_path / "out", "--missing", "error", code=3)

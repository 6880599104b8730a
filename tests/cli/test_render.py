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
from flexpose.poses import PoseSet, write_poses
from flexpose.shards import RenderStyle, open_dataset, plan_render, write_shards, write_webdataset

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path, poses: PoseSet) -> Path:
    path = tmp_path / "in.npz"
    write_poses(poses, path)
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["render", *(str(part) for part in arguments)], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_ending_chooses_between_a_file_and_a_data_set(file: Path, tmp_path: Path) -> None:
    run(file, tmp_path / "shard.tar")
    assert tarfile.is_tarfile(tmp_path / "shard.tar")
    run(file, tmp_path / "folder")
    assert open_dataset(tmp_path / "folder").kind == "webdataset"
    run(file, tmp_path / "named", "--format", "png")
    assert len(list((tmp_path / "named" / "00000").glob("*.png"))) == 5


DRAWING = ["--size", 40, "--line-width", 3, "--joint-radius", 1, "--frame", "keep", "--margin", 0.2]
STYLE = RenderStyle(
    size_px=40, line_width_px=3, joint_radius_px=1, frame="keep", margin=0.2, missing="drop-pose"
)


def test_options_reach_the_style(file: Path, tmp_path: Path, poses: PoseSet) -> None:
    choice = ["--missing", "drop-pose", "--limit", 4, "--workers", 2, "--style", "flexpose"]
    told = json.loads(run(file, tmp_path / "a.tar", *DRAWING, *choice, "--json"))
    assert told == {
        "path": str(tmp_path / "a.tar"),
        "rendered": 3,
        "left_out": 1,
        "bad": 0,
        "bytes": (tmp_path / "a.tar").stat().st_size,
        "shards": 1,
        "written": 1,
        "complete": True,
    }
    write_webdataset(poses[:4], tmp_path / "b.tar", STYLE)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_options_reach_the_data_set(file: Path, tmp_path: Path, poses: PoseSet) -> None:
    options = [*DRAWING, "--missing", "drop-pose", "--format", "npy", "--shard-size", 4, "--seed", 3]
    told = json.loads(run(file, file, tmp_path / "a", *options, "--max-bad-fraction", 0.5, "--json"))
    assert (told["rendered"], told["left_out"], told["shards"]) == (6, 6, 2)
    both = [poses.replace(origin=None), poses]
    plan = plan_render(both, tmp_path / "b", STYLE, kind="npy", shard_size=4, seed=3, inputs=[file, file])
    write_shards(plan)
    for shard in ("shard-00000.npy", "shard-00001.npy", "shard-00001.safetensors"):
        assert (tmp_path / "a" / shard).read_bytes() == (tmp_path / "b" / shard).read_bytes()
    config = json.loads((tmp_path / "a" / "plan.json").read_text())["config"]
    assert (config["seed"], config["max_bad_fraction"], config["augment"]) == (3, 0.5, None)


def test_parts_and_resume(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(file, out, "--shard-size", 2, "--shard-range", "1/2")
    assert not (out / "index.json").exists()
    assert "written already" in run(file, out, "--shard-size", 2, "--shard-range", "1/2", code=2)
    assert "config.size_px: 128 then, 64 now" in run(file, out, "--resume", "--size", 64, code=2)
    told = json.loads(run(file, out, "--shard-size", 2, "--resume", "--verify", "full", "--json"))
    assert (told["shards"], told["written"], told["complete"]) == (3, 2, True)
    assert "go on with it by --resume" in run(file, out, "--shard-size", 2, code=2)


def test_a_data_set_is_an_input(file: Path, tmp_path: Path) -> None:
    run(file, tmp_path / "poses", "--format", "keypoints")
    run(tmp_path / "poses", tmp_path / "one.tar")
    run(file, tmp_path / "two.tar")
    # Rows count the poses that the data set has: the one that it left out is not among them.
    with tarfile.open(tmp_path / "one.tar") as one, tarfile.open(tmp_path / "two.tar") as two:
        assert one.getnames() == two.getnames()
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_dry_run_says_what_it_will_take_and_writes_nothing(file: Path, tmp_path: Path) -> None:
    told = json.loads(run(file, tmp_path / "out", "--dry-run", "--shard-size", 2, "--json"))
    assert (told["rendered"], told["left_out"], told["shards"], told["shard_size"]) == (5, 1, 3, 2)
    assert told["bytes"] > 5000
    assert told["seconds"] >= 0
    assert "bytes: " in run(file, tmp_path / "out.tar", "--dry-run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz"]


def test_bad_poses(file: Path, tmp_path: Path, poses: PoseSet) -> None:
    keypoints = poses.keypoints.copy()
    keypoints[2] = 1
    write_poses(poses.replace(keypoints=keypoints), file)
    assert "record 2" in run(file, tmp_path / "out", code=3)
    told = json.loads(run(file, tmp_path / "out", "--max-bad-fraction", 0.2, "--json"))
    assert (told["rendered"], told["left_out"], told["bad"]) == (4, 1, 1)
    line = json.loads((tmp_path / "out" / "bad.jsonl").read_text())
    assert (line["path"], line["record"], line["field"]) == ("in.npz", 2, "keypoints")


def test_grid_is_one_picture(file: Path, tmp_path: Path) -> None:
    run(file, tmp_path / "grid.png", "--grid", "--size", 16, "--columns", 2, "--limit", 3)
    with Image.open(tmp_path / "grid.png") as image:
        assert np.asarray(image).shape == (33, 33, 3)
    run(file, file, tmp_path / "two.png", "--grid", "--size", 16, "--columns", 5)
    with Image.open(tmp_path / "two.png") as image:
        assert np.asarray(image).shape == (33, 5 * 17 - 1, 3)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["out.png"], "give --grid"),
        (["out.png", "--grid", "--format", "png"], "leave out --format"),
        (["out.png", "--grid", "--dry-run"], "not for --grid"),
        (["out.tar", "--resume"], "--resume is for data sets"),
        (["out.tar", "--shard-range", "1/2"], "--shard-range is for data sets"),
        (["out.tar", "--format", "npy"], "name a folder for --format npy"),
        (["out", "--shard-range", "3/2"], "shard range must be i/n"),
        (["out", "--shard-size", "big"], "shard_size must be"),
        (["out", "--verify", "some"], "--verify must be quick or full"),
        (["out", "--max-bad-fraction", "2"], "--max-bad-fraction"),
        (["out", "--size", "0"], "--size"),
        (["out", "--style", "oil"], "--style"),
        (["out", "--frame", "crop"], "--frame"),
        (["out", "--line-width", "-1"], "line_width_px must be > 0, got -1"),
        (["out", "--skeleton", "octopus"], "body13"),
    ],
)
def test_wrong_usage_is_told(file: Path, tmp_path: Path, arguments: list[str], part: str) -> None:
    out, *rest = arguments
    assert part in run(file, tmp_path / out, *rest, code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz"]


def test_a_folder_with_something_else_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert "is not an empty folder" in run(file, tmp_path / "out", code=2)


def test_an_input_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert "is no data set" in run(tmp_path / "in", tmp_path / "out", code=2)


def test_a_pose_that_may_not_miss_a_joint_is_bad_data(file: Path, tmp_path: Path) -> None:
    assert "record 1" in run(file, tmp_path / "out", "--missing", "error", code=3)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--engine", "ray", "--shard-range", "1/2"], "--shard-range is for the engine local"),
        (["--ray-address", "auto"], "--ray-address is for --engine ray"),
    ],
)
def test_engines_have_their_own_options(file: Path, tmp_path: Path, arguments: list[str], part: str) -> None:
    assert part in run(file, tmp_path / "out", *arguments, code=2)


def test_engine_ray_writes_the_same_bytes(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    options = ["--format", "keypoints", "--shard-size", 2]
    run(file, tmp_path / "local", *options)
    told = json.loads(run(file, tmp_path / "ray", *options, "--engine", "ray", "--json"))
    assert (told["rendered"], told["shards"], told["complete"]) == (5, 3, True)
    written = {path.name: path.read_bytes() for path in (tmp_path / "local").glob("shard-*")}
    assert len(written) == 3
    for name, content in {**written, "index.json": (tmp_path / "local" / "index.json").read_bytes()}.items():
        assert (tmp_path / "ray" / name).read_bytes() == content

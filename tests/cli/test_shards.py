"""`flexpose shards`: what it says of whole and torn data sets, and what it mends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.poses import PoseSet, write_poses

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def file(tmp_path: Path, poses: PoseSet) -> Path:
    write_poses(PoseSet.concat([poses] * 3), tmp_path / "in.npz")
    return tmp_path / "in.npz"


@pytest.fixture(params=["webdataset", "npy", "png", "keypoints"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path, file: Path) -> Path:
    run("render", file, tmp_path / "out", "--format", request.param, "--shard-size", 4, "--size", 20)
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "journal" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def first_file(dataset: Path, shard: int) -> Path:
    """The file of a shard with its pictures, or one of them."""
    main = dataset / json.loads((dataset / "index.json").read_text())["shards"][shard]["file"]
    return sorted(main.iterdir())[1] if main.is_dir() else main


def test_info(dataset: Path) -> None:
    told = json.loads(run("shards", "info", dataset, "--json").stdout)
    assert (told["poses"], told["shards"], told["missing_shards"], told["complete"]) == (15, 4, 0, True)
    assert told["inputs"][0]["name"] == "in.npz"
    assert told["config"]["size_px"] == 20
    assert "body13" in run("shards", "info", dataset).stdout


def test_a_whole_data_set_is_verified(dataset: Path) -> None:
    for options in ([], ["--full"]):
        told = json.loads(run("shards", "verify", dataset, *options, "--json").stdout)
        assert (told["intact"], told["poses"], told["problems"]) == (4, 15, [])
    assert "4 of 4 shards are intact" in run("shards", "verify", dataset).stdout


def test_a_flipped_bit_is_found_by_its_hash(dataset: Path) -> None:
    torn = first_file(dataset, 1)
    data = bytearray(torn.read_bytes())
    data[len(data) // 2] ^= 4
    torn.write_bytes(data)
    assert run("shards", "verify", dataset).exit_code == 0
    found = run("shards", "verify", dataset, "--full", "--json", code=3)
    (problem,) = json.loads(found.stdout)["problems"]
    assert problem["shard"] == 1
    assert "its hash differs" in problem["message"]


def test_a_torn_shard_is_found_by_its_length_and_written_again(dataset: Path, file: Path) -> None:
    before = contents(dataset)
    torn = first_file(dataset, 2)
    torn.write_bytes(torn.read_bytes()[:-7])
    (dataset / "shard-00000.tar.tmp-4194999").write_bytes(b"left")
    told = run("shards", "verify", dataset, code=3)
    assert "must have" in told.stderr
    assert "1 temporary files" in told.stderr
    run("shards", "repair", dataset, code=3)
    assert not (dataset / "index.json").exists()
    told = json.loads(run("shards", "repair", dataset, "--json", code=3).stdout)
    assert (told["missing"], told["torn"], told["complete"]) == ([2], [], False)
    told = json.loads(run("shards", "repair", dataset, "--input", file, "--json").stdout)
    assert (told["written"], told["missing"], told["complete"]) == (1, [], True)
    assert contents(dataset) == before
    assert "0 temporary files and 0 torn shards" in run("shards", "repair", dataset).stdout


def test_a_torn_shard_is_given_up(dataset: Path) -> None:
    first_file(dataset, 1).unlink()
    told = json.loads(run("shards", "repair", dataset, "--drop", "--json").stdout)
    assert (len(told["torn"]), told["complete"]) == (1, True)
    told = json.loads(run("shards", "verify", dataset, "--full", "--json").stdout)
    assert (told["intact"], told["missing"], told["poses"]) == (3, 1, 11)
    # Mending what is given up already does not bring it back into question.
    assert run("shards", "repair", dataset).exit_code == 0


def test_an_unfinished_data_set_is_told(tmp_path: Path, file: Path) -> None:
    out = tmp_path / "out"
    run("render", file, out, "--shard-size", 4, "--size", 20, "--shard-range", "1/2")
    assert "2 shards are missing" in run("shards", "verify", out, code=3).stdout
    assert "2 of 4 shards are not written yet: 2, 3" in run("shards", "merge", out, code=2).stderr
    run("render", file, out, "--shard-size", 4, "--size", 20, "--shard-range", "2/2")
    (out / "index.json").unlink()
    told = json.loads(run("shards", "merge", out, "--json").stdout)
    assert (told["poses"], told["shards"]) == (15, 4)


@pytest.mark.parametrize("kind", ["webdataset", "npy", "png", "keypoints"])
def test_a_merge_is_what_one_rendering_gives(tmp_path: Path, poses: PoseSet, kind: str) -> None:
    write_poses(poses[:4], tmp_path / "a.npz")
    write_poses(poses.replace(labels=["new", *list(poses.labels or ())[1:]]), tmp_path / "b.npz")
    options = ["--format", kind, "--shard-size", 4, "--size", 20]
    for name in "ab":
        run("render", tmp_path / f"{name}.npz", tmp_path / name, *options)
    run("render", tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "whole", *options)
    run("shards", "merge", tmp_path / "both", tmp_path / "a", tmp_path / "b")
    run("shards", "verify", tmp_path / "both", "--full")
    merged, whole = contents(tmp_path / "both"), contents(tmp_path / "whole")
    different = {name for name in merged if merged[name] != whole.get(name)}
    # The plan says of the poses' hash that it is one of hashes, and the index has the plan's hash.
    if kind == "webdataset":
        # The labels of a tar are names. Those of a table are numbers of the table of both.
        assert different <= {"plan.json", "index.json"}
    assert different <= {"plan.json", "index.json"}
    assert merged.keys() == whole.keys()


def test_data_sets_of_other_settings_are_not_merged(tmp_path: Path, file: Path) -> None:
    for size in (20, 24):
        run("render", file, tmp_path / str(size), "--size", size)
    told = run("shards", "merge", tmp_path / "both", tmp_path / "20", tmp_path / "24", code=2)
    assert "config.size_px: 20 in the one, 24 in the other" in told.stderr
    assert not (tmp_path / "both").exists()


def test_wrong_usage_is_told(tmp_path: Path, file: Path) -> None:
    assert "is no data set" in run("shards", "verify", tmp_path, code=2).stderr
    out = tmp_path / "out"
    run("render", file, out)
    assert "--drop to give them up" in run("shards", "repair", out, "--drop", "--input", file, code=2).stderr

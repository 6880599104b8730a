"""`flexpose poses` and `flexpose skeletons`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.poses import read_poses, write_poses
from flexpose.skeleton import Skeleton, list_skeletons, load_skeleton

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses import PoseSet


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def run_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def file(tmp_path: Path, poses: PoseSet) -> Path:
    path = tmp_path / "in.npz"
    write_poses(poses, path)
    return path


def test_inspect_counts(file: Path) -> None:
    about = run_json("poses", "inspect", file)
    assert {key: about[key] for key in ("poses", "complete", "labelled", "skeleton")} == {
        "poses": 6,
        "complete": 3,
        "labelled": 6,
        "skeleton": "body13",
    }
    wrist = next(joint for joint in about["joints"] if joint["name"] == "left_wrist")
    assert (wrist["visible"], wrist["occluded"], wrist["missing"]) == (3, 0, 3)
    assert sum(joint["occluded"] for joint in about["joints"]) == 1
    assert about["image_width"] == {"min": 200, "median": 200, "max": 200}
    assert about["labels"] == {"": 1, "sit": 2, "walk": 3}


def test_inspect_as_text(file: Path) -> None:
    text = run("poses", "inspect", file)
    for part in ("body13", "left_wrist", "walk", "160"):
        assert part in text


def test_convert_keeps_the_poses(file: Path, poses: PoseSet, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.json"
    assert run_json("poses", "convert", file, out) == {"path": str(out), "poses": 6, "skeleton": "body13"}
    back = read_poses(out)
    np.testing.assert_array_equal(back.keypoints, poses.keypoints)
    np.testing.assert_array_equal(back.visibility, poses.visibility)
    assert back.labels == poses.labels


def test_convert_refuses_an_unknown_ending(file: Path, tmp_path: Path) -> None:
    text = run("poses", "convert", file, tmp_path / "out.xyz", code=2)
    assert ".json" in text
    assert not (tmp_path / "out.xyz").exists()


def test_split_takes_each_pose_once(tmp_path: Path) -> None:
    source = tmp_path / "target.json"
    run("poses", "synth", source, "-n", 40, "--domain", "target", "--seed", 3)
    split = run_json("poses", "split", source, tmp_path / "a", "--shots", 8, "--seed", 5)
    assert (split["shots"], split["rest"]) == (8, 32)
    everything = read_poses(source)
    shots, rest = read_poses(tmp_path / "a" / "shots.json"), read_poses(tmp_path / "a" / "rest.json")
    assert sorted([*shots.ids, *rest.ids]) == sorted(everything.ids)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["seed"] == 5
    for name, other in [("b", 5), ("c", 6)]:
        run("poses", "split", source, tmp_path / name, "--shots", 8, "--seed", other)
    first = (tmp_path / "a" / "shots.json").read_bytes()
    assert first == (tmp_path / "b" / "shots.json").read_bytes()
    assert first != (tmp_path / "c" / "shots.json").read_bytes()


def test_split_by_label(tmp_path: Path) -> None:
    source = tmp_path / "target.json"
    run("poses", "synth", source, "-n", 40, "--domain", "target")
    run("poses", "split", source, tmp_path / "out", "--shots-per-label", 1, "--strategy", "kmeans")
    labels = read_poses(tmp_path / "out" / "shots.json").labels
    assert labels is not None
    assert sorted(labels) == sorted(set(read_poses(source).labels or ()))


def test_split_wants_one_way_of_counting(file: Path, tmp_path: Path) -> None:
    assert "not both" in run(
        "poses", "split", file, tmp_path / "out", "--shots", 2, "--shots-per-label", 1, code=2
    )
    assert not (tmp_path / "out").exists()


def test_synth_follows_the_seed_and_the_domain(tmp_path: Path) -> None:
    made = {}
    for name, domain, seed in [
        ("a", "source", 1),
        ("b", "source", 1),
        ("c", "source", 2),
        ("d", "target", 1),
    ]:
        path = tmp_path / f"{name}.json"
        assert run_json("poses", "synth", path, "-n", 5, "--domain", domain, "--seed", seed)["poses"] == 5
        made[name] = path.read_bytes()
    assert made["a"] == made["b"]
    assert len({made["a"], made["c"], made["d"]}) == 3


def test_synth_names_the_domains(tmp_path: Path) -> None:
    assert "target" in run("poses", "synth", tmp_path / "x.json", "-n", 5, "--domain", "moon", code=2)


def test_skeletons_are_listed() -> None:
    assert [row["name"] for row in run_json("skeletons")] == list(list_skeletons())
    assert "body13" in run("skeletons")


def test_skeleton_is_shown_whole() -> None:
    body = load_skeleton("body13")
    shown = run_json("skeletons", "show", "body13")
    assert tuple(shown["names"]) == body.names
    assert shown["bones"] == [list(bone) for bone in body.bones]
    assert shown["bone_colors"] == body.bone_colors.tolist()
    assert shown["fingerprint"] == body.fingerprint
    text = run("skeletons", "show", "body13")
    for name in body.names:
        assert name in text


def test_skeleton_definition_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(run("skeletons", "show", "body13", "--toml"), encoding="utf-8")
    assert Skeleton.from_toml(path) == load_skeleton("body13")
    assert run_json("skeletons", "show", path)["name"] == "body13"


def test_unknown_skeleton_lists_the_known() -> None:
    assert "body13" in run("skeletons", "show", "octopus", code=2)

"""`flexpose poses` and `flexpose skeletons`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.poses import PoseSet, read_poses, write_poses
from flexpose.skeleton import Skeleton, list_skeletons, load_skeleton

if TYPE_CHECKING:
    from pathlib import Path


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


def test_merge_puts_one_after_the_other(file: Path, poses: PoseSet, tmp_path: Path) -> None:
    other, out = tmp_path / "other.json", tmp_path / "both.json"
    write_poses(poses[:2].replace(labels=None), other)
    said = run_json("poses", "merge", file, other, "--out", out)
    assert said["poses"] == len(poses) + 2
    assert list(said["files"].values()) == [len(poses), 2]
    both = read_poses(out)
    np.testing.assert_allclose(both.keypoints[: len(poses)], poses.keypoints, atol=1e-4)
    np.testing.assert_allclose(both.keypoints[len(poses) :], poses.keypoints[:2], atol=1e-4)
    assert both.ids.tolist() == list(range(1, len(poses) + 3)), "COCO wants each id once"
    assert both.labels is not None
    assert both.labels[len(poses) :] == ("", "")


def test_merge_wants_one_skeleton(file: Path, tmp_path: Path) -> None:
    other, out = tmp_path / "other.npz", tmp_path / "both.npz"
    write_poses(PoseSet(np.ones((3, 17, 2)), skeleton=load_skeleton("coco17")), other)
    said = run("poses", "merge", file, other, "--out", out, code=2)
    for part in ("body13", "coco17", "--skeleton", "other.npz"):
        assert part in said
    assert not out.exists()
    assert run_json("poses", "merge", file, other, "--out", out, "--skeleton", "body13")["poses"] == 9
    assert "two or more" in run("poses", "merge", file, "--out", out, code=2)


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


def test_project_sees_a_motion(tmp_path: Path) -> None:
    rows = "\n".join("0 90 0 0 0 0" for _ in range(6))
    names = ["l.up", "l.lo", "l.ft", "r.up", "r.lo", "r.ft"]
    leg = "JOINT {} {{ OFFSET {} 0 0 JOINT {} {{ OFFSET 0 -40 0 JOINT {} {{ OFFSET 0 -40 0 }} }} }}"
    legs = [leg.format(names[0], 9, *names[1:3]), leg.format(names[3], -9, *names[4:])]
    (tmp_path / "walk.bvh").write_text(
        "HIERARCHY\nROOT r { OFFSET 0 0 0 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
        + "\n".join(legs)
        + "\n}\nMOTION\nFrames: 6\nFrame Time: 0.1\n"
        + rows,
        encoding="utf-8",
    )
    joints = [f"{side}_{part}" for side in ("left", "right") for part in ("hip", "knee", "ankle")]
    rig = "\n".join(f'{joint} = "{name}"' for joint, name in zip(joints, names, strict=True))
    (tmp_path / "rig.toml").write_text(rig, encoding="utf-8")
    legs_only = Skeleton("legs", joints, [(0, 1), (1, 2), (3, 4), (4, 5)])
    (tmp_path / "legs.toml").write_text(legs_only.to_toml(), encoding="utf-8")
    options = ["--rig", tmp_path / "rig.toml", "--skeleton", tmp_path / "legs.toml", "--cameras", 3]
    options += ["--stride", 2, "--elevation", "0:10", "--azimuth", "-20:20", "--size", 128, "--seed", 4]
    out = tmp_path / "walk.json"
    about = run_json("poses", "project", tmp_path / "walk.bvh", out, *options)
    assert about == {"path": str(out), "poses": 9, "cameras": 3, "skeleton": "legs"}
    poses = read_poses(out)
    assert poses.image_size.tolist() == [[128, 128]] * 9
    assert (poses.keypoints[:, 0, 0] > poses.keypoints[:, 3, 0]).all()  # seen from the front
    first = out.read_bytes()
    run("poses", "project", tmp_path / "walk.bvh", out, *options)
    assert out.read_bytes() == first
    assert "no source for nose" in run("poses", "project", tmp_path / "walk.bvh", out, *options[:2], code=2)
    assert "elevation must be LOW:HIGH" in run(
        "poses", "project", tmp_path / "walk.bvh", out, *options[:2], "--elevation", "up", code=2
    )


def test_datasets_are_listed(tmp_path: Path) -> None:
    (tmp_path / "lsp.npz").touch()
    rows = {row["name"]: row for row in run_json("poses", "datasets", "--data-root", tmp_path)}
    assert rows["lsp"]["found"] == str(tmp_path / "lsp.npz")
    assert rows["h36m"]["found"] is None
    assert rows["h36m"]["splits"] == ["train", "test"]
    assert "vision.imar.ro/human3.6m" in run("poses", "datasets")


def test_inspect_and_convert_a_folder(tmp_path: Path) -> None:
    points = "\n".join(f"{10 + i} {20 + i}" for i in range(68))
    for frame in (1, 2):
        path = tmp_path / "video" / "annot" / f"{frame:06}.pts"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}", encoding="utf-8")
    assert run_json("poses", "inspect", tmp_path / "video")["skeleton"] == "face68"
    assert run_json("poses", "convert", tmp_path / "video", tmp_path / "faces.json")["poses"] == 2
    (tmp_path / "empty").mkdir()
    assert "known data set" in run("poses", "inspect", tmp_path / "empty", code=2)


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

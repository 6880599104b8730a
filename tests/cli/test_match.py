"""`match` and `annotate` from a folder of PNG files to poses with errors."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.match import load_annotator, placement
from flexpose.poses import PoseSet, read_poses, write_poses
from flexpose.skeleton import Skeleton

from .. import tiny
from ..match import people

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of 32 x 32 px by two persons, their labels, and poses of nobody in particular."""
    folder = tmp_path_factory.mktemp("match")
    pictures, normalized = people.photographed(8)
    for number, image in enumerate(pictures.images):
        path = folder / "crops" / f"person{number // 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    labels = PoseSet(
        pictures.denormalize(normalized), skeleton=people.prior(1).skeleton, image_size=pictures.sizes
    )
    write_poses(labels, folder / "labels.json")
    write_poses(people.prior(), folder / "sampled.npz")
    return folder


def quick(folder: Path) -> list[object]:
    start = ["match", folder / "crops", folder / "sampled.npz"]
    return [*start, folder / "run", "--preset", "tiny", "--set", "steps=5", "--set", "dtype=float32"]


def test_options_reach_the_settings(folder: Path) -> None:
    like = ["--like", folder / "labels.json"]
    shown = json.loads(run(*quick(folder), *like, "--seed", 7, "--dry-run")[0])
    fill, center = placement(read_poses(folder / "labels.json"))
    assert (shown["steps"], shown["size_px"], shown["seed"]) == (5, 32, 7)
    assert shown["fill"] == pytest.approx(fill)
    assert shown["center"] == pytest.approx(center)
    assert fill == pytest.approx(1 / 1.2, abs=1e-3)
    assert json.loads(run(*quick(folder), "--dry-run")[0])["fill"] == pytest.approx(1 / 1.2)
    assert not (folder / "run").exists()
    assert "size_px must be a multiple of 16" in run(*quick(folder), "--set", "size_px=40", code=2)[1]
    assert "stepz" in run(*quick(folder), "--set", "stepz=4", code=2)[1]


def test_like_has_the_joints_of_the_prior(folder: Path, tmp_path: Path) -> None:
    """The box of poses with other joints is another one."""
    labels = read_poses(folder / "labels.json")
    names = (*labels.skeleton.names, "hat")
    hats = Skeleton(name="hats", names=names, bones=labels.skeleton.bones)
    above = labels.keypoints.min(1, keepdims=True) - 20
    write_poses(
        PoseSet(np.concatenate([labels.keypoints, above], 1), skeleton=hats, image_size=labels.image_size),
        tmp_path / "hats.npz",
    )
    shown = json.loads(run(*quick(folder), "--like", tmp_path / "hats.npz", "--dry-run")[0])
    assert shown["fill"] == pytest.approx(placement(labels)[0])


def test_from_pictures_to_errors(folder: Path) -> None:
    told = json.loads(run(*quick(folder), "--like", folder / "labels.json", "--json")[0])
    annotator = folder / "run" / "annotator.safetensors"
    assert told == {"run": str(folder / "run"), "annotator": str(annotator)}
    assert load_annotator(annotator)[2]["facts"]["pictures"] == 8
    written = annotator.read_bytes()
    assert "holds a run already" in run(*quick(folder), "--like", folder / "labels.json", code=2)[1]
    again = run(*quick(folder), "--like", folder / "labels.json", "--resume")[0]
    assert again.split() == ["annotator:", str(annotator)]
    assert annotator.read_bytes() == written
    assert "config.fill" in run(*quick(folder), "--set", "fill=0.5", "--resume", code=2)[1]

    start = ["annotate", folder / "crops", folder / "run", "--labels", folder / "labels.json"]
    found = json.loads(run(*start, "--out", folder / "found.json", "--json")[0])
    assert found["pictures"][0] == "person0/0.png"
    assert {*found["scores"]} >= {"mean_l2_px", "mean_l2_pct", "pck10", "pck20"}
    poses = read_poses(folder / "found.json")
    assert len(poses) == 8
    errors = np.linalg.norm(poses.keypoints - read_poses(folder / "labels.json").keypoints, axis=-1)
    assert found["scores"]["mean_l2_px"] == pytest.approx(errors.mean(), rel=1e-4)
    table, said = run(*start, "--out", folder / "found.npz")
    assert f"{found['scores']['mean_l2_px']:.4g}" in table
    assert "found.npz" in said
    few = json.loads(run(*start, "--out", folder / "few.npz", "--limit", 3, "--json")[0])
    assert few["pictures"] == found["pictures"][:3]
    plain = run("annotate", folder / "crops", annotator, "--out", folder / "plain.npz")
    assert plain[0] == ""
    np.testing.assert_allclose(read_poses(folder / "plain.npz").keypoints, poses.keypoints, atol=1e-2)


def test_labels_of_other_pictures_keep_the_annotations(folder: Path, tmp_path: Path) -> None:
    run(*quick(folder)[:3], tmp_path / "run", *quick(folder)[4:])
    write_poses(people.prior(3), tmp_path / "labels.npz")
    start = ["annotate", folder / "crops", tmp_path / "run", "--out", tmp_path / "found.npz"]
    told = run(*start, "--labels", tmp_path / "labels.npz", code=2)[1]
    assert "labels must be 8 as the pictures are, got 3" in told
    assert len(read_poses(tmp_path / "found.npz")) == 8


def test_a_broken_picture(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").write_bytes(b"\x89PNG")
    start = ["match", tmp_path / "crops", folder / "sampled.npz", tmp_path / "run", "--preset", "tiny"]
    told = run(*start, code=3)[1]
    assert "whole picture" in told
    assert "poses inspect" not in told
    assert not (tmp_path / "run").exists()


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    told = run(*quick(folder)[:3], folder / "none", *quick(folder)[4:], code=2)[1]
    assert "flexpose-pda[match]" in told.replace("\n", "")
    assert not (folder / "none").exists()


def test_the_bench_names_its_tables() -> None:
    told = run("bench", "paper", "--help")[0]
    for name in ("table1", "table2", "table3", "table4", "fig9"):
        assert name in told


def test_a_quick_bench_of_pictures_needs_them(tmp_path: Path) -> None:
    start = [
        "bench",
        "paper",
        "table3",
        "--data-root",
        tmp_path,
        "--quick",
        "--row",
        "mean",
        "--out",
        tmp_path,
    ]
    assert "['faces']" in run(*start, code=2)[1]
    tiny.train_source(tmp_path / "source")
    told = run(*start, "--source", f"faces={tmp_path / 'source'}", code=2)[1]
    assert "give ibug300w_afw_helen_images.npz" in told.replace("\n", " ")

"""Targets with pictures: what is left for the test stays out of everything else, and cells are kept."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from flexpose._rust import __version__
from flexpose.adapt.methods import method_config
from flexpose.bench import Grid, Row, Target, markdown, run_grid
from flexpose.bench import pictures as module
from flexpose.bench import run as running
from flexpose.bench.pictures import PictureTarget, match_config, read_picture_target
from flexpose.config import config_dict
from flexpose.errors import ConfigError, UsageError
from flexpose.match import Pictures, load_annotator
from flexpose.poses import PoseSet, write_poses

from .. import tiny
from ..match import people

if TYPE_CHECKING:
    from pathlib import Path

MATCH = {
    "preset": "tiny",
    "steps": 3,
    "batch": 4,
    "critic_width": 16,
    "dtype": "float32",
}
GRID = Grid(
    title="A table",
    about="Of pictures.",
    targets=(Target(name="street", shots=6, pictures=True),),
    rows=(
        Row(name="mean pose", method="mean"),
        Row(name="real poses", method="real"),
        Row(name="as it is", method="none"),
        Row(name="mixed", method="mixup"),
    ),
    columns=("mean_l2_px", "pck20", "fd"),
    draws=1,
    seeds=1,
    samples=150,
    match=MATCH,
)
SKELETON = people.prior(1).skeleton
GROUPS = [i // 5 for i in range(60)]


def labelled(n: int = 60) -> tuple[Pictures, PoseSet]:
    """Pictures of five to a person, and their labels."""
    pictures, normalized = people.photographed(n, groups=GROUPS[:n])
    return pictures, PoseSet(pictures.denormalize(normalized), skeleton=SKELETON, image_size=pictures.sizes)


def write_npz(path: Path, pictures: Pictures, labels: PoseSet, *, hat: bool = False) -> None:
    parts = []
    for image in pictures.images:
        stream = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(stream, "JPEG", quality=95)
        parts.append(stream.getvalue())
    keypoints, names = labels.keypoints, list(labels.skeleton.names)
    if hat:  # a joint that no source has
        keypoints = np.concatenate([keypoints, keypoints.min(1, keepdims=True) - 9], 1)
        names.append("hat")
    np.savez(
        path,
        jpeg=np.frombuffer(b"".join(parts), np.uint8),
        offset=np.cumsum([0, *map(len, parts)]),
        keypoints=keypoints,
        joint_names=np.array(names),
        bones=np.array(labels.skeleton.bones),
        size=pictures.size_px,
        subject=pictures.groups,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.train_source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_npz(tmp_path / "street.npz", *labelled())
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What training, annotation and adaptation are given."""
    found: dict[str, list[Any]] = {"match": [], "annotate": [], "adapt": []}
    match, annotate, adapt_by = module.match, module.annotate, running.adapt_by

    def matching(pictures: Pictures, poses: PoseSet, config: Any, *given: Any, **options: Any) -> Any:
        found["match"].append((pictures, poses, config))
        return match(pictures, poses, config, *given, **options)

    def annotating(pictures: Pictures, *given: Any, **options: Any) -> Any:
        found["annotate"].append(pictures)
        return annotate(pictures, *given, **options)

    def adapting(method: str, shots: PoseSet, *given: Any, **options: Any) -> Any:
        found["adapt"].append(shots)
        return adapt_by(method, shots, *given, **options)

    monkeypatch.setattr(module, "match", matching)
    monkeypatch.setattr(module, "annotate", annotating)
    monkeypatch.setattr(running, "adapt_by", adapting)
    return found


def test_rows_of_a_target_with_pictures(source: Path, data: Path, calls: dict[str, list[Any]]) -> None:
    cells, notes = run_grid(GRID, data, data / "out", sources={"coco": source})
    assert (notes, [cell.failed for cell in cells]) == ([], [None] * 4)
    by_name = {cell.row: cell for cell in cells}
    for cell in cells:
        assert {"mean_l2_px", "mean_l2_pct", "pck10", "pck20"} <= {*cell.values}
        assert ("fd" in cell.values) == (cell.row in {"as it is", "mixed"})
        assert all(np.isfinite(value) for value in cell.values.values())
    assert (by_name["mean pose"].seconds, by_name["mean pose"].shots) == (0.0, 6)
    assert [len(calls[name]) for name in ("match", "annotate", "adapt")] == [3, 3, 2]
    assert len({cell.key for cell in cells}) == 4

    again, _ = run_grid(GRID, data, data / "out", sources={"coco": source})
    assert again == cells
    assert len(calls["match"]) == 3
    text = markdown(GRID, cells)
    assert "|  | n | shots | mean_l2_px | pck20 | fd | seconds |" in text
    assert f"| mean pose | 1 | 6 | {by_name['mean pose'].values['mean_l2_px']:.2f} |" in text

    # The mean of the guide poses by hand.
    target = read_picture_target("street", data, 32)
    shots = calls["adapt"][0].keypoints
    errors = np.linalg.norm(target.labels.keypoints[target.test] - shots.mean(0), axis=-1)
    assert by_name["mean pose"].values["mean_l2_px"] == pytest.approx(errors.mean(), rel=1e-5)


def test_nothing_learns_from_the_test(source: Path, data: Path, calls: dict[str, list[Any]]) -> None:
    run_grid(GRID, data, data / "out", sources={"coco": source})
    target = read_picture_target("street", data, 32)
    tested = {*np.array(target.pictures.names)[target.test].tolist()}
    poses = {pose.tobytes() for pose in target.labels.keypoints[target.test]}
    assert len(tested) == len(poses) == 10
    for pictures, _, config in calls["match"]:
        assert len(pictures) == 50
        assert not {*pictures.names} & tested
        assert (config.fill, config.center) != (match_config(MATCH, 0).fill, (0.0, 0.0))
    real = calls["match"][0][1]
    assert len(real) == 50 - 6, "neither the test's poses nor the guide poses"
    for shown in (real, *calls["adapt"]):
        assert not {pose.tobytes() for pose in shown.keypoints} & poses
    for pictures in calls["annotate"]:
        assert {*pictures.names} == tested


def test_persons_are_on_one_side(data: Path) -> None:
    target = read_picture_target("street", data, 32)
    groups = target.pictures.groups
    assert groups is not None
    assert not {*groups[target.known].tolist()} & {*groups[target.test].tolist()}
    assert sorted([*target.known, *target.test]) == list(range(60))
    again = read_picture_target("street", data, 32)
    assert np.array_equal(again.test, target.test)
    pictures, labels = labelled()
    alone = PictureTarget(Pictures(pictures.images, pictures.names, pictures.sizes), labels)
    assert (len(alone.known), len(alone.test)) == (48, 12)


def test_all_rows_have_the_joints_of_the_source(
    source: Path, tmp_path: Path, calls: dict[str, list[Any]]
) -> None:
    """A joint that the target alone has counts in no row, and moves no row's poses in the pictures."""
    pictures, labels = labelled()
    found = []
    for name in ("plain", "hat"):
        (tmp_path / name).mkdir()
        write_npz(tmp_path / name / "street.npz", pictures, labels, hat=name == "hat")
        grid = replace(GRID, rows=GRID.rows[:3])
        found.append(run_grid(grid, tmp_path / name, tmp_path / name / "out", sources={"coco": source})[0])
    plain, hat = found
    assert {part.parent for part in (tmp_path / "hat" / "out" / "runs").glob("*/annotator.safetensors")}
    for file in (tmp_path / "hat" / "out" / "runs").glob("*/annotator.safetensors"):
        assert load_annotator(file)[1].num_keypoints == 13
    for one, other in zip(plain, hat, strict=True):
        assert one.key != other.key
        assert other.values["mean_l2_px"] == pytest.approx(one.values["mean_l2_px"], rel=1e-3)
    fills = [config.fill for _, _, config in calls["match"]]
    assert fills == pytest.approx([fills[0]] * 4)


@pytest.mark.parametrize("what", ["annotator", "pictures", "labels"])
def test_other_annotators_pictures_or_labels_are_other_cells(
    source: Path, data: Path, calls: dict[str, list[Any]], what: str
) -> None:
    grid = replace(GRID, rows=GRID.rows[1:2])
    (cell,), _ = run_grid(grid, data, data / "out", sources={"coco": source})
    pictures, labels = labelled()
    if what == "annotator":
        grid = replace(grid, match=MATCH | {"steps": 2})
    elif what == "pictures":
        images = pictures.images.copy()
        images[0] = 255 - images[0]
        write_npz(data / "street.npz", replace(pictures, images=images), labels)
    else:
        write_npz(data / "street.npz", pictures, labels.replace(keypoints=labels.keypoints + np.float32(0.5)))
    (other,), _ = run_grid(grid, data, data / "out", sources={"coco": source})
    assert other.key != cell.key
    assert len(calls["match"]) == 2


def test_targets_without_pictures_have_the_keys_they_had() -> None:
    row = Row(name="mixed", method="mixup", shots=5)
    target = Target(name="lsp", shots=14)
    identity = {
        "method": "mixup",
        "config": config_dict(method_config("mixup", "tuned", {}, 3)),
        "shots": 5,
        "target": {"name": "lsp", "shots_per_label": None, "shots": 14, "poses": "of lsp"},
        "networks": {"generator": "g", "beta": "b"},
        "draw": 2,
        "seed": 3,
        "samples": 150,
        "version": __version__,
    }
    expected = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    for pictures in ({}, {"pictures": "x", "match": {}}):
        given = ("of lsp", {"generator": "g", "beta": "b"}, 2, 3, 150, pictures)
        assert running._key(row, target, *given) == expected
    assert running._key(row, replace(target, pictures=True), *given) != expected


def test_labels_in_a_folder(tmp_path: Path) -> None:
    pictures, labels = labelled(10)
    (tmp_path / "walk" / "pictures").mkdir(parents=True)
    for number, image in enumerate(pictures.images):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "walk" / "pictures" / f"{number}.png")
    with pytest.raises(
        UsageError, match=r"give walk\.npz with pictures and keypoints, or a folder walk with"
    ):
        read_picture_target("walk", tmp_path, 32)
    visibility = labels.visibility.copy()
    visibility[3, 0] = 0
    write_poses(labels.replace(visibility=visibility), tmp_path / "walk" / "labels.npz")
    target = read_picture_target("walk", tmp_path, 32)
    assert target.pictures.names == tuple(f"{i}.png" for i in range(10) if i != 3), "that one misses a joint"
    np.testing.assert_array_equal(target.pictures.images[0], pictures.images[0])
    np.testing.assert_array_equal(target.labels.keypoints[3], labels.keypoints[4])
    write_poses(labels[:9], tmp_path / "walk" / "labels.json")
    with pytest.raises(UsageError, match="walk: expected a label for each of 10 pictures, got 9"):
        read_picture_target("walk", tmp_path, 32)


def test_too_few_for_a_test() -> None:
    pictures, labels = labelled(10)
    one = replace(pictures, groups=np.zeros(10, np.int64))
    with pytest.raises(UsageError, match="to leave some for a test, got 10"):
        PictureTarget(one, labels)
    with pytest.raises(UsageError, match="to leave some for a test, got 2"):
        PictureTarget(replace(pictures[:2], groups=None), labels[:2])


def test_settings_of_the_annotators(source: Path, data: Path) -> None:
    config = match_config({"preset": "tiny", "steps": 9}, 4)
    assert (config.size_px, config.steps, config.seed) == (32, 9, 4)
    with pytest.raises(UsageError, match=r"preset must be one of tiny, cpu-hour, .*, got 'huge'"):
        match_config({"preset": "huge"}, 0)
    with pytest.raises(ConfigError, match="stepz"):
        run_grid(replace(GRID, match={"stepz": 1}), data, data / "out", sources={"coco": source})
    assert not (data / "out" / "cells.jsonl").exists()

"""Pictures on disk: what is drawn, what is left out, bytes that do not vary, nothing half-written."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet, frame_poses
from flexpose.raster import rasterize
from flexpose.shards import RenderStyle, write, write_grid, write_pngs, write_webdataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STYLE = RenderStyle(size_px=32)


def expected(poses: PoseSet, index: int, style: RenderStyle) -> tuple[np.ndarray, np.ndarray]:
    """The picture of one pose and its joints in it, by the definitions: frame, scale, draw."""
    frame = frame_poses(poses[index], style.frame, style.margin)
    normalized = (poses.keypoints[index].astype(np.float64) - frame.center[0]) / frame.half[0]
    pixels = ((normalized + 1) / 2 * style.size_px).astype(np.float32)
    pixels[poses.visibility[index] == 0] = 0
    (image,) = rasterize(
        pixels[None],
        poses.visibility[index][None],
        poses.skeleton,
        size_px=style.size_px,
        line_width_px=style.line_width_px,
        joint_radius_px=style.joint_radius_px,
    )
    return image, pixels


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def samples(path: Path) -> list[dict[str, Any]]:
    with webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False) as dataset:
        return list(dataset)


@pytest.fixture
def framed_in_image(poses: PoseSet) -> PoseSet:
    return poses[:5]


@pytest.mark.parametrize(
    "style",
    [
        STYLE,
        RenderStyle(size_px=48, line_width_px=3.5, joint_radius_px=0, frame="keep"),
        RenderStyle(size_px=40, frame="root", margin=0.3),
    ],
    ids=lambda style: style.frame,
)
def test_png_files_show_the_poses(framed_in_image: PoseSet, tmp_path: Path, style: RenderStyle) -> None:
    report = write_pngs(framed_in_image, tmp_path / "out", style, workers=2)
    assert (report.rendered, report.left_out) == (5, 0)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{index:08d}.png" for index in range(5)]
    for index, name in enumerate(names):
        image, _ = expected(framed_in_image, index, style)
        assert image.any()
        np.testing.assert_array_equal(decoded((tmp_path / "out" / name).read_bytes()), image)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
def test_webdataset_reads_the_shard(poses: PoseSet, tmp_path: Path) -> None:
    write_webdataset(poses, tmp_path / "out.tar", STYLE)
    read = samples(tmp_path / "out.tar")
    assert [sample["__key__"] for sample in read] == [f"{index:08d}" for index in range(5)]
    for index, sample in enumerate(read):
        image, joints = expected(poses, index, STYLE)
        np.testing.assert_array_equal(decoded(sample["png"]), image)
        about = json.loads(sample["json"])
        assert about["visibility"] == poses.visibility[index].tolist()
        assert about["size"] == [32, 32]
        assert about["id"] == poses.ids[index]
        assert poses.labels is not None
        assert about["label"] == poses.labels[index]
        assert about["skeleton"] == "body13"
        np.testing.assert_allclose(about["keypoints"], joints, rtol=0, atol=6e-5)


def test_shard_is_plain_and_says_nothing_of_the_machine(poses: PoseSet, tmp_path: Path) -> None:
    write_webdataset(poses, tmp_path / "out.tar", STYLE)
    with tarfile.open(tmp_path / "out.tar") as shard:
        members = shard.getmembers()
        assert shard.pax_headers == {}
    assert [member.name for member in members] == sorted(member.name for member in members)
    for member in members:
        assert member.isreg()
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
        assert member.mode == 0o644


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_bytes_do_not_depend_on_workers_or_chunks(
    poses: PoseSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    many = PoseSet.concat([poses] * 4)
    write_webdataset(many, tmp_path / "whole.tar", STYLE)
    monkeypatch.setattr(write, "_CHUNK", 3)
    write_webdataset(many, tmp_path / "parts.tar", STYLE, workers=workers)
    assert (tmp_path / "whole.tar").read_bytes() == (tmp_path / "parts.tar").read_bytes()


@pytest.mark.parametrize(
    ("missing", "frame", "drawn"),
    [
        ("skip-bone", "bbox", [0, 1, 2, 3, 4]),
        ("skip-bone", "root", [0, 1, 2, 3, 4]),
        ("drop-pose", "bbox", [0, 2, 3]),
        ("drop-pose", "keep", [0, 2, 3]),
    ],
)
def test_missing_joints(poses: PoseSet, tmp_path: Path, missing: Any, frame: Any, drawn: list[int]) -> None:
    style = RenderStyle(size_px=16, missing=missing, frame=frame)
    report = write_pngs(poses, tmp_path / "out", style)
    assert sorted(int(path.stem) for path in (tmp_path / "out").iterdir()) == drawn
    assert (report.rendered, report.left_out) == (len(drawn), 6 - len(drawn))


def test_missing_joints_can_be_an_error(poses: PoseSet, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="record 1: visibility: must have all 13 joints labelled, got 12"
    ) as caught:
        write_pngs(poses, tmp_path / "out", RenderStyle(missing="error"))
    assert caught.value.record == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pose_without_extent_is_named_by_its_place_in_the_input(poses: PoseSet, tmp_path: Path) -> None:
    keypoints = poses.keypoints.copy()
    keypoints[3] = 50
    flat = poses.replace(keypoints=keypoints)
    with pytest.raises(DataError, match=r"record 3: keypoints: must extend over at least") as caught:
        write_pngs(flat, tmp_path / "out", RenderStyle(missing="drop-pose"))
    assert caught.value.record == 3
    assert list(tmp_path.iterdir()) == []


def write_grid_of_two(poses: PoseSet, path: Path, style: RenderStyle) -> None:
    write_grid(poses[:2], path, style)


@pytest.mark.parametrize("writer", [write_pngs, write_webdataset, write_grid_of_two])
def test_nothing_is_left_of_a_failed_write(
    poses: PoseSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Callable[..., Any]
) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(write, "encode_png", broken)
    monkeypatch.setattr(write, "encode_pngs", broken)
    with pytest.raises(MemoryError):
        writer(poses, tmp_path / "out", STYLE)
    assert list(tmp_path.iterdir()) == []


def test_an_old_shard_stays_when_the_new_one_fails(poses: PoseSet, tmp_path: Path) -> None:
    write_webdataset(poses, tmp_path / "out.tar", STYLE)
    before = (tmp_path / "out.tar").read_bytes()
    with pytest.raises(DataError):
        write_webdataset(poses, tmp_path / "out.tar", RenderStyle(missing="error"))
    assert (tmp_path / "out.tar").read_bytes() == before


def test_a_folder_with_files_is_refused(poses: PoseSet, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_pngs(poses, tmp_path / "out", STYLE)
    with pytest.raises(UsageError, match="not an empty folder"):
        write_pngs(poses[:1], tmp_path / "out", STYLE)
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_an_empty_pose_set_makes_an_empty_shard(poses: PoseSet, tmp_path: Path) -> None:
    assert write_webdataset(poses[:0], tmp_path / "out.tar", STYLE).rendered == 0
    with tarfile.open(tmp_path / "out.tar") as shard:
        assert shard.getnames() == []


def test_grid_has_the_pictures_row_by_row(poses: PoseSet, tmp_path: Path) -> None:
    report = write_grid(poses, tmp_path / "grid.png", STYLE, columns=3)
    assert report.rendered == 5
    grid = decoded((tmp_path / "grid.png").read_bytes())
    assert grid.shape == (2 * 33 - 1, 3 * 33 - 1, 3)
    image, _ = expected(poses, 4, STYLE)
    np.testing.assert_array_equal(grid[33:65, 33:65], image)


def test_grid_wants_a_pose_and_a_column(poses: PoseSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there must be a pose to draw"):
        write_grid(poses[5:], tmp_path / "grid.png", STYLE)
    with pytest.raises(UsageError, match="columns must be >= 1, got 0"):
        write_grid(poses, tmp_path / "grid.png", STYLE, columns=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_px", 0),
        ("line_width_px", 0.0),
        ("line_width_px", float("nan")),
        ("joint_radius_px", -1.0),
        ("margin", -0.1),
        ("frame", "crop"),
        ("missing", "ignore"),
    ],
)
def test_style_refuses_what_is_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{field} must be .*, got"):
        RenderStyle(**{field: value})


def test_workers_must_be_positive(poses: PoseSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"workers must be .*, got 0"):
        write_pngs(poses, tmp_path / "out", STYLE, workers=0)
    assert list(tmp_path.iterdir()) == []

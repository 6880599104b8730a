"""One tar, one grid, and what both share with data sets: what is drawn, what is left out, nothing half-written."""

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
from flexpose.poses.bad import BadRecords
from flexpose.raster import pixels_from_normalized, rasterize
from flexpose.shards import RenderStyle, write, write_grid, write_webdataset

if TYPE_CHECKING:
    from pathlib import Path

STYLE = RenderStyle(size_px=32)


def expected(poses: PoseSet, index: int, style: RenderStyle) -> tuple[np.ndarray, np.ndarray]:
    """The picture of one pose and its joints in it, by the definitions: frame, round to float32, scale, draw."""
    frame = frame_poses(poses[index], style.frame, style.margin)
    normalized = (poses.keypoints[index].astype(np.float64) - frame.center[0]) / frame.half[0]
    pixels = pixels_from_normalized(normalized.astype(np.float32), style.size_px)
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
@pytest.mark.parametrize(
    "style",
    [
        STYLE,
        RenderStyle(size_px=48, line_width_px=3.5, joint_radius_px=0, frame="keep"),
        RenderStyle(size_px=40, frame="root", margin=0.3),
    ],
    ids=lambda style: style.frame,
)
def test_webdataset_reads_the_shard(poses: PoseSet, tmp_path: Path, style: RenderStyle) -> None:
    report = write_webdataset(poses, tmp_path / "out.tar", style, workers=2)
    assert (report.rendered, report.left_out, report.bad) == (5, 1, 0)
    assert report.bytes == (tmp_path / "out.tar").stat().st_size
    read = samples(tmp_path / "out.tar")
    assert [sample["__key__"] for sample in read] == [f"{index:08d}" for index in range(5)]
    for index, sample in enumerate(read):
        image, joints = expected(poses, index, style)
        assert image.any()
        np.testing.assert_array_equal(decoded(sample["png"]), image)
        about = json.loads(sample["json"])
        assert about["visibility"] == poses.visibility[index].tolist()
        assert about["size"] == [style.size_px, style.size_px]
        assert about["id"] == poses.ids[index]
        assert poses.labels is not None
        assert about["label"] == poses.labels[index]
        assert about["skeleton"] == "body13"
        # The numbers give the very joints that were drawn.
        np.testing.assert_array_equal(np.array(about["keypoints"], np.float32), joints)


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


def test_labels_of_a_set_without_any_are_absent(poses: PoseSet, tmp_path: Path) -> None:
    write_webdataset(poses.replace(labels=None), tmp_path / "out.tar", STYLE)
    with tarfile.open(tmp_path / "out.tar") as shard:
        member = shard.extractfile("00000000.json")
        assert member is not None
        assert "label" not in json.load(member)


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
    report = write_webdataset(poses, tmp_path / "out.tar", style)
    with tarfile.open(tmp_path / "out.tar") as shard:
        names = [name for name in shard.getnames() if name.endswith(".png")]
    assert names == [f"{index:08d}.png" for index in drawn]
    assert (report.rendered, report.left_out) == (len(drawn), 6 - len(drawn))


def test_missing_joints_can_be_an_error(poses: PoseSet, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="record 1: visibility: must have all 13 joints labelled, got 12"
    ) as caught:
        write_webdataset(poses, tmp_path / "out.tar", RenderStyle(missing="error"))
    assert caught.value.record == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def flat(poses: PoseSet) -> PoseSet:
    """Poses of which the third and the fourth have no extent."""
    keypoints = poses.keypoints.copy()
    keypoints[2:4] = 50
    return poses.replace(keypoints=keypoints)


def test_a_pose_without_extent_is_named_by_its_place_in_the_input(flat: PoseSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record 2: keypoints: must extend over at least") as caught:
        write_webdataset(flat, tmp_path / "out.tar", RenderStyle(missing="drop-pose"))
    assert caught.value.record == 2
    assert list(tmp_path.iterdir()) == []


def test_bad_poses_are_left_out_up_to_their_share(flat: PoseSet, tmp_path: Path) -> None:
    bad = BadRecords(0.34)
    report = write_webdataset(flat, tmp_path / "out.tar", STYLE, bad=bad)
    assert (report.rendered, report.left_out, report.bad) == (3, 1, 2)
    assert [record.record for record in bad.records] == [2, 3]
    with tarfile.open(tmp_path / "out.tar") as shard:
        assert [name for name in shard.getnames() if name.endswith("png")] == [
            f"{index:08d}.png" for index in (0, 1, 4)
        ]
    with pytest.raises(
        DataError, match=r"2 of 6 records are bad, .* 0.33 may be: record 2: keypoints: must extend"
    ):
        write_webdataset(flat, tmp_path / "no.tar", STYLE, bad=BadRecords(0.33))
    assert not (tmp_path / "no.tar").exists()


def test_a_joint_beyond_float32_is_a_bad_pose(poses: PoseSet, tmp_path: Path) -> None:
    keypoints = poses.keypoints.copy()
    keypoints[0, 0] = 3e38
    far = poses.replace(keypoints=keypoints, image_size=(2, 2))
    with pytest.raises(DataError, match="record 0: keypoints: must lie where float32 pixels"):
        write_webdataset(far, tmp_path / "out.tar", RenderStyle(frame="keep"))


def test_nothing_is_left_of_a_failed_write(poses: PoseSet, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        write_webdataset(poses, tmp_path / "out.tar", STYLE, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_failed_grid(
    poses: PoseSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(write, "encode_png", broken)
    with pytest.raises(MemoryError):
        write_grid(poses, tmp_path / "out.png", STYLE)
    assert list(tmp_path.iterdir()) == []


def test_an_old_shard_stays_when_the_new_one_fails(poses: PoseSet, tmp_path: Path) -> None:
    write_webdataset(poses, tmp_path / "out.tar", STYLE)
    before = (tmp_path / "out.tar").read_bytes()
    with pytest.raises(DataError):
        write_webdataset(poses, tmp_path / "out.tar", RenderStyle(missing="error"))
    assert (tmp_path / "out.tar").read_bytes() == before


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
        ("style", "oil"),
    ],
)
def test_style_refuses_what_is_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{field} must be .*, got"):
        RenderStyle(**{field: value})


def test_workers_must_be_positive(poses: PoseSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"workers must be .*, got 0"):
        write_webdataset(poses, tmp_path / "out.tar", STYLE, workers=0)
    assert list(tmp_path.iterdir()) == []

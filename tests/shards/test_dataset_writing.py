"""Data sets in shards: what outside readers find in them, one content for any number of threads, plans that hold."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import webdataset
from PIL import Image
from safetensors.numpy import load_file, safe_open

from flexpose import _rust
from flexpose.errors import ConfigError, DataError, ResourceError, UsageError
from flexpose.poses import PoseSet, frame_poses, synth_poses
from flexpose.poses.bad import BadRecords
from flexpose.raster import pixels_from_normalized, rasterize
from flexpose.shards import (
    KINDS,
    RenderStyle,
    draft_render,
    open_dataset,
    plan_render,
    read_keypoint_shard,
    shard_range,
    verify_dataset,
    write_shards,
    write_webdataset,
)
from flexpose.shards.augment import Augment, augment_labelled
from flexpose.skeleton import Skeleton, load_skeleton

if TYPE_CHECKING:
    from pathlib import Path

STYLE = RenderStyle(size_px=24)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a data set but the journals, whose division follows that of the work."""
    files = [path for path in folder.rglob("*") if path.is_file() and "journal" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def digest(folder: Path) -> str:
    hasher = hashlib.sha256()
    for name, data in sorted(contents(folder).items()):
        hasher.update(f"{name} {len(data)}\n".encode())
        hasher.update(data)
    return hasher.hexdigest()


def render(poses: Any, out: Path, **options: Any) -> Path:
    workers = options.pop("workers", 2)
    plan = plan_render(poses, out, options.pop("style", STYLE), **options)
    report = write_shards(plan, workers=workers)
    assert report.complete
    assert report.bytes == sum(
        len(data)
        for name, data in contents(out).items()
        if name not in {"plan.json", "index.json", "bad.jsonl"}
    )
    return out


def pictures(folder: Path) -> list[np.ndarray]:
    """Pictures of a data set as outside readers see them, in order."""
    index, found = open_dataset(folder), []
    for shard in index.shards:
        path = folder / shard.file
        if index.kind == "npy":
            found += list(np.load(path, allow_pickle=False))
        elif index.kind == "png":
            for file in sorted(path.iterdir()):
                found.append(cv2.cvtColor(cv2.imread(str(file), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
        else:
            with tarfile.open(path) as archive:
                for name in archive.getnames():
                    member = archive.extractfile(name)
                    assert member is not None
                    if name.endswith(".png"):
                        with Image.open(io.BytesIO(member.read())) as image:
                            image.verify()
                        member.seek(0)
                        with Image.open(member) as image:
                            found.append(np.asarray(image))
    return found


@pytest.fixture
def many(poses: PoseSet) -> PoseSet:
    return PoseSet.concat([poses] * 9)


@pytest.mark.parametrize("kind", ["webdataset", "npy", "png"])
def test_pictures_are_those_of_the_rasteriser(many: PoseSet, tmp_path: Path, kind: Any) -> None:
    render(many, tmp_path / "out", kind=kind, shard_size=20)
    drawn = many[(many.visibility > 0).sum(axis=1) >= 2]
    normalized = frame_poses(drawn).normalize(drawn.keypoints).astype(np.float32)
    pixels = pixels_from_normalized(normalized, 24)
    expected = rasterize(pixels, drawn.visibility, many.skeleton, size_px=24)
    found = pictures(tmp_path / "out")
    assert len(found) == 45
    np.testing.assert_array_equal(np.stack(found), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_poses_are_there_in_every_kind(many: PoseSet, tmp_path: Path, kind: Any) -> None:
    render(many, tmp_path / "out", kind=kind, shard_size=20)
    index = open_dataset(tmp_path / "out")
    assert [shard.count for shard in index.shards] == [20, 20, 5]
    rows = np.flatnonzero((many.visibility > 0).sum(axis=1) >= 2)
    frames = frame_poses(many[rows])
    normalized = frames.normalize(many.keypoints[rows]).astype(np.float32)
    normalized[many.visibility[rows] == 0] = 0
    assert many.labels is not None
    for shard in index.shards:
        part = slice(shard.first, shard.first + shard.count)
        read = load_file(index.poses_path(shard))
        np.testing.assert_array_equal(read["index"], rows[part])
        np.testing.assert_array_equal(read["id"], many.ids[rows[part]])
        np.testing.assert_array_equal(read["keypoints"], normalized[part])
        np.testing.assert_array_equal(read["visibility"], many.visibility[rows[part]])
        np.testing.assert_array_equal(read["frame"], np.column_stack([frames.center, frames.half])[part])
        with safe_open(index.poses_path(shard), "numpy") as opened:
            about = opened.metadata()
        names = [*json.loads(about["labels"]), ""]
        assert [names[label] for label in read["label"]] == [many.labels[row] for row in rows[part]]
        assert Skeleton.from_toml(about["skeleton"]) == many.skeleton
        assert about["format"] == "1"
        ours = read_keypoint_shard(index.poses_path(shard))
        for name, array in read.items():
            np.testing.assert_array_equal(getattr(ours, name), array)
            assert getattr(ours, name).dtype == array.dtype


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
def test_webdataset_reads_all_shards(many: PoseSet, tmp_path: Path) -> None:
    render(many, tmp_path / "out", shard_size=20)
    urls = str(tmp_path / "out" / "shard-{00000..00002}.tar")
    with webdataset.WebDataset(urls, shardshuffle=False) as dataset:
        keys = [sample["__key__"] for sample in dataset.decode("rgb8")]
    assert keys == [f"{row:08d}" for row in range(54) if row % 6 != 5]


@pytest.mark.parametrize("kind", KINDS)
def test_one_content_for_any_number_of_threads(
    tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flexpose.shards.write.allowed_threads", lambda: 64)
    poses = synth_poses(230, seed=5)
    style = RenderStyle(size_px=40)
    runs = [1, 32] if kind == "png" else [1, 2, 3, 7, 32, 32, 7, 3, 2]  # each PNG is synced by itself
    found = {
        digest(render(poses, tmp_path / str(run), kind=kind, style=style, shard_size=97, workers=workers))
        for run, workers in enumerate(runs)
    }
    assert len(found) == 1


def test_no_more_threads_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    from flexpose.shards import running_threads

    monkeypatch.setattr("flexpose.shards.write.allowed_threads", lambda: 2)
    assert [running_threads(workers) for workers in (None, 1, 2, 32)] == [2, 1, 2, 2]
    with pytest.raises(UsageError, match="workers must be in"):
        running_threads(1025)


@pytest.mark.parametrize("kind", ["webdataset", "keypoints"])
def test_ranges_written_apart_are_one_data_set(many: PoseSet, tmp_path: Path, kind: Any) -> None:
    whole = render(many, tmp_path / "whole", kind=kind, shard_size=10)
    out = tmp_path / "parts"
    for part in ("2/3", "3/3", "1/3"):
        plan = plan_render(many, out, STYLE, kind=kind, shard_size=10, shared=True)
        report = write_shards(plan.without_poses(), many, shard_range(part, len(plan.shards)))
        assert report.complete == (part == "1/3")
        assert (out / "index.json").exists() == (part == "1/3")
    assert contents(out) == contents(whole)
    with pytest.raises(UsageError, match="1 shards are written already"):
        write_shards(plan, shard_range=shard_range("1/3", len(plan.shards)))


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_range_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(UsageError, match="shard range must be i/n"):
        shard_range(part, 10)


def test_ranges_cover_every_shard_once() -> None:
    for shards in (0, 1, 7, 100):
        for n in (1, 3, 8):
            parts = [shard_range(f"{i}/{n}", shards) for i in range(1, n + 1)]
            assert [k for part in parts for k in part] == list(range(shards))


def test_a_plan_that_changed_is_refused_with_the_difference(many: PoseSet, tmp_path: Path) -> None:
    plan_render(many, tmp_path / "out", STYLE, shard_size=10)
    same = plan_render(many, tmp_path / "out", STYLE, shard_size=10, resume=True)
    assert write_shards(same, resume=True).written == 5
    before = contents(tmp_path / "out")
    with pytest.raises(UsageError, match="holds a data set already; go on with it by --resume"):
        plan_render(many, tmp_path / "out", STYLE, shard_size=10)
    with pytest.raises(ConfigError, match=r"config.size_px: 24 then, 32 now"):
        plan_render(many, tmp_path / "out", RenderStyle(size_px=32), shard_size=10, resume=True)
    with pytest.raises(ConfigError, match=r"config.shard_size: 10 then, 9 now"):
        plan_render(many, tmp_path / "out", STYLE, shard_size=9, resume=True)
    keypoints = many.keypoints.copy()
    keypoints[7, 3] += 0.25
    with pytest.raises(ConfigError, match="content: "):
        plan_render(many.replace(keypoints=keypoints), tmp_path / "out", STYLE, shard_size=10, resume=True)
    with pytest.raises(UsageError, match="poses must be those that the plan was made for"):
        write_shards(same.without_poses(), many[1:])
    assert contents(tmp_path / "out") == before


def test_other_input_bytes_are_refused(many: PoseSet, tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(b"one")
    plan_render(many, tmp_path / "out", STYLE, inputs=[tmp_path / "in.npz"])
    (tmp_path / "in.npz").write_bytes(b"two")
    with pytest.raises(ConfigError, match=r"inputs\[0\]: .*in.npz.* then, .*in.npz.* now"):
        plan_render(many, tmp_path / "out", STYLE, inputs=[tmp_path / "in.npz"], resume=True)


def test_a_folder_with_anything_else_is_refused(many: PoseSet, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not an empty folder \(notes.txt is in it\)"):
        plan_render(many, tmp_path, STYLE)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_bad_poses_are_listed_and_counted(many: PoseSet, tmp_path: Path) -> None:
    keypoints = many.keypoints.copy()
    keypoints[[3, 20, 21]] = 9
    flat = many.replace(keypoints=keypoints)
    bad = BadRecords(0.1)
    render(flat, tmp_path / "out", bad=bad, shard_size=10)
    lines = [json.loads(line) for line in (tmp_path / "out" / "bad.jsonl").read_text().splitlines()]
    assert [line["record"] for line in lines] == [3, 20, 21]
    assert all(line["field"] == "keypoints" and "must extend" in line["reason"] for line in lines)
    journal = [json.loads(line) for line in (tmp_path / "out" / "journal.jsonl").read_text().splitlines()]
    assert [line["bad"] for line in journal] == [1, 2, 0, 0, 0]
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["bad"] == 3
    with pytest.raises(DataError, match="record 3: "):
        draft_render(flat, tmp_path / "no", STYLE, bad=BadRecords(0.01))


def test_shard_size_in_bytes(tmp_path: Path) -> None:
    poses = synth_poses(400, seed=1)
    render(poses, tmp_path / "out", shard_size="128K", style=RenderStyle(size_px=64))
    sizes = [shard.bytes + shard.poses_bytes for shard in open_dataset(tmp_path / "out").shards]
    assert len(sizes) > 5
    assert all(abs(size - (128 << 10)) < 16 << 10 for size in sizes[:-1])
    assert draft_render(poses, tmp_path / "x", STYLE, kind="npy").shards == ((0, 400),)
    large = draft_render(poses, tmp_path / "x", RenderStyle(size_px=1024), kind="npy")
    assert large.shards[0][1] == (256 << 20) // (3 << 20)


@pytest.mark.parametrize("size", ["0", "-1", "12X", "M", "1.5M", "0K", 0])
def test_a_shard_size_that_is_none_is_refused(poses: PoseSet, tmp_path: Path, size: Any) -> None:
    with pytest.raises(UsageError, match="shard_size must be"):
        draft_render(poses, tmp_path / "out", STYLE, shard_size=size)


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_near(tmp_path: Path, kind: Any) -> None:
    poses = synth_poses(300, seed=4)
    plan = plan_render(poses, tmp_path / "out", RenderStyle(size_px=64), kind=kind)
    report = write_shards(plan)
    assert plan.estimate.bytes == pytest.approx(report.bytes, rel=0.05, abs=8192)
    assert plan.estimate.seconds >= 0


def test_poses_of_a_data_set_are_an_input(many: PoseSet, tmp_path: Path) -> None:
    first = render(many, tmp_path / "poses", kind="keypoints", shard_size=20)
    pictured = render(open_dataset(first), tmp_path / "again", kind="npy")
    direct = render(many, tmp_path / "direct", kind="npy")
    np.testing.assert_array_equal(np.stack(pictures(pictured)), np.stack(pictures(direct)))
    with pytest.raises(UsageError, match=r"framed already, frame bbox, .*asked for frame keep"):
        draft_render(open_dataset(first), tmp_path / "x", RenderStyle(frame="keep"))


def test_several_inputs_count_on(poses: PoseSet, tmp_path: Path) -> None:
    render([poses, poses[:2].replace(labels=["zoo", "art"])], tmp_path / "out", kind="keypoints")
    shard = read_keypoint_shard(tmp_path / "out" / "shard-00000.safetensors")
    assert shard.index.tolist() == [0, 1, 2, 3, 4, 6, 7]
    index = open_dataset(tmp_path / "out")
    assert index.plan.labels == ("art", "sit", "walk", "zoo")
    assert shard.label.tolist() == [2, 2, 1, 1, -1, 3, 0]
    other = PoseSet(np.eye(17, 2)[None], skeleton=load_skeleton("coco17"))
    with pytest.raises(UsageError, match="inputs must have one skeleton, got body13 and coco17"):
        draft_render([poses, other], tmp_path / "x", STYLE)


def test_a_variation_is_asked_for_by_seed_and_row(many: PoseSet, tmp_path: Path) -> None:
    augment = Augment.parse("rotation=30,scale=0.5:0.8,flip=0.5")
    render(many, tmp_path / "out", kind="keypoints", augment=augment, seed=7)
    plain = render(many, tmp_path / "plain", kind="keypoints")
    found, bare = (
        read_keypoint_shard(folder / "shard-00000.safetensors") for folder in (tmp_path / "out", plain)
    )
    assert bare.index.tolist() == [row for row in range(54) if row % 6 != 5]
    expected, seen = augment_labelled(bare.keypoints, bare.visibility, many.skeleton, augment, 7, bare.index)
    np.testing.assert_array_equal(found.keypoints, expected)
    np.testing.assert_array_equal(found.visibility, seen)
    assert np.any(expected != bare.keypoints, axis=(1, 2)).all()
    config = json.loads((tmp_path / "out" / "plan.json").read_text())["config"]
    assert (Augment.parse(config["augment"]), config["seed"]) == (augment, 7)


def test_json_on_disk_is_canonical(many: PoseSet, tmp_path: Path) -> None:
    render(many, tmp_path / "out")
    for name in ("plan.json", "index.json", "journal.jsonl"):
        for line in (tmp_path / "out" / name).read_text().splitlines(keepends=True):
            again = json.dumps(json.loads(line), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            assert line == again + "\n"


def test_hashes_are_blake3_of_the_files(many: PoseSet, tmp_path: Path) -> None:
    # Of the hash itself: the published test vector of the empty input.
    (tmp_path / "empty").write_bytes(b"")
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert _rust.hash_file(str(tmp_path / "empty")) == (0, empty)
    render(many, tmp_path / "out")
    for shard in open_dataset(tmp_path / "out").shards:
        path = tmp_path / "out" / shard.file
        assert (
            _rust.hash_file(str(path)) == (path.stat().st_size, shard.blake3) == (shard.bytes, shard.blake3)
        )


def test_no_poses_make_an_empty_data_set(poses: PoseSet, tmp_path: Path) -> None:
    render(poses[:0], tmp_path / "out")
    index = open_dataset(tmp_path / "out")
    assert (index.count, index.shards) == (0, ())
    assert verify_dataset(tmp_path / "out", full=True).problems == ()


def test_a_second_writer_is_refused(many: PoseSet, tmp_path: Path) -> None:
    plan = plan_render(many, tmp_path / "out", STYLE, shard_size=10)

    def second(_: int) -> None:
        with pytest.raises(ResourceError, match=r"process \d+ on .* writes in it"):
            write_shards(plan, resume=True)
        with pytest.raises(ResourceError, match="writes in it"):
            write_shards(plan, shard_range=range(1), resume=True)
        raise KeyError

    with pytest.raises(KeyError):
        write_shards(plan, progress=second)
    assert not (tmp_path / "out" / ".lock").exists()

    def beside(_: int) -> None:
        with pytest.raises(ResourceError, match="writes in it"):
            write_shards(plan, shard_range=range(1, 4), resume=True)
        assert write_shards(plan, shard_range=range(2, 4), resume=True).written == 2
        raise KeyError

    with pytest.raises(KeyError):
        write_shards(plan, shard_range=range(2), progress=beside)


@pytest.mark.parametrize("owner", ["dead", "elsewhere", "rubbish"])
def test_the_lock_of_a_dead_process_is_taken_over(many: PoseSet, tmp_path: Path, owner: str) -> None:
    plan = plan_render(many, tmp_path / "out", STYLE, shard_size=10)
    held: list[bytes] = []

    def look(_: int) -> None:
        held.append((tmp_path / "out" / ".lock").read_bytes())
        raise KeyError

    with pytest.raises(KeyError):
        write_shards(plan, progress=look)
    about = json.loads(held[0])
    about |= {"pid": 2**22 + 1} if owner == "dead" else {"host": "elsewhere"}
    (tmp_path / "out" / ".lock").write_text("{" if owner == "rubbish" else json.dumps(about))
    if owner == "elsewhere":
        with pytest.raises(ResourceError, match=r"on elsewhere writes in it; .*remove .*lock if it is known"):
            write_shards(plan)
    else:
        assert write_shards(plan).complete


def test_what_dead_processes_left_is_swept(many: PoseSet, tmp_path: Path) -> None:
    plan = plan_render(many, tmp_path / "out", STYLE, shard_size=10, kind="png")
    dead = 2**22 + 1
    for name in (f"shard-00001.safetensors.tmp-{dead}", f"index.json.tmp-{dead}"):
        (tmp_path / "out" / name).write_bytes(b"torn")
    (tmp_path / "out" / f"00003.tmp-{dead}").mkdir()
    (tmp_path / "out" / f"00003.tmp-{dead}" / "00000001.png").write_bytes(b"torn")
    # Published, but not in the journal: written again.
    (tmp_path / "out" / "00002").mkdir()
    (tmp_path / "out" / "00002" / "stranger.png").write_bytes(b"torn")
    assert write_shards(plan).complete
    assert not list((tmp_path / "out").glob("*.tmp-*"))
    assert verify_dataset(tmp_path / "out", full=True).problems == ()


def test_a_single_tar_is_the_first_shard(many: PoseSet, tmp_path: Path) -> None:
    write_webdataset(many, tmp_path / "one.tar", STYLE)
    render(many, tmp_path / "out")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "out" / "shard-00000.tar").read_bytes()

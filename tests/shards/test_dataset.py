"""Torch data sets: pictures by definition, the same from every way to them, resumable anywhere."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader

from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet, frame_poses, read_poses, synth_poses, write_poses
from flexpose.raster import rasterize
from flexpose.shards import RenderStyle, open_dataset, plan_render, write_shards
from flexpose.shards.augment import Augment, augment_poses
from flexpose.shards.dataset import EpochSampler, PoseBatch, PoseImages, PoseImageStream
from flexpose.shards.style import draw_framed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of few cores
    pytest.mark.filterwarnings(
        "ignore:.*is multi-threaded, use of fork:DeprecationWarning"
    ),  # that is the test
]

N = 47
AUGMENT = "rotation=30,limb=20,scale=0.8:1.2,flip=0.5"
STYLE = RenderStyle(size_px=24, line_width_px=2.5, joint_radius_px=1.5)
METHODS = ["fork", "spawn", "forkserver"]


def some_poses() -> PoseSet:
    """47 poses; of row 5 only one joint is labelled, rows 8 and 20 miss a few."""
    poses = synth_poses(N, seed=1)
    visibility = poses.visibility.copy()
    visibility[5, 1:] = 0
    visibility[8, 3] = 0
    visibility[20, 7:] = 0
    visibility[9, 2] = 1
    return poses.replace(visibility=visibility)


POSES = some_poses()
DRAWN = np.delete(np.arange(N), 5)


def write_dataset(folder: Path, shard_size: int, kind: Any = "keypoints") -> Path:
    write_shards(plan_render(POSES, folder, STYLE, kind=kind, shard_size=shard_size))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "set", 10)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "poses.npz"
    write_poses(POSES, path)
    return path


def expected(row: int, augment: str = "", seed: int = 0, epoch: int = 0) -> np.ndarray:
    """The picture of a row, one pose at a time: [3, S, S]."""
    frame = frame_poses(POSES[row])
    normalized = frame.normalize(POSES[row].keypoints).astype(np.float32)
    visibility = POSES.visibility[row][None]
    how = Augment.parse(augment)
    if augment:
        place = np.array([row])
        mirrored = augment_poses(
            np.ones((1, 13, 2)), POSES.skeleton, Augment(flip=how.flip), seed, place, epoch=epoch
        )
        normalized = augment_poses(
            normalized, POSES.skeleton, how, seed, place, epoch=epoch, visibility=visibility
        )
        if mirrored[0, 0, 0] < 0:
            visibility = visibility[:, POSES.skeleton.flip_index]
    pixels = ((normalized.astype(np.float64) + 1) / 2 * STYLE.size_px).astype(np.float32)
    image = rasterize(
        pixels,
        visibility,
        POSES.skeleton,
        size_px=STYLE.size_px,
        line_width_px=STYLE.line_width_px,
        joint_radius_px=STYLE.joint_radius_px,
    )
    return image[0].transpose(2, 0, 1)


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    for one, other in zip(a, b, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


@pytest.mark.parametrize("augment", ["", AUGMENT])
def test_items_are_the_pictures_of_the_poses(augment: str) -> None:
    dataset = PoseImages(POSES, STYLE, augment=augment, seed=3)
    dataset.set_epoch(2)
    assert len(dataset) == N - 1
    assert dataset.skeleton == POSES.skeleton
    for place, row in enumerate(DRAWN):
        item = dataset[place]
        assert item.index == row
        assert item.image.dtype == torch.uint8
        np.testing.assert_array_equal(item.image.numpy(), expected(int(row), augment, 3, 2))
        assert int((item.visibility > 0).sum()) == (POSES.visibility[row] > 0).sum()
        assert (item.keypoints[item.visibility == 0] == 0).all()
    if augment:
        assert_same(dataset[2, 4], dataset[4])
        assert not torch.equal(dataset[3, 4].image, dataset[4].image)
    assert_same(dataset[-1], dataset[N - 2])
    with pytest.raises(IndexError):
        dataset[N - 1]
    assert len(list(dataset)) == N - 1


def test_every_source_gives_the_same(folder: Path, file: Path, tmp_path: Path) -> None:
    sources = [POSES, file, str(file), folder, open_dataset(folder)]
    sources += [write_dataset(tmp_path / kind, 7, kind) for kind in ("webdataset", "npy", "png")]
    rows = np.random.default_rng(0).permutation(N - 1).tolist()
    first, *others = (PoseImages(source, STYLE, augment=AUGMENT).__getitems__(rows) for source in sources)
    assert [item.index for item in first] == DRAWN[rows].tolist()
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert_same(a, b)


def test_a_data_set_says_how_it_was_drawn(folder: Path) -> None:
    assert PoseImages(folder).style == STYLE
    assert PoseImages(folder, dataclasses.replace(STYLE, size_px=9))[0].image.shape == (3, 9, 9)
    for name, value in (("frame", "keep"), ("margin", 0.2), ("missing", "drop-pose")):
        with pytest.raises(UsageError, match=f"style.{name} must be {getattr(STYLE, name)!r} as in"):
            PoseImages(folder, dataclasses.replace(STYLE, **{name: value}))


def test_floating_pictures(folder: Path) -> None:
    whole = PoseImages(folder)[3].image
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        image = PoseImages(folder, dtype=dtype)[3].image
        assert image.dtype == dtype
        assert image.min() == -1
        torch.testing.assert_close(image.double(), whole.double() / 127.5 - 1, rtol=0, atol=1 / 127.5 * 0.51)


def test_missing_joints_follow_the_style() -> None:
    assert len(PoseImages(POSES, RenderStyle(size_px=8, missing="drop-pose"))) == N - 3
    assert PoseImages(POSES, RenderStyle(size_px=8, missing="drop-pose"))[6].index == 7
    with pytest.raises(DataError, match="record 5: visibility: must have all 13 joints labelled, got 1"):
        PoseImages(POSES, RenderStyle(missing="error"))
    flat = POSES.keypoints.copy()
    flat[30] = 7
    with pytest.raises(DataError, match="record 30: keypoints: must extend"):
        PoseImages(POSES.replace(keypoints=flat))
    assert len(PoseImages(POSES, RenderStyle(frame="root"))) == N - 2


def test_other_skeletons(folder: Path, file: Path) -> None:
    for source in (POSES, file):
        assert PoseImages(source, skeleton="penn13")[0].keypoints.shape == (13, 2)
        assert PoseImages(source, skeleton="penn13").skeleton.name == "penn13"
    with pytest.raises(UsageError, match="skeleton must be body13"):
        PoseImages(folder, skeleton="penn13")
    assert len(PoseImages(folder, skeleton="body13")) == N - 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"augment": "turn=3"}, "augment"),
        ({"augment": "limb=3@tail"}, "tail"),
        ({"seed": -1}, "seed"),
        ({"dtype": torch.int32}, "dtype"),
        ({"workers": 0}, "workers"),
        ({"source": "no-such-file.json"}, "no such file"),
    ],
)
def test_wrong_arguments_are_refused_at_once(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        PoseImages(**{"source": POSES, **change})
    with pytest.raises(UsageError, match=word):
        PoseImageStream(**{"source": POSES, "batch_size": 2, **change})


def test_bad_values_in_shards_are_named(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", 10)
    path = folder / "shard-00002.safetensors"
    content = bytearray(path.read_bytes())
    visibility = content.rindex(bytes(POSES.visibility[DRAWN[23]].tobytes()))
    content[visibility] = 9
    path.write_bytes(content)
    dataset = PoseImages(folder)
    assert len(dataset.__getitems__(list(range(20)))) == 20
    with pytest.raises(
        DataError, match=r"shard-00002.safetensors: record \d+: visibility: must be 0, 1 or 2"
    ):
        dataset.__getitems__(list(range(N - 1)))
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"as in index\.json"):
        PoseImages(folder)[20]


def test_files_that_are_not_those_of_the_index(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", 10)
    path = folder / "shard-00000.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=rf"shard-00000\.safetensors: must be a file of {len(content)} bytes"):
        PoseImages(folder)[0]
    path.unlink()
    with pytest.raises(DataError, match="got none"):
        PoseImages(folder)[0]
    (tmp_path / "outside").write_bytes(content)
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="leads out of it"):
        PoseImages(folder)[0]
    assert PoseImages(folder)[10].index == DRAWN[10], "the others are not looked at"


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "poses.json"
    write_poses(POSES, path)
    dataset = PoseImages(path)
    copy = pickle.loads(pickle.dumps(dataset))
    assert_same(copy[3], dataset[3])
    write_poses(read_poses(path)[:40], path)
    with pytest.raises(DataError, match="has changed"):
        pickle.loads(pickle.dumps(dataset))[3]


def test_what_travels_to_another_process_is_small(folder: Path, file: Path) -> None:
    for source in (folder, file):
        dataset = PoseImages(source)
        dataset.__getitems__(list(range(N - 1)))
        assert len(pickle.dumps(dataset)) < 6000, "the skeleton's definition and some numbers"
        assert_same(pickle.loads(pickle.dumps(dataset))[7], dataset[7])


def test_few_shards_are_open_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flexpose.shards.sources._OPEN_SHARDS", 2)
    dataset = PoseImages(folder)
    whole = dataset.__getitems__(list(range(N - 1)))
    assert len(dataset._poses._open) == 2  # type: ignore[attr-defined]
    assert [item.index for item in whole] == DRAWN.tolist()


def indices(batches: Any) -> list[int]:
    return [int(i) for batch in batches for i in batch.index]


def epoch_of(stream: PoseImageStream, epoch: int, **options: Any) -> list[PoseBatch]:
    stream.set_epoch(epoch)
    return list(DataLoader(stream, batch_size=None, **options))


def test_stream_gives_every_pose_once(folder: Path) -> None:
    stream = PoseImageStream(folder, 8, seed=5, augment=AUGMENT)
    first, second = epoch_of(stream, 0), epoch_of(stream, 1)
    assert len(first) == len(stream) == 6
    for batches in (first, second):
        assert sorted(indices(batches)) == DRAWN.tolist()
        assert [batch.number for batch in batches] == list(range(6))
        assert [len(batch.index) for batch in batches] == [8] * 5 + [6]
    assert indices(first) != indices(second)
    items = PoseImages(folder, seed=5, augment=AUGMENT)
    place = {row: i for i, row in enumerate(DRAWN.tolist())}
    for batch in second:
        for image, row in zip(batch.image, batch.index.tolist(), strict=True):
            assert torch.equal(image, items[1, place[row]].image)
    again = epoch_of(PoseImageStream(folder, 8, seed=5, augment=AUGMENT), 0)
    for a, b in zip(first, again, strict=True):
        assert_same(a, b)
    assert indices(epoch_of(PoseImageStream(folder, 8, seed=6), 0)) != indices(first)
    assert indices(PoseImageStream(folder, 8, shuffle=False)) == DRAWN.tolist()
    assert len(list(PoseImageStream(folder, 8, drop_last=True))) == 5


@pytest.mark.parametrize("method", METHODS)
def test_workers_do_not_change_the_stream(folder: Path, method: str) -> None:
    """After pictures were drawn, and shards opened, in this process."""
    stream = PoseImageStream(folder, 4, seed=1, augment=AUGMENT)
    alone = epoch_of(stream, 3)
    shared = epoch_of(stream, 3, num_workers=2, multiprocessing_context=method, timeout=60)
    assert len(alone) == len(shared) == 12
    for a, b in zip(alone, shared, strict=True):
        assert_same(a, b)


def test_workers_do_not_change_items(file: Path) -> None:
    dataset = PoseImages(file, RenderStyle(size_px=16), augment=AUGMENT, workers=2)
    sampler = EpochSampler(len(dataset), seed=4)
    sampler.set_epoch(6)
    options: dict[str, Any] = {"sampler": sampler, "batch_size": 10}
    alone = list(DataLoader(dataset, **options))
    loader = DataLoader(dataset, num_workers=2, multiprocessing_context="fork", timeout=60, **options)
    shared = list(loader)
    assert len(alone) == 5
    for a, b in zip(alone, shared, strict=True):
        assert_same(a, b)
    assert sorted(indices(alone)) == DRAWN.tolist()


def test_a_batch_of_items_is_drawn_in_one_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(keypoints: np.ndarray, *arguments: Any, **options: Any) -> np.ndarray:
        calls.append(len(keypoints))
        return draw_framed(keypoints, *arguments, **options)

    monkeypatch.setattr("flexpose.shards.dataset.draw_framed", counted)
    dataset = PoseImages(folder)
    calls.clear()
    loader = DataLoader(dataset, sampler=EpochSampler(len(dataset)), batch_size=20)
    assert [len(batch.index) for batch in loader] == calls == [20, 20, 6]


def test_persistent_workers_follow_the_epochs_of_the_sampler(folder: Path) -> None:
    dataset = PoseImages(folder, augment=AUGMENT)
    sampler = EpochSampler(len(dataset), shuffle=False)
    loader = DataLoader(
        dataset,
        sampler=sampler,
        batch_size=23,
        num_workers=1,
        multiprocessing_context="fork",
        persistent_workers=True,
    )
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        images = torch.cat([batch.image for batch in loader])
        assert torch.equal(images, torch.stack([dataset[epoch, i].image for i in range(N - 1)]))
    stream = PoseImageStream(folder, 10)
    loader = DataLoader(
        stream, batch_size=None, num_workers=1, multiprocessing_context="fork", persistent_workers=True
    )
    assert len(list(loader)) == 5
    with pytest.raises(UsageError, match="persistent_workers"):
        list(loader)


@pytest.mark.parametrize(("world", "uneven"), list(itertools.product([2, 3], ["keep", "pad", "drop"])))
def test_ranks_share_an_epoch(folder: Path, world: int, uneven: Any) -> None:
    parts = []
    for rank in range(world):
        stream = PoseImageStream(folder, 4, rank=rank, world_size=world, uneven=uneven)
        sampler = EpochSampler(N - 1, rank=rank, world_size=world, uneven=uneven)
        part = indices(epoch_of(stream, 1))
        sampler.set_epoch(1)
        assert [DRAWN[row] for _, row in sampler] == part
        parts.append(part)
    together = sorted(itertools.chain(*parts))
    if uneven == "keep" or world == 2:
        assert together == DRAWN.tolist()
    elif uneven == "pad":
        assert set(together) == set(DRAWN.tolist())
        assert {len(part) for part in parts} == {16}
    else:
        assert len(set(together)) == len(together) == 45


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_resume_in_the_middle_of_an_epoch(folder: Path, before: int, after: int) -> None:
    """The last batch that was seen says where to go on, however many were fetched ahead."""

    def loader(stream: PoseImageStream, workers: int) -> DataLoader[PoseBatch]:
        context = "fork" if workers else None
        return DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context=context)

    whole = PoseImageStream(folder, 3, seed=2, augment=AUGMENT)
    reference = epoch_of(whole, 0) + epoch_of(whole, 1)
    for seen in (0, 1, 7, 15, 16):
        first = PoseImageStream(folder, 3, seed=2, augment=AUGMENT)
        batches = list(itertools.islice(loader(first, before), seen))
        state = json.loads(json.dumps(first.state_after(batches[-1] if batches else None)))
        second = PoseImageStream(folder, 3, seed=2, augment=AUGMENT)
        second.load_state_dict(state)
        assert len(second) == 16 - seen
        for epoch in (0, 1):
            second.set_epoch(epoch)
            batches += list(loader(second, after))
        assert len(batches) == 32
        for a, b in zip(batches, reference, strict=True):
            assert_same(a, b)


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_of_items(folder: Path, workers: int) -> None:
    dataset = PoseImages(folder, augment=AUGMENT)
    context = "fork" if workers else None
    options: dict[str, Any] = {"batch_size": 5, "num_workers": workers, "multiprocessing_context": context}

    def run(sampler: EpochSampler, epochs: range) -> list[Any]:
        batches = []
        for epoch in epochs:
            sampler.set_epoch(epoch)
            batches += list(DataLoader(dataset, sampler=sampler, **options))
        return batches

    reference = run(EpochSampler(len(dataset), seed=9), range(3))
    first = EpochSampler(len(dataset), seed=9)
    seen = run(first, range(1))
    first.set_epoch(1)
    seen += itertools.islice(DataLoader(dataset, sampler=first, **options), 4)
    second = EpochSampler(len(dataset), seed=9)
    second.load_state_dict(json.loads(json.dumps(first.state_after(20))))
    seen += run(second, range(1, 3))
    assert len(seen) == len(reference) == 30
    for a, b in zip(seen, reference, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["stream", "items"])
@pytest.mark.filterwarnings("ignore:.set_vital. is deprecated:UserWarning")  # torchdata calls it
def test_torchdata_resumes(folder: Path, workers: int, kind: str) -> None:
    loaders = pytest.importorskip("torchdata.stateful_dataloader")

    def loader() -> Any:
        options: dict[str, Any] = {
            "num_workers": workers,
            "multiprocessing_context": "fork" if workers else None,
        }
        if kind == "stream":
            return loaders.StatefulDataLoader(
                PoseImageStream(folder, 4, augment=AUGMENT), batch_size=None, **options
            )
        dataset = PoseImages(folder, augment=AUGMENT)
        return loaders.StatefulDataLoader(
            dataset, sampler=EpochSampler(len(dataset)), batch_size=4, **options
        )

    reference = list(loader())
    assert sorted(indices(reference)) == DRAWN.tolist()
    for stop in (1, 5):
        first = loader()
        seen = list(itertools.islice(first, stop))
        state = first.state_dict()
        second = loader()
        second.load_state_dict(state)
        seen += list(second)
        assert len(seen) == len(reference)
        for a, b in zip(seen, reference, strict=True):
            assert_same(a, b)


def test_states_of_something_else_are_refused(folder: Path) -> None:
    stream = PoseImageStream(folder, 4, seed=1)
    state = stream.state_after(None)
    changes = {
        "seed": 2,
        "size": 5,
        "world_size": 2,
        "batch_size": 5,
        "shuffle": False,
        "format": 2,
        "uneven": "pad",
    }
    for name, value in changes.items():
        with pytest.raises(UsageError, match=f"same {name}"):
            stream.load_state_dict({**state, name: value})
    for wrong in (
        {**state, "batch": -1},
        {**state, "batch": 99},
        {**state, "batch": True},
        {**state, "epoch": -1},
    ):
        with pytest.raises(UsageError, match="must be"):
            stream.load_state_dict(wrong)
    with pytest.raises(UsageError, match="state must have"):
        stream.load_state_dict({**state, "more": 1})
    sampler = EpochSampler(10)
    with pytest.raises(UsageError, match="items seen must be 0 to 10, got 11"):
        sampler.state_after(11)
    with pytest.raises(UsageError, match="state must have"):
        sampler.load_state_dict(state)
    other = PoseImageStream(folder, 4, seed=1, rank=1, world_size=2)
    other.load_state_dict(PoseImageStream(folder, 4, seed=1, rank=0, world_size=2).state_after(None))
    for wrong_epoch in (-1, 2**64, 1.5, True):
        for target in (stream, sampler, PoseImages(folder)):
            with pytest.raises(UsageError, match="epoch must be"):
                target.set_epoch(wrong_epoch)  # type: ignore[arg-type]


def test_batch_sizes(folder: Path) -> None:
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="batch_size"):
            PoseImageStream(folder, wrong)  # type: ignore[arg-type]
    assert [len(batch.index) for batch in PoseImageStream(folder, 100)] == [N - 1]
    assert list(PoseImageStream(POSES[:0], 100)) == []
    sampler = BatchSampler(EpochSampler(5, shuffle=False), 2, drop_last=False)
    assert list(sampler) == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]

"""`match`: kills and resumes leave no trace, looks come from the same person, and something is learned."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from flexpose.adapt.features import Gamma
from flexpose.checkpoint import Checkpoints
from flexpose.errors import ConfigError, DataError, Interrupted, UsageError
from flexpose.match import MatchConfig, Pictures, annotate, load_annotator, match, placement
from flexpose.match import loop as module
from flexpose.poses import PoseSet, frame_poses
from flexpose.runs import Progress

from .. import tiny
from . import people

if TYPE_CHECKING:
    from pathlib import Path

PRIOR = people.prior()
CPU = torch.device("cpu")


def run(folder: Path, *, groups: list[int] | None = None, **options: Any) -> Path:
    pictures = options.pop("pictures", None) or people.photographed(groups=groups)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LOGGED", 5)
        return match(
            pictures, options.pop("poses", PRIOR), options.pop("config", people.CONFIG), folder, **options
        )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert run(folder) == folder / "annotator.safetensors"
    return folder


def assert_same_run(folder: Path, unbroken: Path) -> None:
    name = "annotator.safetensors"
    assert (folder / name).read_bytes() == (unbroken / name).read_bytes()
    told = [tiny.stats(part / "match" / "stats.jsonl") for part in (folder, unbroken)]
    assert told[0] == told[1]
    assert [record["step"] for record in told[0]] == [5, 10, 12]


# --- what is written


def test_it_writes_an_annotator(unbroken: Path) -> None:
    annotator, skeleton, header = load_annotator(unbroken)
    assert skeleton == PRIOR.skeleton
    assert (annotator.config.size_px, annotator.config.width) == (32, 8)
    assert not annotator.training
    facts = header["facts"]
    assert (facts["pictures"], facts["poses"]) == (20, 40)
    assert facts["inputs"]["pictures"] == people.photographed()[0].content_hash
    assert (unbroken / "match" / "grid.png").read_bytes()[:4] == b"\x89PNG"
    (first, *_, last) = tiny.stats(unbroken / "match" / "stats.jsonl")
    for record in (first, last):
        assert {*record} == {
            "step",
            "loss_belief",
            "loss_critic",
            "loss_follow",
            "loss_picture",
        }


def test_the_same_run_is_the_same_file(tmp_path: Path, unbroken: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    run(tmp_path)
    assert_same_run(tmp_path, unbroken)
    assert torch.equal(torch.get_rng_state(), before), "the random state of the caller is left alone"


@pytest.mark.parametrize("change", ["seed", "prior", "pictures", "groups"])
def test_another_run_is_another_file(tmp_path: Path, unbroken: Path, change: str) -> None:
    options: dict[str, Any] = {
        "seed": {"config": replace(people.CONFIG, seed=1)},
        "prior": {"poses": people.prior(seed=9)},
        "pictures": {"pictures": people.photographed(seed=9)[0]},
        "groups": {"groups": [i // 4 for i in range(20)]},
    }[change]
    run(tmp_path, **options)
    name = "annotator.safetensors"
    assert (tmp_path / name).read_bytes() != (unbroken / name).read_bytes()


# --- kills and resumes


def test_killed_again_and_again(tmp_path: Path, unbroken: Path) -> None:
    for step in (1, 4, 8, 12):
        with pytest.raises(tiny.Killed):
            run(tmp_path, resume=True, progress=tiny.KillAt(step))
        assert not (tmp_path / "annotator.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_a_signal_ends_the_run_after_its_step(tmp_path: Path, unbroken: Path) -> None:
    class Send(Progress):
        def advance(self, done: int, **figures: float) -> None:
            if figures and done == 7:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="--resume"):
        run(tmp_path, progress=Send())
    saved = Checkpoints(tmp_path / "match" / "checkpoints").latest()
    assert saved is not None
    assert saved[1]["step"] == 7
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"config": replace(people.CONFIG, lr=0.5)}, "config.lr"),
        ({"config": replace(people.CONFIG, fill=0.5)}, "config.fill"),
        ({"poses": PRIOR[:-1]}, r"inputs\.poses"),
        ({"pictures": people.photographed(19)[0]}, r"inputs\.pictures"),
        ({"groups": [0] * 20}, r"inputs\.pictures"),
    ],
)
def test_resume_with_other_settings_is_refused(unbroken: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        run(unbroken, resume=True, **options)


def test_a_folder_with_a_run_is_refused(unbroken: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already"):
        run(unbroken)


@pytest.mark.parametrize(("at", "kept"), [(0, None), (7, 6), (11, 9)])
def test_lost_numbers_are_never_written(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, at: int, kept: int | None
) -> None:
    original = module._Trainer.step

    def step(trainer: Any, number: int) -> dict[str, float]:
        if number == at:
            with torch.no_grad():
                trainer.painter.last.weight[0, 0] = float("nan")
        return original(trainer, number)

    with monkeypatch.context() as patch:
        patch.setattr(module._Trainer, "step", step)
        with pytest.raises(DataError, match=f"at step {at}: .*nan.*annotator.*match.checkpoints"):
            run(tmp_path)
    assert not (tmp_path / "annotator.safetensors").exists()
    latest = Checkpoints(tmp_path / "match" / "checkpoints").latest()
    assert (None if latest is None else latest[1]["step"]) == kept
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_without_a_painter(tmp_path: Path) -> None:
    """The same holds where nothing is painted, as by default."""
    config = replace(people.CONFIG, picture_weight=0.0)
    for folder in ("whole", "broken"):
        if folder == "broken":
            with pytest.raises(tiny.Killed):
                run(tmp_path / folder, config=config, progress=tiny.KillAt(8))
        run(tmp_path / folder, config=config, resume=folder == "broken")
    assert_same_run(tmp_path / "broken", tmp_path / "whole")
    for record in tiny.stats(tmp_path / "whole" / "match" / "stats.jsonl"):
        assert {*record} == {"step", "loss_belief", "loss_critic", "loss_follow"}
    saved = Checkpoints(tmp_path / "whole" / "match" / "checkpoints").latest()
    assert saved is not None
    assert not any("painter" in name for name in saved[0])
    assert trainer(people.photographed(5)[0], config).grid().shape == (2 * 8, 32, 32, 3)


# --- what it takes


def test_wrong_inputs(tmp_path: Path) -> None:
    pictures, _ = people.photographed()
    visibility = PRIOR.visibility.copy()
    visibility[:, 0] = 0
    for options, message in (
        ({"poses": PRIOR.replace(visibility=visibility)}, "fully labelled ones, got none among 40"),
        ({"poses": PRIOR[:0]}, "fully labelled ones, got none among 0"),
        ({"pictures": pictures[:1]}, "pictures must be at least 2, got 1"),
        ({"config": replace(people.CONFIG, size_px=48)}, "pictures must have size_px 48, got 32"),
    ):
        with pytest.raises(UsageError, match=message):
            run(tmp_path, **options)
    assert not any(tmp_path.iterdir())


def test_poses_that_miss_a_joint_are_left_out(tmp_path: Path, unbroken: Path) -> None:
    more = people.prior(41)
    visibility = more.visibility.copy()
    visibility[0, 3] = 0
    run(tmp_path, poses=more.replace(visibility=visibility))
    assert load_annotator(tmp_path)[2]["facts"]["poses"] == 40


def test_placement_is_where_poses_lie_in_pictures() -> None:
    own = frame_poses(PRIOR, "bbox", 0.0).normalize(PRIOR.keypoints)
    # In pictures of 200 x 100: the square around one is [0, 200] x [-50, 150].
    pixels = (own * 0.6 + [0.1, -0.15]) * 100 + [100, 50]
    poses = PoseSet(pixels, skeleton=PRIOR.skeleton, image_size=(200, 100))
    fill, center = placement(poses)
    assert fill == pytest.approx(0.6, abs=1e-5)
    assert center == pytest.approx((0.1, -0.15), abs=1e-5)
    config = replace(people.CONFIG, fill=fill, center=center)
    np.testing.assert_allclose(
        module.place(PRIOR, config), frame_poses(poses, "keep").normalize(pixels), atol=1e-5
    )
    with pytest.raises(UsageError, match="poses must be at least one, got none"):
        placement(poses[:0])


# --- whose looks


def trainer(pictures: Pictures, config: MatchConfig = people.CONFIG) -> Any:
    config = replace(config, batch=16)
    gamma = Gamma(("pyramid",), None, dtype=torch.float32)
    return module._Trainer(pictures, module.place(PRIOR, config), PRIOR.skeleton, config, gamma, CPU)


def flat_pictures(groups: list[int] | None) -> Pictures:
    """Ten pictures of one grey each, by which they are known however they are moved."""
    images = np.broadcast_to((np.arange(10, dtype=np.uint8) * 20)[:, None, None, None], (10, 3, 32, 32))
    names = tuple(map(str, range(10)))
    members = None if groups is None else np.array(groups, np.int64)
    return Pictures(images.copy(), names, np.full((10, 2), 32, np.int32), members)


def who(pictures: torch.Tensor) -> list[int]:
    return [round(grey) for grey in ((pictures.mean((1, 2, 3)) + 1) * 127.5 / 20).tolist()]


def test_looks_come_from_another_picture_of_the_group() -> None:
    groups = [0, 0, 0, 7, 7, 5, 3, 3, 3, 3]  # picture 5 is alone
    trained = trainer(flat_pictures(groups))
    seen: dict[int, set[int]] = {}
    for step in range(40):
        batch = trained._batch(step)
        owns, others = who(batch.views[0]), who(batch.looks)
        assert owns == who(batch.views[1])
        for row, (own, other) in enumerate(zip(owns, others, strict=True)):
            seen.setdefault(own, set()).add(other)
            if own == 5:
                assert torch.equal(batch.looks[row], batch.views[1][row]), "itself, bent"
    for own, others in sorted(seen.items()):
        mates = {i for i in range(10) if groups[i] == groups[own] and i != own}
        assert others == (mates or {5})
    assert len(seen) == 10


def test_without_groups_looks_are_the_bent_view() -> None:
    trained = trainer(people.photographed()[0])

    def seen(step: int) -> Any:
        torch.manual_seed(step)
        return trained._batch(step)

    batch = seen(3)
    assert torch.equal(batch.looks, batch.views[1])
    assert not torch.equal(*batch.views)
    again = seen(3)
    assert torch.equal(again.views[0], batch.views[0])
    assert torch.equal(again.poses, batch.poses)
    assert not torch.equal(seen(4).poses, batch.poses)


def test_the_grid_does_not_disturb_training() -> None:
    trained = trainer(people.photographed(5)[0])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    grid = trained.grid()
    assert grid.shape == (4 * 8, 32, 32, 3)
    assert grid.dtype == np.uint8
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(trained.grid(), grid)


# --- what is learned


def test_joints_follow_the_pictures(tmp_path: Path) -> None:
    """Joints follow a bend without all being in one place whatever the picture."""
    pictures, _ = people.photographed(100)
    config = replace(people.CONFIG, steps=240, batch=8, lr=2e-3, critic_width=64, checkpoint_steps=1000)
    match(pictures, people.prior(100), config, tmp_path)
    records = tiny.stats(tmp_path / "match" / "stats.jsonl")
    assert records[-1]["loss_follow"] < 0.5 * records[0]["loss_follow"]
    assert records[-1]["loss_picture"] < 0.6 * records[0]["loss_picture"]
    read = pictures.normalize(annotate(pictures, tmp_path, dtype="float32").keypoints)
    assert read.std(0).mean() > 0.04

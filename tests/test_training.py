"""The loop of everything that trains: what it does once a step, at records, at checkpoints, and when it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from flexpose._training import Pace, Trainee, Training
from flexpose.checkpoint import Checkpoints
from flexpose.errors import DataError, Interrupted
from flexpose.runs import RunFolder, StopSignal

from . import tiny

if TYPE_CHECKING:
    from pathlib import Path

PACE = Pace(steps=11, logged=4, kept=3)


class Walker(Trainee):
    """Adds the step's number to a sum: 0 + 1 + 2 + ..."""

    def __init__(self, lost_at: int | None = None) -> None:
        self.total, self.steps = torch.zeros(1), []
        self.lost_at = lost_at
        self.shown: list[tuple[int, bool, bool]] = []

    def step(self, step: int) -> dict[str, float]:
        self.steps.append(step)
        self.total += step
        if step == self.lost_at:
            self.total *= float("nan")
        return {"loss": float(self.total)}

    def state(self) -> dict[str, torch.Tensor]:
        return {"total": self.total}

    def load(self, tensors: dict[str, torch.Tensor], path: Path) -> None:
        self.total = tensors["total"]

    def place(self, step: int) -> dict[str, Any]:
        return {"half": step // 2}

    def show(self, run: RunFolder, done: int, *, last: bool, kept: bool) -> None:
        self.shown.append((done, last, kept))


def walk(
    folder: Path, walker: Walker, *, resume: bool = False, stop: StopSignal | None = None, watch: Any = None
) -> None:
    with RunFolder(folder, "walk", config={}, inputs={}, resume=resume) as run:
        training = Training(walker, PACE, folder, resume=resume)
        training.rewind(run)
        training.run("walk", run, stop or StopSignal(), watch or tiny.Watch())


def test_each_step_is_done_once_told_and_shown(tmp_path: Path) -> None:
    walker, watch = Walker(), tiny.Watch()
    walk(tmp_path, walker, watch=watch)
    assert walker.steps == list(range(11))
    assert watch.steps == list(range(12))
    assert watch.figures[-1] == {"loss": 55.0}
    kept = {3, 6, 9, 11}
    assert walker.shown == [(done, done == 11, done in kept) for done in range(1, 12)]
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("*.safetensors")) == [
        "000000009.safetensors",
        "000000011.safetensors",
    ]


def test_records_are_means_since_the_last_one(tmp_path: Path) -> None:
    walk(tmp_path, Walker())
    records = tiny.stats(tmp_path / "stats.jsonl")
    sums = [sum(range(step + 1)) for step in range(11)]
    assert [(r["step"], r["half"], r["loss"]) for r in records] == [
        (4, 1, sum(sums[:4]) / 4),
        (8, 3, sum(sums[4:8]) / 4),
        (11, 5, pytest.approx(sum(sums[8:]) / 3)),
    ]


@pytest.mark.parametrize("step", [1, 3, 4, 5, 10])
def test_what_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path, step: int) -> None:
    stop = StopSignal()

    class Stopping(tiny.Watch):
        def advance(self, done: int, **figures: float) -> None:
            super().advance(done, **figures)
            stop.requested = bool(figures) and done == step

    walk(tmp_path / "whole", Walker())
    with pytest.raises(Interrupted, match="go on by the same command with --resume"):
        walk(tmp_path / "cut", Walker(), stop=stop, watch=Stopping())
    walker = Walker()
    walk(tmp_path / "cut", walker, resume=True)
    assert walker.steps == list(range(step, 11))
    assert walker.total == 55
    assert tiny.stats(tmp_path / "cut" / "stats.jsonl") == tiny.stats(tmp_path / "whole" / "stats.jsonl")


def test_a_checkpoint_holds_what_showing_settled(tmp_path: Path) -> None:
    class Settling(Walker):
        def show(self, run: RunFolder, done: int, *, last: bool, kept: bool) -> None:
            self.total = -self.total

    walker = Settling()
    walk(tmp_path, walker)
    saved = Checkpoints(tmp_path / "checkpoints").latest()
    assert saved is not None
    assert torch.equal(saved[0]["total"], walker.total)


@pytest.mark.parametrize(("at", "kept"), [(0, None), (4, 3), (10, 9)])
def test_lost_numbers_are_not_kept(tmp_path: Path, at: int, kept: int | None) -> None:
    message = f"training lost its numbers at step {at}: .*nan.*first lost tensor: total; .*checkpoints"
    with pytest.raises(DataError, match=message):
        walk(tmp_path, Walker(lost_at=at))
    walker = Walker()
    walk(tmp_path, walker, resume=True)
    assert walker.steps[0] == (kept or 0)
    assert walker.total == 55


def test_a_process_that_does_not_write_steps_alike(tmp_path: Path) -> None:
    walker = Walker()
    Training(walker, PACE, tmp_path, resume=False).run("walk", None, StopSignal(), tiny.Watch())
    assert walker.total == 55
    assert (walker.shown, list(tmp_path.iterdir())) == ([], [])

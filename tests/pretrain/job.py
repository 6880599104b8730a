"""What each of two processes does in `test_distributed`: several runs together, then a failure and a kill.

Run as ``python -m tests.pretrain.job FOLDER PORT PORT PORT`` with the variables that torchrun sets. FOLDER holds the
folders of the runs, each with a beta.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from flexpose._distributed import ALONE, PeerError, World, join
from flexpose.checkpoint import content_hash
from flexpose.cli import main as command
from flexpose.errors import DataError, FlexposeError, Interrupted, UsageError
from flexpose.pretrain import PretrainConfig, loop, pretrain, train_beta
from flexpose.sample import SampleConfig, sample

from .. import tiny

# As `tiny.PRETRAIN`, fifteen steps; every batch is of odd shares, and the game's of three groups.
CONFIG = replace(
    tiny.PRETRAIN,
    batch=12,
    flow_batch=9,
    mapping_batch=9,
    lessons=((8, 0.024), (16, 0.036)),
    stages=((8, 0.024), (16, 0.048)),
    judge_first_kimg=0.012,
    fade_kimg=0.024,
    checkpoint_kimg=0.036,
    snapshot_kimg=0.06,
    noise="random",
    style_mixing=0.5,
)
BETA = replace(tiny.BETA, batch=9, checkpoint_steps=12)
SAMPLES = {
    "plain": SampleConfig(n=150, dtype="float32"),
    "kept": SampleConfig(n=30, reject=0.6, dtype="float32"),
}


class At(tiny.Watch):
    """Does something when a step is done."""

    def __init__(self, step: int, act: Any) -> None:
        super().__init__()
        self.step, self.act = step, act

    def advance(self, done: int, **figures: float) -> None:
        super().advance(done, **figures)
        if figures and done == self.step:
            self.act()


def train(folder: Path, config: PretrainConfig = CONFIG, **options: Any) -> Path:
    return pretrain(tiny.source_poses(), config, folder, **options)


def together(folder: Path, world: World) -> dict[str, Any]:
    """What this process saw of runs that end well."""
    trainers: list[Any] = []
    original = loop._Trainer

    def kept(*arguments: Any) -> Any:
        trainers.append(original(*arguments))
        return trainers[-1]

    loop._Trainer = kept
    watch = tiny.Watch()
    train(folder / "two", progress=watch, world=world)
    loop._Trainer = original
    seen: dict[str, Any] = {"figures": watch.figures, "weights": content_hash(trainers[0].state())}
    train(folder / "one-two", resume=True, world=world)
    train_beta(tiny.source_poses(), BETA, folder / "beta-two", world=world)
    me = os.getpid()
    sender = At(7, lambda: os.kill(me, signal.SIGTERM)) if world.rank == 1 else tiny.Watch()
    try:
        train(folder / "stopped", progress=sender, world=world)
    except Interrupted as error:
        seen["stopped"] = [sender.steps[-1], str(error)]
    for name, config in SAMPLES.items():
        sample(folder / "source", config, folder / f"{name}.json", world=world)
    seen["refused"] = []
    for changes in ({"batch": 4}, {"flow_batch": 1}, {"batch": 1, "lessons": ()}):
        try:
            train(folder / "refused", replace(CONFIG, **changes), world=world)
        except UsageError as error:
            seen["refused"].append(str(error))
    try:
        world.check_same(question=42, answer=world.rank)
    except UsageError as error:
        seen["differs"] = str(error)
    return seen


def fail(folder: Path) -> list[Any]:
    """The second process finds bad data in the middle of a run: what each of them raises."""

    def bad() -> None:
        raise DataError("no good", record=3)

    world = ALONE
    try:
        with join() as world:
            train(folder / "failed", progress=At(6, bad) if world.rank else None, world=world)
    except FlexposeError as error:
        return [type(error).__name__, str(error), error.exit_code, world.told, isinstance(error, PeerError)]
    return []


def be_killed(folder: Path) -> None:
    """The command, whose second process is killed in a step."""
    step = loop._Trainer.step

    def killed(self: Any, number: int) -> dict[str, float]:
        if number == 10 and self.world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, number)

    loop._Trainer.step = killed  # type: ignore[method-assign]
    sys.argv = ["flexpose", "pretrain", str(folder / "poses.json"), str(folder / "killed")]
    sys.argv += ["--config", str(folder / "config.toml")]
    command()


def gloo_threads() -> list[str]:
    """The names of this process's threads that exchange with others."""
    names = (file.read_text(encoding="utf-8").strip() for file in Path("/proc/self/task").glob("*/comm"))
    return sorted(name for name in names if "gloo" in name)


def work(folder: Path, ports: list[str]) -> None:
    torch.set_num_threads(1)
    os.environ["MASTER_PORT"] = ports[0]
    with join() as world:
        seen = together(folder, world)
        seen["threads"] = [gloo_threads()]
    seen["threads"].append(gloo_threads())
    os.environ["MASTER_PORT"] = ports[1]
    seen["failed"] = fail(folder)
    (folder / f"seen-{world.rank}.json").write_text(json.dumps(seen), encoding="utf-8")
    os.environ["MASTER_PORT"] = ports[2]
    be_killed(folder)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2:])

"""Runs that take a second: settings, poses and the kills that the tests of long commands share."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexpose.adapt import AdaptConfig
from flexpose.poses import source_domain, synth_poses, target_domain
from flexpose.pretrain import BetaConfig, PretrainConfig, pretrain, train_beta
from flexpose.runs import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flexpose.poses import PoseSet

# Two steps of the flow, two of the mapping, of drawing two at 8 px and three at 16 px; then the game: two steps at
# 8 px, four at 16 px that fade in over two. Fifteen in all.
PRETRAIN = PretrainConfig(
    size_px=16,
    z_dim=8,
    w_dim=8,
    mapping_layers=3,
    channel_base=64,
    channel_max=8,
    flow_steps=2,
    flow_batch=8,
    flow_width=8,
    mapping_steps=2,
    mapping_batch=8,
    pairs=40,
    pose_layers=1,
    lessons=((8, 0.008), (16, 0.012)),
    stages=((8, 0.008), (16, 0.016)),
    judge_first_kimg=0.004,
    fade_kimg=0.008,
    batch=4,
    r1_every=2,
    dtype="float32",
    checkpoint_kimg=0.012,
    snapshot_kimg=0.02,
)
PRETRAIN_STEPS = 15
# Wide enough for the 26 numbers of a pose, and trained so little that pictures show no figures: what is tested is the
# algebra, which does not depend on how well the generator draws.
LESSONS = replace(
    PRETRAIN,
    z_dim=32,
    w_dim=48,
    channel_max=16,
    channel_base=256,
    mapping_layers=3,
    pose_layers=1,
    flow_steps=40,
    flow_batch=64,
    mapping_steps=60,
    mapping_batch=64,
    pairs=500,
    stages=(),
)
BETA = BetaConfig(size_px=16, width=8, steps=12, batch=8, lr=0.01, dtype="float32", checkpoint_steps=3)
# By gradient descent, as the paper has it: the source's codes are too narrow to tell poses.
ADAPT = AdaptConfig(
    layers=(3,),
    start="identity",
    variation=0,
    flips=False,
    iterations=12,
    batch=8,
    mixed=12,
    pool=64,
    lr=0.05,
    dtype="float32",
    checkpoint_iterations=3,
)


def source_poses() -> PoseSet:
    return synth_poses(60, seed=1, domain=source_domain())


def target_poses(n: int = 6) -> PoseSet:
    return synth_poses(n, seed=2, domain=target_domain())


def train_source(folder: Path, *, beta: BetaConfig = BETA) -> Path:
    """A folder with a beta and a generator, both next to untrained."""
    train_beta(source_poses(), beta, folder)
    pretrain(source_poses(), PRETRAIN, folder)
    return folder


@contextlib.contextmanager
def bounded_memory(more: int = 2 << 30) -> Iterator[None]:
    """Let the process grow by `more` bytes at most, so that a file that asks for too much fails here alone."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Killed(BaseException):
    """Stands for a kill: nothing in the product may catch it."""


class KillAt(Progress):
    """Raises `Killed` when a step is done, before anything of it is written."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, done: int, **figures: float) -> None:
        if figures and done >= self.step:
            raise Killed


class Watch(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.figures: list[dict[str, float]] = []
        self.messages: list[str] = []
        self.steps: list[int] = []

    def advance(self, done: int, **figures: float) -> None:
        self.steps.append(done)
        self.figures.append(figures)

    def message(self, text: str) -> None:
        self.messages.append(text)


def stats(path: Path) -> list[dict[str, Any]]:
    """The records of a ``stats.jsonl``, without what depends on the clock."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record.pop("steps_per_s", None)
    return records

"""The loop of everything that trains: steps that are told, logged, kept, and gone on with."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .checkpoint import Checkpoints, not_finite
from .errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from .runs import Progress, RunFolder, StopSignal

__all__ = ["RESUME_HINT", "Pace", "Trainee", "Training"]

RESUME_HINT = "go on by the same command with --resume"


@dataclass(frozen=True)
class Pace:
    """How long a training is, and how often it is written down.

    Attributes:
        steps: how many there are.
        logged: steps from one record to the next.
        kept: steps from one checkpoint to the next.
    """

    steps: int
    logged: int
    kept: int


class Trainee:
    """What trains."""

    def step(self, step: int) -> dict[str, float]:
        """Do step `step` and give its losses; a function of the state and the step alone."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint keeps."""
        return {}

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        """Go back to a checkpoint's state."""

    def place(self, step: int) -> dict[str, Any]:
        """Where in its schedule `step` is, for the record beside the losses."""
        return {}

    def show(self, run: RunFolder, done: int, *, last: bool, kept: bool) -> None:
        """Publish pictures after `done` steps: after the last one, or where there is a checkpoint, or at will."""


class Training:
    """A trainee's steps, from where its last checkpoint left it if `resume` says so.

    Attributes:
        begin: steps that are done already.
    """

    def __init__(self, trainee: Trainee, pace: Pace, folder: Path, *, resume: bool) -> None:
        self._trainee, self._pace = trainee, pace
        self._checkpoints = Checkpoints(folder / "checkpoints")
        self.begin = 0
        self._since: dict[str, list[float]] = {}  # losses since the last record
        saved = self._checkpoints.latest() if resume else None
        if saved is not None:
            tensors, header = saved
            trainee.load(tensors, self._checkpoints.folder)
            self.begin, self._since = int(header["step"]), dict(header.get("sums", {}))

    def rewind(self, run: RunFolder) -> None:
        """Take out of the run's records what the steps will write again."""
        run.rewind("step", self.begin or -1)

    def run(self, what: str, run: RunFolder | None, stop: StopSignal, progress: Progress) -> None:
        """Do the steps that are left.

        Args:
            what: its name in `progress`.
            run: gets a record now and then; None in a process that does not write.
            stop: asked after each step.
            progress: told of each step.

        Raises:
            DataError: a loss or the state is not finite; the last good checkpoint is kept.
            Interrupted: SIGINT or SIGTERM came; a checkpoint is written.
        """
        pace = self._pace
        progress.start(what, pace.steps)
        progress.advance(self.begin)
        clock, since = time.monotonic(), self.begin
        for step in range(self.begin, pace.steps):
            figures = self._trainee.step(step)
            self._check(step, figures)
            done = step + 1
            progress.advance(done, **figures)
            stop.agree()
            if run is not None:
                for key, value in figures.items():
                    self._since.setdefault(key, []).append(value)
                last = done == pace.steps
                if done % pace.logged == 0 or last:
                    rate = (done - since) / max(time.monotonic() - clock, 1e-9)
                    self._log(run, step, rate)
                    clock, since = time.monotonic(), done
                kept = done % pace.kept == 0 or last or stop.requested
                self._trainee.show(run, done, last=last, kept=kept)
                if kept:  # after what is shown, which may settle a part of the state
                    self._checkpoints.save(done, self._trainee.state(), {"sums": self._since})
            stop.check(RESUME_HINT)

    def _check(self, step: int, figures: dict[str, float]) -> None:
        if not all(math.isfinite(value) for value in figures.values()):
            raise DataError(
                f"training lost its numbers at step {step}: {figures}, first lost tensor: "
                f"{not_finite(self._trainee.state())}; the last good checkpoint is in {self._checkpoints.folder}"
            )

    def _log(self, run: RunFolder, step: int, rate: float) -> None:
        means = {key: round(float(np.mean(values)), 6) for key, values in sorted(self._since.items())}
        run.log(step=step + 1, **self._trainee.place(step), **means, steps_per_s=round(rate, 2))
        self._since = {}

"""What each step of a source training does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from .config import PretrainConfig

__all__ = ["Moment", "Schedule"]

Phase = Literal["flow", "mapping", "drawing", "game"]


class Moment(NamedTuple):
    """Where a step stands.

    Attributes:
        phase: the lesson, or the adversarial game.
        since: steps since its part began; each resolution is a part.
        resolution: side of the pictures; 0 where none are drawn.
        fade: how far the colours of a new resolution are faded in.
    """

    phase: Phase
    since: int
    resolution: int
    fade: float


class Schedule:
    """The parts of a training, one after the other: flow, mapping, drawing at each resolution, the game at each."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self._parts: list[tuple[Phase, int, int]] = []
        if config.lessons:
            self._parts += [("flow", 0, config.flow_steps), ("mapping", 0, config.mapping_steps)]
        for phase, stages in (("drawing", config.lessons), ("game", config.stages)):
            self._parts += [(phase, side, math.ceil(kimg * 1000 / config.batch)) for side, kimg in stages]  # type: ignore[misc]
        self._begins = [0]
        for *_, steps in self._parts:
            self._begins.append(self._begins[-1] + steps)

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self._begins[-1]

    def begin(self, phase: Phase) -> int:
        """First step of a phase; the end of the training if there is none."""
        begins = [
            begin for (name, *_), begin in zip(self._parts, self._begins, strict=False) if name == phase
        ]
        return begins[0] if begins else self.steps

    @property
    def first_picture(self) -> int:
        """The first step that draws."""
        return min(self.begin("drawing"), self.begin("game"))

    def pictures(self, steps: int) -> int:
        """Pictures shown after so many steps."""
        return max(0, steps - self.first_picture) * self.config.batch

    def at(self, step: int) -> Moment:
        """What a 0-based step does."""
        part = next(i for i, end in enumerate(self._begins[1:]) if step < end)
        phase, side, _ = self._parts[part]
        since = step - self._begins[part]
        fade_steps = self.config.fade_kimg * 1000 / self.config.batch
        # The first part of the game has nothing to fade from but noise, or goes on where the lessons ended.
        grown = self._begins[part] > self.begin("game") and fade_steps > 0
        return Moment(phase, since, side, min(1.0, (since + 1) / fade_steps) if grown else 1.0)

    def drawing_share(self, step: int) -> float:
        """Share of the highest rate of the drawing lessons, a cosine over all of them."""
        begin, end = self.begin("drawing"), self.begin("game")
        return 0.5 + 0.5 * math.cos(math.pi * (step - begin) / (end - begin))

    def judge_alone(self, step: int) -> bool:
        """Whether the discriminator learns alone at this step, so that its first word is worth something."""
        return (step - self.begin("game")) * self.config.batch < self.config.judge_first_kimg * 1000

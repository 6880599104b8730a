"""Progress of a long command on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

from flexpose.runs import Progress

from ._output import say, stderr

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["progress"]

_SECONDS_BETWEEN_LINES = 15.0


def _figures(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


class _Shown(Progress):
    """A progress that is ended by leaving its `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The work is over, well or not."""


class _Lines(_Shown):
    """For logs and pipes: one line at the start and the end of a stretch, and one every few seconds."""

    def __init__(self) -> None:
        self._what, self._total, self._last = "", 0, 0.0

    def start(self, what: str, total: int) -> None:
        self._what, self._total, self._last = what, total, time.monotonic()
        say(f"{what}: 0/{total}")

    def advance(self, done: int, **figures: float) -> None:
        now = time.monotonic()
        if done < self._total and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        say(f"{self._what}: {done}/{self._total}  {_figures(figures)}".rstrip())

    def message(self, text: str) -> None:
        say(text)


class _Bars(_Shown):
    """For a terminal: one bar a stretch, with the time left and the latest figures."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns: list[Any] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
        ]
        self._bar: Bar = Bar(*columns, console=stderr())
        self._task: Any = None
        self._bar.start()

    def start(self, what: str, total: int) -> None:
        self._task = self._bar.add_task(what, total=total, figures="")

    def advance(self, done: int, **figures: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, figures=_figures(figures))

    def message(self, text: str) -> None:
        self._bar.console.print(text, markup=False)

    def close(self) -> None:
        self._bar.stop()


def progress() -> _Shown:
    """The progress for where stderr goes; use it in a `with` block."""
    return _Bars() if sys.stderr.isatty() else _Lines()

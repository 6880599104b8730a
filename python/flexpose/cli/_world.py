"""A command that torchrun runs in several processes: one of them speaks."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from flexpose.errors import FlexposeError, UsageError
from flexpose.runs import Progress

from ._progress import progress
from ._signals import terminate_as_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flexpose._distributed import World

__all__ = ["joined", "refuse_processes"]

_LEAD_S = 3.0  # the first process loads what it prints with


@contextmanager
def joined(device: str) -> Iterator[tuple[World, Progress]]:
    """The world of this process, which computes on `device`, and the progress that it shows, if it is the first.

    An error that the first process reports as well ends the others without a word.
    """
    from flexpose._distributed import ALONE, join, started_processes  # NumPy loads only here

    world = ALONE
    try:
        with ExitStack() as stack:
            if started_processes() > 1:
                stack.enter_context(terminate_as_interrupt())
            world = stack.enter_context(join(device))
            yield world, stack.enter_context(progress()) if world.leads else Progress()
    except FlexposeError as error:
        if world.told:
            # torchrun ends all processes once one has ended: the first has to say why before that.
            time.sleep(_LEAD_S)
            raise typer.Exit(error.exit_code) from None
        raise


def refuse_processes(command: str, why: str) -> None:
    """Refuse to run in several processes.

    Raises:
        UsageError: torchrun started more than one.
    """
    from flexpose._distributed import started_processes

    count = started_processes()
    if count > 1:
        raise UsageError(f"{command} must run in one process, got {count}: {why}")

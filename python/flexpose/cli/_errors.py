"""One place that turns an exception into a message, a hint and an exit code.

0 done, 1 a bug, 2 wrong usage, 3 bad data, 4 disk or memory, 5 device or back end, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from flexpose.errors import (
    DataError,
    DeviceError,
    FlexposeError,
    Interrupted,
    ResourceError,
    UsageError,
)

from ._output import stderr

__all__ = ["Failure", "classify", "report", "traceback_wanted"]

TRACEBACK_VARIABLE = "FLEXPOSE_TRACEBACK"
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_NO_POSES = {".safetensors", ".toml"} | _PICTURES
_ARRAYS_OF_PICTURES = {"jpeg", "offset"}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_HINTS: tuple[tuple[type[FlexposeError], str], ...] = (
    (UsageError, "the options and an example are in: flexpose COMMAND --help"),
    (DataError, "look at the file with: flexpose poses inspect FILE"),
    (ResourceError, "free what is missing and run the same command again; no half-written file is left"),
    (DeviceError, "see what this machine can run with: flexpose doctor"),
    (Interrupted, "what was finished is kept"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What the user is told: the message, what to do about it, and the exit code."""

    message: str
    hint: str | None
    exit_code: int


def _free_megabytes(path: object) -> int:
    """Room on the disk of `path`, or of the working folder where there is no such path."""
    folder = Path(path).absolute() if isinstance(path, str) else Path.cwd()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free // 1_000_000


def _from_os_error(error: OSError) -> Failure:
    reason = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in _NOT_THERE:
        return Failure(f"{where}{reason}", "check the path", UsageError.exit_code)
    if error.errno in _NO_ROOM:
        hint = "free some room, or write to another disk, and run the same command again"
        return Failure(
            f"{where}{reason} ({_free_megabytes(error.filename)} MB free)", hint, ResourceError.exit_code
        )
    return Failure(f"{where}{reason}", None, ResourceError.exit_code)


def _may_hold_poses(path: object, field: object) -> bool:
    """Whether `flexpose poses inspect` can say more of a file, or of an array in it, than the message does."""
    if field in _ARRAYS_OF_PICTURES:
        return False
    return path is None or Path(str(path)).suffix.lower() not in _NO_POSES


def classify(error: BaseException) -> Failure:
    """Message, hint and exit code of `error`; a note added to the exception replaces the general hint."""
    notes = getattr(error, "__notes__", None)
    if isinstance(error, FlexposeError):
        general = next((hint for kind, hint in _HINTS if isinstance(error, kind)), None)
        if isinstance(error, DataError) and not _may_hold_poses(error.path, error.field):
            general = None
        return Failure(str(error), notes[0] if notes else general, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", dict(_HINTS)[Interrupted], Interrupted.exit_code)
    # torch's own kind is known by its name, so that torch is not imported here.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        detail = f": {error}" if str(error) else ""
        hint = "use a smaller batch, fewer workers or --limit"
        return Failure(f"out of memory{detail}", hint, ResourceError.exit_code)
    if isinstance(error, OSError):
        return _from_os_error(error)
    hint = f"this is a bug in flexpose; {TRACEBACK_VARIABLE}=1 shows where it happened"
    return Failure(f"internal error: {type(error).__name__}: {error}", hint, 1)


def traceback_wanted(option: bool) -> bool:
    """Whether the option or the environment asks for the traceback."""
    return option or os.environ.get(TRACEBACK_VARIABLE, "") not in {"", "0"}


def report(error: BaseException, *, with_traceback: bool) -> int:
    """Print `error` on stderr and give the exit code."""
    from rich.text import Text

    if with_traceback:
        traceback.print_exception(error, file=sys.stderr)
    failure = classify(error)
    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), failure.message))
    if failure.hint:
        console.print(Text.assemble(("hint: ", "bold"), failure.hint))
    return failure.exit_code

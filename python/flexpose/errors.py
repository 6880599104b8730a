"""The errors that flexpose raises on purpose; each class carries the exit code of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "FlexposeError",
    "Interrupted",
    "ResourceError",
    "UsageError",
]


class FlexposeError(Exception):
    """Base of every error that flexpose raises on purpose."""

    exit_code: int = 1


class UsageError(FlexposeError, ValueError):
    """An argument is wrong; the message names it, what was expected and what came."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration holds an unknown key or a value out of range."""


class DataError(FlexposeError, ValueError):
    """A file or an array holds what it must not; the message names the file, the record and the field.

    Args:
        message: what was expected and what came.
        path: the file, if there is one.
        record: 0-based index of the record in it, e.g. of the annotation.
        field: name of the field in the record, e.g. ``keypoints``.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        record: int | None = None,
        field: str | None = None,
    ) -> None:
        self.path, self.record, self.field = path, record, field
        where = [str(path)] if path is not None else []
        if record is not None:
            where.append(f"record {record}")
        if field is not None:
            where.append(field)
        super().__init__(": ".join([*where, message]) if where else message)


class ResourceError(FlexposeError, OSError):
    """The machine lacks something (disk, memory, a lock); the message says what and how to go on."""

    exit_code = 4


class DeviceError(FlexposeError, RuntimeError):
    """A device or back end that was asked for cannot be used."""

    exit_code = 5


class Interrupted(FlexposeError):
    """The user or the scheduler stopped the work (SIGINT, SIGTERM); what is on disk can be resumed."""

    exit_code = 130

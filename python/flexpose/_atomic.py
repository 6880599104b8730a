"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

__all__ = ["atomic_path", "atomic_write"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it is removed.

    Args:
        path: the file to publish; its folder is made if it is not there.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    final = Path(path)
    # The ending stays last, because some writers choose the format by it.
    temporary = final.with_name(f".{final.stem}.tmp-{os.getpid()}{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _fsync(temporary, os.O_RDONLY)
        temporary.replace(final)
        _fsync(final.parent, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except BaseException as error:
        with suppress(OSError):  # where the folder itself is wrong there is nothing to remove
            temporary.unlink()
        if isinstance(error, OSError) and not isinstance(error, ResourceError):
            reason = "no room left for it" if error.errno in _NO_ROOM else str(error)
            raise ResourceError(f"{final}: could not be written: {reason}") from error
        raise


def atomic_write(path: str | PathLike[str], data: bytes) -> None:
    """Publish `data` as the whole content of `path`.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)

"""Text files of data sets: read whole, up to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexpose.errors import DataError, ResourceError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_text"]


def read_text(path: Path, max_bytes: int) -> str:
    """Read a text file.

    Args:
        path: the file.
        max_bytes: what is larger is refused before it is read.

    Returns:
        Its text, with line feeds at the ends of lines.

    Raises:
        DataError: the file is too large, or not UTF-8.
        ResourceError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise DataError(f"must be at most {max_bytes} bytes, got {size}", path=path)
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as err:
        raise DataError(f"must be text (UTF-8): {err}", path=path) from err
    except OSError as err:
        raise ResourceError(f"{path}: could not be read: {err.strerror or err}") from err

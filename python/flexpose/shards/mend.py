"""Looking after data sets: compare with what was written down, mend, unite."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexpose import _rust

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

__all__ = [
    "Mended",
    "Problem",
    "Verification",
    "finish_dataset",
    "mend_dataset",
    "merge_datasets",
    "verify_dataset",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file: its shard (None if it is not about one), its name, and how."""

    shard: int | None
    file: str
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The state of a data set.

    Attributes:
        shards: number of shards of the plan.
        intact: those that are as they should be.
        missing: those that are not written, or were given up.
        poses: in the shards that are there.
        bytes: of all their files.
        complete: whether there is an index.
        temporary: files that a process left when it died, or is writing now.
        problems: what is wrong.
    """

    shards: int
    intact: int
    missing: int
    poses: int
    bytes: int
    complete: bool
    temporary: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done to a data set.

    Attributes:
        swept: temporary files that were removed.
        torn: what was wrong with the shards that were removed.
        missing: shards that are to be written again.
        complete: whether there is an index now.
    """

    swept: tuple[str, ...]
    torn: tuple[Problem, ...]
    missing: tuple[int, ...]
    complete: bool


def _problems(found: Sequence[dict[str, Any]]) -> tuple[Problem, ...]:
    return tuple(Problem(**problem) for problem in found)


def verify_dataset(
    out: str | PathLike[str], *, full: bool = False, progress: Callable[[int], None] | None = None
) -> Verification:
    """Compare the files of a data set with what was written down about them.

    Args:
        out: its folder; it need not be finished.
        full: also hash every file and open every entry; otherwise lengths only.
        progress: called some times a second with the number of poses looked at; what it raises ends it.

    Returns:
        What was found; nothing is changed.

    Raises:
        UsageError: the folder is no data set.
        DataError: its plan is not valid.
    """
    found = json.loads(_rust.verify_shards(str(out), full=full, progress=progress))
    found |= {"problems": _problems(found["problems"]), "temporary": tuple(found["temporary"])}
    return Verification(**found)


def mend_dataset(out: str | PathLike[str], *, drop: bool = False) -> Mended:
    """Remove torn shards and temporary files of dead processes, and write the index if nothing is missing.

    Every file is hashed and opened for it. What was removed is written again by a resumed rendering of the same input.

    Args:
        out: folder of the data set.
        drop: give up the shards that are missing: the data set is finished without them.

    Returns:
        What was done.

    Raises:
        UsageError: the folder is no data set.
        DataError: its plan is not valid.
        ResourceError: somebody writes in it.
    """
    told = json.loads(_rust.mend_shards(str(out), drop))
    return Mended(
        swept=tuple(told["swept"]),
        torn=_problems(told["torn"]),
        missing=tuple(told["missing"]),
        complete=told["complete"],
    )


def finish_dataset(out: str | PathLike[str]) -> int:
    """Write the index of a data set of which all shards are written, and give the number of its poses.

    Raises:
        UsageError: shards are missing; names them.
    """
    count: int = json.loads(_rust.finish_shards(str(out)))["count"]
    return count


def merge_datasets(
    sources: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Copy finished data sets into a new one, as if it had been rendered from all their inputs, one after the other.

    Rows count on from one to the next, and class names are united. An interrupted merge goes on when called again.

    Args:
        sources: folders of data sets that differ in their inputs and shard sizes only.
        out: folder of the new one.
        progress: called some times a second with the number of poses copied; what it raises ends it.

    Returns:
        The number of shards in the new data set.

    Raises:
        UsageError: a source is not finished, or `out` holds something else.
        ConfigError: the sources have different settings; names them.
        ResourceError: the disk is full.
    """
    told = json.loads(
        _rust.merge_shards([str(Path(source)) for source in sources], str(out), progress=progress)
    )
    shards: int = told["written"] + told["kept"]
    return shards

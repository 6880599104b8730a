"""BVH motion files: a hierarchy of joints, and channels of each frame; forward kinematics gives positions.

A joint's rotation channels are applied in the order in which they are listed, each about the axis that the ones
before it have turned. A position channel takes the place of that coordinate of OFFSET, as the programs have it
that write all six channels of every joint. Units are those of the file; y is up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError
from flexpose.poses.formats.text import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Motion", "read_bvh"]

_MAX_BYTES = 1 << 28
_MAX_JOINTS = 1024
_AXES = {"X": 0, "Y": 1, "Z": 2}
_CHANNELS = {f"{axis}{kind}" for axis in _AXES for kind in ("position", "rotation")}
_FRAMES = re.compile(r"Frames:\s*(\d{1,9})\s*")
_FRAME_TIME = re.compile(r"Frame Time:\s*\S+\s*")


@dataclass(frozen=True, eq=False)
class Motion:
    """Joints that move.

    Attributes:
        names: of the K joints; an end site is called after its joint, ``Head_end``. One that lies at its joint is
            left out: it says nothing.
        positions: [N, K, 3] float64, world coordinates in the file's unit.
    """

    names: tuple[str, ...]
    positions: NDArray[np.float64]


@dataclass(slots=True)
class _Joint:
    name: str
    parent: int  # -1: none
    end: bool
    offset: tuple[float, ...] | None = None
    channels: list[str] = field(default_factory=list)


def read_bvh(path: Path) -> Motion:
    """Read a motion.

    Args:
        path: the file, at most 256 MiB.

    Returns:
        The positions of all joints and end sites in each frame.

    Raises:
        DataError: the file is cut off, or not BVH; ``record`` is the frame, from 0.
        ResourceError: it cannot be read.
    """
    hierarchy, motion, frames = read_text(path, _MAX_BYTES).partition("\nMOTION")
    if not motion:
        raise DataError("must have a line MOTION", path=path)
    joints = _hierarchy(path, hierarchy)
    values = _values(path, frames, sum(len(joint.channels) for joint in joints))
    with np.errstate(over="ignore", invalid="ignore"):
        positions = _positions(joints, values)
    wrong = ~np.isfinite(positions).all(axis=(1, 2))
    if wrong.any():
        raise DataError("positions must be finite", path=path, record=int(wrong.argmax()))
    kept = [index for index, joint in enumerate(joints) if not joint.end or any(joint.offset or ())]
    return Motion(tuple(joints[index].name for index in kept), positions[:, kept])


def _hierarchy(path: Path, text: str) -> list[_Joint]:
    """The joints, parents before their children."""
    words: Iterator[str] = iter(re.findall(r"[{}]|[^\s{}]+", text))

    def fail(reason: str) -> DataError:
        return DataError(reason, path=path, field="HIERARCHY")

    def take() -> str:
        word = next(words, None)
        if word is None:
            raise fail("must be whole: it is cut off")
        return word

    if take() != "HIERARCHY":
        raise fail("must come first")
    joints: list[_Joint] = []
    open_joints: list[int] = []
    while True:
        word = take()
        if word in {"ROOT", "JOINT", "End"}:
            if (word == "ROOT") != (not joints):
                raise fail(f"must have one ROOT, at the top, got {word} after {len(joints)} joints")
            name = " ".join(iter(take, "{"))
            parent = open_joints[-1] if open_joints else -1
            name = f"{joints[parent].name}_end" if word == "End" else name
            if not name or any(joint.name == name for joint in joints) or len(joints) >= _MAX_JOINTS:
                raise fail(f"must have at most {_MAX_JOINTS} joints of different names, got {name!r}")
            open_joints.append(len(joints))
            joints.append(_Joint(name, parent, word == "End"))
        elif not open_joints:
            raise fail(f"must start with ROOT, got {word!r}")
        elif word == "OFFSET":
            joints[open_joints[-1]].offset = _offset(fail, take)
        elif word == "CHANNELS":
            joints[open_joints[-1]].channels = _channels(fail, take)
        elif word == "}":
            joint = joints[open_joints.pop()]
            if joint.offset is None:
                raise fail(f"{joint.name} must have an OFFSET")
            if not open_joints:
                break
        else:
            raise fail(f"must hold JOINT, End Site, OFFSET, CHANNELS and braces, got {word!r}")
    rest = next(words, None)
    if rest is not None:
        raise fail(f"must end with the ROOT's brace, got {rest!r}")
    return joints


def _offset(fail: Callable[[str], DataError], take: Callable[[], str]) -> tuple[float, ...]:
    try:
        offset = tuple(float(take()) for _ in range(3))
    except ValueError as err:
        if isinstance(err, DataError):
            raise
        raise fail(f"OFFSET must be three numbers: {err}") from err
    if not np.isfinite(offset).all():
        raise fail(f"OFFSET must be finite, got {offset}")
    return offset


def _channels(fail: Callable[[str], DataError], take: Callable[[], str]) -> list[str]:
    count = take()
    if count not in {str(n) for n in range(7)}:
        raise fail(f"CHANNELS must be 0 to 6, got {count!r}")
    channels = [take() for _ in range(int(count))]
    if not set(channels) <= _CHANNELS or len(set(channels)) != len(channels):
        raise fail(f"CHANNELS must be Xposition to Zrotation, each once, got {' '.join(channels)}")
    return channels


def _values(path: Path, text: str, channels: int) -> NDArray[np.float64]:
    """[N, channels] the numbers of all frames."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = _FRAMES.fullmatch(lines[0].strip()) if lines else None
    if found is None or len(lines) < 2 or not _FRAME_TIME.fullmatch(lines[1].strip()):
        raise DataError("must go on with 'Frames: N' and 'Frame Time: T'", path=path, field="MOTION")
    count, rows = int(found.group(1)), lines[2:]
    if len(rows) != count:
        raise DataError(f"must be {count} lines, got {len(rows)}", path=path, field="MOTION")
    values = np.empty((count, channels))
    for record, row in enumerate(rows):
        words = row.split()
        if len(words) != channels:
            raise DataError(f"must be {channels} numbers, got {len(words)}", path=path, record=record)
        try:
            values[record] = np.array(words, np.float64)
        except ValueError as err:
            raise DataError(f"must be numbers: {err}", path=path, record=record) from err
    return values


def _positions(joints: list[_Joint], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, K, 3] world positions, by forward kinematics."""
    n = len(values)
    positions = np.empty((n, len(joints), 3))
    rotations: list[NDArray[np.float64]] = []
    columns = iter(values.T)
    for index, joint in enumerate(joints):
        local = np.tile(np.array(joint.offset, np.float64), (n, 1))
        turn = np.broadcast_to(np.eye(3), (n, 3, 3))
        for channel in joint.channels:
            axis, column = _AXES[channel[0]], next(columns)
            if channel.endswith("position"):
                local[:, axis] = column
            else:
                turn = turn @ _rotation(axis, column)
        if joint.parent >= 0:
            above = rotations[joint.parent]
            local = positions[:, joint.parent] + (above @ local[..., None])[..., 0]
            turn = above @ turn
        positions[:, index] = local
        rotations.append(turn)
    return positions


def _rotation(axis: int, degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 3, 3] rotations of column vectors about an axis, right-handed."""
    angle = np.deg2rad(degrees)
    after, last = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, axis, axis] = 1
    matrix[:, after, after] = matrix[:, last, last] = np.cos(angle)
    matrix[:, last, after] = np.sin(angle)
    matrix[:, after, last] = -np.sin(angle)
    return matrix

"""Finished data sets on disk, as their readers see them: strict, because the files may be a stranger's."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast, get_args

from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.skeleton import Skeleton

from .poses import read_keypoint_shard

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "FORMAT",
    "DatasetPlan",
    "Kind",
    "ShardFile",
    "ShardIndex",
    "open_dataset",
    "read_keypoint_shard",
]

FORMAT = 1
Kind = Literal["webdataset", "npy", "png", "keypoints"]

_MAX_JSON = 256 << 20
_MAX_COUNT = 2**48
_ENDINGS = {"webdataset": ".tar", "npy": ".npy", "keypoints": ".safetensors"}
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard of a finished data set.

    Attributes:
        file: name of the file, or of the folder of PNG files, in the data set's folder.
        first: number of its first pose among those of the plan.
        count: poses in it, >= 1.
        bytes: length of the file; of a folder, that of all its files.
        blake3: hash, 64 hexadecimal digits.
        poses: name of the file with its poses; `file` itself in a data set of keypoints.
        poses_bytes: length of that file.
    """

    file: str
    first: int
    count: int
    bytes: int
    blake3: str
    poses: str
    poses_bytes: int


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What ``plan.json`` says and readers need.

    Attributes:
        kind: what the shards hold.
        config: the options of the rendering, by their names.
        count: poses that were to be drawn.
        shards: first pose and one past the last of each shard.
        skeleton: of the poses.
        image: (channels, height, width) of the pictures, None where none are stored.
        labels: class names that the labels count, None if there are none.
    """

    kind: Kind
    config: dict[str, Any]
    count: int
    shards: tuple[tuple[int, int], ...]
    skeleton: Skeleton
    image: tuple[int, int, int] | None
    labels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """A finished data set.

    Attributes:
        path: its folder.
        kind: what the shards hold.
        skeleton: of the poses.
        count: poses in all shards.
        shards: in the order of their poses. Some of the plan may be missing, if they were given up.
        plan: how it was made.
    """

    path: Path
    kind: Kind
    skeleton: Skeleton
    count: int
    shards: tuple[ShardFile, ...]
    plan: DatasetPlan

    def poses_path(self, shard: ShardFile) -> Path:
        """Where the poses of a shard are."""
        return self.path / shard.poses


def open_dataset(out: str | PathLike[str]) -> ShardIndex:
    """Read what a data set consists of. No shard is opened; ``flexpose shards verify`` compares lengths and hashes.

    Args:
        out: the folder that ``flexpose render`` wrote.

    Returns:
        Its index.

    Raises:
        UsageError: the folder is no data set, or not a finished one.
        DataError: ``plan.json`` or ``index.json`` is not valid, or they contradict each other; names file and field.
    """
    folder = Path(out)
    if not (folder / "plan.json").is_file():
        raise UsageError(f"{folder}: is no data set: there is no plan.json in it")
    if not (folder / "index.json").is_file():
        raise UsageError(
            f"{folder}: is not finished: there is no index.json in it; go on with it by --resume"
        )
    plan = _read_plan(_Fields.read(folder / "plan.json"))
    return _read_index(_Fields.read(folder / "index.json"), folder, plan)


class _Fields:
    """A JSON object of which every field is taken once and checked; what remains is refused."""

    def __init__(self, values: object, path: Path, where: str = "") -> None:
        self.path, self.where = path, where
        if not isinstance(values, dict):
            self.refuse("", f"must be an object, got {values!r:.60}")
        self.values = dict(cast("dict[str, Any]", values))

    @classmethod
    def read(cls, path: Path) -> _Fields:
        try:
            if path.stat().st_size > _MAX_JSON:
                raise DataError(f"must not be larger than {_MAX_JSON} bytes", path=path)
            fields = cls(json.loads(path.read_bytes(), parse_constant=_no_constant), path)
        except OSError as error:
            raise ResourceError(f"{path}: could not be read: {error}") from error
        except (ValueError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"must be JSON: {error}", path=path) from error
        form = fields.number("format")
        if form != FORMAT:
            fields.refuse("format", f"must be {FORMAT}, got {form}: written by a newer flexpose?")
        return fields

    def refuse(self, name: str, message: str) -> NoReturn:
        raise DataError(message, path=self.path, field=".".join(filter(None, (self.where, name))) or None)

    def take(self, name: str) -> Any:
        if name not in self.values:
            self.refuse(name, "is missing")
        return self.values.pop(name)

    def number(self, name: str, least: int = 0, most: int = _MAX_COUNT) -> int:
        value = self.take(name)
        if type(value) is not int or not least <= value <= most:
            self.refuse(name, f"must be an integer from {least} to {most}, got {value!r:.60}")
        return value

    def text(self, name: str) -> str:
        value = self.take(name)
        if not isinstance(value, str):
            self.refuse(name, f"must be text, got {value!r:.60}")
        return value

    def hash(self, name: str) -> str:
        value = self.text(name)
        if not _HASH.fullmatch(value):
            self.refuse(name, f"must be 64 hexadecimal digits, got {value!r:.80}")
        return value

    def kind(self, name: str) -> Kind:
        value = self.text(name)
        if value not in get_args(Kind):
            self.refuse(name, f"must be one of {', '.join(get_args(Kind))}, got {value!r:.60}")
        return cast("Kind", value)

    def list(self, name: str) -> list[Any]:
        value = self.take(name)
        if not isinstance(value, list):
            self.refuse(name, f"must be a list, got {value!r:.60}")
        return value

    def fields(self, name: str) -> _Fields:
        return _Fields(self.take(name), self.path, f"{self.where}.{name}".lstrip("."))

    def end(self) -> None:
        if self.values:
            self.refuse(min(self.values), "is not known")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _read_plan(fields: _Fields) -> DatasetPlan:
    kind, count = fields.kind("kind"), fields.number("count")
    ranges, end = [], 0
    for number, pair in enumerate(fields.list("shards")):
        good = isinstance(pair, list) and len(pair) == 2 and all(type(value) is int for value in pair)
        if not good or pair[0] != end or not end < pair[1] <= _MAX_COUNT:
            fields.refuse(f"shards[{number}]", f"must be [{end}, more], got {pair!r:.60}")
        ranges.append((pair[0], pair[1]))
        end = pair[1]
    if end != count:
        fields.refuse("count", f"must be the {end} poses of the shards, got {count}")
    image = None
    if fields.values.get("image") is None:
        fields.take("image")
    else:
        size = fields.fields("image")
        image = (
            size.number("channels", 1, 1024),
            size.number("height", 1, 8192),
            size.number("width", 1, 8192),
        )
        size.end()
    if (image is None) != (kind == "keypoints"):
        fields.refuse("image", f"must be there for pictures alone, got {image} in a data set of {kind}")
    labels = fields.take("labels")
    if labels is not None and not (
        isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    ):
        fields.refuse("labels", f"must be null or a list of texts, got {labels!r:.60}")
    skeleton = _skeleton(fields)
    config = fields.fields("config").values
    fields.hash("config_hash")
    for name in ("bad", "content", "inputs", "skeleton_name", "writer"):
        fields.take(name)  # for people, and for those who go on writing
    fields.end()
    return DatasetPlan(
        kind, config, count, tuple(ranges), skeleton, image, None if labels is None else tuple(labels)
    )


def _skeleton(fields: _Fields) -> Skeleton:
    text = fields.text("skeleton")
    try:
        # The line break makes sure that it is taken for text and never for a path.
        return Skeleton.from_toml(text + "\n")
    except (DataError, UsageError) as error:
        raise DataError(f"must be a skeleton: {error}", path=fields.path, field="skeleton") from error


def _read_index(fields: _Fields, folder: Path, plan: DatasetPlan) -> ShardIndex:
    kind, count = fields.kind("kind"), fields.number("count")
    if kind != plan.kind:
        fields.refuse("kind", f"must be {plan.kind} as in plan.json, got {kind}")
    if _skeleton(fields) != plan.skeleton:
        fields.refuse("skeleton", "must be that of plan.json")
    fields.hash("plan")
    numbers = {first: number for number, (first, _) in enumerate(plan.shards)}
    shards: list[ShardFile] = []
    for place, values in enumerate(fields.list("shards")):
        entry = _Fields(values, fields.path, f"shards[{place}]")
        shard = _read_shard(entry, kind, numbers, plan)
        if shards and shard.first <= shards[-1].first:
            entry.refuse("first", f"must be above {shards[-1].first}, got {shard.first}")
        shards.append(shard)
    if sum(shard.count for shard in shards) != count:
        total = sum(shard.count for shard in shards)
        fields.refuse("count", f"must be the {total} poses of the shards, got {count}")
    fields.end()
    return ShardIndex(folder, kind, plan.skeleton, count, tuple(shards), plan)


def _read_shard(entry: _Fields, kind: Kind, numbers: dict[int, int], plan: DatasetPlan) -> ShardFile:
    first, count = entry.number("first"), entry.number("count", 1)
    if first not in numbers:
        entry.refuse("first", f"must be the first pose of a shard of plan.json, got {first}")
    number = numbers[first]
    if count != plan.shards[number][1] - first:
        entry.refuse("count", f"must be {plan.shards[number][1] - first} as in plan.json, got {count}")
    # Names follow from the number: none can lead out of the folder.
    name = f"{number:05d}" if kind == "png" else f"shard-{number:05d}{_ENDINGS[kind]}"
    file, length, digest = _read_name(entry, name), entry.number("bytes"), entry.hash("blake3")
    poses, poses_bytes = file, length
    if kind == "keypoints":
        if entry.take("poses") is not None:
            entry.refuse("poses", "must be null in a data set of keypoints")
    else:
        beside = entry.fields("poses")
        poses, poses_bytes = _read_name(beside, f"shard-{number:05d}.safetensors"), beside.number("bytes")
        beside.hash("blake3")
        beside.end()
    entry.end()
    return ShardFile(file, first, count, length, digest, poses, poses_bytes)


def _read_name(fields: _Fields, expected: str) -> str:
    name = fields.text("file")
    if name != expected:
        fields.refuse("file", f"must be {expected!r}, got {name!r:.80}")
    return name

"""What a data set will be: decided from the poses and the options alone, the same on every machine."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexpose import _rust
from flexpose.errors import UsageError

from .drawn import DrawnPoses, Source, as_sources, draw_poses
from .read import KINDS, Kind, ShardIndex
from .style import RenderStyle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from flexpose.poses.bad import BadRecord, BadRecords
    from flexpose.skeleton import Skeleton

    from .augment import Augment

__all__ = ["Estimate", "RenderPlan", "draft_render", "plan_render", "shard_range"]

_DEFAULT_POSES = 10_000
_DEFAULT_BYTES = 256 << 20
_SAMPLE = 64  # poses that are drawn to know how long and large the others get
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"([1-9][0-9]{0,15})([KMG])")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a data set will take.

    Attributes:
        bytes: on disk.
        seconds: of drawing and encoding on one thread; the disk's own time is not in it.
    """

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """A data set before it is written.

    Attributes:
        out: its folder.
        kind: what the shards hold.
        style: how poses are drawn.
        augment: how they are varied, if they are.
        seed: of the variation.
        skeleton: of the poses.
        count: poses that are drawn.
        left_out: poses left out because joints are missing.
        bad: collects those that cannot be drawn; None: the first one is an error.
        shards: first pose and one past the last of each shard, by numbers among those that are drawn.
        estimate: what it will take.
        fields: the content of ``plan.json`` as JSON.
        drawn: the poses; None in a plan that was made to be sent elsewhere, see ``without_poses``.
    """

    out: Path
    kind: Kind
    style: RenderStyle
    augment: Augment | None
    seed: int
    skeleton: Skeleton
    count: int
    left_out: int
    bad: BadRecords | None
    shards: tuple[tuple[int, int], ...]
    estimate: Estimate
    fields: str
    drawn: DrawnPoses | None

    def without_poses(self) -> RenderPlan:
        """A small plan for another process, which gives the same poses to ``write_shards`` again."""
        return replace(self, drawn=None)

    def publish(self, *, resume: bool = False, shared: bool = False) -> None:
        """Write ``plan.json`` (and ``bad.jsonl``), or compare with what is there.

        Args:
            resume: a data set that was begun with the same plan is no error.
            shared: other processes write other shards of it, and may have written the plan.

        Raises:
            UsageError: the folder holds something else, or a data set.
            ConfigError: it holds a data set of other settings or inputs; names the differences.
            ResourceError: it cannot be written.
        """
        lines = "".join(_bad_line(record) for record in (self.bad.records if self.bad else ()))
        _rust.publish_plan(str(self.out), self.fields, lines, resume, shared)


def _bad_line(record: BadRecord) -> str:
    about = asdict(record)
    about["path"] = Path(record.path).name
    return json.dumps(about, sort_keys=True, ensure_ascii=False) + "\n"


def shard_range(part: str, shards: int) -> range:
    """The shards of one of n processes: ``2/4`` is the second of four.

    Args:
        part: ``i/n`` with i from 1 to n.
        shards: number of all shards.

    Returns:
        Their numbers; as many for each process as possible.

    Raises:
        UsageError: the text is not of this form.
    """
    i, slash, n = part.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise UsageError(f"shard range must be i/n with i from 1 to n, got {part!r}")
    return range((int(i) - 1) * shards // int(n), int(i) * shards // int(n))


def plan_render(
    poses: Source | Sequence[Source],
    out: str | PathLike[str],
    style: RenderStyle | None = None,
    *,
    resume: bool = False,
    shared: bool = False,
    **options: Any,
) -> RenderPlan:
    """Lay out a data set (see ``draft_render`` for the arguments) and write its plan, or compare it with the one there.

    Args:
        poses: poses, a finished data set, or several of these.
        out: folder of the data set.
        style: how they are drawn.
        resume: a data set that was begun with the same plan is no error.
        shared: other processes write other shards of it, and may have written the plan.
        options: more of ``draft_render``.

    Returns:
        The plan, for ``write_shards``.

    Raises:
        UsageError: an argument is out of range, or the folder holds something else, or a data set.
        ConfigError: it holds a data set of other settings or inputs; names the differences.
        DataError: a pose cannot be drawn (see ``RenderStyle.missing`` and ``BadRecords``).
        ResourceError: the plan cannot be written.
    """
    plan = draft_render(poses, out, style, **options)
    plan.publish(resume=resume, shared=shared)
    return plan


def draft_render(
    poses: Source | Sequence[Source],
    out: str | PathLike[str],
    style: RenderStyle | None = None,
    *,
    kind: Kind = "webdataset",
    shard_size: int | str | None = None,
    augment: Augment | None = None,
    seed: int = 0,
    bad: BadRecords | None = None,
    inputs: Sequence[str | PathLike[str]] | None = None,
) -> RenderPlan:
    """Frame the poses and lay out the shards; nothing is written. The same input gives the same plan anywhere.

    Args:
        poses: poses, a finished data set, or several of these, all of one skeleton.
        out: folder of the new data set.
        style: how they are drawn; None for the defaults.
        kind: what the shards hold.
        shard_size: poses a shard, or about so many bytes, ``"256M"``; None: 10,000 poses, or 256M if that is less.
        augment: varies each pose by the seed and its row.
        seed: of the variation.
        bad: collects poses that cannot be drawn; None: the first one is an error.
        inputs: the files that the poses came from, whose hashes go into the plan; None: only the poses' own hash.

    Returns:
        The plan, not published yet.

    Raises:
        UsageError: an argument is out of range.
        DataError: a pose cannot be drawn (see ``RenderStyle.missing`` and ``BadRecords``).
    """
    style = RenderStyle() if style is None else style
    sources = as_sources(poses)
    if kind not in KINDS:
        raise UsageError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if style.style == "per-bone" and kind in {"webdataset", "png"}:
        raise UsageError(
            f"kind must be npy or keypoints for style per-bone (a PNG has no channel for each bone), got {kind!r}"
        )
    if not (isinstance(seed, int) and 0 <= seed < 1 << 64):
        raise UsageError(f"seed must be 0 to 2^64 - 1, got {seed!r}")
    if inputs is not None and len(inputs) != len(sources):
        raise UsageError(f"inputs must be {len(sources)} paths, got {len(inputs)}")
    drawn = draw_poses(sources, style, augment=augment, seed=seed, bad=bad)
    config = style.config()
    config |= {"augment": None if augment is None else str(augment), "seed": seed}
    config["max_bad_fraction"] = 0.0 if bad is None else bad.max_fraction
    fields: dict[str, Any] = {
        "bad": bad.count if bad else 0,
        "config": config,
        "content": drawn.content_hash(),
        "count": len(drawn),
        "image": None if kind == "keypoints" else _image(style, drawn.skeleton),
        "inputs": _inputs(sources, inputs, drawn),
        "kind": kind,
        "labels": drawn.labels,
        "shards": [[0, len(drawn)]] if len(drawn) else [],
        "skeleton": drawn.skeleton.to_toml(),
        "skeleton_name": drawn.skeleton.name,
    }
    bytes_each, seconds_each = _rust.estimate_shards(json.dumps(fields), drawn, _SAMPLE)
    config["shard_size"] = _poses_a_shard(shard_size, bytes_each)
    starts = range(0, len(drawn), config["shard_size"])
    shards = tuple((start, min(start + config["shard_size"], len(drawn))) for start in starts)
    fields["shards"] = shards
    return RenderPlan(
        out=Path(out),
        kind=kind,
        style=style,
        augment=augment,
        seed=seed,
        skeleton=drawn.skeleton,
        count=len(drawn),
        left_out=drawn.left_out,
        bad=bad,
        shards=shards,
        estimate=Estimate(round(bytes_each * len(drawn)), seconds_each * len(drawn)),
        fields=json.dumps(fields),
        drawn=drawn,
    )


def _image(style: RenderStyle, skeleton: Skeleton) -> dict[str, int]:
    return {"channels": style.channels(skeleton), "height": style.size_px, "width": style.size_px}


def _inputs(
    sources: Sequence[Source], paths: Sequence[str | PathLike[str]] | None, drawn: DrawnPoses
) -> list[dict[str, Any]]:
    """Name, bytes, hash and poses of each input; a path's folder is of no interest to other machines."""
    found = []
    for number, (source, poses) in enumerate(zip(sources, drawn.counts, strict=True)):
        path = None if paths is None else Path(paths[number])
        if isinstance(source, ShardIndex):
            path = source.path / "index.json"
        if path is None:
            # In memory: what is drawn of it is in `content`.
            found.append({"name": "memory", "bytes": 0, "blake3": "", "poses": poses})
            continue
        name = source.path.absolute().name if isinstance(source, ShardIndex) else path.name
        size, digest = _rust.hash_file(str(path))
        found.append({"name": name, "bytes": size, "blake3": digest, "poses": poses})
    return found


def _poses_a_shard(size: int | str | None, bytes_each: float) -> int:
    if size is None:
        return max(1, min(_DEFAULT_POSES, int(_DEFAULT_BYTES / bytes_each)))
    text = str(size).strip().upper().removesuffix("B")
    if text.isdecimal() and 1 <= int(text) < 1 << 53 and not str(size).upper().endswith("B"):
        return int(text)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"shard_size must be a number of poses, or of bytes such as 256M, got {size!r}")
    return max(1, int(int(match[1]) * _UNITS[match[2]] / bytes_each))

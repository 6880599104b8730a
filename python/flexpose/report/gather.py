"""What lies in run folders: networks, settings and logs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..adapt.adapter import read_adapter
from ..adapt.unlearned import UnlearnedSampler
from ..errors import DataError, UsageError
from ..layer_scan.result import SCAN_FILE, LayerScan, read_scan
from ..sample.loop import Sampler, load_sampler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

__all__ = ["VERBS", "Log", "Run", "gather_runs"]

VERBS = ("train-beta", "pretrain", "adapt")
"""Whose logs are read, in the order of the work."""

RunKind = Literal["adapted", "source", "scan", "log"]


@dataclass(frozen=True)
class Log:
    """What one verb wrote down in a run folder.

    Attributes:
        verb: such as "pretrain".
        config: its settings.
        records: the lines of its ``stats.jsonl``.
    """

    verb: str
    config: dict[str, Any]
    records: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Run:
    """A run folder, or a file of one.

    Attributes:
        path: as it was given.
        name: short, different from those of the other runs.
        slug: the name as a part of file names and anchors, different from those of the other runs.
        kind: "adapted": it has an adapter; "source": a generator; "scan": a layer scan; "log": logs alone.
        sampler: what draws its poses; None for a scan and for logs alone.
        facts: of the adapter's header; empty for others.
        logs: in the order of the work.
        scan: the layer scan, if it is one.
    """

    path: Path
    name: str
    slug: str
    kind: RunKind
    sampler: Sampler | None
    facts: dict[str, Any]
    logs: tuple[Log, ...] = ()
    scan: LayerScan | None = None

    @property
    def shots_hash(self) -> str | None:
        """Content hash of the guide poses that it was adapted to."""
        found = self.facts.get("shots")
        return found if isinstance(found, str) else None


def gather_runs(
    paths: Sequence[str | PathLike[str]],
    *,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    device: str = "cpu",
) -> tuple[Run, ...]:
    """Read run folders, or files of them.

    Args:
        paths: of runs of `adapt`, `pretrain`, `train_beta` or `layer_scan`.
        source: where the source of adapters is, if it was moved.
        beta: see `load_sampler`.
        device: where their networks compute, as torch names it.

    Raises:
        UsageError: no path, a path twice, or nothing of flexpose at one.
        DataError: a file cannot be used.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise UsageError("runs must be at least one, got none")
    resolved = [file.resolve() for file in files]
    for index, file in enumerate(files):
        if resolved[index] in resolved[:index]:
            raise UsageError(f"runs must be different, got {file} twice")
    short = [file.name for file in resolved]
    names = [name if short.count(name) == 1 else str(files[index]) for index, name in enumerate(short)]
    slugs: list[str] = []
    for name in names:
        slug = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-").lower() or "run"
        number = sum(other.split("--")[0] == slug for other in slugs)
        slugs.append(f"{slug}--{number + 1}" if number else slug)
    return tuple(
        _run(file, name, slug, source, beta, device)
        for file, name, slug in zip(files, names, slugs, strict=True)
    )


def _run(
    path: Path,
    name: str,
    slug: str,
    source: str | PathLike[str] | None,
    beta: str | PathLike[str] | None,
    device: str,
) -> Run:
    if not path.exists():
        raise UsageError(f"{path}: no such run")
    if (path / SCAN_FILE).is_file():
        return Run(path, name, slug, "scan", None, {}, scan=read_scan(path / SCAN_FILE))
    logs = _logs(path if path.is_dir() else path.parent)
    if path.is_dir() and not any(
        (path / f"{part}.safetensors").is_file() for part in ("adapter", "generator")
    ):
        if not logs:
            raise UsageError(
                f"{path}: expected a run of adapt, pretrain, train-beta or layer-scan, got none of these"
            )
        return Run(path, name, slug, "log", None, {}, logs)
    sampler = load_sampler(path, source=source, beta=beta)
    if isinstance(sampler, UnlearnedSampler):
        raise UsageError(
            f"{path}: has no generator; ways of not learning stand beside every run that guide poses are given for"
        )
    sampler.to(device)
    if sampler.transfer is None:
        return Run(path, name, slug, "source", sampler, {}, logs)
    return Run(path, name, slug, "adapted", sampler, dict(read_adapter(path)[1].get("facts", {})), logs)


def _logs(folder: Path) -> tuple[Log, ...]:
    found = []
    for verb in VERBS:
        stats = folder / verb / "stats.jsonl"
        if stats.is_file():
            found.append(Log(verb, _config(folder / verb / "config.json"), _records(stats)))
    return tuple(found)


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
    config = record.get("config") if isinstance(record, dict) else None
    if not isinstance(config, dict):
        raise DataError("expected an object with config", path=path)
    return config


def _records(path: Path) -> tuple[dict[str, Any], ...]:
    """The lines that are whole; a run that is still going may be writing the last one."""
    records = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines) - 1:
                break
            raise DataError(f"is no JSON: {error}", path=path, record=number) from error
        if not isinstance(record, dict):
            raise DataError("expected an object", path=path, record=number)
        records.append(record)
    return tuple(records)

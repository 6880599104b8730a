"""A grid: which methods, on which targets, how often; one TOML file each."""

from __future__ import annotations

from dataclasses import field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from ..config import STRICT, load_config
from ..errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from importlib.resources.abc import Traversable
    from os import PathLike

__all__ = ["COLUMNS", "MEAN", "PICTURE_COLUMNS", "REAL", "Grid", "Row", "Target", "list_grids", "load_grid"]

POSE_COLUMNS = ("fd", "mmd2", "precision", "recall", "implausible", "worth", "copies")
PICTURE_COLUMNS = (
    "mean_l2_px",
    "mean_l2_pct",
    "mean_l2_pct_either_side",
    "mse_px2",
    "pck10",
    "pck20",
)
COLUMNS = POSE_COLUMNS + PICTURE_COLUMNS
"""What a cell is measured by; see `flexpose.evaluate`, and for pictures `flexpose.match.score_annotations`. worth is in
real poses by FD."""

REAL, MEAN = "real", "mean"
"""Rows of targets with pictures that adapt nothing: the target's own poses as the annotator's prior, and no annotator
but the guide poses' mean everywhere."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Target:
    """A target data set, and how its guide poses are chosen."""

    name: str  # of `flexpose.poses.read_dataset`, or of labelled pictures: `flexpose.bench.pictures`
    pictures: bool = False
    shots_per_label: int | None = None
    shots: int | None = None

    def __post_init__(self) -> None:
        if (self.shots is None) == (self.shots_per_label is None):
            raise ConfigError(f"{self.name}: give shots or shots_per_label, one of them")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Row:
    """One row of a table: a method with its settings."""

    name: str
    method: str = "flexpose"
    preset: str = "tuned"
    settings: dict[str, Any] = field(default_factory=dict)
    quick: dict[str, Any] = field(default_factory=dict)  # settings that replace those in a quick run
    shots: int | None = None  # guide poses in all, instead of the target's number
    source: str = "coco"  # a name that `run_grid` is given a source for
    paper: dict[str, float] = field(
        default_factory=dict
    )  # what the paper prints; also figures that we have not


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Grid:
    """Rows x targets x draws of guide poses x seeds."""

    title: str
    about: str
    targets: tuple[Target, ...]
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = POSE_COLUMNS
    draws: int = 3  # of guide poses
    seeds: int = 3  # of training and sampling
    samples: int = 50_000
    match: dict[str, Any] = field(default_factory=dict)  # settings of the annotators, see `flexpose match`

    def __post_init__(self) -> None:
        for name in ("draws", "seeds", "samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be >= 1, got {getattr(self, name)}")
        for what in ("rows", "targets"):
            names = [part.name for part in getattr(self, what)]
            if not names or len(set(names)) != len(names):
                raise ConfigError(f"{what} must have names of their own, got {names}")
        adapting_none = sorted(row.name for row in self.rows if row.method in {REAL, MEAN})
        if adapting_none and not all(target.pictures for target in self.targets):
            raise ConfigError(f"rows {', '.join(adapting_none)} are for targets with pictures alone")
        unknown = sorted({*self.columns} - {*COLUMNS})
        if unknown:
            raise ConfigError(f"columns must be among {', '.join(COLUMNS)}, got {', '.join(unknown)}")

    def only(self, *, rows: Collection[str] | None = None, targets: Collection[str] | None = None) -> Grid:
        """The grid of some rows (by name or method) and targets.

        Raises:
            UsageError: there is no such row or target.
        """
        known = {name for row in self.rows for name in (row.name, row.method)}
        for what, asked, there in (
            ("rows", rows, known),
            ("targets", targets, {t.name for t in self.targets}),
        ):
            missing = sorted({*(asked or ())} - there)
            if missing:
                raise UsageError(f"{what} must be among {', '.join(sorted(there))}, got {', '.join(missing)}")
        return replace(
            self,
            rows=tuple(row for row in self.rows if rows is None or {row.name, row.method} & {*rows}),
            targets=tuple(target for target in self.targets if targets is None or target.name in targets),
        )

    def quick(self) -> Grid:
        """One draw, one seed, the first target, few samples and short training: whether it runs, and no figure."""
        rows = tuple(replace(row, settings=row.settings | row.quick) for row in self.rows)
        match = {"preset": "tiny"} if any(target.pictures for target in self.targets) else {}
        return replace(self, rows=rows, targets=self.targets[:1], draws=1, seeds=1, samples=1000, match=match)


def _folder() -> Traversable:
    return resources.files(__package__) / "grids"


def list_grids() -> tuple[str, ...]:
    """Names of the grids that come with the package."""
    return tuple(
        sorted(Path(entry.name).stem for entry in _folder().iterdir() if entry.name.endswith(".toml"))
    )


def load_grid(name_or_path: str | PathLike[str]) -> Grid:
    """Read a grid of the package by its name, or one from a TOML file.

    Raises:
        UsageError: there is no such grid.
        ConfigError: the file is no grid.
    """
    text = str(name_or_path)
    if text in list_grids():
        with resources.as_file(_folder() / f"{text}.toml") as path:
            return load_config(Grid, path)
    if not text.endswith(".toml"):
        raise UsageError(f"grid must be one of {', '.join(list_grids())} or a TOML file, got {text!r}")
    return load_config(Grid, text)

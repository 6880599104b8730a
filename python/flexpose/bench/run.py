"""Cells of a grid: adapt, sample, evaluate, write down, go on with the next."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._atomic import atomic_write
from .._rust import __version__
from ..adapt import adapt_by
from ..adapt.features import read_features
from ..adapt.methods import method_config
from ..config import config_dict
from ..errors import DataError, UsageError
from ..evaluate import evaluate
from ..poses import map_joints, read_dataset, split_fewshot
from ..pretrain.files import beta_of, load_beta, load_generator
from ..runs import Progress, versions
from ..sample import SampleConfig, sample
from ..zoo import source_file
from .grid import MEAN, REAL
from .pictures import PictureTarget, match_config, read_picture_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike

    from ..match import MatchConfig
    from ..poses import PoseSet
    from ..skeleton import Skeleton
    from .grid import Grid, Row, Target

__all__ = ["Cell", "run_grid"]

_SAMPLE_SEED = 1000  # samples do not repeat the codes that adaptation looked at
_MMD_POSES = 20_000


@dataclass(frozen=True)
class Cell:
    """One measured cell.

    Attributes:
        key: what the cell is, and nothing of what came out: a hash of method, all its settings, target and its poses,
            source (generator, beta, the file of loss features), draw, seed, samples and this package's version; where
            there are pictures, of these and of the annotator's settings.
        row: name of the row.
        target: name of the target.
        draw: seed of the choice of guide poses.
        seed: of training and sampling.
        shots: guide poses.
        seconds: that adaptation took; of a resumed one, its last part.
        values: column to figure; empty if the method failed.
        failed: the error's text, or None.
    """

    key: str
    row: str
    target: str
    draw: int
    seed: int
    shots: int
    seconds: float
    values: dict[str, float]
    failed: str | None = None


def _identity(source: Path) -> tuple[dict[str, str], Skeleton]:
    """What a source is: hashes of what draws and what reads; and the skeleton of its poses."""
    _, drawing, header = load_generator(source)
    headers = {"generator": header, "beta": load_beta(beta_of(source))[2]}
    return {part: str(header["hash"]) for part, header in headers.items()}, drawing.skeleton


def _features(row: Row) -> dict[str, str]:
    """What the file of a row's loss features holds, by which its cells are told apart as well."""
    file = row.settings.get("features_file")
    vgg = read_features(row.settings.get("features", ()), None if file is None else Path(file))
    return {} if vgg is None else {"features": vgg.hash}


def _settings(row: Row, seed: int = 0) -> dict[str, Any]:
    """All settings of a row's method; ConfigError where one is wrong."""
    if row.method in {REAL, MEAN}:
        return {}
    return config_dict(method_config(row.method, row.preset, row.settings, seed))


def _key(
    row: Row,
    target: Target,
    poses: str,
    networks: Mapping[str, str],
    draw: int,
    seed: int,
    samples: int,
    pictures: Mapping[str, Any],
) -> str:
    # Settings whole, and the version: what was measured with another default is another cell.
    named = config_dict(target)
    if not named.pop("pictures"):
        pictures = {}
    identity = {
        "method": row.method,
        "config": _settings(row, seed),
        "shots": row.shots,
        "target": {**named, "poses": poses},
        "networks": dict(networks),
        "draw": draw,
        "seed": seed,
        "samples": samples,
        "version": __version__,
        **pictures,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class _Ledger:
    """The cells that are done, a line each as they come, and those that were measured elsewhere."""

    def __init__(self, path: Path, elsewhere: Sequence[str | PathLike[str]]) -> None:
        self._path = path
        self._here: dict[str, Cell] = {}
        if path.exists():
            self._here, whole = _read_cells(path)
            if whole is not None:
                atomic_write(path, whole.encode())
        self._elsewhere: dict[str, Cell] = {}
        for other in elsewhere:
            if not Path(other).is_file():
                raise UsageError(f"{other}: no such file of cells")
            self._elsewhere |= _read_cells(Path(other))[0]

    def get(self, key: str) -> Cell | None:
        """A cell if it is known; one from elsewhere is written down here."""
        if key in self._elsewhere and key not in self._here:
            self.add(self._elsewhere[key])
        return self._here.get(key)

    def add(self, cell: Cell) -> None:
        """Write a cell down."""
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(cell)) + "\n")
        self._here[cell.key] = cell


def _read_cells(path: Path) -> tuple[dict[str, Cell], str | None]:
    """(cells by key, the text without its last line if a kill cut that off)."""
    found: dict[str, Cell] = {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        try:
            cell = Cell(**json.loads(line))
        except (json.JSONDecodeError, TypeError) as error:
            if number == len(lines) - 1 and not line.endswith("\n"):
                return found, "".join(lines[:-1])
            raise DataError(f"is no cell: {error}", path=path, record=number) from None
        found[cell.key] = cell
    return found, None


def _values(report: Any) -> dict[str, float]:
    row = report.to_dict()["rows"][0]
    values = {name: float(value["mean"]) for name, value in row["values"].items()}
    if row["worth_fd"] is not None:
        values["worth"] = float(row["worth_fd"]["poses"])
    return values


class _Targets:
    """Target sets, read once each."""

    def __init__(self, grid: Grid, data_root: Path) -> None:
        self._grid, self._root = grid, data_root
        self._kept: dict[str, PoseSet] = {}
        self._hashes: dict[str, str] = {}
        self._pictures: dict[str, PictureTarget] = {}

    def poses(self, target: Target) -> PoseSet:
        """All poses of a target; of one with pictures those that are not left for the test."""
        if target.name not in self._kept:
            if target.pictures:
                shown = self.pictures(target)
                self._kept[target.name] = shown.labels[shown.known]
            else:
                self._kept[target.name] = read_dataset(target.name, self._root)
        return self._kept[target.name]

    def pictures(self, target: Target) -> PictureTarget:
        """Pictures and labels of a target that has them."""
        if target.name not in self._pictures:
            size = self.match_config(0).size_px
            self._pictures[target.name] = read_picture_target(target.name, self._root, size)
        return self._pictures[target.name]

    def match_config(self, seed: int) -> MatchConfig:
        """Settings of the annotators."""
        return match_config(self._grid.match, seed)

    def hash(self, target: Target) -> str:
        """Content hash of a target."""
        if target.name not in self._hashes:
            self._hashes[target.name] = self.poses(target).content_hash()
        return self._hashes[target.name]

    def picture_identity(self, target: Target, seed: int) -> dict[str, Any]:
        """What tells cells with pictures apart."""
        if not target.pictures:
            return {}
        content = self.pictures(target).pictures.content_hash
        return {"pictures": content, "match": config_dict(self.match_config(seed))}

    def split(self, target: Target, row: Row, draw: int) -> tuple[PoseSet, PoseSet]:
        """(guide poses, the rest)."""
        poses = self.poses(target)
        if row.shots is None:
            split = split_fewshot(
                poses, seed=draw, shots=target.shots, shots_per_label=target.shots_per_label
            )
        else:
            labelled = poses.labels is not None and target.shots_per_label is not None
            strategy = "stratified" if labelled else "uniform"
            split = split_fewshot(poses, seed=draw, shots=row.shots, strategy=strategy)
        return poses[split.shots], poses[split.rest]


def _cells(grid: Grid) -> Iterator[tuple[Row, Target, int, int]]:
    """Draw by draw, so that a grid that is stopped early has some of everything."""
    for draw in range(grid.draws):
        for seed in range(grid.seeds):
            for target in grid.targets:
                for row in grid.rows:
                    yield row, target, draw, seed


def run_grid(
    grid: Grid,
    data_root: str | PathLike[str],
    out: str | PathLike[str],
    *,
    sources: Mapping[str, str | PathLike[str] | None] | None = None,
    known: Sequence[str | PathLike[str]] = (),
    measure: bool = True,
    progress: Progress | None = None,
    device: str = "auto",
) -> tuple[list[Cell], list[str]]:
    """Measure all cells of a grid that are not measured yet.

    Args:
        grid: rows and targets.
        data_root: folder of the data sets, see `flexpose.poses.read_dataset`.
        out: folder; it gets ``cells.jsonl``, a line a cell as it is done, ``grid.json``, and a run folder for each
            cell under ``runs``. A second call goes on where the first one stopped, within a cell as well.
        sources: a source for each name that rows ask for, None for the zoo's first; rows without one are left
            out. By default "coco" is the zoo's.
        known: files ``cells.jsonl`` of cells that were measured elsewhere; those of this grid are taken over.
        measure: False for the cells alone that are measured already.
        progress: is told of each cell.
        device: see `flexpose.adapt.adapt`.

    Returns:
        (the grid's cells, why rows or cells were left out).

    Raises:
        UsageError: a data set or a file of cells is not there; the message says where the owner gives the former.
        ConfigError: a row has a wrong setting.
        DataError: a file cannot be used.
        Interrupted: SIGINT or SIGTERM came; what was measured is on disk.
    """
    progress = progress or Progress()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    where = {"coco": None} if sources is None else dict(sources)
    known_sources = {name: source_file(source) for name, source in where.items()}
    identities = {name: _identity(path) for name, path in known_sources.items()}
    hashes = {name: identity[0] for name, identity in identities.items()}
    features = {row.name: _features(row) for row in grid.rows}
    absent = [row for row in grid.rows if row.source not in hashes]
    left_out = [f"{row.name}: no source {row.source!r} was given" for row in absent]
    if len(absent) == len(grid.rows):
        raise UsageError(
            f"sources must have one of {sorted({r.source for r in absent})}, got {sorted(hashes)}"
        )
    for row in grid.rows:  # a wrong one shall not be found hours later
        _settings(row)
    match_config(grid.match, 0)
    ledger = _Ledger(folder / "cells.jsonl", known)
    targets = _Targets(grid, Path(data_root))
    plan = [step for step in _cells(grid) if step[0].source in hashes]
    record = {"grid": config_dict(grid), "sources": hashes, "versions": versions()}
    atomic_write(folder / "grid.json", (json.dumps(record, indent=2) + "\n").encode())
    cells = []
    progress.start("bench", len(plan))
    for done, (row, target, draw, seed) in enumerate(plan, start=1):
        networks = hashes[row.source] | features[row.name]
        pictures = targets.picture_identity(target, seed)
        key = _key(row, target, targets.hash(target), networks, draw, seed, grid.samples, pictures)
        cell = ledger.get(key)
        if cell is None and not measure:
            continue
        if cell is None:
            run = folder / "runs" / key
            origin = known_sources[row.source], identities[row.source][1]
            cell = _measure(row, target, targets, origin, run, (key, draw, seed, grid.samples), device)
            ledger.add(cell)
        cells.append(replace(cell, row=row.name))  # measured under another name, it is the same cell
        progress.advance(done, fd=cells[-1].values.get("fd", float("nan")))
    if len(cells) < len(plan):
        left_out.append(f"{len(plan) - len(cells)} of {len(plan)} cells are not measured yet")
    return cells, left_out


def _measure(
    row: Row,
    target: Target,
    targets: _Targets,
    origin: tuple[Path, Skeleton],
    run: Path,
    which: tuple[str, int, int, int],
    device: str,
) -> Cell:
    key, draw, seed, samples = which
    source, skeleton = origin
    shots, rest = targets.split(target, row, draw)
    if row.method == MEAN:
        values = targets.pictures(target).score_mean(map_joints(shots, skeleton))
        return Cell(key, row.name, target.name, draw, seed, len(shots), 0.0, values)
    begin = time.monotonic()
    values, seconds = {}, 0.0
    try:
        if row.method == REAL:
            poses = map_joints(rest, skeleton)  # the joints that all rows have
        else:
            adapt_by(
                row.method,
                shots,
                run,
                preset=row.preset,
                settings=row.settings,
                seed=seed,
                source=source,
                resume=(run / "adapt").exists(),
                device=device,
            )
            seconds = round(time.monotonic() - begin, 1)
            poses = sample(run, SampleConfig(n=samples, seed=seed + _SAMPLE_SEED), device=device)
            report = evaluate(poses, rest, shots=shots, baselines=False, seeds=1, n_mmd=_MMD_POSES)
            values |= _values(report)
        if target.pictures:
            config = targets.match_config(seed)
            values |= targets.pictures(target).score(poses, shots, config, run, device)
    except DataError as error:
        # A method that loses its numbers with the settings of its row is a result, and the others go on.
        return Cell(key, row.name, target.name, draw, seed, len(shots), 0.0, {}, failed=str(error))
    return Cell(key, row.name, target.name, draw, seed, len(shots), seconds, values)

"""The scan: every layer set against every augmentation, cell by cell."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._device import find_device
from .._threads import compute_dtype
from ..adapt.features import Gamma, read_features
from ..adapt.sources import load_sources
from ..config import config_dict
from ..errors import DataError
from ..pretrain.data import images_to_tensor
from ..runs import Progress, RunFolder, StopSignal, versions
from ..zoo import source_file
from .config import parse_layers
from .result import ENCODED, UNCHANGED, LayerScan, Measured
from .tasks import Networks, Pool, Task, measure, solve, task_of, train_transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor

    from ..poses import PoseSet
    from .config import AugmentName, LayerScanConfig

__all__ = ["layer_scan"]


@dataclass(frozen=True)
class _Cell:
    """One layer set, under one augmentation, in one repeat; `layers` is None for the two references."""

    seed: int
    augment: AugmentName
    name: str
    layers: tuple[int, ...] | None

    @property
    def key(self) -> tuple[int, str, str]:
        return self.seed, self.augment, self.name


def layer_scan(
    shots: PoseSet | None,
    config: LayerScanConfig,
    *,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
) -> LayerScan:
    """Measure for each layer set how well tau, free there alone, draws poses as they are and augmented.

    Args:
        shots: the guide poses; None for poses of the source itself.
        config: the settings.
        source: a run folder or file of `pretrain`, or a name of the zoo; by default the zoo's first.
        beta: a run folder or file of `train_beta`; by default beside the generator.
        out: a folder that gets ``config.json``, ``stats.jsonl`` (a line for each finished cell) and
            ``layer-scan.json``, ``.csv`` and ``.md``.
        resume: keep the finished cells of `out`.
        progress: told of each cell.
        device: "cpu", "cuda", "cuda:N", or "auto", the first card that computes, else the processor.

    Returns:
        The table of losses.

    Raises:
        UsageError: no complete guide pose, a source without the way back to codes where it is needed, a skeleton
            without the limbs that are to be turned, or generator and beta that do not fit each other.
        ConfigError: a layer that the generator does not have; a resumed scan had other settings.
        DataError: a file cannot be used, or a descent lost its numbers.
        DeviceError: the device cannot be used.
        Interrupted: SIGINT or SIGTERM came; the finished cells are in `out`.

    Source: FlexPose, arXiv:2412.13463, Fig. 4, 9 and 10.
    """
    progress = progress or Progress()
    place = find_device(device)
    generator, regressor, drawing, header, beta_hash = load_sources(
        source_file(source), None if beta is None else Path(beta), place
    )
    vgg = read_features(config.features, config.features_file)
    networks = Networks(generator, regressor, drawing, compute_dtype(config.dtype, place), vgg)
    sets = parse_layers(config.layers, generator.num_layers)
    framed = None if shots is None else drawing.framed(shots)
    poses = None if framed is None else framed.normalized
    names: list[tuple[str, tuple[int, ...] | None]] = [(UNCHANGED, None), (ENCODED, None)]
    names += [(_name(layers, generator.num_layers), layers) for layers in sets]
    cells = [
        _Cell(seed, augment, name, layers)
        for seed in range(config.seed, config.seed + config.seeds)
        for augment in config.augment
        for name, layers in names
    ]
    inputs = {"source": str(header["hash"]), "beta": beta_hash}
    if vgg is not None:
        inputs["features"] = vgg.hash
    inputs["shots"] = "the source's own" if framed is None else framed.content_hash
    folder = (
        nullcontext()
        if out is None
        else RunFolder(out, "layer-scan", config=config_dict(config), inputs=inputs, resume=resume)
    )
    with folder as run, StopSignal() as stop:
        done = {} if run is None else _finished(run)
        found = _scan(networks, poses, cells, config, done, run, stop, progress)
        result = LayerScan(
            config=config_dict(config),
            inputs=inputs,
            layers={str(number): px for number, px in enumerate(generator.layer_resolutions, 1)},
            size_px=generator.config.size_px,
            poses=config.poses if poses is None else len(poses),
            cells=tuple(found),
            versions=versions(),
        )
        if run is not None:
            result.write(run.path)
    return result


def _name(layers: tuple[int, ...], num_layers: int) -> str:
    return "all" if len(layers) == num_layers > 1 else ",".join(map(str, layers))


def _finished(run: RunFolder) -> dict[tuple[int, str, str], Measured]:
    """The cells of an earlier call."""
    if not run.stats_path.exists():
        return {}
    run.rewind("cell", 1 << 60)  # drops a line that a killed process left unfinished
    found = {}
    for line in run.stats_path.read_text(encoding="utf-8").splitlines():
        try:
            cell = Measured(**{key: value for key, value in json.loads(line).items() if key != "cell"})
        except TypeError as error:
            raise DataError(f"expected cells of a layer scan: {error}", path=run.stats_path) from error
        found[cell.seed, cell.augment, cell.layers] = cell
    return found


def _scan(
    networks: Networks,
    poses: NDArray[Any] | None,
    cells: list[_Cell],
    config: LayerScanConfig,
    done: dict[tuple[int, str, str], Measured],
    run: RunFolder | None,
    stop: StopSignal,
    progress: Progress,
) -> list[Measured]:
    progress.start("layer-scan", len(cells))
    found: list[Measured] = []
    pool: tuple[int, Pool] | None = None
    made: tuple[tuple[int, str], _Asked] | None = None
    needed = max(config.pool, config.poses if poses is None else len(poses))
    hint = "go on by the same command with --resume" if run is not None else "name a folder by --out to go on"
    for number, cell in enumerate(cells):
        kept = done.get(cell.key)
        if kept is None and cell.name == ENCODED and cells[number + 1].key in done:
            continue  # an earlier call found that the source tells no codes
        if kept is None:
            if pool is None or pool[0] != cell.seed:
                pool = cell.seed, Pool.draw(networks, needed, cell.seed)
            if made is None or made[0] != cell.key[:2]:
                task = task_of(networks, pool[1], poses, cell.augment, config, cell.seed)
                made = cell.key[:2], _Asked(networks, task, config, cell.seed)
            values = made[1].measured(cell, lambda: stop.check(hint))
            if values is None:
                continue
            kept = Measured(seed=cell.seed, augment=cell.augment, layers=cell.name, **values)
            if run is not None:
                run.log(cell=number, **kept.to_dict())
        found.append(kept)
        progress.advance(number + 1, loss=kept.loss, error_px=kept.error_px)
        stop.check(hint)
    return found


class _Asked:
    """A task with the features of its pictures: what all layer sets of a repeat and an augmentation share."""

    def __init__(self, networks: Networks, task: Task, config: LayerScanConfig, seed: int) -> None:
        self.networks, self.task, self.config, self.seed = networks, task, config, seed
        self.gamma = Gamma(config.features, networks.beta, dtype=networks.dtype, vgg=networks.vgg)
        pictures = images_to_tensor(task.images).to(networks.generator.device)
        self.targets: list[Tensor] = self.gamma.targets(pictures, config.batch)

    def measured(self, cell: _Cell, check: Callable[[], None]) -> dict[str, float] | None:
        """The losses of a cell; None for codes that the source does not tell."""
        task, transfer, codes = self.task, None, self.task.codes
        if cell.name == ENCODED:
            if task.wanted is None:
                return None
            codes = task.wanted
        elif cell.layers is not None and self.config.way == "least-squares":
            transfer = solve(self.networks, task, cell.layers)
        elif cell.layers is not None:
            transfer = train_transfer(
                self.networks, self.gamma, task, self.targets, cell.layers, self.config, self.seed, check
            )
        return measure(
            self.networks, self.gamma, task, self.targets, codes, transfer, batch=self.config.batch
        )

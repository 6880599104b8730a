"""T^ = { beta(g_t(z)) }: poses read out of what the generator draws."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from .._atomic import atomic_path, atomic_write
from .._device import find_device
from .._distributed import SharedStop, World
from .._threads import compute_dtype
from ..adapt.adapter import VARIETY, load_transfer, read_adapter
from ..adapt.unlearned import UnlearnedSampler, read_unlearned
from ..checkpoint import read_header
from ..config import STRICT, config_dict
from ..errors import ConfigError, DataError, UsageError
from ..metrics import KinematicLimits
from ..poses import PoseSet, write_poses
from ..pretrain.files import beta_of, load_beta, load_generator
from ..raster import encode_png, image_grid
from ..runs import Progress, versions
from ..zoo import source_file
from .draw import BLOCK, BlockSampler, latents

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from ..drawing import Drawing
    from ..models import Generator, Regressor, Transfer

__all__ = ["SampleConfig", "Sampler", "load_sampler", "sample"]

_GRID = 36
_CHUNK = 16 * BLOCK
_ENDINGS = (".json", ".npz")
_LEAST_KEPT = 0.01
_RESULTS = ("adapter.safetensors", "generator.safetensors", "sampler.safetensors")  # the first that is there


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SampleConfig:
    """How poses are sampled."""

    n: int = 50_000
    seed: int = 0
    strength: float = 1.0  # of tau: 0 is the source, 1 the target
    truncation: float = 1.0  # psi; below 1 poses are more usual and less varied
    image_size: int = 256  # pixels of the square that the poses are given in
    plausible: bool = True  # bring bones and joint angles into the ranges that `adapt` took from its shots
    reject: float = 0.0  # share of the samples, the least self-consistent ones, that is drawn again
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"n must be >= 1, got {self.n}")
        if self.image_size < 1:
            raise ConfigError(f"image_size must be >= 1, got {self.image_size}")
        if self.seed < 0:
            raise ConfigError(f"seed must be >= 0, got {self.seed}")
        if not 0 <= self.reject <= 0.9:
            raise ConfigError(f"reject must be in [0, 0.9], got {self.reject}")
        if not 0 <= self.truncation <= 1:
            raise ConfigError(f"truncation must be in [0, 1], got {self.truncation}")


@plain_dataclass(frozen=True)
class Sampler:
    """Everything that turns latent codes into poses.

    Attributes:
        generator: G.
        beta: reads its pictures.
        drawing: alpha.
        transfer: tau, or None for a source.
        hashes: of the contents of these.
        limits: what samples have to stay within, or None; an adapter's own at full strength.
        variety: what `adapt` found of samples' distances to guide poses and to each other.
    """

    generator: Generator
    beta: Regressor
    drawing: Drawing
    transfer: Transfer | None
    hashes: dict[str, str]
    limits: KinematicLimits | None = None
    variety: dict[str, float] = field(default_factory=dict)
    # A copy with another transfer makes its own.
    _blocks: dict[tuple[float, Any], BlockSampler] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def draw(
        self, n: int, seed: int, *, begin: int = 0, truncation: float = 1.0, dtype: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Samples `begin` to `begin + n`: poses [n, K, 2] in frame coordinates, and the pictures they were read from.

        `begin` must be a multiple of 64.
        """
        kind = (truncation, dtype)
        if kind not in self._blocks:
            self._blocks[kind] = BlockSampler(
                self.generator, self.beta, self.transfer, truncation=truncation, dtype=dtype
            )
        return self._blocks[kind](latents(n, self.generator.config.z_dim, seed, begin=begin))

    def to(self, device: str) -> None:
        """Compute on `device`; what comes out comes out on the processor."""
        for network in (self.generator, self.beta, self.transfer):
            if network is not None:
                network.to(device)
        self._blocks.clear()  # what was recorded is of where they were

    def residual(self, poses: NDArray[np.float32], images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[n] mean absolute grey-level difference of each picture and alpha(beta(picture)), 0 to 255."""
        again = self.drawing.images(poses)
        difference = images.astype(np.int16) - again.astype(np.int16)
        return np.asarray(np.abs(difference).mean((1, 2, 3)), np.float64)


def load_sampler(
    run_dir: str | PathLike[str],
    *,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    strength: float = 1.0,
) -> Sampler | UnlearnedSampler:
    """Read what a run folder of `adapt` or of `pretrain` samples with.

    Args:
        run_dir: the folder, or its adapter, generator or sampler file.
        source: where the source is, if it was moved since `adapt`.
        beta: where beta is; by default beside the generator.
        strength: scales tau; 1 for all that has none.

    Raises:
        UsageError: something is not there, tau belongs to another source, or there is no tau to scale.
        DataError: a file cannot be used.
    """
    path = Path(run_dir)
    file = path
    if path.is_dir():
        found = [path / name for name in _RESULTS if (path / name).is_file()]
        if not found:
            raise UsageError(f"{path}: expected one of {', '.join(_RESULTS)} in it, got none")
        file = found[0]
    transfer_file = None
    generator_file = file
    kind = read_header(file).get("kind")
    if strength != 1 and kind != "adapter":
        raise UsageError(f"strength must be 1 for {file}, which holds no tau, got {strength}")
    if kind == "sampler":
        return read_unlearned(file)
    if kind == "adapter":
        transfer_file = file
        recorded = str(read_adapter(file)[1].get("source", ""))
        generator_file = source_file(recorded if source is None else source, beside=file.parent)
        if generator_file.is_dir():
            generator_file = generator_file / "generator.safetensors"
        if not generator_file.is_file():
            raise UsageError(f"{generator_file}: the source of {file} is not there; name it by --source")
    generator, drawing, header = load_generator(generator_file)
    regressor, beta_drawing, beta_header = load_beta(beta_of(generator_file) if beta is None else beta)
    drawing.check_same(beta_drawing, "generator and beta")
    hashes = {"generator": str(header["hash"]), "beta": str(beta_header.get("hash"))}
    transfer = limits = None
    variety = {}
    if transfer_file is not None:
        transfer = load_transfer(transfer_file, generator, header)
        adapter = read_adapter(transfer_file)[1]
        hashes["adapter"] = str(adapter.get("hash"))
        facts = adapter.get("facts", {})
        variety = {name: float(facts[name]) for name in VARIETY if name in facts}
        if "limits" in adapter and strength == 1:
            limits = KinematicLimits.from_dict(adapter["limits"], drawing.skeleton)
        if strength != 1:
            transfer = transfer.scaled(strength)
    return Sampler(generator, regressor, drawing, transfer, hashes, limits, variety)


def sample(
    run_dir: str | PathLike[str],
    config: SampleConfig,
    out: str | PathLike[str] | None = None,
    *,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    progress: Progress | None = None,
    device: str = "auto",
    world: World | None = None,
) -> PoseSet:
    """Sample poses, and write them if a file is named.

    Sample i depends on the run, the seed and i alone, as long as nothing is left out. An adapter may come with
    ranges of bone ratios and joint angles, and samples beyond them are brought in (`SampleConfig.plausible`); left out
    are those that cannot be and, with `SampleConfig.reject`, those whose residual is above a threshold taken from the
    first thousand.

    Args:
        run_dir: a run folder of `adapt`, by any method, or of `pretrain`.
        config: the settings.
        out: pose file (.json or .npz); beside it go ``OUT.grid.png`` and ``OUT.info.json``.
        source: see `load_sampler`.
        beta: see `load_sampler`.
        progress: told of each block.
        device: "cpu", "cuda", "cuda:N", or "auto", the first card that computes, else the processor. Poses from a
            card differ from the processor's as sums in another order do.
        world: the processes that draw together, each on its own device; the first one writes, and the poses are
            the same as one's alone.

    Returns:
        n poses in pixels of a square of `image_size`, ids from 1.

    Raises:
        UsageError: `out` has another ending; see also `load_sampler`.
        DataError: see `load_sampler`; the generator's pictures hold no number.
        DeviceError: the device cannot be used.
        Interrupted: SIGINT or SIGTERM came; nothing was written.
        PeerError: another process failed; nothing was written.

    Source: FlexPose, arXiv:2412.13463, Eq. 8.
    """
    progress = progress or Progress()
    if out is not None and Path(out).suffix.lower() not in _ENDINGS:
        raise UsageError(f"out must end in {' or '.join(_ENDINGS)}, got {str(out)!r}")
    sampler = load_sampler(run_dir, source=source, beta=beta, strength=config.strength)
    world = world or World(device=find_device(device))
    if isinstance(sampler, Sampler):
        sampler.to(world.device)
    dtype: Any = compute_dtype(config.dtype, world.device)
    world.check_same(settings=config_dict(config), hashes=sampler.hashes, type=str(dtype))
    # What leaving out draws does not depend on the number of processes.
    limits = sampler.limits if config.plausible else None
    whole = config.reject == 0 and limits is None
    stride = _CHUNK * world.size if whole else _CHUNK
    poses: list[NDArray[np.float32]] = []
    residuals: list[NDArray[np.float64]] = []
    first_images: NDArray[np.uint8] | None = None
    threshold = np.inf
    kept = begin = 0
    progress.start("sample", config.n)
    with SharedStop(world) as stop:
        while kept < config.n:
            count = _next_count(config, limits is not None, stride, kept, begin)
            own = _share(count, world)
            # A process without a share draws one for its shape.
            chunk, images = sampler.draw(
                max(1, len(own)),
                config.seed,
                begin=begin + own.start,
                truncation=config.truncation,
                dtype=dtype,
            )
            chunk, images = chunk[: len(own)], images[: len(own)]
            residual = world.gather(sampler.residual(chunk, images))
            chunk = world.gather(chunk)
            if begin == 0 and config.reject > 0:
                threshold = float(np.quantile(residual, 1 - config.reject))
            good = residual <= threshold
            if limits is not None:
                chunk, inside = sampler.drawing.brought_within(limits, chunk)
                good &= inside
            if first_images is None:
                first_images = world.gather(images[good[own.start : own.stop]][:_GRID])[:_GRID]
            poses.append(chunk[good])
            residuals.append(residual[good])
            kept, begin = kept + int(good.sum()), begin + count
            progress.advance(min(kept, config.n))
            stop.agree()
            stop.check("nothing was written")
    normalized = np.concatenate(poses)[: config.n]
    pixels = (normalized.astype(np.float64) + 1) / 2 * config.image_size
    size = np.full((config.n, 2), config.image_size, np.int32)
    result = PoseSet(pixels.astype(np.float32), skeleton=sampler.drawing.skeleton, image_size=size)
    if out is not None and world.leads:
        info = {
            "config": config_dict(config),
            "hashes": sampler.hashes,
            "variety": sampler.variety,
            "drawn": begin,
            "kept": config.n,
            "residual_mean": round(float(np.concatenate(residuals)[: config.n].mean()), 4),
            "versions": versions(),
        }
        _write(result, Path(out), sampler.drawing, normalized, first_images, info)
    return result


def _next_count(config: SampleConfig, limited: bool, most: int, kept: int, drawn: int) -> int:
    """How many samples to draw next, at `most` so many; whole blocks where some may be left out."""
    missing = config.n - kept
    if config.reject > 0:
        return most  # the first of them sets the threshold
    if not limited:
        return min(most, missing)
    if drawn >= _CHUNK and kept < _LEAST_KEPT * drawn:
        raise DataError(
            f"only {kept} of {drawn} samples can be brought into the adapter's ranges of bones and joint angles; "
            "plausible=false keeps all"
        )
    share = max(kept / drawn, 0.1) if drawn else 0.7
    return min(most, BLOCK * math.ceil(missing / share / BLOCK))


def _share(count: int, world: World) -> range:
    """This process's part of `count` samples, in whole blocks."""
    blocks = world.share(math.ceil(count / BLOCK))
    return range(blocks.start * BLOCK, min(blocks.stop * BLOCK, count))


def _write(
    poses: PoseSet,
    out: Path,
    drawing: Drawing,
    normalized: NDArray[np.float32],
    images: NDArray[np.uint8] | None,
    info: dict[str, Any],
) -> None:
    """The poses, a grid (pictures above, the poses read from them below), and where they come from."""
    write_poses(poses, out)
    if images is not None:
        read = drawing.images(normalized[: len(images)], layout="nhwc")
        rows = np.concatenate([images.transpose(0, 2, 3, 1)[:18], read[:18]])
        with atomic_path(out.with_name(out.name + ".grid.png")) as path:
            path.write_bytes(encode_png(image_grid(np.ascontiguousarray(rows), 9)))
    atomic_write(out.with_name(out.name + ".info.json"), (json.dumps(info, indent=2) + "\n").encode())

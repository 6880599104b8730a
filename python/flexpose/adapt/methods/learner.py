"""What all compared methods have in common: settings, materials, a run folder, steps that can be resumed, a result."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic.dataclasses import dataclass

from ..._device import find_device
from ..._threads import compute_dtype
from ..._training import Pace, Trainee, Training
from ...config import STRICT, config_dict
from ...errors import ConfigError, UsageError
from ...models import Transfer
from ...poses import MixupSpace
from ...pretrain.data import step_seed
from ...pretrain.files import save_beta, save_generator
from ...runs import Progress, RunFolder, StopSignal
from ...sample.draw import draw_images, latents, map_codes, read_keypoints
from ...zoo import source_file
from ..adapter import save_adapter
from ..config import AdaptConfig
from ..pairing import match_poses
from ..sources import load_sources
from ..training_poses import guide_poses, joined_poses, mixed_poses

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ...drawing import Drawing, FramedPoses
    from ...models import Generator, Regressor
    from ...poses import PoseSet
    from ..vgg import Vgg16

__all__ = ["Learner", "Material", "MethodConfig", "TrainConfig", "run_learner"]

_GRID = 36
_LOGGED = 20
_POOL_STREAM = 20  # that of `adapt`: equal seeds and poses are equal codes in all methods
_MEAN_STREAM = 23
_MEAN_CODES = 4096


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MethodConfig:
    """Settings that every method has."""

    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        self._at_least("seed")

    def check_fit(self, generator: Generator) -> None:
        """Raise ConfigError where the settings ask for what the generator does not have."""

    def vgg(self) -> Vgg16 | None:
        """What the features "vgg16" and "lpips" need."""
        return None

    def _at_least(self, *names: str, above: bool = False) -> None:
        for name in names:
            value = getattr(self, name)
            if value < 0 or (above and value == 0):
                raise ConfigError(f"{name} must be {'>' if above else '>='} 0, got {value}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig(MethodConfig):
    """Settings of the methods that train on pictures of poses."""

    mixed: int = 1000  # |T*|, mixed poses beside the guide poses
    flips: bool = False  # add the mirrored guide poses
    mixup_space: MixupSpace = "coordinates"
    mixup_beta: float = 1.0  # lambda ~ Beta(a, a); 1 is uniform
    iterations: int = 1000
    batch: int = 32  # a quarter of the paper's, in a quarter of its time
    lr: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam
    checkpoint_iterations: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("mixed")
        self._at_least("mixup_beta", "iterations", "batch", "lr", "checkpoint_iterations", above=True)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be in [0, 1), got {list(self.betas)}")


@plain_dataclass(frozen=True, eq=False)
class Material:
    """What a method works with.

    Attributes:
        generator: the source, frozen.
        beta: reads its pictures, frozen.
        drawing: alpha.
        framed: the guide poses.
        source: where the source is.
        header: the generator file's.
        dtype: type of the activations.
        progress: takes messages.
        vgg: what the features "vgg16" and "lpips" need.
    """

    generator: Generator
    beta: Regressor
    drawing: Drawing
    framed: FramedPoses
    source: Path
    header: dict[str, Any]
    dtype: Any
    progress: Progress
    vgg: Vgg16 | None = None

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.device

    def training_poses(self, config: TrainConfig) -> NDArray[np.float32]:
        """T and T* [N, K, 2], those of `adapt` from the identity."""
        same = {
            name: getattr(config, name) for name in ("mixed", "flips", "mixup_space", "mixup_beta", "seed")
        }
        wanted = AdaptConfig(start="identity", iterations=1, variation=0.0, **same)
        guides = guide_poses(self.framed, self.drawing, wanted)
        return joined_poses(guides, mixed_poses(guides, self.drawing, wanted, self.progress))

    def read(self, z: Tensor) -> NDArray[np.float32]:
        """Poses [N, K, 2] that beta reads in what the source draws for z [N, z_dim]."""
        images = draw_images(self.generator, map_codes(self.generator, z), dtype=self.dtype)
        return read_keypoints(self.beta, images, dtype=self.dtype)

    def codes(self, poses: NDArray[np.float32], config: TrainConfig, *, match: bool, pool: int) -> Tensor:
        """Z [N, z_dim], a latent code for each pose: at random, or matched so that poses change least."""
        count = max(pool, len(poses)) if match else len(poses)
        z = latents(count, self.generator.config.z_dim, config.seed, stream=_POOL_STREAM)
        own = z[torch.from_numpy(match_poses(poses, self.read(z)))] if match else z
        return own.to(self.device)


class Learner(Trainee):
    """One method at work; the base changes nothing, which is the method "none".

    Attributes:
        steps: how many there are.
        checkpoint_steps: steps between checkpoints.
    """

    steps: int = 0
    checkpoint_steps: int = 1

    def __init__(self, material: Material, config: Any) -> None:
        self.material, self.config = material, config

    def facts(self) -> dict[str, Any]:
        """What the run's first record tells."""
        return {}

    def result(self) -> tuple[Generator, Transfer | None]:
        """The generator that draws the target's pictures, and tau if that is all that differs from the source."""
        return self.material.generator, Transfer.for_generator(self.material.generator, (1,))

    def images(self, n: int, seed: int) -> NDArray[np.uint8]:
        """[n, 3, S, S] samples of the result."""
        generator, transfer = self.result()
        z = latents(n, generator.config.z_dim, seed)
        return draw_images(generator, map_codes(generator, z), transfer=transfer, dtype=self.material.dtype)

    def publish(self, folder: Path, facts: dict[str, Any]) -> Path:
        """Write the result: an adapter, or a generator and the beta that reads it."""
        m = self.material
        generator, transfer = self.result()
        if transfer is not None:
            file = folder / "adapter.safetensors"
            source = m.source / "generator.safetensors" if m.source.is_dir() else m.source
            transfer.requires_grad_(False)
            save_adapter(file, transfer, source_hash=str(m.header["hash"]), source=source, facts=facts)
            return file
        file = folder / "generator.safetensors"
        save_beta(folder / "beta.safetensors", m.beta, m.drawing)
        save_generator(file, generator, m.drawing, source=str(m.header["hash"]), **facts)
        return file


@torch.no_grad()
def mean_code(generator: Generator, seed: int) -> None:
    """Measure `w_avg` anew, which truncation pulls towards: the mapping network is another one now."""
    z = latents(_MEAN_CODES, generator.config.z_dim, seed, stream=_MEAN_STREAM)
    generator.mapping.w_avg.copy_(map_codes(generator, z).mean(0))


def run_learner(
    method: str,
    make: Callable[[Material, Any], Learner],
    shots: PoseSet,
    config: MethodConfig,
    run_dir: str | PathLike[str],
    *,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
) -> Path:
    """Run a method in a folder; see `flexpose.adapt.adapt_by`, whose arguments these are."""
    progress = progress or Progress()
    source_path, place = source_file(source), find_device(device)
    generator, regressor, drawing, header, beta_hash = load_sources(
        source_path, None if beta is None else Path(beta), place
    )
    config.check_fit(generator)
    framed = drawing.framed(shots)
    if len(framed) < 2:
        raise UsageError(f"shots must be at least 2 fully labelled poses, got {len(framed)} of {len(shots)}")
    folder = Path(run_dir) / "adapt"
    occupied = Path(run_dir) / "generator.safetensors"
    if occupied.exists() and not (folder / "config.json").exists():
        raise UsageError(f"{occupied}: is there already; name another folder")
    inputs = {"shots": framed.content_hash, "source": str(header["hash"]), "beta": beta_hash}
    vgg = config.vgg()
    features = {} if vgg is None else {"features": vgg.hash}
    settings = {"method": method} | config_dict(config)
    with (
        RunFolder(folder, "adapt", config=settings, inputs=inputs | features, resume=resume) as run,
        StopSignal() as stop,
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(step_seed(config.seed, 30))
        dtype = compute_dtype(config.dtype, place)
        learner = make(
            Material(generator, regressor, drawing, framed, source_path, header, dtype, progress, vgg), config
        )
        pace = Pace(learner.steps, _LOGGED, learner.checkpoint_steps)
        training = Training(learner, pace, folder, resume=resume)
        training.rewind(run)
        if training.begin == 0:
            run.log(step=0, method=method, shots=len(framed), dropped=framed.dropped, **learner.facts())
            run.publish_grid("grid-shots.png", drawing.images(framed.normalized[:_GRID], layout="nhwc"))
        training.run("adapt", run, stop, progress)
        for name, drawer in (("source", Learner(learner.material, config)), ("adapted", learner)):
            run.publish_grid(f"grid-{name}.png", drawer.images(_GRID, config.seed).transpose(0, 2, 3, 1))
        facts = {"method": method, "config": config_dict(config), "shots": framed.content_hash}
        return learner.publish(Path(run_dir), facts | features | {"num_shots": len(framed)})

"""Training of beta: it reads back the keypoints that alpha drew.

The paper squares the distances that it minimises. Ours are plain: the square spends itself on joints that others hide,
and leaves the rest a third worse.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic.dataclasses import dataclass

from .._device import find_device
from .._distributed import ALONE, SharedStop, World
from .._threads import compute_dtype
from .._training import Pace, Trainee, Training
from ..checkpoint import flat, flat_optimiser, load_module, load_optimiser, take
from ..config import STRICT, config_dict, make_config
from ..drawing import Drawing
from ..errors import ConfigError, UsageError
from ..models.regressor import Regressor, RegressorConfig
from ..runs import Progress
from .augment import stretch_and_turn
from .data import PoseBatches, drawn_skeleton, holdout_split, images_to_tensor, step_seed
from .files import load_beta, load_generator, save_beta

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor

    from ..poses import PoseSet

_LOGGED = 100
_SMOOTH = 1e-6  # frame units squared, a thirtieth of a pixel: a root has no gradient at zero

__all__ = ["BETA_PRESETS", "BetaConfig", "read_images", "reread_poses", "train_beta"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BetaConfig:
    """Training of beta. The drawing's settings count only where the run folder holds no generator."""

    skeleton: str = "auto"  # as for `pretrain`
    size_px: int = 64
    line_width_px: float = 2.0
    joint_radius_px: float = 2.0
    frame: Literal["bbox", "keep", "root"] = "bbox"
    margin: float = 0.10
    width: int = 32
    steps: int = 6000
    batch: int = 64
    lr: float = 0.002
    flips: bool = True
    holdout: float = 0.05
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "lr", "line_width_px", "checkpoint_steps"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("joint_radius_px", "margin", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not 0 <= self.holdout < 1:
            raise ConfigError(f"holdout must be in [0, 1), got {self.holdout}")
        make_config(RegressorConfig, {"size_px": self.size_px, "width": self.width})


BETA_PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"size_px": 32, "width": 16, "steps": 800, "batch": 64, "checkpoint_steps": 200},
    "cpu-hour": {"size_px": 64, "width": 32, "steps": 4000},
    "body13-64": {"skeleton": "body13", "size_px": 64, "width": 32, "steps": 9000},
    "body13-128": {
        "skeleton": "body13",
        "size_px": 128,
        "line_width_px": 3.0,
        "joint_radius_px": 3.0,
        "width": 32,
        "steps": 9000,
    },
}
"""Named settings of `flexpose train-beta --preset`, beside those of `pretrain`."""


def read_images(
    beta: Regressor, images: NDArray[np.uint8], *, dtype: torch.dtype = torch.float32, batch: int = 256
) -> NDArray[np.float32]:
    """Read uint8 images [N, 3, S, S] -> keypoints [N, K, 2] in frame coordinates."""
    parts = []
    with torch.inference_mode():
        for begin in range(0, len(images), batch):
            read = beta(images_to_tensor(images[begin : begin + batch]), dtype=dtype)
            parts.append(read.normalized.numpy())
    return np.concatenate(parts) if parts else np.empty((0, beta.config.num_keypoints, 2), np.float32)


def reread_poses(
    path: str | PathLike[str], poses: PoseSet, *, limit: int = 50_000, seed: int = 0
) -> NDArray[np.float32]:
    """Read drawn poses back, beta(alpha(y)): what drawing and reading alone make of poses.

    Args:
        path: a file of `train_beta`, or the run folder that holds one.
        poses: N poses; those without all keypoints are left out.
        limit: of more poses than these a random choice is read.
        seed: of the choice.

    Returns:
        [N, K, 2] in frame coordinates. Its distance from the poses is the floor of every figure that is measured
        through beta.

    Raises:
        UsageError, DataError: see `load_beta` and `Drawing.framed`.
    """
    beta, drawing, _ = load_beta(path)
    normalized = drawing.framed(poses).normalized
    if len(normalized) > limit:
        rows = np.random.default_rng(seed).choice(len(normalized), limit, replace=False)
        normalized = normalized[np.sort(rows)]
    dtype: Any = compute_dtype("auto")
    chunks = [normalized[begin : begin + 2048] for begin in range(0, len(normalized), 2048)]
    return np.concatenate([read_images(beta, drawing.images(chunk), dtype=dtype) for chunk in chunks])


def _spoil(images: Tensor) -> Tensor:
    """Make drawn pictures a little like a generator's: blur, noise, faded colours; a part of them stays clean."""
    n = images.shape[0]
    kind = torch.rand(n, 1, 1, 1)
    blurred = torch.nn.functional.avg_pool2d(images, 3, 1, padding=1, count_include_pad=False)
    images = torch.where(kind < 0.25, torch.lerp(images, blurred, torch.rand(n, 1, 1, 1)), images)
    gain = torch.where(kind > 0.5, 1 - 0.3 * torch.rand(n, 1, 1, 1), torch.ones(n, 1, 1, 1))
    noise = torch.randn_like(images) * (torch.rand(n, 1, 1, 1) * 0.15 * (kind < 0.7))
    return (images + 1) * gain - 1 + noise


class _Trainer(Trainee):
    """beta, its optimiser, and one step."""

    def __init__(self, batches: PoseBatches, config: BetaConfig, world: World = ALONE) -> None:
        drawing = batches.drawing
        torch.manual_seed(step_seed(config.seed, 10))
        sizes = RegressorConfig(
            size_px=drawing.size_px, num_keypoints=drawing.skeleton.num_keypoints, width=config.width
        )
        self.batches, self.config, self.world = batches, config, world
        self.dtype: Any = compute_dtype(config.dtype, world.device)
        self.beta = Regressor(sizes).to(world.device)
        self.optimiser = torch.optim.Adam(self.beta.parameters(), lr=config.lr)

    def state(self) -> dict[str, Tensor]:
        return flat("beta", self.beta.state_dict()) | flat_optimiser("adam", self.optimiser)

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        load_module(self.beta, take(tensors, "beta"), path=path)
        load_optimiser(self.optimiser, take(tensors, "adam"))

    def step(self, step: int) -> dict[str, float]:
        config, world, drawing = self.config, self.world, self.batches.drawing
        torch.manual_seed(step_seed(config.seed, 11, step))
        rng = np.random.default_rng((config.seed, 12, step))
        poses = self.batches.poses(step)
        if step % 2:  # as often the source's own poses as those of domains that it does not have
            poses = stretch_and_turn(poses, drawing.skeleton, rng)
        own = world.share(config.batch)
        # Spoiled as a whole: what is random in it is the same for any number of processes.
        images = _spoil(images_to_tensor(drawing.images(poses)))[own].to(world.device)
        for group in self.optimiser.param_groups:
            warm = min(1.0, (step + 1) / 100)
            group["lr"] = config.lr * warm * (0.5 + 0.5 * math.cos(math.pi * step / config.steps))
        read = self.beta(images, dtype=self.dtype).normalized
        squared = (read - torch.from_numpy(poses[own]).to(world.device)).square().sum(-1)
        loss = (squared + _SMOOTH).sqrt().mean()
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        figures = world.average_step(self.beta.parameters(), {"loss": loss}, len(images) / config.batch)
        self.optimiser.step()
        return figures


def _errors_px(
    beta: Regressor, drawing: Drawing, poses: NDArray[np.float32], dtype: torch.dtype
) -> dict[str, float]:
    read = read_images(beta, drawing.images(poses), dtype=dtype)
    distance = np.linalg.norm(read.astype(np.float64) - poses, axis=-1) * drawing.size_px / 2
    return {
        "mean_px": round(float(distance.mean()), 4),
        "median_px": round(float(np.median(distance)), 4),
        "p95_px": round(float(np.quantile(distance, 0.95)), 4),
    }


def train_beta(
    poses: PoseSet,
    config: BetaConfig,
    run_dir: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
    world: World | None = None,
) -> Path:
    """Train beta on drawn source poses and on varied ones, by the distance of its readings in the picture.

    Args:
        poses: the source set.
        config: the settings; where `run_dir` holds a generator, its drawing is used.
        run_dir: gets ``beta.safetensors`` and the folder ``train-beta`` (config, stats, checkpoints).
        resume: go on from the last checkpoint.
        progress: told of each step.
        device: as for `pretrain`.
        world: the processes that train together, as for `pretrain`.

    Returns:
        The path of ``beta.safetensors``; its header holds the mean error in pixels on held-out poses.

    Raises:
        UsageError, ConfigError, DataError, Interrupted: as `pretrain`.

    Source: FlexPose, arXiv:2412.13463, Eq. 2, without its square; the variation is ours, since beta reads a domain that
    it never saw.
    """
    progress = progress or Progress()
    world = world or World(device=find_device(device))
    if config.batch < world.size:
        raise UsageError(
            f"batch must be at least {world.size} for {world.size} processes, got {config.batch}"
        )
    generator_file = Path(run_dir) / "generator.safetensors"
    if generator_file.is_file():
        drawing = load_generator(generator_file)[1]
    else:
        pen = (config.size_px, config.line_width_px, config.joint_radius_px, config.frame, config.margin)
        drawing = Drawing(drawn_skeleton(config.skeleton, poses), *pen)
    source = drawing.framed(poses)
    shown, held = holdout_split(len(source), config.holdout, config.seed)
    batches = PoseBatches(source.normalized[shown], drawing, config.batch, config.seed, flips=config.flips)
    folder = Path(run_dir) / "train-beta"
    inputs = {
        "poses": source.content_hash,
        "skeleton": drawing.skeleton.fingerprint,
        "drawing": drawing.fingerprint,
    }
    settings = config_dict(config)
    with (
        world.run_folder(folder, "train-beta", config=settings, inputs=inputs, resume=resume) as run,
        SharedStop(world) as stop,
        torch.random.fork_rng(devices=[]),
    ):
        trainer = _Trainer(batches, config, world)
        training = Training(
            trainer, Pace(config.steps, _LOGGED, config.checkpoint_steps), folder, resume=resume
        )
        world.check_same(settings=settings, inputs=inputs, step=training.begin, type=str(trainer.dtype))
        if run is not None:
            training.rewind(run)
        training.run("train-beta", run, stop, progress)
        final = Path(run_dir) / "beta.safetensors"
        if run is None:
            return final
        beta = trainer.beta.cpu().eval()
        judged = source.normalized[held] if len(held) else source.normalized[shown]
        errors = _errors_px(beta, drawing, judged, trainer.dtype)
        # No "step": a resume drops the record and writes it again.
        run.log(poses=len(judged), **{f"held_out_{key}": value for key, value in errors.items()})
        progress.message(f"beta: mean error {errors['mean_px']:.3f} px on {len(judged)} held-out poses")
        save_beta(final, beta, drawing, held_out=errors, config=settings, poses=source.content_hash)
    return final

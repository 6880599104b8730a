"""Source training: g_s learns the distribution of the drawn source poses, from lessons, by the game, or both."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from .._device import find_device
from .._distributed import ALONE, SharedStop, World
from .._threads import compute_dtype
from .._training import Pace, Trainee, Training
from ..checkpoint import flat, flat_optimiser, load_module, load_optimiser, take
from ..config import config_dict
from ..drawing import Drawing
from ..errors import UsageError
from ..models import Discriminator, Generator
from ..models.discriminator import group_size
from ..raster import encode_png, image_grid
from ..runs import Progress
from .code import PoseCode
from .data import PoseBatches, drawn_skeleton, holdout_split, step_seed
from .files import load_beta, save_generator
from .lessons import Lessons
from .schedule import Schedule

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor

    from ..models import Regressor
    from ..models.synthesis import NoiseMode
    from ..poses import PoseSet
    from ..runs import RunFolder
    from .config import PretrainConfig

__all__ = ["pretrain"]

_LEFT_OUT_PX = 0.25  # about what beta reads a joint off
_GRID = 36
_LOGGED = 50
_ADAM_BETAS = (0.0, 0.99)


class _Trainer(Trainee):
    """The networks, their optimisers and one step of whatever the schedule says.

    Every random number is drawn for the whole batch in every process, which then takes its rows: what a step sees
    does not depend on the number of processes.
    """

    def __init__(
        self,
        config: PretrainConfig,
        batches: PoseBatches,
        beta: Regressor | None = None,
        world: World = ALONE,
    ) -> None:
        self.config, self.batches, self.world = config, batches, world
        self.schedule = Schedule(config)
        self._shown_every = _steps(config.snapshot_kimg, config)
        self.dtype: Any = compute_dtype(config.dtype, world.device)
        torch.manual_seed(step_seed(config.seed, 0))
        self.G = Generator(config.generator_config()).to(world.device)
        self.D = Discriminator(config.size_px, config.channel_base, config.channel_max).to(world.device)
        # Pictures that the discriminator compares with each other stay together, as many as in the whole batch.
        self.D.group_size = group_size(config.batch)
        compared = np.arange(config.batch).reshape(self.D.group_size, -1)
        self.rows = compared[:, world.share(compared.shape[1])].ravel()
        self.part = len(self.rows) / config.batch
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        mapping = list(self.G.mapping.parameters())
        rest = [p for name, p in self.G.named_parameters() if not name.startswith("mapping.")]
        groups: list[dict[str, Any]] = [
            {"params": mapping, "lr": config.lr * config.mapping_lr_multiplier},
            {"params": rest},
        ]
        self.opt_g = torch.optim.Adam(groups, lr=config.lr, betas=_ADAM_BETAS, eps=1e-8)
        self.lessons: Lessons | None = None
        if config.lessons:
            code = PoseCode(batches.with_mirrored(), config.z_dim)
            dtype: Any = self.dtype
            beta = None if beta is None else beta.to(world.device)
            self.lessons = Lessons(config, self.G, self.G_ema, batches, code, beta, dtype, world)
        # Lazy R1: StyleGAN2, appendix B; the optimiser's time constants follow the share of regularised steps.
        ratio = config.r1_every / (config.r1_every + 1)
        betas = (_ADAM_BETAS[0] ** ratio, _ADAM_BETAS[1] ** ratio)
        self.opt_d = torch.optim.Adam(self.D.parameters(), lr=config.lr * ratio, betas=betas, eps=1e-8)

    def state(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name, module in (("G", self.G), ("D", self.D), ("G_ema", self.G_ema)):
            tensors |= flat(name, module.state_dict())
        if self.lessons is not None:
            tensors |= flat("lessons", self.lessons.state())
        return tensors | flat_optimiser("opt_g", self.opt_g) | flat_optimiser("opt_d", self.opt_d)

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        for name, module in (("G", self.G), ("D", self.D), ("G_ema", self.G_ema)):
            load_module(module, take(tensors, name), path=path)
        if self.lessons is not None:
            self.lessons.load(take(tensors, "lessons"), path)
        load_optimiser(self.opt_g, take(tensors, "opt_g"))
        load_optimiser(self.opt_d, take(tensors, "opt_d"))

    def _fakes(self, resolution: int, fade: float) -> Tensor:
        w = self.G.map(self._normal(self.config.z_dim))
        with torch.no_grad():
            mean = w.mean(0)
            self.world.average([mean], self.part)
            self.G.mapping.w_avg.lerp_(mean, 0.005)
        if torch.rand([]) < self.config.style_mixing:
            other = self.G.map(self._normal(self.config.z_dim))
            used = 2 * self.G.synthesis.resolutions.index(resolution) + 2
            cut = int(torch.randint(1, used, []))
            early = torch.arange(self.G.num_layers + 1, device=w.device)[None, :, None] < cut
            w = torch.where(early, w[:, None], other[:, None])
        noise: NoiseMode = "none" if self.config.noise == "none" else self._noise
        return self.G.synthesize(
            self.G.styles(w), noise=noise, dtype=self.dtype, last_resolution=resolution, fade=fade
        )

    def _normal(self, *shape: int) -> Tensor:
        """This process's rows [n, *shape] of normal numbers for the whole batch."""
        return torch.randn(self.config.batch, *shape)[self.rows].to(self.world.device)

    def _noise(self, resolution: int) -> Tensor:
        return self._normal(1, resolution, resolution)

    def _reals(self, step: int, resolution: int, fade: float) -> Tensor:
        poses = self.batches.poses(step)[self.rows]
        images = self.batches.drawn(poses, resolution).to(self.world.device)
        if fade < 1:
            coarse = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="nearest")
            images = torch.lerp(coarse, images, fade)
        return images

    def step(self, step: int) -> dict[str, float]:
        """One step of the schedule; returns the losses."""
        torch.manual_seed(step_seed(self.config.seed, 1, step))
        moment = self.schedule.at(step)
        if self.lessons is None or moment.phase == "game":
            figures = self._round(step)
        elif moment.phase == "flow":
            figures = {"loss_flow": self.lessons.flow.step(moment.since)}
        elif moment.phase == "mapping":
            figures = {"mapping_rmse_px": self.lessons.mapping_step(moment.since)}
        else:
            share = self.schedule.drawing_share(step)
            figures = self.lessons.drawing_step(step, moment.resolution, share=share, since=moment.since)
        self._average(step)
        if self.lessons is not None and step + 1 == self.schedule.begin("game"):
            self.lessons.join()
        return figures

    def _round(self, step: int) -> dict[str, float]:
        """One generator and one discriminator step of the adversarial game."""
        _, _, resolution, fade = self.schedule.at(step)
        judge = {"dtype": self.dtype, "fade": fade}
        figures: dict[str, float] = {}
        if not self.schedule.judge_alone(step):
            self.D.requires_grad_(False)
            loss_g = F.softplus(-self.D(self._fakes(resolution, fade), **judge)).mean()
            self.opt_g.zero_grad(set_to_none=True)
            torch.autograd.backward(loss_g)
            figures |= self.world.average_step(self.G.parameters(), {"loss_g": loss_g}, self.part)
            self.opt_g.step()

        self.D.requires_grad_(True)
        self.opt_d.zero_grad(set_to_none=True)
        reals = self._reals(step, resolution, fade)
        with torch.no_grad():
            fakes = self._fakes(resolution, fade)
        logits_fake, logits_real = self.D(fakes, **judge), self.D(reals, **judge)
        loss_d = F.softplus(logits_fake).mean() + F.softplus(-logits_real).mean()
        torch.autograd.backward(loss_d)
        means = {"loss_d": loss_d, "real": logits_real.mean(), "fake": logits_fake.mean()}
        if step % self.config.r1_every == 0 and self.config.r1_gamma > 0:
            means["r1"] = self._r1(reals, resolution, judge)
        figures |= self.world.average_step(self.D.parameters(), means, self.part)
        self.opt_d.step()
        return figures

    def _r1(self, reals: Tensor, resolution: int, judge: dict[str, Any]) -> Tensor:
        """R1 penalty (Mescheder et al. 2018, Eq. 9), gamma / 2 E ||grad D(x)||^2, weighted for its rarity."""
        reals = reals.detach().requires_grad_(True)
        (grad,) = torch.autograd.grad(self.D(reals, **judge).sum(), reals, create_graph=True)
        penalty = grad.float().square().sum((1, 2, 3)).mean()
        gamma = self.config.r1_gamma * (resolution / self.config.size_px) ** 2
        torch.autograd.backward(penalty * (gamma / 2 * self.config.r1_every))
        return penalty

    @torch.no_grad()
    def _average(self, step: int) -> None:
        shown = self.schedule.pictures(step + 1)
        half_life = min(self.config.ema_half_life_kimg * 1000, shown * self.config.ema_rampup)
        keep = 0.5 ** (self.config.batch / max(half_life, 1e-8)) if shown else 0.0
        for average, value in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
            average.lerp_(value, 1 - keep)
        for copied, current in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            copied.copy_(current)
        if self.lessons is not None:
            self.lessons.average(keep)

    def place(self, step: int) -> dict[str, Any]:
        """Phase, pictures shown so far, and what they look like."""
        moment, shown = self.schedule.at(step), self.schedule.pictures(step + 1)
        return {
            "phase": moment.phase,
            "kimg": shown / 1000,
            "resolution": moment.resolution,
            "fade": moment.fade,
        }

    def show(self, run: RunFolder, done: int, *, last: bool, kept: bool) -> None:
        """Publish what the average of G draws, now and then."""
        if self.schedule.at(done - 1).resolution and (last or done % self._shown_every == 0):
            picture = self.grid(done - 1)
            with run.publish(f"grid-{self.schedule.pictures(done) // 1000:06d}kimg.png") as path:
                path.write_bytes(encode_png(picture))

    def grid(self, step: int) -> NDArray[np.uint8]:
        """[H, W, 3]: what the average of G draws from fixed z after `step`; joins the halves of lessons under way."""
        resolution = self.schedule.at(step).resolution
        if self.lessons is not None and step < self.schedule.begin("game"):
            self.lessons.join()
        rng = np.random.default_rng((self.config.seed, 4))
        z = torch.from_numpy(rng.standard_normal((_GRID, self.config.z_dim), np.float32)).to(
            self.world.device
        )
        with torch.inference_mode():
            styles = self.G_ema.styles(self.G_ema.map(z))
            images = self.G_ema.synthesize(styles, dtype=self.dtype, last_resolution=resolution)
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return image_grid(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), 9)


def _steps(kimg: float, config: PretrainConfig) -> int:
    """How many steps show that many thousand pictures."""
    return max(1, round(kimg * 1000 / config.batch))


def _tell_left_out(code: PoseCode, drawing: Drawing, progress: Progress) -> None:
    """Say so where z is too narrow for the poses: what it leaves out the generator will never draw."""
    off_px = code.left_out * drawing.size_px / 2
    if off_px > _LEFT_OUT_PX:
        numbers = 2 * drawing.skeleton.num_keypoints
        progress.message(
            f"z_dim {code.z_dim} has room for {code.size} of the {numbers} coordinates of a pose, and leaves joints "
            f"{off_px:.2f} px off; z_dim = {2 * numbers} has room for all"
        )


def _check_shares(config: PretrainConfig, world: World) -> None:
    """See to it that every process has something to do in every step."""
    least = {"batch": world.size}
    if config.lessons:
        least |= {"flow_batch": world.size, "mapping_batch": world.size}
    group = group_size(config.batch)
    if config.stages:  # pictures that the discriminator compares stay in one process
        least["batch"] = group * world.size
    for name, count in least.items():
        if getattr(config, name) < count:
            together = f", {group} pictures of the game in each" if count > world.size else ""
            raise UsageError(
                f"{name} must be at least {count} for {world.size} processes{together}, got {getattr(config, name)}"
            )


def pretrain(
    poses: PoseSet,
    config: PretrainConfig,
    run_dir: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
    world: World | None = None,
) -> Path:
    """Learn the distribution of source poses.

    Args:
        poses: the source set; poses without all keypoints are left out, and counted in ``stats.jsonl``.
        config: the settings.
        run_dir: holds the ``beta.safetensors`` of the drawing lessons; gets ``generator.safetensors`` and the folder
            ``pretrain`` (config, stats, grids, checkpoints).
        resume: go on from the last checkpoint; on the CPU the result is bit for bit that of an unbroken run.
        progress: told of each step.
        device: "cpu", "cuda", "cuda:N", or "auto", the first card that computes, else the processor.
        world: the processes that train together, each on its own device and its share of every batch; the first one
            writes. They see the same data and the same random numbers as one process, and differ from it as sums in
            another order do. A run can go on with another number of them.

    Returns:
        The path of ``generator.safetensors``.

    Raises:
        UsageError: the folder holds a run and `resume` is False; or the drawing lessons find no beta in `run_dir`, or
            one for other pictures; or a batch is too small for so many processes.
        PeerError: another process failed.
        ConfigError: the resumed run had other settings, poses or another beta.
        DataError: no usable poses, lessons from poses that are all the same, or the training lost its numbers (names
            the step and the tensor).
        Interrupted: SIGINT or SIGTERM came; the state is on disk.

    Source: StyleGAN, arXiv:1812.04948, appendix C; StyleGAN2, arXiv:1912.04958, appendix B; progressive growing,
    arXiv:1710.10196, section 2.
    """
    progress = progress or Progress()
    world = world or World(device=find_device(device))
    drawing = Drawing(
        drawn_skeleton(config.skeleton, poses),
        config.size_px,
        config.line_width_px,
        config.joint_radius_px,
        config.frame,
        config.margin,
    )
    _check_shares(config, world)
    numbers = 2 * drawing.skeleton.num_keypoints
    if config.lessons and config.w_dim <= numbers:
        progress.message(
            f"w_dim should be above {numbers}, twice the keypoints, got {config.w_dim}: `adapt` will find no poses in "
            "this source's codes, and has to start from the identity"
        )
    source = drawing.framed(poses)
    shown, held = holdout_split(len(source), config.holdout, config.seed)
    batches = PoseBatches(source.normalized[shown], drawing, config.batch, config.seed, flips=config.flips)
    folder = Path(run_dir) / "pretrain"
    beta, beta_hash = _reader(config, drawing, run_dir)
    inputs = {"poses": source.content_hash, "skeleton": drawing.skeleton.fingerprint} | beta_hash
    settings = config_dict(config)
    with (
        world.run_folder(folder, "pretrain", config=settings, inputs=inputs, resume=resume) as run,
        SharedStop(world) as stop,
        torch.random.fork_rng(devices=[]),
    ):
        trainer = _Trainer(config, batches, beta, world)
        if trainer.lessons is not None:
            _tell_left_out(trainer.lessons.code, drawing, progress)
        pace = Pace(trainer.schedule.steps, _LOGGED, _steps(config.checkpoint_kimg, config))
        training = Training(trainer, pace, folder, resume=resume)
        world.check_same(settings=settings, inputs=inputs, step=training.begin, type=str(trainer.dtype))
        if run is not None:
            training.rewind(run)
        if run is not None and training.begin == 0:
            run.log(step=0, poses=len(source), dropped=source.dropped, shown=len(shown), held_out=len(held))
            example = drawing.images(source.normalized[shown[:_GRID]], layout="nhwc")
            run.publish_grid("grid-source.png", example)
        training.run("pretrain", run, stop, progress)
        final = Path(run_dir) / "generator.safetensors"
        if world.leads:
            save_generator(
                final,
                trainer.G_ema,
                drawing,
                poses=source.content_hash,
                num_poses=len(shown),
                kimg=config.total_kimg,
                config=settings,
            )
    return final


def _reader(
    config: PretrainConfig, drawing: Drawing, run_dir: str | PathLike[str]
) -> tuple[Regressor | None, dict[str, str]]:
    """The run folder's beta for the drawing lessons, frozen, and its hash; nothing if they do without."""
    if not config.lessons or config.keypoint_weight == 0:
        return None, {}
    file = Path(run_dir) / "beta.safetensors"
    if not file.exists():
        raise UsageError(
            f"the drawing lessons need {file}: run `flexpose train-beta` into {run_dir} first, "
            "or set keypoint_weight = 0"
        )
    beta, drawn, header = load_beta(file)
    drawn.check_same(drawing, f"{file} and a generator of these settings")
    return beta, {"beta": str(header["hash"])}

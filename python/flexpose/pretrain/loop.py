"""Source training: g_s learns the distribution of the drawn source poses."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from .._threads import compute_dtype
from ..checkpoint import (
    Checkpoints,
    content_hash,
    flat,
    flat_optimiser,
    load_as,
    load_module,
    load_optimiser,
    load_tensors,
    not_finite,
    save_tensors,
    take,
)
from ..config import config_dict
from ..drawing import Drawing
from ..errors import DataError
from ..models import Discriminator, Generator, GeneratorConfig
from ..raster import encode_png, image_grid
from ..runs import Progress, RunFolder, StopSignal
from ..skeleton import load_skeleton
from .data import PoseBatches, holdout_split, step_seed
from .warmup import PoseCode, pyramid_loss

if TYPE_CHECKING:
    from os import PathLike

    from torch import Tensor

    from ..poses import PoseSet
    from .config import PretrainConfig

__all__ = ["load_generator", "pretrain", "save_generator"]

_GRID = 36
_ADAM_BETAS = (0.0, 0.99)


def save_generator(path: str | PathLike[str], generator: Generator, drawing: Drawing, **facts: Any) -> str:
    """Publish a generator with its sizes and its drawing; returns the content hash that adapters are bound to."""
    tensors = generator.state_dict()
    digest = content_hash(tensors)
    header = {
        "kind": "generator",
        "generator": config_dict(generator.config),
        "drawing": drawing.header(),
        "hash": digest,
        "facts": facts,
    }
    save_tensors(path, tensors, header)
    return digest


def load_generator(path: str | PathLike[str]) -> tuple[Generator, Drawing, dict[str, Any]]:
    """Read (generator, drawing, header) from a generator file or the run folder that holds one.

    Raises:
        UsageError: there is no such file.
        DataError: it is no generator of flexpose, or its content is not what its header says.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "generator.safetensors"
    tensors, header = load_tensors(file, "generator")
    generator = load_as(
        lambda: Generator(GeneratorConfig(**header["generator"])),
        tensors,
        header,
        path=file,
        sizes="generator",
    )
    drawing = Drawing.from_header(header.get("drawing", {}), path=file)
    if drawing.size_px != generator.config.size_px:
        raise DataError(
            f"expected pictures of {generator.config.size_px} px, got {drawing.size_px}",
            path=file,
            field="drawing",
        )
    generator.eval().requires_grad_(False)
    return generator, drawing, header


class _Schedule:
    """Where a step stands: in the lessons or in the game, at which resolution, and how far that is faded in."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self.sides = [side for side, _ in (*config.warmup, *config.stages)]
        self.ends: list[int] = []
        total = 0
        for _, kimg in (*config.warmup, *config.stages):
            total += math.ceil(kimg * 1000 / config.batch)
            self.ends.append(total)
        self.game = self.ends[len(config.warmup) - 1] if config.warmup else 0  # the first adversarial step

    @property
    def steps(self) -> int:
        return self.ends[-1]

    def at(self, step: int) -> tuple[int, float]:
        """(resolution, fade) of a 0-based step."""
        stage = next(i for i, end in enumerate(self.ends) if step < end)
        begin = self.ends[stage - 1] if stage else 0
        fade_steps = self.config.fade_kimg * 1000 / self.config.batch
        grown = stage > len(self.config.warmup) and fade_steps > 0
        return self.sides[stage], min(1.0, (step - begin + 1) / fade_steps) if grown else 1.0

    def warmup_lr(self, step: int) -> float:
        """Cosine from `warmup_lr` to the game's rate, after a hundred steps of warming up."""
        high, low = self.config.warmup_lr, self.config.lr
        share = 0.5 + 0.5 * math.cos(math.pi * step / self.game)
        return (low + (high - low) * share) * min(1.0, (step + 1) / 100)

    def judge_alone(self, step: int) -> bool:
        """Whether the discriminator learns alone at this step, so that its first word is worth something."""
        return (step - self.game) * self.config.batch < self.config.judge_first_kimg * 1000


class _Trainer:
    """The networks, their optimisers and one step of both."""

    def __init__(self, config: PretrainConfig, batches: PoseBatches) -> None:
        self.config, self.batches = config, batches
        self.schedule = _Schedule(config)
        self.dtype: Any = compute_dtype(config.dtype)
        torch.manual_seed(step_seed(config.seed, 0))
        self.G = Generator(config.generator_config())
        self.D = Discriminator(config.size_px, config.channel_base, config.channel_max)
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        mapping = list(self.G.mapping.parameters())
        rest = [p for name, p in self.G.named_parameters() if not name.startswith("mapping.")]
        self.opt_g = torch.optim.Adam([{"params": mapping}, {"params": rest}], lr=config.lr, eps=1e-8)
        self.code = PoseCode(batches.with_mirrored(), config.z_dim) if config.warmup else None
        # Lazy R1: StyleGAN2, appendix B; the optimiser's time constants follow the share of regularised steps.
        ratio = config.r1_every / (config.r1_every + 1)
        betas = (_ADAM_BETAS[0] ** ratio, _ADAM_BETAS[1] ** ratio)
        self.opt_d = torch.optim.Adam(self.D.parameters(), lr=config.lr * ratio, betas=betas, eps=1e-8)

    def state(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name, module in (("G", self.G), ("D", self.D), ("G_ema", self.G_ema)):
            tensors |= flat(name, module.state_dict())
        return tensors | flat_optimiser("opt_g", self.opt_g) | flat_optimiser("opt_d", self.opt_d)

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        for name, module in (("G", self.G), ("D", self.D), ("G_ema", self.G_ema)):
            load_module(module, take(tensors, name), path=path)
        load_optimiser(self.opt_g, take(tensors, "opt_g"))
        load_optimiser(self.opt_d, take(tensors, "opt_d"))

    def _fakes(self, resolution: int, fade: float) -> Tensor:
        n = self.config.batch
        w = self.G.map(torch.randn(n, self.config.z_dim))
        with torch.no_grad():
            self.G.mapping.w_avg.lerp_(w.detach().mean(0), 0.005)
        if torch.rand([]) < self.config.style_mixing:
            other = self.G.map(torch.randn(n, self.config.z_dim))
            used = 2 * self.G.synthesis.resolutions.index(resolution) + 2
            cut = int(torch.randint(1, used, []))
            early = torch.arange(self.G.num_layers + 1)[None, :, None] < cut
            w = torch.where(early, w[:, None], other[:, None])
        styles = self.G.styles(w)
        return self.G.synthesize(
            styles, noise=self.config.noise, dtype=self.dtype, last_resolution=resolution, fade=fade
        )

    def _reals(self, step: int, resolution: int, fade: float) -> Tensor:
        images = self.batches.images(step, resolution)
        if fade < 1:
            coarse = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="nearest")
            images = torch.lerp(coarse, images, fade)
        return images

    def step(self, step: int) -> dict[str, float]:
        """One step of the schedule; returns the losses."""
        torch.manual_seed(step_seed(self.config.seed, 1, step))
        if step < self.schedule.game:
            figures = self._lesson(step)
        else:
            if step == self.schedule.game:
                self.opt_g.state.clear()
            figures = self._round(step)
        self._average(step)
        return figures

    def _set_generator_rate(self, mapping_lr: float, lr: float, betas: tuple[float, float]) -> None:
        for group, rate in zip(self.opt_g.param_groups, (mapping_lr, lr), strict=True):
            group["lr"], group["betas"] = rate, betas

    def _lesson(self, step: int) -> dict[str, float]:
        """Draw what a linear code of the poses says; half of the codes are real poses', half are random."""
        if self.code is None:
            raise ValueError("a lesson needs warmup stages")
        resolution, _ = self.schedule.at(step)
        rate = self.schedule.warmup_lr(step)
        self._set_generator_rate(rate, rate, (0.9, 0.99))
        rng = np.random.default_rng((self.config.seed, 5, step))
        half = self.config.batch // 2
        real = self.code.latents(self.batches.poses(step)[:half], rng)
        free = rng.standard_normal((self.config.batch - half, self.config.z_dim), np.float32)
        z = np.concatenate([real, free])
        targets = self.batches.drawn(self.code.poses(z), resolution)
        styles = self.G.styles(self.G.map(torch.from_numpy(z)))
        images = self.G.synthesize(styles, noise="none", dtype=self.dtype, last_resolution=resolution)
        loss = pyramid_loss(images, targets)
        self.opt_g.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.opt_g.step()
        return {"loss_drawing": loss.item()}

    def _round(self, step: int) -> dict[str, float]:
        """One generator and one discriminator step of the adversarial game."""
        resolution, fade = self.schedule.at(step)
        judge = {"dtype": self.dtype, "fade": fade}
        lr = self.config.lr
        self._set_generator_rate(lr * self.config.mapping_lr_multiplier, lr, _ADAM_BETAS)
        figures = {}
        if not self.schedule.judge_alone(step):
            self.D.requires_grad_(False)
            loss_g = F.softplus(-self.D(self._fakes(resolution, fade), **judge)).mean()
            self.opt_g.zero_grad(set_to_none=True)
            torch.autograd.backward(loss_g)
            self.opt_g.step()
            figures["loss_g"] = loss_g.item()

        self.D.requires_grad_(True)
        self.opt_d.zero_grad(set_to_none=True)
        reals = self._reals(step, resolution, fade)
        with torch.no_grad():
            fakes = self._fakes(resolution, fade)
        logits_fake, logits_real = self.D(fakes, **judge), self.D(reals, **judge)
        loss_d = F.softplus(logits_fake).mean() + F.softplus(-logits_real).mean()
        torch.autograd.backward(loss_d)
        figures |= {
            "loss_d": loss_d.item(),
            "real": logits_real.mean().item(),
            "fake": logits_fake.mean().item(),
        }
        if step % self.config.r1_every == 0 and self.config.r1_gamma > 0:
            figures["r1"] = self._r1(reals, resolution, judge)
        self.opt_d.step()
        return figures

    def _r1(self, reals: Tensor, resolution: int, judge: dict[str, Any]) -> float:
        """R1 penalty (Mescheder et al. 2018, Eq. 9), gamma / 2 E ||grad D(x)||^2, weighted for its rarity."""
        reals = reals.detach().requires_grad_(True)
        (grad,) = torch.autograd.grad(self.D(reals, **judge).sum(), reals, create_graph=True)
        penalty = grad.float().square().sum((1, 2, 3)).mean()
        gamma = self.config.r1_gamma * (resolution / self.config.size_px) ** 2
        torch.autograd.backward(penalty * (gamma / 2 * self.config.r1_every))
        return penalty.item()

    @torch.no_grad()
    def _average(self, step: int) -> None:
        shown = (step + 1) * self.config.batch
        half_life = min(self.config.ema_half_life_kimg * 1000, shown * self.config.ema_rampup)
        keep = 0.5 ** (self.config.batch / max(half_life, 1e-8))
        for average, value in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
            average.lerp_(value, 1 - keep)
        for copied, current in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            copied.copy_(current)


def _grid(
    generator: Generator, resolution: int, seed: int, dtype: Any
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    z = torch.from_numpy(
        np.random.default_rng((seed, 4)).standard_normal((_GRID, generator.config.z_dim), np.float32)
    )
    with torch.inference_mode():
        images = generator.synthesize(
            generator.styles(generator.map(z)), dtype=dtype, last_resolution=resolution
        )
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return image_grid(pixels.permute(0, 2, 3, 1).contiguous().numpy(), 9)


def pretrain(
    poses: PoseSet,
    config: PretrainConfig,
    run_dir: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Learn the distribution of source poses.

    Args:
        poses: the source set; poses without all keypoints are left out, and counted in ``stats.jsonl``.
        config: the settings.
        run_dir: gets ``generator.safetensors`` and the folder ``pretrain`` (config, stats, grids, checkpoints).
        resume: go on from the last checkpoint; on the CPU the result is bit for bit that of an unbroken run.
        progress: told of each step.

    Returns:
        The path of ``generator.safetensors``.

    Raises:
        UsageError: the folder holds a run and `resume` is False.
        ConfigError: the resumed run had other settings or poses.
        DataError: no usable poses, or the training lost its numbers (names the step and the tensor).
        Interrupted: SIGINT or SIGTERM came; the state is on disk.

    Source: StyleGAN, arXiv:1812.04948, appendix C; StyleGAN2, arXiv:1912.04958, appendix B; progressive growing,
    arXiv:1710.10196, section 2.
    """
    progress = progress or Progress()
    drawing = Drawing(
        load_skeleton(config.skeleton),
        config.size_px,
        config.line_width_px,
        config.joint_radius_px,
        config.frame,
        config.margin,
    )
    source = drawing.framed(poses)
    shown, held = holdout_split(len(source), config.holdout, config.seed)
    batches = PoseBatches(source.normalized[shown], drawing, config.batch, config.seed, flips=config.flips)
    folder = Path(run_dir) / "pretrain"
    inputs = {"poses": source.content_hash, "skeleton": drawing.skeleton.fingerprint}
    with (
        RunFolder(folder, "pretrain", config=config_dict(config), inputs=inputs, resume=resume) as run,
        StopSignal() as stop,
        torch.random.fork_rng(devices=[]),
    ):
        trainer = _Trainer(config, batches)
        checkpoints = Checkpoints(folder / "checkpoints")
        saved = checkpoints.latest() if resume else None
        begin, sums = 0, {}
        if saved is not None:
            trainer.load(saved[0], folder / "checkpoints")
            begin, sums = int(saved[1]["step"]), dict(saved[1].get("sums", {}))
        run.rewind("step", begin or -1)
        if begin == 0:
            run.log(step=0, poses=len(source), dropped=source.dropped, shown=len(shown), held_out=len(held))
            example = drawing.images(source.normalized[shown[:_GRID]], layout="nhwc")
            with run.publish("grid-source.png") as path:
                path.write_bytes(encode_png(image_grid(example, 9)))
        _loop(trainer, run, checkpoints, stop, progress, begin, sums)
        final = Path(run_dir) / "generator.safetensors"
        save_generator(
            final,
            trainer.G_ema,
            drawing,
            poses=source.content_hash,
            num_poses=len(shown),
            kimg=config.total_kimg,
            config=config_dict(config),
        )
    return final


def _loop(
    trainer: _Trainer,
    run: RunFolder,
    checkpoints: Checkpoints,
    stop: StopSignal,
    progress: Progress,
    begin: int,
    sums: dict[str, list[float]],
) -> None:
    """Train from step `begin` on; `sums` are the figures since the last record, as the checkpoint kept them."""
    config, schedule = trainer.config, trainer.schedule
    every = {
        "checkpoint": max(1, round(config.checkpoint_kimg * 1000 / config.batch)),
        "snapshot": max(1, round(config.snapshot_kimg * 1000 / config.batch)),
        "log": 50,
    }
    progress.start("pretrain", schedule.steps)
    progress.advance(begin)
    clock, since = time.monotonic(), begin
    hint = "go on by the same command with --resume"
    for step in range(begin, schedule.steps):
        figures = trainer.step(step)
        if not all(math.isfinite(value) for value in figures.values()):
            raise DataError(
                f"training lost its numbers at step {step}: {figures}, first lost tensor: "
                f"{not_finite(trainer.state())}; the last good checkpoint is in {checkpoints.folder}"
            )
        for key, value in figures.items():
            sums.setdefault(key, []).append(value)
        done = step + 1
        progress.advance(done, **figures)
        last = done == schedule.steps
        if done % every["log"] == 0 or last:
            means = {key: round(float(np.mean(values)), 5) for key, values in sorted(sums.items())}
            rate = (done - since) * config.batch / max(time.monotonic() - clock, 1e-9)
            resolution, fade = schedule.at(step)
            run.log(
                step=done,
                kimg=done * config.batch / 1000,
                resolution=resolution,
                fade=fade,
                **means,
                images_per_s=round(rate, 1),
            )
            sums, clock, since = {}, time.monotonic(), done
        if done % every["snapshot"] == 0 or last:
            picture = _grid(trainer.G_ema, schedule.at(step)[0], config.seed, trainer.dtype)
            with run.publish(f"grid-{done * config.batch // 1000:06d}kimg.png") as path:
                path.write_bytes(encode_png(picture))
        if done % every["checkpoint"] == 0 or last or stop.requested:
            checkpoints.save(done, trainer.state(), {"sums": sums})
        stop.check(hint)

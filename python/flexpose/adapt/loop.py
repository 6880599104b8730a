"""Adaptation: tau is solved or trained so that the source generator draws the guide poses and their variations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._device import find_device
from .._threads import compute_dtype
from .._training import Pace, Trainee, Training
from ..checkpoint import flat, flat_optimiser, load_module, load_optimiser, take
from ..config import config_dict
from ..errors import ConfigError, UsageError
from ..metrics import KinematicLimits, frechet_distance, nearest_shot_distances
from ..models import Prefix, Transfer
from ..ops.graphs import Repeated
from ..pretrain.data import images_to_tensor
from ..runs import Progress, RunFolder, StopSignal
from ..sample.draw import draw_images, latents, map_codes, read_keypoints
from ..zoo import source_file
from .adapter import VARIETY, save_adapter
from .features import Gamma, read_features
from .guards import shot_warnings
from .least_squares import LeastSquares
from .sources import load_sources
from .training_poses import (
    guide_poses,
    guide_views,
    joined_poses,
    mixed_poses,
    paired_codes,
    varied_poses,
)
from .views import with_mirrored

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor

    from ..drawing import Drawing, FramedPoses
    from ..models import Generator
    from ..models.regressor import Regressor
    from ..poses import PoseSet
    from .config import AdaptConfig

__all__ = ["adapt"]

_GRID = 36
_LOGGED = 20
_MEASURED = 256
_PRIOR = 10_000  # poses of the source, by which guide poses are varied
_LEAST_INSIDE = 0.5  # share of what is drawn that can be brought within the limits: on real targets 0.99


def adapt(
    shots: PoseSet,
    config: AdaptConfig,
    run_dir: str | PathLike[str],
    *,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
) -> Path:
    """Carry a source generator over to the domain of a few guide poses.

    No picture is read: the guide poses' coordinates are all that goes in.

    Args:
        shots: the guide poses, at least 2 fully labelled ones.
        config: the settings.
        run_dir: gets ``adapter.safetensors`` (tau, bound to its source by hash) and the folder ``adapt``.
        source: a run folder or file of `pretrain`, or a name of the zoo; by default the zoo's first.
        beta: a run folder or file of `train_beta`; by default beside the generator.
        resume: go on from the last checkpoint; on the CPU the result is bit for bit that of an unbroken run.
        progress: told of each iteration.
        device: "cpu", "cuda", "cuda:N", or "auto", the first card that computes, else the processor.

    Returns:
        The path of ``adapter.safetensors``.

    Raises:
        UsageError: too few guide poses, or generator and beta do not fit each other.
        ConfigError: a layer that the generator does not have; a resumed run had other settings.
        DataError: a file cannot be used, or the training lost its numbers.
        DeviceError: the device cannot be used.
        Interrupted: SIGINT or SIGTERM came; the state is on disk.

    Source: FlexPose, arXiv:2412.13463, Eq. 5 to 7.
    """
    progress = progress or Progress()
    source_path, place = source_file(source), find_device(device)
    generator, regressor, drawing, header, beta_hash = load_sources(
        source_path, None if beta is None else Path(beta), place
    )
    if max(config.layers, default=1) > generator.num_layers:
        raise ConfigError(f"layers must be from 1 to {generator.num_layers}, got {list(config.layers)}")
    framed = drawing.framed(shots)
    if len(framed) < 2:
        raise UsageError(f"shots must be at least 2 fully labelled poses, got {len(framed)} of {len(shots)}")
    folder = Path(run_dir) / "adapt"
    inputs = {"shots": framed.content_hash, "source": str(header["hash"]), "beta": beta_hash}
    vgg = read_features(config.features, config.features_file)
    if vgg is not None:
        inputs["features"] = vgg.hash
    dtype: Any = compute_dtype(config.dtype, place)
    with (
        RunFolder(folder, "adapt", config=config_dict(config), inputs=inputs, resume=resume) as run,
        StopSignal() as stop,
    ):
        poses, codes, transfer, limits, found = _prepare(
            generator, regressor, drawing, framed, config, dtype, stop, progress
        )
        trainee = Trainee()
        if config.iterations:
            gamma = Gamma(config.features, regressor, dtype=dtype, vgg=vgg)
            with torch.no_grad():
                styles = generator.styles(codes)
            pictures = images_to_tensor(drawing.images(poses)).to(generator.device)
            trainee = _Descent(generator, transfer, styles, pictures, gamma, config, dtype)
        pace = Pace(config.iterations, _LOGGED, config.checkpoint_iterations)
        training = Training(trainee, pace, folder, resume=resume)
        training.rewind(run)
        if training.begin == 0:
            run.log(
                step=0,
                shots=len(framed),
                dropped=framed.dropped,
                bank=len(poses),
                layers={str(layer): generator.layer_resolutions[layer - 1] for layer in transfer.layers},
                **found,
            )
            run.publish_grid("grid-shots.png", drawing.images(framed.normalized[:_GRID], layout="nhwc"))
        if config.iterations:
            training.run("adapt", run, stop, progress)
        transfer.requires_grad_(False)
        for name, tau in (("source", None), ("adapted", transfer)):
            with torch.inference_mode():
                codes = map_codes(generator, latents(_GRID, generator.config.z_dim, config.seed))
                images = draw_images(generator, codes, transfer=tau, dtype=dtype)
            run.publish_grid(f"grid-{name}.png", images.transpose(0, 2, 3, 1))
        final = Path(run_dir) / "adapter.safetensors"
        facts = {"config": config_dict(config), "shots": framed.content_hash, "num_shots": len(framed)}
        facts |= {} if vgg is None else {"features": vgg.hash}
        facts |= _variety(generator, regressor, drawing, transfer, framed, limits, config, dtype)
        where = source_path / "generator.safetensors" if source_path.is_dir() else source_path
        save_adapter(
            final, transfer, source_hash=str(header["hash"]), source=where, facts=facts, limits=limits
        )
    return final


def _variety(
    generator: Generator,
    beta: Regressor,
    drawing: Drawing,
    transfer: Transfer,
    framed: FramedPoses,
    limits: KinematicLimits | None,
    config: AdaptConfig,
    dtype: Any,
) -> dict[str, float]:
    """How far samples are from their nearest guide poses, and from each other, beside the guide poses themselves."""
    z = latents(_MEASURED, generator.config.z_dim, config.seed)
    images = draw_images(generator, map_codes(generator, z), transfer=transfer, dtype=dtype)
    read: NDArray[np.floating] = read_keypoints(beta, images, dtype=dtype)
    if limits is not None:
        read, inside = limits.clamped(read)
        read = read[inside]
    poses = drawing.reframed(read)
    half = len(poses) // 2
    shots = framed.normalized
    own = [nearest_shot_distances(shots[i : i + 1], np.delete(shots, i, 0))[0] for i in range(len(shots))]
    figures = (
        np.median(nearest_shot_distances(poses, shots)),
        np.median(nearest_shot_distances(poses[:half], poses[half:])),
        np.median(own),
    )
    return {name: round(float(value), 4) for name, value in zip(VARIETY, figures, strict=True)}


class _Plausible:
    """Brings poses into the guide poses' own ranges of bones and joint angles, and into frames of their own.

    Attributes:
        limits: the ranges, widened by a share of them; None if the settings or the skeleton have none, or if too few
            poses could be brought in.
        shares: of the poses in each call, how many were within by themselves.
    """

    def __init__(self, views: NDArray[np.float32], drawing: Drawing, widen: float) -> None:
        self._drawing = drawing
        self.limits: KinematicLimits | None = None
        self.shares: list[float] = []
        if widen > 0 and drawing.skeleton.bones:
            self.limits = KinematicLimits.from_reference(views, drawing.skeleton, tail=0.0, widen=widen)

    def __call__(self, drawn: NDArray[np.floating]) -> NDArray[np.floating]:
        """[N, K, 2] drawn poses as `sample` gives them, but for those that cannot be brought in."""
        if self.limits is not None:
            self.shares.append(round(float(1 - self.limits.violated(drawn).mean()), 3))
            poses, inside = self.limits.clamped(drawn)
            if inside.mean() >= _LEAST_INSIDE:
                return self._drawing.reframed(poses[inside])
            self.limits = None
        return self._drawing.reframed(drawn)


def _prepare(
    generator: Generator,
    beta: Regressor,
    drawing: Drawing,
    framed: FramedPoses,
    config: AdaptConfig,
    dtype: Any,
    stop: StopSignal,
    progress: Progress,
) -> tuple[NDArray[np.float32], Tensor, Transfer, KinematicLimits | None, dict[str, Any]]:
    """(T u T*, a code for each pose, the tau to begin with, limits of samples, what is logged of it)."""
    layers = config.layers or tuple(range(1, generator.num_layers + 1))
    if config.start == "identity":
        guides = guide_poses(framed, drawing, config)
        mixes = mixed_poses(guides, drawing, config, progress)
        poses = joined_poses(guides, mixes)
        codes = paired_codes(generator, beta, guides, poses, mixes, config, dtype)
        return poses, codes, Transfer.for_generator(generator, layers, form=config.form), None, {}
    progress.start("solve", config.rounds + 3)
    solver = LeastSquares(generator, beta, 2 * len(framed) + config.mixed, config.seed, dtype)
    progress.advance(1)
    source_poses = drawing.reframed(solver.poses)
    for warning in shot_warnings(framed.normalized, source_poses):
        progress.message(warning)
    prior = with_mirrored(drawing.reframed(solver.sample_source(_PRIOR)), drawing)
    views = guide_views(framed, prior, drawing, config)
    if views.fewer:
        missing = " or ".join(kind for kind in ("mirrored", "from behind") if kind not in views.kinds)
        progress.message(
            f"the guide poses do not look like each other {missing}: they are taken {' and '.join(views.kinds)}; "
            "--set views=all takes them in all views"
        )
    guides = views.poses[~views.behind]
    strength, share, part = 0.0, 0.0, 0.0
    if config.variation > 0 and config.mixed > 0:
        varied, strength, share, part = varied_poses(views, prior, drawing, config)
        poses = np.concatenate([guides, varied])
    else:
        poses = joined_poses(guides, mixed_poses(guides, drawing, config, progress))
    framed_within = _Plausible(views.poses, drawing, config.plausible)
    distances: list[float] = []

    def report(distance: float) -> None:
        distances.append(round(distance, 5))
        again = len(distances) - (config.rounds + 1)
        if again == 1:
            progress.advance(config.rounds + 3)
            progress.start("solve another way", config.rounds + 1)
        progress.advance(again if again > 0 else 1 + len(distances), fd=distance)
        stop.check("nothing was written")

    transfer, codes = solver.fit(
        poses, layers, form=config.form, rounds=config.rounds, framed=framed_within, report=report
    )
    if len(distances) <= config.rounds + 1:
        progress.advance(config.rounds + 3)
    if framed_within.shares and framed_within.limits is None:
        progress.message(
            f"less than {_LEAST_INSIDE:.0%} of what is drawn can be brought within the guide poses' ranges of bones "
            "and joint angles: they are left out; more guide poses would widen them"
        )
    before = round(frechet_distance(source_poses, poses), 5)
    if distances and not min(distances) < before:
        progress.message(
            f"the adapted generator draws no nearer to the guide poses (Frechet distance {min(distances):.3f}) than "
            f"the source as it is ({before:.3f}): the source may be too weak for the least squares; "
            'start="identity" with iterations adapts it by gradient descent'
        )
    beyond = np.linalg.norm(solver.encoder.reachable(poses) - poses, axis=-1).mean()
    found = {
        "fd_of_source": before,
        "fd_to_training_poses": distances,
        "plausible": framed_within.shares,
        "views": views.kinds,
        "variation": round(strength, 3),
        "source_share": round(share, 3),
        "source_part": round(part, 3),
        "beyond_source_px": round(float(beyond) * drawing.size_px / 2, 3),
    }
    return poses, codes, transfer, framed_within.limits, found


class _Descent(Trainee):
    """Gradient descent of tau on the paper's loss (Eq. 5).

    Args:
        generator: the source, frozen.
        transfer: tau, which is trained.
        styles: of the codes of T and T*, each [T + T*, C].
        pictures: of T and T* [T + T*, 3, S, S].
        gamma: what makes pictures comparable.
        config: of the adaptation.
        dtype: type of the activations.
    """

    def __init__(
        self,
        generator: Generator,
        transfer: Transfer,
        styles: list[Tensor],
        pictures: Tensor,
        gamma: Gamma,
        config: AdaptConfig,
        dtype: Any,
    ) -> None:
        self._generator, self._transfer, self._styles = generator, transfer, styles
        self._config, self._dtype, self._gamma = config, dtype, gamma
        self._features = gamma.targets(pictures, config.batch)
        self._optimiser = torch.optim.Adam(transfer.parameters(), lr=config.lr, betas=(0.9, 0.999))
        # Nothing before the first free layer depends on tau.
        self._prefix = Prefix(generator.synthesis, styles, min(transfer.layers), dtype=dtype)
        self._gradient = Repeated(self._loss, before=lambda: self._optimiser.zero_grad(set_to_none=True))

    def state(self) -> dict[str, Tensor]:
        return flat("tau", self._transfer.state_dict()) | flat_optimiser("adam", self._optimiser)

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        load_module(self._transfer, take(tensors, "tau"), path=path)
        load_optimiser(self._optimiser, take(tensors, "adam"))

    def step(self, step: int) -> dict[str, float]:
        config = self._config
        # With replacement: the paper is silent, and a batch is an eighth of the set.
        rng = np.random.default_rng((config.seed, 21, step))
        rows = torch.from_numpy(rng.integers(0, len(self._styles[0]), config.batch))
        loss = self._gradient(rows.to(self._generator.device))
        if config.lr_decay == "cosine":
            for group in self._optimiser.param_groups:
                group["lr"] = config.lr * (0.5 + 0.5 * math.cos(math.pi * step / config.iterations))
        self._optimiser.step()
        return {"loss": loss.item()}

    def _loss(self, rows: Tensor) -> Tensor:
        """The loss of Eq. 5 on some training poses; its gradients are left in tau."""
        styles = [style[rows] for style in self._styles]
        start = self._prefix.rows(rows)
        images = self._generator.synthesis(self._transfer(styles), dtype=self._dtype, start=start)
        loss = self._gamma.distance(images, [level[rows] for level in self._features])
        torch.autograd.backward(loss)
        return loss.detach()

"""Picture-pose matching: an annotator learns from pictures without poses, and from poses without pictures."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from .._device import find_device
from .._threads import compute_dtype
from .._training import Pace, Trainee, Training
from ..adapt.features import Gamma, read_features
from ..checkpoint import flat, flat_optimiser, load_module, load_optimiser, take
from ..config import config_dict
from ..drawing import array_hash
from ..errors import UsageError
from ..models.regressor import Regressor, RegressorConfig
from ..poses import frame_poses
from ..pretrain.data import images_to_tensor, step_seed
from ..runs import Progress, RunFolder, StopSignal
from .files import save_annotator
from .networks import Critic, Painter
from .soft_lines import soft_lines
from .vary import bend, draw_similarities, origins, resample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from ..poses import PoseSet
    from ..skeleton import Skeleton
    from .config import MatchConfig
    from .pictures import Pictures

__all__ = ["match", "placement"]

_GRID = 8  # pictures in a row of the grid that shows how far it is
_LOGGED = 50
_MOST_GRADIENT = 1.0  # norm of the annotator's
_WARM = 100  # steps until the full learning rate
_SMOOTH = 1e-6  # a root has no gradient at zero
_LOOKS = 512  # pictures by whose variance features are weighed


def placement(poses: PoseSet) -> tuple[float, tuple[float, float]]:
    """How poses lie in their pictures: what `MatchConfig` calls fill and center.

    Args:
        poses: some, labelled in pictures like those that will be annotated, such as guide poses; of the prior's
            skeleton, since other joints have another box.

    Returns:
        (longer side of a pose's box as a share of the longer side of its picture, the box's centre in [-1, 1] of the
        square around the picture), medians.

    Raises:
        UsageError: there are none.
        DataError: a pose has no extent.
    """
    if len(poses) == 0:
        raise UsageError("poses must be at least one, got none")
    box, picture = frame_poses(poses, "bbox", 0.0), frame_poses(poses, "keep")
    centers = picture.normalize(box.center[:, None])[:, 0]
    x, y = np.median(centers, 0)
    return float(np.median(box.half / picture.half)), (float(x), float(y))


def place(poses: PoseSet, config: MatchConfig) -> NDArray[np.float32]:
    """The fully labelled poses as they lie in the pictures: [N, K, 2] in [-1, 1].

    Raises:
        UsageError: there are none.
        DataError: one has no extent.
    """
    kept = poses[poses.complete()]
    if len(kept) == 0:
        raise UsageError(f"poses must have fully labelled ones, got none among {len(poses)}")
    own = frame_poses(kept, "bbox", 0.0).normalize(kept.keypoints)
    return np.asarray(own * config.fill + config.center, np.float32)


def match(
    pictures: Pictures,
    poses: PoseSet,
    config: MatchConfig,
    run_dir: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
) -> Path:
    """Train an annotator on pictures that have no poses and on poses that have no pictures.

    The annotator reads joints in a picture; a skeleton is drawn of them, and from it and another picture of the same
    person a painter makes the picture again. A critic holds the joints to the poses of the prior. In a second view of
    the picture, which is bent, the joints must be where the bend moves them. So joints come to be where the painter
    needs them, the critic believes them, and the picture has something to find them by.

    Args:
        pictures: one person or face each, in the middle. Where they have groups, the looks of a picture come from
            another one of its group, else from the picture itself, bent.
        poses: the prior: those that an adapted generator samples, or a data set's. In their own boxes; where these
            lie in the pictures is for the settings to say, see `placement`.
        config: the settings.
        run_dir: gets ``annotator.safetensors`` and the folder ``match`` (config, stats, grids, checkpoints).
        resume: go on from the last checkpoint.
        progress: told of each step.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The path of ``annotator.safetensors``.

    Raises:
        UsageError: there are no fully labelled poses or too few pictures, or the folder holds a run already.
        ConfigError: a resumed run had other settings or inputs.
        DataError: a file is damaged, or training lost its numbers.
        Interrupted: SIGINT or SIGTERM came; a checkpoint is written.

    Source: KeypointGAN (Jakab et al. 2020), arXiv:1907.02055, section 3, by which FlexPose is judged: the skeleton as
    the bottleneck between two pictures of a person, and the adversary that holds it to poses without pictures. There
    a picture is first translated to a drawing that a regressor reads; here the joints are read at once. That joints
    follow a bend is Thewlis et al. 2017, arXiv:1705.02193.
    """
    progress = progress or Progress()
    if len(pictures) < 2:
        raise UsageError(f"pictures must be at least 2, got {len(pictures)}")
    if pictures.size_px != config.size_px:
        raise UsageError(f"pictures must have size_px {config.size_px}, got {pictures.size_px}")
    placed = place(poses, config)
    where, skeleton = find_device(device), poses.skeleton
    names = config.features
    vgg = read_features(names, config.features_file)
    inputs = {
        "pictures": pictures.content_hash,
        "poses": array_hash(placed),
        "skeleton": skeleton.fingerprint,
    } | ({} if vgg is None else {"features": vgg.hash})
    folder = Path(run_dir) / "match"
    settings = config_dict(config)
    with (
        RunFolder(folder, "match", config=settings, inputs=inputs, resume=resume) as run,
        StopSignal() as stop,
        torch.random.fork_rng(devices=[]),
    ):
        dtype: Any = compute_dtype(config.dtype, where)
        gamma = Gamma(names, None, dtype=dtype, device=torch.device(where), vgg=vgg)
        trainer = _Trainer(pictures, placed, skeleton, config, gamma, torch.device(where))
        training = Training(
            trainer, Pace(config.steps, _LOGGED, config.checkpoint_steps), folder, resume=resume
        )
        training.rewind(run)
        training.run("match", run, stop, progress)
        final = Path(run_dir) / "annotator.safetensors"
        facts = {"config": settings, "pictures": len(pictures), "poses": len(placed), "inputs": inputs}
        save_annotator(final, trainer.annotator.cpu().eval(), skeleton, **facts)
    return final


@dataclass(frozen=True, eq=False)
class _Batch:
    """What one step looks at.

    Attributes:
        views: the pictures, moved, and moved and bent: [N, 3, S, S] each.
        grids: where the pixels of both come from, [N, S, S, 2] each.
        looks: pictures of the same persons.
        poses: of the prior, [N, K, 2].
    """

    views: tuple[Tensor, Tensor]
    grids: tuple[Tensor, Tensor]
    looks: Tensor
    poses: Tensor


class _Trainer(Trainee):
    """The networks, their optimisers, and one step."""

    def __init__(
        self,
        pictures: Pictures,
        poses: NDArray[np.float32],
        skeleton: Skeleton,
        config: MatchConfig,
        gamma: Gamma,
        device: torch.device,
    ) -> None:
        self.pictures, self.poses, self.config = pictures, poses, config
        self.gamma, self.device = gamma, device
        self.bones = torch.tensor(skeleton.bones, device=device).reshape(-1, 2)
        self.colors = torch.tensor(skeleton.bone_colors, dtype=torch.float32, device=device) / 255
        self.flip_index = torch.tensor(skeleton.flip_index.tolist())
        torch.manual_seed(step_seed(config.seed, 40))
        sizes = RegressorConfig(
            size_px=config.size_px, num_keypoints=skeleton.num_keypoints, width=config.width
        )
        self.annotator = Regressor(sizes).to(device)
        self.painter = Painter(config.width).to(device) if config.picture_weight else None
        self.critic = Critic(skeleton.num_keypoints, self.bones, config.critic_width).to(device)
        self._networks: dict[str, nn.Module] = {"annotator": self.annotator, "critic": self.critic}
        if self.painter is not None:
            self._networks["painter"] = self.painter
        self._optimisers = {
            name: torch.optim.Adam(network.parameters(), config.lr, config.betas)
            for name, network in self._networks.items()
        }
        self._members = _group_members(pictures.groups)
        rows = np.random.default_rng((config.seed, 41)).permutation(len(pictures))[:_LOOKS]
        gamma.targets(images_to_tensor(pictures.images[np.sort(rows)]).to(device), config.batch)

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint keeps."""
        tensors: dict[str, Tensor] = {}
        for name, network in self._networks.items():
            tensors |= flat(name, network.state_dict())
        for name, optimiser in self._optimisers.items():
            tensors |= flat_optimiser(f"adam-{name}", optimiser)
        return tensors

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        """Go back to a checkpoint's state."""
        for name, network in self._networks.items():
            load_module(network, take(tensors, name), path=path)
        for name, optimiser in self._optimisers.items():
            load_optimiser(optimiser, take(tensors, f"adam-{name}"))

    def step(self, step: int) -> dict[str, float]:
        """Do step `step`: a function of the state and the step alone."""
        config, gamma = self.config, self.gamma
        torch.manual_seed(step_seed(config.seed, 42, step))
        self._set_rates(step)
        batch = self._batch(step)
        joints, bent = self.annotator(torch.cat(batch.views), dtype=gamma.dtype).normalized.chunk(2)
        with _frozen(self.critic):
            terms = {
                "belief": F.softplus(-self.critic(joints)).mean(),
                "follow": _distance(origins(batch.grids[0], joints), origins(batch.grids[1], bent)),
            }
            loss = config.belief_weight * terms["belief"] + config.follow_weight * terms["follow"]
            learning = ["annotator"]
            if self.painter is not None:
                painted = self.painter(self._lines(joints), batch.looks, dtype=gamma.dtype)
                terms["picture"] = gamma.distance(painted, gamma.of(batch.views[0]))
                loss = loss + config.picture_weight * terms["picture"]
                learning.append("painter")
            self._descend(learning, loss)
        terms["critic"], penalty = self._judged(batch.poses, joints.detach())
        self._descend(["critic"], terms["critic"] + penalty)
        return {f"loss_{name}": term.item() for name, term in terms.items()}

    def _judged(self, poses: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's loss, and R1's penalty on its slope at the prior's poses."""
        real = (poses + self._noise(poses)).requires_grad_(True)
        real_logits, fake_logits = self.critic(real), self.critic(joints + self._noise(joints))
        (slope,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
        penalty = 0.5 * self.config.r1_gamma * slope.square().sum((1, 2)).mean()
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean(), penalty

    def _noise(self, points: Tensor) -> Tensor:
        return (torch.randn(points.shape) * self.config.noise).to(points.device)

    def show(self, run: RunFolder, done: int, *, last: bool, kept: bool) -> None:
        """Publish the grid beside each checkpoint."""
        if kept:
            run.publish_grid("grid.png", self.grid(), _GRID)

    @torch.no_grad()
    def grid(self) -> NDArray[np.uint8]:
        """Rows of pictures, of skeletons as read, of what is painted of these, and with which looks: [8 R, S, S, 3]."""
        state = torch.get_rng_state()
        torch.manual_seed(step_seed(self.config.seed, 43))
        batch = self._batch(0, rows=np.arange(_GRID) % len(self.pictures))
        torch.set_rng_state(state)
        lines = self._lines(self.annotator(batch.views[0], dtype=self.gamma.dtype).normalized)
        rows = [batch.views[0], lines * 2 - 1]
        if self.painter is not None:
            rows += [self.painter(lines, batch.looks, dtype=self.gamma.dtype), batch.looks]
        shown = torch.cat(rows).clamp(-1, 1)
        return ((shown + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def _set_rates(self, step: int) -> None:
        share = min(1.0, (step + 1) / _WARM) * (0.5 + 0.5 * math.cos(math.pi * step / self.config.steps))
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = self.config.lr * share

    def _descend(self, names: list[str], loss: Tensor) -> None:
        for name in names:
            self._optimisers[name].zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if "annotator" in names:  # the critic's and the follower's slopes differ by orders at the start
            torch.nn.utils.clip_grad_norm_(self.annotator.parameters(), _MOST_GRADIENT)
        for name in names:
            self._optimisers[name].step()

    def _vary(self) -> dict[str, Any]:
        c = self.config
        return {"scale": c.scale, "shift": c.shift, "turn_deg": c.turn_deg, "flips": c.flips}

    def _prior(self, step: int) -> Tensor:
        """Poses [batch, K, 2] of the prior, moved as the pictures are."""
        rng = np.random.default_rng((self.config.seed, 44, step))
        rows = rng.integers(0, len(self.poses), self.config.batch)
        similarities = draw_similarities(self.config.batch, **self._vary())
        return similarities.poses(torch.from_numpy(self.poses[rows]), self.flip_index).to(self.device)

    def _batch(self, step: int, rows: NDArray[np.int64] | None = None) -> _Batch:
        poses = self._prior(step)
        config = self.config
        rng = np.random.default_rng((config.seed, 45, step))
        if rows is None:
            rows = rng.integers(0, len(self.pictures), config.batch)
        own = self._shown(rows)
        moved = draw_similarities(len(rows), **self._vary())
        # A mirrored view would have left and right swapped, which no shift of joints tells.
        other = draw_similarities(len(rows), **self._vary(), mirrored=moved.mirrored)
        grids = moved.grid(config.size_px), bend(other.grid(config.size_px), config.warp)
        views = resample(own, grids[0]), resample(own, grids[1])
        looks = views[1]
        if self._members is not None:
            others = np.array([self._other(int(row), rng) for row in rows])
            apart = draw_similarities(len(rows), **self._vary())
            found = resample(self._shown(others), apart.grid(config.size_px))
            alone = torch.from_numpy(others == rows).to(found.device)[:, None, None, None]
            looks = torch.where(alone, looks, found)
        return _Batch(views, grids, looks, poses)

    def _shown(self, rows: NDArray[np.int64]) -> Tensor:
        return images_to_tensor(self.pictures.images[rows]).to(self.device)

    def _other(self, row: int, rng: np.random.Generator) -> int:
        """A picture of the same group, another one where there is one."""
        if self._members is None or self.pictures.groups is None:
            return row
        members = self._members[int(self.pictures.groups[row])]
        others = members[members != row]
        return int(rng.choice(others)) if len(others) else row

    def _lines(self, joints: Tensor) -> Tensor:
        """Skeletons [N, 3, S, S] of joints."""
        return soft_lines(
            joints, self.bones, self.config.size_px, sigma=self.config.sigma, colors=self.colors
        )


def _distance(points: Tensor, others: Tensor) -> Tensor:
    """Mean distance of points [..., 2]."""
    return ((points - others).square().sum(-1) + _SMOOTH).sqrt().mean()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Gradients go through the network, and none comes to its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def _group_members(groups: NDArray[np.int64] | None) -> dict[int, NDArray[np.int64]] | None:
    """Rows of each group."""
    if groups is None:
        return None
    return {int(group): np.flatnonzero(groups == group) for group in np.unique(groups)}

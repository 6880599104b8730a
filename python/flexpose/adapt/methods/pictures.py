"""Training on pictures of poses (Eq. 5), once: methods differ in what is free and in what they add to the loss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import nn

from ...checkpoint import flat, flat_optimiser, load_module, load_optimiser, take
from ...config import STRICT
from ...pretrain.data import images_to_tensor
from ..features import FeatureName, Gamma, check_features, read_features
from .learner import Learner, Material, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ..vgg import Vgg16

__all__ = ["LrDecay", "PictureConfig", "PictureLearner"]

LrDecay = Literal["none", "cosine", "step"]

_ROWS_STREAM = 21  # that of `adapt`
_STEP_DECAY, _STEP_SHARE = 0.2, 0.3  # Noguchi & Harada: x 0.2 every 3000 of 10000 iterations


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PictureConfig(TrainConfig):
    """Settings of the methods that compare pictures with drawn poses."""

    pairing: Literal["random", "match"] = "match"
    pool: int = 1000  # codes among which "match" chooses, at least as many as there are poses
    features: tuple[FeatureName, ...] = ("beta", "pyramid", "keypoints")
    features_file: Path | None = None  # safetensors of VGG16, and of LPIPS' heads: for "vgg16" and "lpips"
    lr_decay: LrDecay = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("pool")
        check_features(self.features, self.features_file)

    def vgg(self) -> Vgg16 | None:
        """See `MethodConfig`."""
        return read_features(self.features, self.features_file)

    def rate(self, step: int) -> float:
        """What the learning rate is multiplied by in a step."""
        done = step / self.iterations
        if self.lr_decay == "cosine":
            return 0.5 + 0.5 * math.cos(math.pi * done)
        return _STEP_DECAY ** math.floor(done / _STEP_SHARE) if self.lr_decay == "step" else 1.0


class PictureLearner(Learner):
    """Draw the pictures of a batch of codes, compare, step.

    Attributes:
        codes: z [N, z_dim], one for each training pose.
        targets: [N, 3, S, S], the training poses drawn.
        model: what is free.
    """

    model: nn.Module

    def __init__(self, material: Material, config: Any) -> None:
        super().__init__(material, config)
        self.steps, self.checkpoint_steps = config.iterations, config.checkpoint_iterations
        poses = material.training_poses(config)
        self.codes = material.codes(poses, config, match=config.pairing == "match", pool=config.pool)
        self.targets = images_to_tensor(material.drawing.images(poses)).to(material.device)
        self.gamma = Gamma(config.features, material.beta, dtype=material.dtype, vgg=material.vgg)
        self.features = self.gamma.targets(self.targets, config.batch)
        self.prepare()
        groups = self.groups()
        self._shares = [group.pop("share", 1.0) for group in groups]
        self.optimiser = torch.optim.Adam(groups, lr=config.lr, betas=config.betas)

    def prepare(self) -> None:
        """Make `model` out of the source."""
        raise NotImplementedError

    def groups(self) -> list[dict[str, Any]]:
        """Groups of Adam; ``share`` is a group's part of the learning rate."""
        return [{"params": [p for p in self.model.parameters() if p.requires_grad]}]

    def draw(self, rows: Tensor, step: int) -> Tensor:
        """Pictures [batch, 3, S, S] of some training codes."""
        raise NotImplementedError

    def losses(self, images: Tensor, rows: Tensor, step: int) -> dict[str, Tensor]:
        """The weighted terms of the loss."""
        return {"picture": self.gamma.distance(images, [level[rows] for level in self.features])}

    def facts(self) -> dict[str, Any]:
        """See `Learner`."""
        free = sum(p.numel() for group in self.optimiser.param_groups for p in group["params"])
        return {"bank": len(self.codes), "free_numbers": free}

    def step(self, step: int) -> dict[str, float]:
        """See `Learner`."""
        rng = np.random.default_rng((self.config.seed, _ROWS_STREAM, step))
        rows = torch.from_numpy(rng.integers(0, len(self.codes), self.config.batch))
        terms = self.losses(self.draw(rows, step), rows, step)
        loss = torch.stack(list(terms.values())).sum()
        for group, share in zip(self.optimiser.param_groups, self._shares, strict=True):
            group["lr"] = self.config.lr * share * self.config.rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        parts = {f"loss_{name}": term.item() for name, term in terms.items()} if len(terms) > 1 else {}
        return {"loss": loss.item()} | parts

    def state(self) -> dict[str, Tensor]:
        """See `Learner`."""
        return flat("model", self.model.state_dict()) | flat_optimiser("adam", self.optimiser)

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        """See `Learner`."""
        load_module(self.model, take(tensors, "model"), path=path)
        load_optimiser(self.optimiser, take(tensors, "adam"))

"""Fine-tuning of the whole delta = A o f: the ablation of the paper's Table 4 that gives up linearity."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from ...config import STRICT
from .learner import mean_code
from .pictures import PictureConfig, PictureLearner

if TYPE_CHECKING:
    from torch import Tensor

    from ...models import Generator

__all__ = ["FULL_DELTA_PRESETS", "FullDeltaConfig", "FullDeltaLearner"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FullDeltaConfig(PictureConfig):
    """The mapping network and all affine layers are free; without mixed poses (`mixed = 0`) it is Table 4's row."""

    mapping_lr_multiplier: float = 0.01  # StyleGAN's

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("mapping_lr_multiplier", above=True)


FULL_DELTA_PRESETS: dict[str, dict[str, Any]] = {
    # The paper's numbers, with one learning rate for all.
    "aligned": {
        "pairing": "random",
        "features": ("beta", "pyramid"),
        "batch": 128,
        "lr": 0.1,
        "lr_decay": "none",
        "mapping_lr_multiplier": 1.0,
    },
    "tuned": {},
}


class FullDeltaLearner(PictureLearner):
    """A copy of the source whose mapping network and affine layers are free."""

    model: Generator

    def prepare(self) -> None:
        """See `PictureLearner`."""
        self.model = copy.deepcopy(self.material.generator)
        self.model.mapping.requires_grad_(True)
        self.model.affine.requires_grad_(True)

    def groups(self) -> list[dict[str, Any]]:
        """See `PictureLearner`."""
        share = self.config.mapping_lr_multiplier
        mapping = {"params": list(self.model.mapping.parameters()), "share": share}
        return [mapping, {"params": list(self.model.affine.parameters())}]

    def draw(self, rows: Tensor, step: int) -> Tensor:
        """See `PictureLearner`."""
        return self.model(self.codes[rows], dtype=self.material.dtype)  # type: ignore[no-any-return]

    def result(self) -> tuple[Generator, None]:
        """See `Learner`."""
        generator = copy.deepcopy(self.model).requires_grad_(False)
        mean_code(generator, self.config.seed)
        return generator, None

"""Settings of a layer scan: what is asked of which layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from ..adapt.features import FeatureName, check_features
from ..config import STRICT
from ..errors import ConfigError
from ..shards.augment import Augment

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AUGMENTATIONS", "AugmentName", "LayerScanConfig", "parse_layers"]

AugmentName = Literal["none", "global", "local", "scale"]

AUGMENTATIONS: dict[str, Callable[[tuple[str, ...]], Augment]] = {
    "none": lambda _: Augment(),
    "global": lambda _: Augment(rotation_deg=(-45.0, 45.0)),
    "local": lambda limbs: Augment(limb_rotation_deg=(135.0, 225.0), limbs=limbs),
    "scale": lambda _: Augment(scale=((0.7, 0.9), (1.1, 1.2))),
}
"""The paper's augmentations, made from the limbs of which one is turned.

Source: FlexPose, arXiv:2412.13463, Fig. 9 and 10.
"""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LayerScanConfig:
    """What is asked of which layers, and how tau is found.

    A layer set is tried by itself: tau is free in its layers and the identity in all others.
    """

    layers: str = "each;all"  # sets with ; between them: "3;1,3;all"; "each" is every layer alone
    augment: tuple[AugmentName, ...] = ("none", "global", "local", "scale")
    per: Literal["pose", "set"] = "pose"  # each pose gets an augmentation of its own, or all get the same
    codes: Literal["own", "matched"] = "own"
    # own: codes whose pictures show the poses as they are. matched: codes of the source assigned to the guide poses,
    # each to one of its own, so that pictures change least; what adaptation starts from.
    way: Literal["least-squares", "descent"] = "least-squares"
    poses: int = 256  # of the source's own, where no guide poses are given
    pool: int = 1000  # codes that are matched from, or that the way back to codes is fitted to
    limbs: tuple[str, ...] = (
        "left_knee",
        "right_knee",
    )  # "local" turns one of them, named by the first joint
    features: tuple[FeatureName, ...] = ("beta", "pyramid", "keypoints")  # Gamma: the loss
    features_file: Path | None = None  # safetensors of VGG16, and of LPIPS' heads: for "vgg16" and "lpips"
    iterations: int = 100  # of gradient descent
    batch: int = 64
    lr: float = 0.03
    seeds: int = 3
    seed: int = 0  # of the first repeat
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        for name in ("poses", "pool", "iterations", "batch", "lr", "seeds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.seed < 0:
            raise ConfigError(f"seed must be >= 0, got {self.seed}")
        for name in ("augment", "features", "limbs"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"{name} must be different names, at least one, got {values}")
        check_features(self.features, self.features_file)
        parse_layers(self.layers)

    def augmentation(self, name: AugmentName) -> Augment:
        """The augmentation of that name, with the limbs of these settings."""
        return AUGMENTATIONS[name](self.limbs)


def parse_layers(text: str, num_layers: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Read layer sets from text such as ``3;1,3;3,5;all``.

    Args:
        text: sets with ``;`` between them; ``each`` stands for every layer alone, ``all`` for the set of all.
        num_layers: L of the generator; without it ``each`` and ``all`` give nothing, and no layer is too high.

    Returns:
        The sets in the order of the text, each once, its layers in order.

    Raises:
        ConfigError: the text is not of this form, or the generator has no such layer.
    """
    every = tuple(range(1, (num_layers or 0) + 1))
    sets: list[tuple[int, ...]] = []
    for part in (part.strip() for part in text.split(";")):
        if part == "each":
            sets += [(layer,) for layer in every]
        elif part == "all":
            sets += [every] if every else []
        else:
            sets.append(_one_set(part, text, num_layers))
    return tuple(dict.fromkeys(sets))


def _one_set(part: str, text: str, num_layers: int | None) -> tuple[int, ...]:
    try:
        layers = [int(number) for number in part.split(",")]
    except ValueError:
        raise ConfigError(f'layers must be sets such as "3;1,3;all" or "each", got {text!r}') from None
    if len(set(layers)) != len(layers) or min(layers) < 1 or max(layers) > (num_layers or max(layers)):
        limit = f"from 1 to {num_layers}" if num_layers else "from 1"
        raise ConfigError(f"layers must be distinct numbers {limit} in each set, got {part!r}")
    return tuple(sorted(layers))

"""The ways of not learning as methods: what they are sampled with goes into a file, and nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from ...config import STRICT
from ...errors import UsageError
from ...models import PoseEncoder
from ...sample.draw import latents
from ..unlearned import UNLEARNED, UnlearnedSampler, save_unlearned
from ..views import all_views, likely_views, with_mirrored
from .learner import Learner, Material, MethodConfig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["BorrowConfig", "KdeConfig", "ResidualsConfig", "UnlearnedConfig", "UnlearnedLearner"]

_PRIOR = 3000  # poses of the source that tell what it knows from behind
_BEHIND = 0.3  # share of them, as the default of `adapt` has it
_SOURCE_STREAM = 24
_DRAWN = 1000  # pictures by which the codes are understood


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UnlearnedConfig(MethodConfig):
    """What works on the guide poses alone."""

    # Of the guide poses; "all": mirrored, and both from behind where the source has such poses; "likely": less of them
    # where the guide poses speak against it, as `adapt` takes them.
    views: Literal["given", "mirrored", "all", "likely"] = "given"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KdeConfig(UnlearnedConfig):
    """Guide poses with noise."""

    bandwidth: float = 0.03  # standard deviation, in half frame sides

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("bandwidth", above=True)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BorrowConfig(UnlearnedConfig):
    """What borrows from the source."""

    source_poses: int = 10_000  # that are drawn from the source generator

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("source_poses", above=True)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResidualsConfig(BorrowConfig):
    """Mixed guide poses with the source's variation around them."""

    neighbors: int = 300  # source poses around each guide pose
    strength: float = 0.7  # factor of their deviation

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("neighbors", above=True)


class UnlearnedLearner(Learner):
    """Nothing to learn: the sampler is whole when the guide poses are there."""

    def __init__(self, material: Material, config: Any, *, name: str) -> None:
        super().__init__(material, config)
        _, borrows, settings = UNLEARNED[name]
        source = None
        if borrows:
            poses = _source_poses(material, config.source_poses, config.seed)
            source = material.drawing.reframed(poses).astype(np.float32)
        chosen = {key: getattr(config, key) for key in settings}
        shots = _views(material, config, source)
        self.sampler = UnlearnedSampler(name, shots, source, chosen, material.drawing)

    def images(self, n: int, seed: int) -> NDArray[np.uint8]:
        """See `Learner`."""
        return self.sampler.draw(n, seed)[1]

    def publish(self, folder: Path, facts: dict[str, Any]) -> Path:
        """Write the sampler."""
        file = folder / "sampler.safetensors"
        save_unlearned(file, self.sampler, source_hash=str(self.material.header["hash"]), facts=facts)
        return file


def _views(
    material: Material, config: UnlearnedConfig, source: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The guide poses [S or more, K, 2] as the settings want them seen; `source` are its poses, if they are at hand."""
    shots, drawing = material.framed.normalized, material.drawing
    if config.views == "given":
        return shots
    if config.views == "mirrored":
        return with_mirrored(shots, drawing)
    prior = drawing.reframed(_source_poses(material, _PRIOR, config.seed)) if source is None else source
    views = all_views(shots, with_mirrored(prior, drawing), drawing)
    return (likely_views(views, _BEHIND) if config.views == "likely" else views).poses


def _source_poses(material: Material, count: int, seed: int) -> NDArray[np.floating]:
    """[count, K, 2] poses of the source generator: by its codes where they tell poses, else read in pictures."""
    z = latents(count, material.generator.config.z_dim, seed, stream=_SOURCE_STREAM)
    try:
        encoder = PoseEncoder.fit(material.generator, z[:_DRAWN], material.read(z[:_DRAWN]))
    except UsageError:
        return material.read(z)
    return encoder.decode(z)

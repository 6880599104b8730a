"""Samplers that learn nothing, on disk: guide poses, and poses of the source where one borrows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..checkpoint import content_hash, load_tensors, save_tensors
from ..drawing import Drawing
from ..errors import DataError, UsageError
from ..evaluate.baselines import (
    gaussian_on_shots,
    kernel_density,
    ot_affine,
    pose_mixup,
    source_residuals,
)
from ..pretrain.data import step_seed
from ..sample.draw import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["UNLEARNED", "UnlearnedSampler", "read_unlearned", "save_unlearned"]

# Name: the sampler, whether it borrows from the source, its settings.
UNLEARNED: dict[str, tuple[Callable[..., NDArray[np.float64]], bool, frozenset[str]]] = {
    "mixup": (pose_mixup, False, frozenset()),
    "gaussian": (gaussian_on_shots, False, frozenset()),
    "kde": (kernel_density, False, frozenset({"bandwidth"})),
    "ot-affine": (ot_affine, True, frozenset()),
    "residuals": (source_residuals, True, frozenset({"neighbors", "strength"})),
}
"""The ways of `flexpose.evaluate.baselines` that a run folder can hold."""

_STREAM = 40


@dataclass(frozen=True, eq=False)
class UnlearnedSampler:
    """Draws poses as `flexpose.sample.loop.Sampler` does, without a network.

    Attributes:
        name: of `UNLEARNED`.
        shots: [S, K, 2] guide poses in frame coordinates.
        source: [N, K, 2] poses of the source, or None.
        settings: keyword arguments of the sampler.
        drawing: how poses are drawn for a grid.
        hashes: content hash of what it was read from.
    """

    name: str
    shots: NDArray[np.float32]
    source: NDArray[np.float32] | None
    settings: Mapping[str, float]
    drawing: Drawing
    hashes: dict[str, str] = field(default_factory=dict)
    limits: None = None  # as `flexpose.sample.Sampler` has it, and what follows
    variety: dict[str, float] = field(default_factory=dict)

    def draw(
        self, n: int, seed: int, *, begin: int = 0, truncation: float = 1.0, dtype: Any = None
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Samples `begin` to `begin + n`: poses [n, K, 2] in frame coordinates, and their drawings.

        `begin` must be a multiple of 64; `dtype` means nothing here.

        Raises:
            UsageError: another truncation than 1: there is no latent code to truncate.
        """
        if truncation != 1:
            raise UsageError(
                f"truncation must be 1 for {self.name}, which has no latent codes, got {truncation}"
            )
        sampler = UNLEARNED[self.name][0]
        blocks = [
            sampler(self.shots, self.source, BLOCK, step_seed(seed, _STREAM, block), **self.settings)
            for block in range(begin // BLOCK, -(-(begin + n) // BLOCK))
        ]
        poses = np.concatenate(blocks)[:n].astype(np.float32)
        return poses, self.drawing.images(poses)

    def residual(self, poses: NDArray[np.float32], images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[n] zeros: the pictures are drawn from the poses."""
        return np.zeros(len(poses))


def save_unlearned(
    path: str | PathLike[str], sampler: UnlearnedSampler, *, source_hash: str, facts: dict[str, Any]
) -> None:
    """Publish a sampler with the hash of the source that it was made beside."""
    arrays = {"shots": sampler.shots} | ({} if sampler.source is None else {"source": sampler.source})
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    header = {
        "kind": "sampler",
        "sampler": sampler.name,
        "settings": dict(sampler.settings),
        "drawing": sampler.drawing.header(),
        "source_hash": source_hash,
        "hash": content_hash(tensors),
        "facts": facts,
    }
    save_tensors(path, tensors, header)


def read_unlearned(path: str | PathLike[str]) -> UnlearnedSampler:
    """Read a sampler file.

    Raises:
        UsageError: there is no such file.
        DataError: it is no sampler of flexpose, or its content is not what its header says.
    """
    file = Path(path)
    tensors, header = load_tensors(file, "sampler")
    drawing = Drawing.from_header(header.get("drawing", {}), path=file)
    name, settings = header.get("sampler"), header.get("settings")
    if name not in UNLEARNED:
        raise DataError(f"expected one of {', '.join(UNLEARNED)}, got {name!r}", path=file, field="sampler")
    _, borrows, known = UNLEARNED[name]
    if not (
        isinstance(settings, dict)
        and settings.keys() == known
        and all(type(value) in {int, float} and math.isfinite(value) for value in settings.values())
    ):
        raise DataError(
            f"expected numbers for {sorted(known)}, got {settings!r}", path=file, field="settings"
        )
    wanted = {"shots", "source"} if borrows else {"shots"}
    if tensors.keys() != wanted:
        raise DataError(f"expected the tensors {sorted(wanted)}, got {sorted(tensors)}", path=file)
    for key, tensor in tensors.items():
        if (
            tensor.dtype != torch.float32
            or tensor.ndim != 3
            or tensor.shape[1:]
            != (
                drawing.skeleton.num_keypoints,
                2,
            )
        ):
            raise DataError(
                f"expected float32 [N, {drawing.skeleton.num_keypoints}, 2], got {tensor.dtype} {list(tensor.shape)}",
                path=file,
                field=key,
            )
    if content_hash(tensors) != header.get("hash"):
        raise DataError("the poses are not those whose hash the header holds", path=file, field="hash")
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    return UnlearnedSampler(
        name, arrays["shots"], arrays.get("source"), settings, drawing, {"sampler": str(header["hash"])}
    )

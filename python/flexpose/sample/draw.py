"""Latent codes, pictures and keypoints in blocks of fixed size, so that sample i never depends on a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import DataError
from ..ops.graphs import Repeated
from ..pretrain.data import images_to_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..models import Generator, Regressor, Transfer

__all__ = ["BLOCK", "BlockSampler", "draw_images", "latents", "map_codes", "read_keypoints"]

_NO_NUMBERS = "expected pictures of finite numbers from the generator, got NaN or infinity"

BLOCK = 64
"""Samples that are computed together: a kernel may round differently for another batch size."""


def latents(n: int, z_dim: int, seed: int, *, begin: int = 0, stream: int = 0) -> Tensor:
    """Z [n, z_dim] standard normal; row i is a function of (seed, stream, begin + i) alone."""
    first, last = begin // BLOCK, -(-(begin + n) // BLOCK)
    blocks = [
        np.random.default_rng((seed, stream, block)).standard_normal((BLOCK, z_dim), np.float32)
        for block in range(first, last)
    ]
    rows = np.concatenate(blocks) if blocks else np.empty((0, z_dim), np.float32)
    offset = begin - first * BLOCK
    return torch.from_numpy(rows[offset : offset + n].copy())


def _blocks(x: Tensor) -> list[Tensor]:
    """Blocks of exactly `BLOCK` rows; the last is filled up with its first row."""
    parts = [x[begin : begin + BLOCK] for begin in range(0, len(x), BLOCK)]
    if parts and len(parts[-1]) < BLOCK:
        short = parts[-1]
        parts[-1] = torch.cat([short, short[:1].expand(BLOCK - len(short), *short.shape[1:])])
    return parts


@torch.inference_mode()
def map_codes(generator: Generator, z: Tensor, *, truncation: float = 1.0) -> Tensor:
    """F of z [N, z_dim]: w [N, w_dim], where the generator is."""
    device = generator.device
    parts = [generator.map(block.to(device), truncation=truncation) for block in _blocks(z)]
    return torch.cat(parts)[: len(z)] if parts else torch.empty(0, generator.config.w_dim, device=device)


def _grey_levels(images: Tensor) -> Tensor:
    """uint8 pictures of those in [-1, 1]."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).contiguous()


@torch.inference_mode()
def draw_images(
    generator: Generator,
    codes: Tensor,
    *,
    transfer: Transfer | None = None,
    dtype: torch.dtype = torch.float32,
) -> NDArray[np.uint8]:
    """Phi(tau(A(w))) of codes w [N, w_dim]: uint8 [N, 3, S, S].

    Raises:
        DataError: a picture holds no numbers, which grey levels would hide.
    """
    parts = []
    for block in _blocks(codes):
        styles = generator.styles(block)
        images = generator.synthesize(styles if transfer is None else transfer(styles), dtype=dtype)
        if not bool(torch.isfinite(images).all()):
            raise DataError(_NO_NUMBERS)
        parts.append(_grey_levels(images).cpu().numpy())
    size = generator.config.size_px
    return np.concatenate(parts)[: len(codes)] if parts else np.empty((0, 3, size, size), np.uint8)


@torch.inference_mode()
def read_keypoints(
    beta: Regressor, images: NDArray[np.uint8], *, dtype: torch.dtype = torch.float32
) -> NDArray[np.float32]:
    """Read uint8 images [N, 3, S, S]: [N, K, 2] float32 in frame coordinates."""
    device = next(beta.parameters()).device
    parts = [
        beta(images_to_tensor(block.numpy()).to(device), dtype=dtype).normalized.cpu().numpy()
        for block in _blocks(torch.from_numpy(images))
    ]
    return (
        np.concatenate(parts)[: len(images)]
        if parts
        else np.empty((0, beta.config.num_keypoints, 2), np.float32)
    )


class BlockSampler:
    """beta(Phi(tau(A(F(z))))) in blocks: what `map_codes`, `draw_images` and `read_keypoints` do one after the other.

    Pictures stay where the networks are between drawing and reading; on a card a block is one CUDA graph.

    Args:
        generator: G.
        beta: on the device of `generator`, like `transfer`.
        transfer: tau, or None for the source.
        truncation: psi.
        dtype: type of the convolutions.
    """

    def __init__(
        self,
        generator: Generator,
        beta: Regressor,
        transfer: Transfer | None,
        *,
        truncation: float,
        dtype: torch.dtype,
    ) -> None:
        self._generator, self._beta, self._transfer = generator, beta, transfer
        self._truncation, self._dtype = truncation, dtype
        self._block = Repeated(self._drawn)

    def _drawn(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(poses, pictures, whether all pictures are numbers) of a block."""
        styles = self._generator.styles(self._generator.map(z, truncation=self._truncation))
        images = self._generator.synthesize(
            styles if self._transfer is None else self._transfer(styles), dtype=self._dtype
        )
        grey = _grey_levels(images)
        read = self._beta(grey.float() / 127.5 - 1, dtype=self._dtype).normalized
        return read, grey, torch.isfinite(images).all()

    @torch.inference_mode()
    def __call__(self, z: Tensor) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Poses [N, K, 2] in frame coordinates and pictures uint8 [N, 3, S, S] of z [N, z_dim], N >= 1.

        Raises:
            DataError: a picture holds no numbers, which grey levels would hide.
        """
        poses, images = [], []
        for block in _blocks(z):
            read, grey, finite = self._block(block.to(self._generator.device))
            if not bool(finite):
                raise DataError(_NO_NUMBERS)
            poses.append(read.cpu().numpy())
            images.append(grey.cpu().numpy())
        return np.concatenate(poses)[: len(z)], np.concatenate(images)[: len(z)]

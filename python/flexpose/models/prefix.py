"""What enters the first free layer, computed once for a fixed bank of latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from .synthesis import SynthesisNetwork

__all__ = ["Prefix"]

_BLOCK = 32


class Prefix:
    """The activations and pictures that enter style layer `layer`, for every row of a bank of styles.

    They depend on no style of that layer or a later one, so a transfer that is free from `layer` on never changes them:
    a training loop over a fixed bank needs them once. A bank that would take more than `limit` bytes is not kept, and
    its rows are computed when they are asked for.

    Args:
        synthesis: the frozen network.
        styles: the list of `Generator.styles` for the whole bank, [M, I_l] each.
        layer: number of the first free layer, from 1.
        dtype: type of the activations.
        limit: bytes that may be kept.

    Example:
        >>> prefix = Prefix(generator.synthesis, bank, layer=9)  # doctest: +SKIP
        >>> images = generator.synthesis(transfer([s[rows] for s in bank]), start=prefix.rows(rows))  # doctest: +SKIP
    """

    def __init__(
        self,
        synthesis: SynthesisNetwork,
        styles: Sequence[Tensor],
        layer: int,
        *,
        dtype: torch.dtype = torch.float32,
        limit: int = 1 << 30,
    ) -> None:
        self._synthesis, self._styles = synthesis, list(styles)
        self.layer, self.dtype = layer, dtype
        self.bytes = len(styles[0]) * self._bytes_of_one()
        self._kept: tuple[Tensor, Tensor | None] | None = None
        if self.bytes <= limit:
            blocks = [self._compute(slice(at, at + _BLOCK)) for at in range(0, len(styles[0]), _BLOCK)]
            x = torch.cat([block[0] for block in blocks])
            images = [image for _, image in blocks if image is not None]
            self._kept = x, torch.cat(images) if images else None

    @property
    def kept(self) -> bool:
        """Whether the bank fitted the limit."""
        return self._kept is not None

    def _bytes_of_one(self) -> int:
        before = self._synthesis.layer_resolutions[self.layer - 2] if self.layer > 1 else 4
        pixels = before * before
        return pixels * (self._synthesis.style_dims[self.layer - 1] * self.dtype.itemsize + 3 * 4)

    def _compute(self, rows: slice | Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad():
            some = [style[rows] for style in self._styles]
            return self._synthesis.features_before(some, self.layer, dtype=self.dtype)

    def rows(self, rows: Tensor) -> tuple[int, Tensor, Tensor | None]:
        """``start`` of `SynthesisNetwork.forward` for some rows of the bank."""
        if self._kept is None:
            return self.layer, *self._compute(rows)
        x, image = self._kept
        return self.layer, x[rows], None if image is None else image[rows]

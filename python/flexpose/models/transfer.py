"""tau: a linear, block-diagonal, sparse change of the style codes; the only thing that adaptation trains."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .generator import Generator

__all__ = ["Transfer", "TransferForm"]

TransferForm = Literal["equalized", "raw"]


class Transfer(nn.Module):
    """tau = diag(I, ..., U_l, ..., I) on the styles of L layers.

    A free block is U = I + V / sqrt(d) ("equalized", StyleGAN's equalised learning rate) or U = I + V ("raw"), with
    V = 0 at birth. It acts on the whole output of A_l, bias included, and has no bias of its own.

    Args:
        style_dims: widths of all styles in the order of `Generator.styles`.
        layers: the free layers, numbered from 1, coarse to fine.
        num_layers: L; colour layers cannot be free.
        form: see above.

    Raises:
        UsageError: a layer is not in 1..L, named twice, or none is named.

    Source: FlexPose, arXiv:2412.13463, Eq. 4 to 6.
    """

    def __init__(
        self,
        style_dims: Sequence[int],
        layers: Sequence[int],
        *,
        num_layers: int,
        form: TransferForm = "equalized",
    ) -> None:
        super().__init__()
        if (
            not layers
            or len(set(layers)) != len(layers)
            or not all(1 <= layer <= num_layers for layer in layers)
        ):
            raise UsageError(f"layers must be distinct numbers from 1 to {num_layers}, got {list(layers)}")
        if form not in {"equalized", "raw"}:
            raise UsageError(f"form must be 'equalized' or 'raw', got {form!r}")
        self.layers = tuple(sorted(layers))
        self.num_layers, self.form = num_layers, form
        self.style_dims = tuple(style_dims)
        self.blocks = nn.ParameterDict(
            {
                str(layer): nn.Parameter(torch.zeros(style_dims[layer - 1], style_dims[layer - 1]))
                for layer in self.layers
            }
        )

    @classmethod
    def for_generator(
        cls, generator: Generator, layers: Sequence[int], *, form: TransferForm = "equalized"
    ) -> Transfer:
        """The identity transfer of a generator, where the generator is."""
        dims = generator.synthesis.style_dims
        return cls(dims, layers, num_layers=generator.num_layers, form=form).to(generator.device)

    def scale(self, layer: int) -> float:
        """What the stored block of a layer is multiplied by: 1 / sqrt(d) if equalised, else 1."""
        return 1 / math.sqrt(self.style_dims[layer - 1]) if self.form == "equalized" else 1.0

    def matrix(self, layer: int) -> Tensor:
        """U_l [d, d]; the identity for a layer that is not free."""
        size = self.style_dims[layer - 1]
        if layer not in self.layers:
            return torch.eye(size)
        block = self.blocks[str(layer)]
        identity = torch.eye(size, dtype=block.dtype, device=block.device)
        matrix: Tensor = identity + block * self.scale(layer)
        return matrix

    def forward(self, styles: Sequence[Tensor]) -> list[Tensor]:
        """Apply tau to the list of `Generator.styles`; at birth the result is bit-equal to the input."""
        changed = list(styles)
        for layer in self.layers:
            s = changed[layer - 1]
            # s + s V', not s (I + V)': adding zero keeps every bit.
            changed[layer - 1] = s + (s @ self.blocks[str(layer)].T) * self.scale(layer)
        return changed

    @torch.no_grad()
    def scaled(self, strength: float) -> Transfer:
        """U_a = I + a (U - I): 0 is the source, 1 the target, above 1 beyond it."""
        result = copy.deepcopy(self)
        for block in result.blocks.values():
            block.mul_(strength)
        return result

    @torch.no_grad()
    def interpolated(self, other: Transfer, amount: float) -> Transfer:
        """(1 - amount) of this and `amount` of another transfer of the same source.

        Raises:
            UsageError: the other has other layer widths.
        """
        if other.style_dims != self.style_dims:
            raise UsageError(f"other must have style widths {self.style_dims}, got {other.style_dims}")
        layers = sorted({*self.layers, *other.layers})
        result = Transfer(self.style_dims, layers, num_layers=self.num_layers, form=self.form)
        for layer in layers:
            size = self.style_dims[layer - 1]
            mine = self.matrix(layer) - torch.eye(size)
            theirs = other.matrix(layer) - torch.eye(size)
            result.blocks[str(layer)].copy_(torch.lerp(mine, theirs, amount) / result.scale(layer))
        return result

    @torch.no_grad()
    def folded(self, generator: Generator) -> Generator:
        """A copy of the generator with A_l' = U_l A_l: the adapted generator, at the source's cost.

        Raises:
            UsageError: the generator has other style widths.
        """
        if tuple(generator.synthesis.style_dims) != self.style_dims:
            raise UsageError(
                f"generator must have style widths {self.style_dims}, got {tuple(generator.synthesis.style_dims)}"
            )
        result = copy.deepcopy(generator)
        for layer in self.layers:
            matrix = self.matrix(layer).double()
            affine = result.affine[layer - 1]
            affine.weight.copy_((matrix @ affine.weight.double()).float())  # type: ignore[operator]
            affine.bias.copy_((matrix @ affine.bias.double()).float())  # type: ignore[operator]
        return result

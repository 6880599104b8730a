"""tau in closed form: the linear map of the styles that draws the training poses from matched codes.

The source generator can be run backwards to the codes of any poses (`PoseEncoder`). Styles of these codes are what
tau has to give, styles of codes matched to the poses are what it gets, and each block is a linear regression. What a
linear map leaves undone shows in the poses that the adapted generator then draws: their mean and covariance are
compared with those of the training poses, and the difference is added to what the regression is asked for, by ever
smaller parts, and each time of other samples: what is due to the sample then averages out. This is
ours, not the paper's; the paper trains tau by gradient descent (`flexpose.adapt.loop`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import DataError
from ..metrics import affine_transport, frechet_distance
from ..models import PoseEncoder, Transfer
from ..sample.draw import draw_images, latents, map_codes, read_keypoints
from .pairing import match_poses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from ..models import Generator, Regressor, TransferForm

__all__ = ["LeastSquares", "solve_transfer"]

_RIDGE = 1e-6  # of the mean square of a style; towards the identity
_DRAWN = 1000  # poses drawn to fit the encoder, and again in each round
_CORRECTION = 0.6  # of what a round finds missing: the full step trades precision for recall
_TOO_FAR = 2.0  # times the least distance before: a round goes back
_WORSE = 1.4  # times the least distance: more than samples differ by, so that the last round does not count
_POOL_STREAM = 20
_CHECK_STREAM = 22
_PRIOR_STREAM = 24


@torch.no_grad()
def solve_transfer(
    generator: Generator,
    codes: Tensor,
    wanted: Tensor,
    layers: Sequence[int],
    *,
    form: TransferForm = "equalized",
) -> Transfer:
    """The tau that takes the styles of `codes` nearest to those of `wanted`, block by block.

    Args:
        generator: G.
        codes: [N, w_dim].
        wanted: [N, w_dim], row by row what tau should turn the styles of `codes` into.
        layers: the free layers, numbered from 1.
        form: how tau is stored.

    Raises:
        UsageError: a layer that the generator does not have.
        DataError: the equations have no finite solution.
    """
    transfer = Transfer.for_generator(generator, layers, form=form)
    given, asked = generator.styles(codes), generator.styles(wanted)
    for layer in transfer.layers:
        s, missing = given[layer - 1].double(), (asked[layer - 1] - given[layer - 1]).double()
        gram = s.T @ s
        ridge = _RIDGE * gram.diagonal().mean()
        gram.diagonal().add_(ridge)
        change = torch.linalg.solve(gram, s.T @ missing).T
        if not bool(torch.isfinite(change).all()):
            raise DataError(f"the least squares of layer {layer} have no finite solution")
        transfer.blocks[str(layer)].copy_(change / transfer.scale(layer))
    return transfer


class LeastSquares:
    """Codes, poses and the way between them, for one source generator.

    Args:
        generator: G, trained by lessons.
        beta: reads the poses that G draws.
        count: codes to match poses with.
        seed: of the codes.
        dtype: type of the convolutions.

    Attributes:
        codes: [count, w_dim].
        poses: [count, K, 2] float64, what G means to draw for them: samples of the source.

    Raises:
        UsageError: the generator's codes tell no poses.
    """

    def __init__(self, generator: Generator, beta: Regressor, count: int, seed: int, dtype: Any) -> None:
        self.generator, self.beta, self.seed, self.dtype = generator, beta, seed, dtype
        z = latents(max(count, _DRAWN), generator.config.z_dim, seed, stream=_POOL_STREAM)
        codes = map_codes(generator, z).clone()
        self.encoder = PoseEncoder.fit(generator, z[:_DRAWN], self._read(codes[:_DRAWN], None))
        self.codes, self.poses = codes[:count], self.encoder.decode(z[:count])

    def sample_source(self, count: int) -> NDArray[np.float64]:
        """Other poses [count, K, 2] that G means to draw; none of them is drawn."""
        z = latents(count, self.generator.config.z_dim, self.seed, stream=_PRIOR_STREAM)
        return self.encoder.decode(z)

    def _read(self, codes: Tensor, transfer: Transfer | None) -> NDArray[np.float32]:
        images = draw_images(self.generator, codes, transfer=transfer, dtype=self.dtype)
        return read_keypoints(self.beta, images, dtype=self.dtype)

    def fit(
        self,
        poses: NDArray[np.floating],
        layers: Sequence[int],
        *,
        form: TransferForm,
        rounds: int,
        framed: Callable[[NDArray[np.floating]], NDArray[np.floating]],
        report: Callable[[float], None],
    ) -> tuple[Transfer, Tensor]:
        """Solve, draw, compare and solve again.

        Args:
            poses: [count, K, 2], what the adapted generator shall draw.
            layers: the free layers, numbered from 1.
            form: how tau is stored.
            rounds: how often what is asked for is corrected by the drawn poses' mean and covariance.
            framed: puts drawn poses into the frames that they would have as data.
            report: told the Frechet distance between drawn poses and `poses`, before the first round and after each.

        Returns:
            tau, of the last round unless one before was clearly better, and the code [count, w_dim] that answers
            for each pose.

        Raises:
            DataError: no finite solution, or pictures without numbers.
        """
        codes = self.codes[torch.from_numpy(match_poses(poses, self.poses))]
        asked = np.asarray(poses, np.float64)
        best = last = tried = self._solved(codes, asked, layers, form)
        least = reached = np.inf
        base, caution = asked, 1.0
        z = latents((rounds + 1) * _DRAWN, self.generator.config.z_dim, self.seed, stream=_CHECK_STREAM)
        for number in range(rounds + 1 if rounds else 0):
            others = map_codes(self.generator, z[number * _DRAWN : (number + 1) * _DRAWN]).clone()
            drawn = framed(self._read(others, tried))
            distance = frechet_distance(drawn, poses)
            report(distance)
            if distance < least:
                best, least = tried, distance
            if number == 0 or distance <= _TOO_FAR * least:
                last, reached, base = tried, distance, asked
                towards = affine_transport(drawn, poses, noise=self.encoder.noise)(asked)
            else:  # what is asked for is beyond what the generator can draw
                caution /= 2
            if number < rounds:
                step = caution * _CORRECTION * min(1.0, 2 / (number + 1))
                asked = base + step * (towards - base)
                tried = self._solved(codes, asked, layers, form)
        return last if reached <= _WORSE * least else best, codes

    def _solved(
        self, codes: Tensor, asked: NDArray[np.float64], layers: Sequence[int], form: TransferForm
    ) -> Transfer:
        return solve_transfer(self.generator, codes, self.encoder.encode(asked), layers, form=form)

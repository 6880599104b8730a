"""tau in closed form: the linear map of the styles that draws the training poses from matched codes.

The source generator can be run backwards to the codes of any poses (`PoseEncoder`). Styles of these codes are what
tau has to give, styles of codes matched to the poses are what it gets, and each block is a linear regression. What a
linear map leaves undone shows in the poses that the adapted generator then draws: their mean and covariance are
compared with those of the training poses, and the difference is added to what the regression is asked for, by ever
smaller parts, and each time of other samples: what is due to the sample then averages out. This is
ours, not the paper's; the paper trains tau by gradient descent (`flexpose.adapt.loop`).
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class _Work:
    """The arguments of `LeastSquares.fit`."""

    poses: NDArray[np.floating]
    layers: Sequence[int]
    form: TransferForm
    rounds: int
    framed: Callable[[NDArray[np.floating]], NDArray[np.floating]]
    report: Callable[[float], None]


class LeastSquares:
    """Codes, poses and the way between them, for one source generator.

    Args:
        generator: G, trained by lessons.
        beta: reads the poses that G draws.
        count: codes to match poses with, the most that are needed.
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
            poses: [N, K, 2], what the adapted generator shall draw; at most `count`.
            layers: the free layers, numbered from 1.
            form: how tau is stored.
            rounds: how often what is asked for is corrected by the drawn poses' mean and covariance.
            framed: puts drawn poses into the frames that they would have as data.
            report: told the Frechet distance between drawn poses and `poses`, before the first round and after each;
                where no round helps, as often again for a second way.

        Returns:
            tau, of the last round unless one before was clearly better, and the code [N, w_dim] that answers for each
            pose.

        Raises:
            DataError: no finite solution, or pictures without numbers.
        """
        codes = self.codes[torch.from_numpy(match_poses(poses, self.poses[: len(poses)]))]
        work = _Work(poses, layers, form, rounds, framed, report)
        wanted = np.asarray(poses, np.float64)
        helped, found, distance = self._corrected(codes, wanted, wanted, work)
        if helped:
            return found, codes
        # Poses of many joints match badly, and parts of them no code draws: after both the rounds run away. A map of
        # the source's moments needs no matches, and what can be drawn can be reached.
        wanted = self.encoder.reachable(poses)
        asked = affine_transport(self.poses, wanted, noise=self.encoder.noise)(self.poses)
        _, other, nearer = self._corrected(self.codes, asked, wanted, work)
        return other if nearer < distance else found, codes

    def _corrected(
        self, codes: Tensor, asked: NDArray[np.float64], wanted: NDArray[np.float64], work: _Work
    ) -> tuple[bool, Transfer, float]:
        """Solve for `asked` [N, K, 2], row by row of `codes`, and correct it towards the moments of `wanted`.

        Returns:
            Whether the rounds ended well or any came nearer than the first solution, tau, and how far it draws from
            the poses.
        """
        best = last = tried = self._solved(codes, asked, work)
        first = least = reached = np.inf
        base, caution = asked, 1.0
        count = (work.rounds + 1) * _DRAWN
        z = latents(count, self.generator.config.z_dim, self.seed, stream=_CHECK_STREAM)
        for number in range(work.rounds + 1 if work.rounds else 0):
            others = map_codes(self.generator, z[number * _DRAWN : (number + 1) * _DRAWN]).clone()
            drawn = work.framed(self._read(others, tried))
            distance = frechet_distance(drawn, work.poses)
            work.report(distance)
            if number == 0:
                first = distance
            if distance < least:
                best, least = tried, distance
            if number == 0 or distance <= _TOO_FAR * least:
                last, reached, base = tried, distance, asked
                towards = affine_transport(drawn, wanted, noise=self.encoder.noise)(asked)
            else:  # what is asked for is beyond what the generator can draw
                caution /= 2
            if number < work.rounds:
                step = caution * _CORRECTION * min(1.0, 2 / (number + 1))
                asked = base + step * (towards - base)
                tried = self._solved(codes, asked, work)
        if reached <= _WORSE * least:
            return True, last, reached
        return least < first, best, least

    def _solved(self, codes: Tensor, asked: NDArray[np.float64], work: _Work) -> Transfer:
        return solve_transfer(self.generator, codes, self.encoder.encode(asked), work.layers, form=work.form)

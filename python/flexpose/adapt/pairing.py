"""Which latent code answers for which pose of the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pairing", "centred", "match_poses"]

_PART = 1000

Pairing = Literal["random", "match", "match-mix"]
"""random: a fixed random code for every pose, mixed ones too (the paper's words). match: every pose gets a code of its
own, assigned so that the source's pictures have to change least. match-mix: only the guide poses are matched; the code
of a mixed pose is the same mix of their codes in w."""


def centred(poses: NDArray[np.floating]) -> NDArray[np.float64]:
    """[N, K * 2] coordinates about each pose's own mean."""
    flat = np.asarray(poses, np.float64)
    return np.asarray((flat - flat.mean(1, keepdims=True)).reshape(len(flat), -1), np.float64)


def match_poses(targets: NDArray[np.floating], candidates: NDArray[np.floating]) -> NDArray[np.int64]:
    """Assign each target [T, K, 2] a candidate of its own among [C, K, 2], C >= T.

    The sum of squared distances of the centred poses is the least possible. Of more than 1,000 targets every m-th
    is matched within every m-th candidate, for m parts of at most 1,000: the time grows with the cube of a part,
    and the sum is some 2% larger.

    Returns:
        [T] indices of the candidates, all different.

    Source: Kuhn's assignment problem, by `scipy.optimize.linear_sum_assignment`.
    """
    a, b = centred(targets), centred(candidates)
    chosen = np.empty(len(a), np.int64)
    parts = -(-len(a) // _PART)
    for part in range(parts):
        some, among = a[part::parts], b[part::parts]
        cost = (some**2).sum(1)[:, None] + (among**2).sum(1)[None] - 2 * some @ among.T
        chosen[part::parts] = linear_sum_assignment(cost)[1] * parts + part
    return chosen

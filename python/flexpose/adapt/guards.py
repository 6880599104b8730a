"""What is wrong with guide poses as often as not, told before anything is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..metrics import nearest_shot_distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["shot_warnings"]

_FEW = 8
_DUPLICATE = 0.015  # root mean square over the joints, in half frame sides: half a pixel of 64
_FAR = 2.0  # times the source's own distance of neighbours; real targets are at 0.8 to 1.6
_COMPARED = 1000  # poses of the source


def shot_warnings(shots: NDArray[np.floating], source: NDArray[np.floating]) -> list[str]:
    """Look for too few guide poses, near-duplicates, and another framing.

    Args:
        shots: [S, K, 2] in frame coordinates.
        source: [N, K, 2] poses of the source, in the same coordinates.

    Returns:
        Sentences that say what was found and what to do; none if all is well.
    """
    told = []
    if len(shots) < _FEW:
        told.append(
            f"{len(shots)} guide poses are few: 12 to 30, of different actions, tell a domain much better"
        )
    pairs = [
        (first, second)
        for second in range(1, len(shots))
        for first in np.flatnonzero(
            nearest_shot_distances(shots[:second], shots[second : second + 1]) < _DUPLICATE
        )
    ]
    if pairs:
        first, second = pairs[0]
        told.append(
            f"{len(pairs)} pairs of guide poses are nearly the same (first: {first} and {second}): neighbouring "
            "frames of a video count as one; take others"
        )
    known = np.asarray(source[:_COMPARED], np.float64)
    half = len(known) // 2
    usual = float(np.median(nearest_shot_distances(known[:half], known[half:])))
    distance = nearest_shot_distances(shots, known)
    if np.median(distance) > _FAR * usual:
        told.append(
            f"the guide poses lie {np.median(distance) / usual:.1f} times as far from the source's poses as these "
            "from each other: is it another framing (half a body, another box), joint order or axis (y points down)?"
        )
    return told

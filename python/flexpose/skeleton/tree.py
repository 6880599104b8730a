"""A spanning tree of a skeleton's bones: where to start, and from which joint each other one hangs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexpose.skeleton.schema import Skeleton

__all__ = ["KinematicTree", "kinematic_tree"]


@dataclass(frozen=True)
class KinematicTree:
    """A tree over all keypoints.

    Attributes:
        root: the keypoint that hangs from nothing.
        edges: K - 1 pairs (parent, child); each parent is the root or the child of an earlier pair.
    """

    root: int
    edges: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def kinematic_tree(skeleton: Skeleton) -> KinematicTree:
    """Walk the bones from the skeleton's first root joint, nearest first and in bone order.

    Bones that would close a loop (the sides of a torso) are left out. A part that no bone joins to the root,
    such as an eye of a face, hangs from the root by its first keypoint.

    Args:
        skeleton: any skeleton.

    Returns:
        The tree.
    """
    beside: list[list[int]] = [[] for _ in skeleton.names]
    for a, b in skeleton.bones:
        beside[a].append(b)
        beside[b].append(a)
    root = skeleton.root[0]
    seen, edges = {root}, []
    starts = iter(range(skeleton.num_keypoints))
    queue = deque([root])
    while True:
        while queue:
            joint = queue.popleft()
            for other in beside[joint]:
                if other not in seen:
                    seen.add(other)
                    edges.append((joint, other))
                    queue.append(other)
        loose = next((joint for joint in starts if joint not in seen), None)
        if loose is None:
            return KinematicTree(root, tuple(edges))
        seen.add(loose)
        edges.append((root, loose))
        queue.append(loose)

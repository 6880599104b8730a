"""Spanning trees of the skeletons."""

from __future__ import annotations

import pytest

from flexpose.skeleton import Skeleton, kinematic_tree, list_skeletons, load_skeleton


@pytest.mark.parametrize("name", list_skeletons())
def test_every_joint_hangs_once_and_below_its_parent(name):
    skeleton = load_skeleton(name)
    tree = kinematic_tree(skeleton)
    assert tree.root == skeleton.root[0]
    assert len(tree.edges) == skeleton.num_keypoints - 1
    seen = {tree.root}
    for parent, child in tree.edges:
        assert parent in seen
        assert child not in seen
        seen.add(child)


def test_body13_leaves_the_loops_open():
    skeleton = load_skeleton("body13")
    tree = kinematic_tree(skeleton)
    edges = {frozenset(e) for e in tree.edges}
    bones = {frozenset(b) for b in skeleton.bones}
    assert edges <= bones
    left_out = {tuple(sorted(skeleton.names[i] for i in b)) for b in bones - edges}
    assert left_out == {("nose", "right_shoulder"), ("right_hip", "right_shoulder")}


def test_loose_parts_hang_from_the_root():
    tree = kinematic_tree(Skeleton("two", list("abcd"), [(3, 2), (0, 1)], root=[1]))
    assert tree.edges == ((1, 0), (1, 2), (2, 3))

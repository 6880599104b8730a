"""Warnings about guide poses: each comes where it should, and none where all is well."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.adapt.guards import shot_warnings
from flexpose.poses import source_domain, synth_poses
from flexpose.poses.framing import normalized_poses


@pytest.fixture(scope="module")
def source():
    return normalized_poses(synth_poses(900, seed=1, domain=source_domain()))


@pytest.fixture(scope="module")
def shots():
    return normalized_poses(synth_poses(16, seed=9, domain=source_domain()))


def test_nothing_to_say(shots, source):
    assert shot_warnings(shots, source) == []


def test_few(shots, source):
    (told,) = shot_warnings(shots[:5], source)
    assert "5 guide poses are few" in told


def test_near_duplicates(shots, source):
    twice = np.concatenate([shots, shots[[3]] + 0.004])
    (told,) = shot_warnings(twice, source)
    assert "1 pairs of guide poses are nearly the same (first: 3 and 16)" in told


@pytest.mark.parametrize("change", ["upside down", "half as large"])
def test_another_frame(shots, source, change):
    other = shots * [1, -1] if change == "upside down" else shots * 0.4
    (told,) = shot_warnings(other, source)
    assert "times as far from the source's poses" in told

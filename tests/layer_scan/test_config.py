"""Layer sets as text, and the paper's augmentations against their closed forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from flexpose.config import make_config
from flexpose.errors import ConfigError
from flexpose.layer_scan import LayerScanConfig, parse_layers
from flexpose.layer_scan.tasks import Networks, Pool, task_of
from flexpose.pretrain.files import load_beta, load_generator

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LEFT, RIGHT = (7, 9, 11), (8, 10, 12)  # hip, knee, ankle of body13
N = 40


def test_layer_sets() -> None:
    assert parse_layers("3;1,3; 5,3 ;all", 6) == ((3,), (1, 3), (3, 5), (1, 2, 3, 4, 5, 6))
    assert parse_layers("each;all;2", 3) == ((1,), (2,), (3,), (1, 2, 3))
    assert parse_layers("each;4") == ((4,),)
    for wrong in ("0", "1,1", "third", "", "1,,2"):
        with pytest.raises(ConfigError, match="layers must be"):
            parse_layers(wrong)
    with pytest.raises(ConfigError, match="distinct numbers from 1 to 6 in each set, got '7'"):
        parse_layers("3;7", 6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": ("turn",)}, "augment"),
        ({"augment": ("none", "none")}, "augment must be different names"),
        ({"seeds": 0}, "seeds must be > 0"),
        ({"layers": "x"}, "layers must be sets"),
        ({"way": "magic"}, "way"),
    ],
)
def test_wrong_settings(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(LayerScanConfig, values)


@pytest.fixture(scope="module")
def networks(source: Path) -> Networks:
    generator, drawing, _ = load_generator(source)
    return Networks(generator, load_beta(source)[0], drawing, __import__("torch").float32)


@pytest.fixture(scope="module")
def pool(networks: Networks) -> Pool:
    return Pool.draw(networks, 64, 0)


def asked(
    networks: Networks, pool: Pool, name: str, per: str = "pose"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(guide poses, what is asked for) [N, 13, 2], by the very function that a scan calls."""
    shots = networks.drawing.framed(tiny.target_poses(N)).normalized
    config = make_config(LayerScanConfig, {"way": "descent", "codes": "matched", "per": per})
    task = task_of(networks, pool, shots, name, config, 5)  # type: ignore[arg-type]
    assert task.images.shape == (N, 3, 16, 16)
    np.testing.assert_array_equal(task.images, networks.drawing.images(task.asked))
    return shots.astype(np.float64), task.asked.astype(np.float64)


def turned(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees from vector to vector, in [0, 360)."""
    a, b = (v[..., 0] + 1j * v[..., 1] for v in (before, after))
    return np.asarray(np.degrees(np.angle(b / a)) % 360)


def test_none_changes_nothing(networks: Networks, pool: Pool) -> None:
    np.testing.assert_array_equal(*asked(networks, pool, "none"))


def test_global_is_one_rotation_about_the_centre(networks: Networks, pool: Pool) -> None:
    before, after = asked(networks, pool, "global")
    degrees = (turned(before, after) + 180) % 360 - 180
    theta = np.median(degrees, axis=1)
    assert np.abs(degrees - theta[:, None]).max() < 1e-2
    assert -45 <= theta.min() < -20
    assert 20 < theta.max() <= 45
    turn = np.exp(1j * np.radians(theta))[:, None] * (before[..., 0] + 1j * before[..., 1])
    np.testing.assert_allclose(np.stack([turn.real, turn.imag], -1), after, atol=1e-4)


def test_local_turns_one_whole_leg_about_its_hip(networks: Networks, pool: Pool) -> None:
    before, after = asked(networks, pool, "local")
    moved = np.abs(before - after).max(-1) > 1e-6
    legs = []
    for pose in range(N):
        joints = set(np.flatnonzero(moved[pose]))
        assert joints in ({9, 11}, {10, 12})
        hip, knee, ankle = LEFT if 9 in joints else RIGHT
        legs.append(hip)
        degrees = [
            float(turned(before[pose, joint] - before[pose, hip], after[pose, joint] - after[pose, hip]))
            for joint in (knee, ankle)
        ]
        assert degrees[0] == pytest.approx(degrees[1], abs=0.05)
        assert 135 - 0.05 <= degrees[0] <= 225 + 0.05
        for a, b in ((hip, knee), (knee, ankle)):
            lengths = [np.linalg.norm(poses[pose, a] - poses[pose, b]) for poses in (before, after)]
            assert lengths[0] == pytest.approx(lengths[1], abs=1e-5)
    assert 5 < legs.count(LEFT[0]) < N - 5  # a random one


def test_scale_keeps_to_the_union(networks: Networks, pool: Pool) -> None:
    before, after = asked(networks, pool, "scale")
    factor = np.linalg.norm(after, axis=(1, 2)) / np.linalg.norm(before, axis=(1, 2))
    np.testing.assert_allclose(before * factor[:, None, None], after, atol=1e-6)
    small = (factor > 0.7 - 1e-6) & (factor < 0.9 + 1e-6)
    large = (factor > 1.1 - 1e-6) & (factor < 1.2 + 1e-6)
    assert (small | large).all()
    assert small.any()
    assert large.any()


def test_a_set_gets_one_augmentation(networks: Networks, pool: Pool) -> None:
    before, after = asked(networks, pool, "scale", "set")
    factor = np.linalg.norm(after, axis=(1, 2)) / np.linalg.norm(before, axis=(1, 2))
    assert np.ptp(factor) < 1e-6
    assert abs(factor[0] - 1) > 0.09

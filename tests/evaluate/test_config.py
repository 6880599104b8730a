"""Settings of an evaluation."""

from __future__ import annotations

import pytest

from flexpose.config import config_dict, make_config
from flexpose.errors import ConfigError
from flexpose.evaluate import EvaluateConfig


def test_round_trip() -> None:
    config = EvaluateConfig(k=3, bandwidth=0.5, bandwidth_scales=(1.0,), threads=2)
    assert make_config(EvaluateConfig, config_dict(config)) == config
    assert config.min_poses == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbours": 3}, "neighbours: unknown key"),
        ({"frame": "square"}, "frame: .*got 'square'"),
        ({"margin": -0.1}, "margin must be 0 to 10, got -0.1"),
        ({"seeds": 0}, "seeds must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"k": 0}, "k must be >= 1, got 0"),
        ({"n_pr": 11}, "n_pr must be >= 12, got 11"),
        ({"n_baseline": 2}, "n_baseline must be >= 12, got 2"),
        ({"bandwidth": 0.0}, "bandwidth must be > 0, got 0"),
        ({"bandwidth": float("nan")}, "bandwidth: "),
        ({"bandwidth_scales": [0.0]}, "bandwidth_scales must be > 0"),
        ({"tail": 0.5}, r"tail must be in \[0, 0.5\)"),
        ({"copy_quantile": 1.0}, r"copy_quantile must be in \(0, 1\), got 1"),
        ({"worth_smallest": 1}, "worth_smallest must be in 2 to worth_largest, got 1"),
        ({"threads": 0}, "threads must be >= 1, got 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(EvaluateConfig, settings)

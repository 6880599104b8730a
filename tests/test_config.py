"""Settings: what is refused, what wins over what, and that every preset can be written down and read again."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic.dataclasses import dataclass

from flexpose.adapt import ADAPT_PRESETS, AdaptConfig
from flexpose.config import STRICT, config_dict, load_config, make_config
from flexpose.errors import ConfigError
from flexpose.models import GeneratorConfig, RegressorConfig
from flexpose.pretrain import BETA_PRESETS, PRESETS, BetaConfig, PretrainConfig
from flexpose.sample import SampleConfig

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pen:
    colour: Literal["red", "blue"] = "red"
    width_px: float = 2.0
    layers: tuple[int, ...] = (3,)
    strokes: int = 1

    def __post_init__(self) -> None:
        if self.strokes < 1:
            raise ConfigError(f"strokes must be >= 1, got {self.strokes}")


CLASSES = [GeneratorConfig, RegressorConfig, PretrainConfig, BetaConfig, AdaptConfig, SampleConfig]
PRESETS_OF = [
    *((PretrainConfig, name, preset) for name, preset in PRESETS.items()),
    *((BetaConfig, name, preset) for name, preset in BETA_PRESETS.items()),
    *((AdaptConfig, name, preset) for name, preset in ADAPT_PRESETS.items()),
]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"color": "red"}, ["color: unknown key", "colour, width_px, layers, strokes"]),
        ({"colour": "green"}, ["colour", "'red' or 'blue'", "got 'green'"]),
        ({"width_px": "wide"}, ["width_px", "got 'wide'"]),
        ({"width_px": math.nan}, ["width_px", "finite"]),
        ({"width_px": math.inf}, ["width_px", "finite"]),
        ({"strokes": 1.5}, ["strokes", "integer", "got 1.5"]),
        ({"strokes": None}, ["strokes", "got None"]),
        ({"layers": [1, "two"]}, ["layers.1", "got 'two'"]),
        ({"layers": 3}, ["layers", "got 3"]),
        ({"strokes": 0}, ["strokes must be >= 1, got 0"]),
        ({"colour": "green", "width_px": "wide"}, ["colour", "width_px"]),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(Pen, values, where="pen.toml")
    message = str(caught.value)
    assert message.startswith("pen.toml: ")
    for part in parts:
        assert part in message
    assert caught.value.exit_code == 2


def test_frozen() -> None:
    pen = make_config(Pen, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        pen.strokes = 2  # type: ignore[misc]


def test_preset_then_file_then_override(tmp_path: Path) -> None:
    file = tmp_path / "pen.toml"
    file.write_text('colour = "blue"\nwidth_px = 3\nlayers = [1, 2]\n', encoding="utf-8")
    base = {"colour": "red", "strokes": 5, "width_px": 1.0}
    pen = load_config(Pen, file, {"width_px": 4.5, "layers": None}, base=base)
    assert pen == Pen(colour="blue", strokes=5, width_px=4.5, layers=(1, 2))
    assert base == {"colour": "red", "strokes": 5, "width_px": 1.0}
    assert load_config(Pen) == Pen()


@pytest.mark.parametrize(
    "content", [b"colour = ", b"colour = 'red'\ncolour = 'blue'\n", b"\xff\xfe\x00", b"[pen\n", None]
)
def test_file_that_is_no_toml(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "pen.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as TOML") as caught:
        load_config(Pen, file)
    assert str(file) in str(caught.value)


def test_wrong_value_of_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pen.toml"
    file.write_text("strokes = 0\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(Pen, file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("cls", CLASSES)
def test_defaults_come_back(cls: type) -> None:
    written = json.dumps(config_dict(cls()))
    assert make_config(cls, json.loads(written)) == cls()


@pytest.mark.parametrize(("cls", "name", "preset"), PRESETS_OF)
def test_presets_are_valid_and_come_back(cls: type, name: str, preset: dict[str, Any]) -> None:
    config = make_config(cls, preset, where=name)
    for key, value in preset.items():
        assert getattr(config, key) == value
    written = json.dumps(config_dict(config))
    assert make_config(cls, json.loads(written)) == config
    assert {field.name for field in dataclasses.fields(cls)} == set(json.loads(written))


def test_beta_and_pretrain_presets_with_one_name_draw_the_same_pictures() -> None:
    assert set(PRESETS) == set(BETA_PRESETS)
    for name in PRESETS:
        assert PRESETS[name]["size_px"] == BETA_PRESETS[name]["size_px"]


LESSONS: dict[str, Any] = {"lessons": [[64, 1.0]], "pose_layers": 3}
WRONG: list[tuple[type, dict[str, Any], str]] = [
    (GeneratorConfig, {"size_px": 48}, "size_px must be a power of two"),
    (GeneratorConfig, {"size_px": 4}, "size_px must be a power of two >= 8, got 4"),
    (GeneratorConfig, {"size_px": -8}, "size_px must be a power of two"),
    (GeneratorConfig, {"z_dim": 0}, "z_dim must be >= 1, got 0"),
    (GeneratorConfig, {"w_dim": -1}, "w_dim must be >= 1"),
    (GeneratorConfig, {"mapping_layers": 0}, "mapping_layers must be >= 1"),
    (GeneratorConfig, {"mapping_layers": 65}, "mapping_layers must be <= 64, got 65"),
    (GeneratorConfig, {"size_px": 64, "channel_base": 32}, "channel_base must be >= size_px = 64, got 32"),
    (RegressorConfig, {"size_px": 20}, "size_px must be a multiple of 8"),
    (RegressorConfig, {"size_px": 8}, "size_px must be a multiple of 8, >= 16"),
    (RegressorConfig, {"num_keypoints": 0}, "num_keypoints must be >= 1"),
    (RegressorConfig, {"width": 12}, "width must be a multiple of 8"),
    (PretrainConfig, {"stages": []}, "lessons or stages must say what to train, got neither"),
    *(
        (PretrainConfig, {name: wrong}, rf"{name} must be .* from >= 8 to size_px = 64, got \[\[")
        for name in ("lessons", "stages")
        for wrong in (
            [[32, 1.0]],
            [[128, 1.0]],
            [[64, 1.0], [32, 1.0], [64, 1.0]],
            [[64, 1.0], [64, 1.0]],
            [[4, 1.0], [64, 1.0]],
            [[48, 1.0], [64, 1.0]],
            [[64, 0.0]],
            [[32, -1.0], [64, 1.0]],
        )
    ),
    (PretrainConfig, LESSONS | {"batch": 1}, "lessons need batch and z_dim >= 2, got 1 and 128"),
    (PretrainConfig, LESSONS | {"z_dim": 1}, "lessons need batch and z_dim >= 2, got 32 and 1"),
    (
        PretrainConfig,
        LESSONS | {"pose_layers": 4},
        "pose_layers must be from 1 to mapping_layers - 1 = 3, got 4",
    ),
    (
        PretrainConfig,
        LESSONS | {"pose_layers": 0},
        "pose_layers must be from 1 to mapping_layers - 1 = 3, got 0",
    ),
    *(
        (PretrainConfig, {name: 0}, f"{name} must be > 0, got 0")
        for name in (
            *("flow_steps", "flow_batch", "flow_width", "flow_lr", "mapping_steps", "mapping_batch"),
            *("mapping_lr", "pairs", "lessons_lr"),
        )
    ),
    (PretrainConfig, {"keypoint_weight": -1.0}, "keypoint_weight must be >= 0, got -1"),
    (PretrainConfig, {"batch": 0}, "batch must be > 0"),
    (PretrainConfig, {"lr": 0.0}, "lr must be > 0"),
    (PretrainConfig, {"r1_gamma": -1.0}, "r1_gamma must be >= 0"),
    (PretrainConfig, {"style_mixing": 1.0}, r"style_mixing must be in \[0, 1\)"),
    (PretrainConfig, {"holdout": -0.1}, r"holdout must be in \[0, 1\)"),
    (PretrainConfig, {"z_dim": 0}, "z_dim must be >= 1, got 0"),
    (PretrainConfig, {"mapping_layers": 0}, "mapping_layers must be >= 1, got 0"),
    (PretrainConfig, {"size_px": 48}, "size_px must be a power of two"),
    (PretrainConfig, {"dtype": "float64"}, "dtype"),
    (PretrainConfig, {"frame": "centre"}, "frame"),
    (PretrainConfig, {"seed": -1}, "seed must be >= 0, got -1"),
    (BetaConfig, {"steps": 0}, "steps must be > 0"),
    (BetaConfig, {"holdout": 1.0}, "holdout must be in"),
    (BetaConfig, {"width": 10}, "width must be a multiple of 8"),
    (BetaConfig, {"size_px": 12}, "size_px must be a multiple of 8"),
    (BetaConfig, {"seed": -1}, "seed must be >= 0, got -1"),
    (AdaptConfig, {"layers": [3, 3]}, "layers must be distinct"),
    (AdaptConfig, {"layers": [0]}, "layers must be distinct numbers from 1"),
    (AdaptConfig, {"features": []}, "features must name"),
    (AdaptConfig, {"features": ["vgg"]}, "features"),
    (AdaptConfig, {"mixed": -1}, "mixed must be >= 0"),
    (AdaptConfig, {"lr": 0}, "lr must be > 0"),
    (AdaptConfig, {"iterations": -1}, "iterations must be >= 0"),
    (AdaptConfig, {"pool": -1}, "pool must be >= 0"),
    (AdaptConfig, {"pairing": "nearest"}, "pairing"),
    (AdaptConfig, {"form": "lora"}, "form"),
    (AdaptConfig, {"seed": -1}, "seed must be >= 0, got -1"),
    (SampleConfig, {"n": 0}, "n must be >= 1"),
    (SampleConfig, {"image_size": 0}, "image_size must be >= 1"),
    (SampleConfig, {"reject": 0.95}, r"reject must be in \[0, 0.9\]"),
    (SampleConfig, {"truncation": 1.5}, r"truncation must be in \[0, 1\]"),
    (SampleConfig, {"strength": math.nan}, "strength"),
    (SampleConfig, {"seed": -1}, "seed must be >= 0, got -1"),
]


@pytest.mark.parametrize(("cls", "values", "message"), WRONG)
def test_values_out_of_range(cls: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_config(cls, values)
    assert "\n" not in str(caught.value), "one line a user can read, not another library's report"


def test_length_of_a_schedule() -> None:
    config = PretrainConfig(
        size_px=32,
        lessons=((16, 120.0), (32, 60.0)),
        pose_layers=1,
        stages=((16, 2.5), (32, 200.0)),
        w_dim=7,
    )
    assert config.total_kimg == 120 + 60 + 2.5 + 200
    assert dataclasses.replace(config, stages=()).total_kimg == 180
    assert dataclasses.replace(config, lessons=()).total_kimg == 202.5
    sizes = config.generator_config()
    assert (sizes.size_px, sizes.z_dim, sizes.w_dim) == (32, 128, 7)

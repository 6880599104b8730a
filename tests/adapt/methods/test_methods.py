"""Every compared method: what it changes, what it leaves, kills at any step, and what `sample` makes of its run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flexpose._methods import METHOD_SUMMARIES
from flexpose.adapt import METHODS, AdaptConfig, adapt, adapt_by, read_adapter
from flexpose.checkpoint import Checkpoints, read_header, take
from flexpose.config import make_config
from flexpose.errors import ConfigError, DataError, Interrupted, UsageError
from flexpose.pretrain import load_generator
from flexpose.sample import SampleConfig, draw_images, latents, sample

from ... import tiny

if TYPE_CHECKING:
    from pathlib import Path

SMALL: dict[str, Any] = {"dtype": "float32", "batch": 8, "checkpoint_iterations": 3}
PICTURES = SMALL | {"iterations": 6, "mixed": 12, "pool": 20, "lr": 0.02}
SETTINGS: dict[str, dict[str, Any]] = {
    "flexpose": PICTURES | {"start": "identity", "variation": 0.0},
    "affine-layers": PICTURES,
    "lora": PICTURES,
    "full-delta": PICTURES,
    "adagan": PICTURES,
    "freezed": SMALL | {"iterations": 3, "mixed": 12, "judge_images": 48, "freeze_d": 1},
    "none": {"dtype": "float32"},
    "mixup": {"dtype": "float32"},
    "gaussian": {"dtype": "float32"},
    "kde": {"dtype": "float32"},
    "ot-affine": {"dtype": "float32", "source_poses": 100},
    "residuals": {"dtype": "float32", "source_poses": 100, "neighbors": 10},
}
TRAINED = ("lora", "full-delta", "adagan", "freezed")
UNLEARNED = ("mixup", "gaussian", "kde", "ot-affine", "residuals")


def result_of(folder: Path) -> Path:
    (file,) = (f for f in folder.glob("*.safetensors") if f.stem != "beta")
    return file


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source with the checkpoints of its training."""
    return tiny.train_source(tmp_path_factory.mktemp("game"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, game: Path) -> Path:
    """The same as it ships: a generator and a beta."""
    folder = tmp_path_factory.mktemp("source")
    for part in ("generator", "beta"):
        shutil.copy(game / f"{part}.safetensors", folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, source: Path) -> dict[str, Path]:
    """A finished run of every method."""
    root = tmp_path_factory.mktemp("methods")
    for name, settings in SETTINGS.items():
        file = adapt_by(name, tiny.target_poses(), root / name, settings=settings, source=source)
        assert file == result_of(root / name)
    return {name: root / name for name in SETTINGS}


def images_of(file: Path, source: Path) -> np.ndarray:
    generator = load_generator(source if file.stem == "adapter" else file)[0]
    transfer = read_adapter(file)[0] if file.stem == "adapter" else None
    codes = generator.map(latents(20, generator.config.z_dim, 3))
    return draw_images(generator, codes, transfer=transfer)


def assert_same_files(folder: Path, other: Path) -> None:
    mine, theirs = load_file(result_of(folder)), load_file(result_of(other))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert tiny.stats(folder / "adapt" / "stats.jsonl") == tiny.stats(other / "adapt" / "stats.jsonl")
    for name in ("grid-adapted.png", "grid-source.png", "grid-shots.png"):
        assert (folder / "adapt" / name).read_bytes() == (other / "adapt" / name).read_bytes()


# --- the interface


def test_every_method_is_listed_and_has_the_two_presets() -> None:
    assert list(METHODS) == list(METHOD_SUMMARIES)
    assert METHODS.keys() == SETTINGS.keys()
    for method in METHODS.values():
        assert {"aligned", "tuned"} <= method.presets.keys()
        for preset in method.presets.values():
            make_config(method.config, preset)


@pytest.mark.parametrize("name", ["lora", "full-delta", "freezed", "adagan", "affine-layers"])
def test_the_papers_numbers(name: str) -> None:
    method = METHODS[name]
    config = make_config(method.config, method.presets["aligned"])
    assert (config.iterations, config.lr, config.batch, config.mixed) == (1000, 0.1, 128, 1000)
    assert getattr(config, "betas", (0.9, 0.999)) == (0.9, 0.999)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_sample_reads_the_run_of_every_method(
    name: str, runs: dict[str, Path], source: Path, tmp_path: Path
) -> None:
    config = SampleConfig(n=70, dtype="float32")
    poses = sample(runs[name], config, tmp_path / "poses.npz")
    assert poses.keypoints.shape == (70, 13, 2)
    assert np.isfinite(poses.keypoints).all()
    repeats = name == "ot-affine"  # it maps poses of a finite source
    assert repeats or len(np.unique(poses.keypoints.reshape(70, -1), axis=0)) == 70
    again = sample(result_of(runs[name]), SampleConfig(n=30, dtype="float32"))
    np.testing.assert_array_equal(again.keypoints, poses.keypoints[:30])
    other = sample(runs[name], SampleConfig(n=70, dtype="float32", seed=1))
    assert repeats or not np.isclose(other.keypoints, poses.keypoints).all((1, 2)).any()
    assert not np.array_equal(other.keypoints, poses.keypoints)
    unadapted = sample(source, config).keypoints
    assert np.array_equal(poses.keypoints, unadapted) == (name == "none")
    assert json.loads((tmp_path / "poses.npz.info.json").read_text(encoding="utf-8"))["hashes"]
    assert (tmp_path / "poses.npz.grid.png").stat().st_size > 0


@pytest.mark.parametrize("name", list(TRAINED))
def test_a_run_names_what_it_came_from(name: str, runs: dict[str, Path], source: Path) -> None:
    header = read_header(result_of(runs[name]))
    assert header["facts"]["method"] == name
    assert make_config(METHODS[name].config, header["facts"]["config"]) == make_config(
        METHODS[name].config, SETTINGS[name]
    )
    origin = read_header(source / "generator.safetensors")["hash"]
    assert origin in {header.get("source_hash"), header["facts"].get("source")}
    assert (
        json.loads((runs[name] / "adapt" / "config.json").read_text(encoding="utf-8"))["inputs"]["source"]
        == origin
    )


def test_flexpose_and_affine_layers_are_adapt(runs: dict[str, Path], source: Path, tmp_path: Path) -> None:
    adapt(tiny.target_poses(), AdaptConfig(**SETTINGS["flexpose"]), tmp_path, source=source)
    assert_same_files(tmp_path, runs["flexpose"])
    assert read_adapter(runs["affine-layers"])[1]["layers"] == [1, 2, 3, 4, 5, 6]


def test_seed_matters_and_nothing_else_does(source: Path, tmp_path: Path, runs: dict[str, Path]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for folder, seed in (("same", 0), ("other", 1)):
        where = tmp_path / folder
        adapt_by("lora", tiny.target_poses(), where, settings=SETTINGS["lora"], seed=seed, source=source)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_files(tmp_path / "same", runs["lora"])
    assert not torch.equal(
        read_adapter(tmp_path / "other")[0].matrix(3), read_adapter(runs["lora"])[0].matrix(3)
    )


# --- kills


@pytest.mark.parametrize("name", TRAINED)
def test_a_killed_run_goes_on_bit_for_bit(
    name: str, runs: dict[str, Path], source: Path, tmp_path: Path
) -> None:
    def call(**options: Any) -> None:
        shots = tiny.target_poses()
        adapt_by(name, shots, tmp_path, settings=SETTINGS[name], source=source, **options)

    for step in (2, 5):  # before the first checkpoint and after it; of freezed in both phases
        with pytest.raises(tiny.Killed):
            call(resume=step > 2, progress=tiny.KillAt(step))
    assert not list(tmp_path.glob("*.safetensors"))
    with pytest.raises(UsageError, match="holds a run already"):
        call()
    call(resume=True)
    assert_same_files(tmp_path, runs[name])
    call(resume=True)  # finished: nothing to do but to publish
    assert_same_files(tmp_path, runs[name])


def test_an_interrupted_run_keeps_its_state(source: Path, tmp_path: Path, runs: dict[str, Path]) -> None:
    class Send(tiny.Watch):
        def advance(self, done: int, **figures: float) -> None:
            if done == 2 and figures:
                os.kill(os.getpid(), signal.SIGTERM)

    shots = tiny.target_poses()
    with pytest.raises(Interrupted, match="--resume"):
        adapt_by("adagan", shots, tmp_path, settings=SETTINGS["adagan"], source=source, progress=Send())
    assert Checkpoints(tmp_path / "adapt" / "checkpoints").latest()[1]["step"] == 2
    adapt_by("adagan", shots, tmp_path, settings=SETTINGS["adagan"], source=source, resume=True)
    assert_same_files(tmp_path, runs["adagan"])


def test_resumed_with_another_method(source: Path, tmp_path: Path, runs: dict[str, Path]) -> None:
    shutil.copytree(runs["kde"], tmp_path / "run")
    with pytest.raises(ConfigError, match=r"config.method: 'kde' then, 'mixup' now"):
        adapt_by("mixup", tiny.target_poses(), tmp_path / "run", source=source, resume=True)


# --- what is free


def test_at_birth_pictures_are_the_sources(source: Path) -> None:
    from flexpose.adapt.methods.adagan import scaled_copy
    from flexpose.adapt.methods.lora import LowRank

    generator = load_generator(source)[0]
    codes = generator.map(latents(20, generator.config.z_dim, 3))
    plain = generator.synthesize(generator.styles(codes))
    low = LowRank(generator.synthesis.style_dims, [1, 2, 3, 4, 5, 6], 4)
    assert torch.equal(generator.synthesize(low(generator.styles(codes))), plain)
    scaled = scaled_copy(generator)
    torch.testing.assert_close(scaled.synthesize(scaled.styles(codes)), plain, rtol=1e-4, atol=1e-5)
    # and with a noise, a scale and a shift, by hand
    layer = scaled.synthesis.layers[2]
    for value in (layer.scale, layer.bias, layer.noise_strength):
        value.copy_(torch.randn(value.shape))
    x, style = torch.randn(2, 8, 4, 4), torch.randn(2, 8)
    bare = generator.synthesis.layers[2]
    bare.bias.zero_()
    bare.noise_strength.copy_(layer.noise_strength)
    y = bare(x, style, "const")
    y = torch.where(y < 0, y / 0.2, y) / 2**0.5  # undo the activation
    y = y * layer.scale[:, None, None] + layer.bias[:, None, None]
    expected = torch.where(y < 0, y * 0.2, y) * 2**0.5
    torch.testing.assert_close(layer(x, style, "const"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lora", "full-delta", "adagan"])
def test_the_first_loss_is_the_sources(name: str, source: Path, tmp_path: Path) -> None:
    """Same codes, same poses, same Gamma, nothing learned: the first batch costs the same by any method."""
    same = PICTURES | {"iterations": 1, "lr": 1e-9, "features": ("pyramid",), "pairing": "random"}
    watch, paper = tiny.Watch(), tiny.Watch()
    extra = {"z_noise": 0.0, "feature_weight": 1.0} if name == "adagan" else {}
    adapt_by(name, tiny.target_poses(), tmp_path / "a", settings=same | extra, source=source, progress=watch)
    same.pop("pool")
    adapt_by(
        "affine-layers", tiny.target_poses(), tmp_path / "b", settings=same, source=source, progress=paper
    )
    key = "loss_features" if name == "adagan" else "loss"
    assert watch.figures[-1][key] == pytest.approx(paper.figures[-1]["loss"], rel=1e-5)


def changed(file: Path, source: Path) -> set[str]:
    before, after = load_generator(source)[0].state_dict(), load_generator(file)[0].state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_only_what_should_be_free_changes(runs: dict[str, Path], source: Path) -> None:
    names = changed(result_of(runs["full-delta"]), source)
    assert all(name.startswith(("mapping.", "affine.")) for name in names)
    assert {"mapping.layers.0.weight", "affine.0.weight", "affine.0.bias", "mapping.w_avg"} <= names

    names = changed(result_of(runs["adagan"]), source)
    biases = {f"synthesis.layers.{i}.bias" for i in range(6)}
    assert names >= biases
    assert all(name in biases or name.startswith("affine.") for name in names)
    scales = {k: v for k, v in load_file(result_of(runs["adagan"])).items() if k.endswith(".scale")}
    assert len(scales) == 6
    assert not any((scale == 1).all() for scale in scales.values())

    names = changed(result_of(runs["freezed"]), source)
    assert {
        "synthesis.const",
        "synthesis.layers.0.weight",
        "mapping.layers.0.weight",
        "affine.3.bias",
    } <= names
    assert not any("noise_const" in name for name in names)


def test_lora_is_of_its_rank(runs: dict[str, Path], source: Path, tmp_path: Path) -> None:
    settings = SETTINGS["lora"] | {"rank": 2, "layers": (5, 2)}
    adapt_by("lora", tiny.target_poses(), tmp_path, settings=settings, source=source)
    transfer, header = read_adapter(tmp_path)
    assert header["layers"] == [2, 5]
    for layer in (2, 5):
        change = transfer.matrix(layer) - torch.eye(transfer.style_dims[layer - 1])
        values = torch.linalg.svdvals(change.double())
        assert values[1] > 1e3 * values[2]
    assert read_adapter(runs["lora"])[1]["layers"] == [1, 2, 3, 4, 5, 6]


def test_lora_merged_is_lora(source: Path) -> None:
    from flexpose.adapt.methods.lora import LowRank

    generator = load_generator(source)[0]
    low = LowRank(generator.synthesis.style_dims, [1, 3], 8)
    for up in low.up.values():
        torch.nn.init.normal_(up)
    styles = generator.styles(generator.map(latents(5, generator.config.z_dim, 3)))
    for mine, theirs in zip(low.merged(generator)(styles), low(styles), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_adagan_draws_nearer_to_the_mean_code(runs: dict[str, Path], source: Path, tmp_path: Path) -> None:
    """A share of 1 changes no affine layer; a share of s gives the styles of mean + s (w - mean)."""
    settings = SETTINGS["adagan"] | {"z_std": 1.0}
    whole = load_generator(
        adapt_by("adagan", tiny.target_poses(), tmp_path, settings=settings, source=source)
    )[0]
    half = load_generator(result_of(runs["adagan"]))[0]
    z = latents(9, whole.config.z_dim, 3)
    wanted = whole.styles(whole.map(z, truncation=0.5))
    for mine, theirs in zip(half.styles(half.map(z)), wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_frozen_layers_of_the_judge(runs: dict[str, Path]) -> None:
    """Three steps on the source, three of the game, and a checkpoint after each."""
    folder = runs["freezed"] / "adapt" / "checkpoints"
    assert [p.name for p in sorted(folder.glob("*.safetensors"))] == [
        "000000003.safetensors",
        "000000006.safetensors",
    ]
    first, last = (take(load_file(p), "D") for p in sorted(folder.glob("*.safetensors")))
    same = {name for name in first if torch.equal(first[name], last[name])}
    frozen = {name for name in first if name.startswith(("from_rgb.", "blocks.0."))}
    assert frozen == same
    assert {name.split(".")[0] for name in first.keys() - same} == {"blocks", "conv", "dense", "out"}


def test_the_judge_of_a_game_is_taken(game: Path, tmp_path: Path) -> None:
    own = take(Checkpoints(game / "pretrain" / "checkpoints").latest()[0], "D")
    settings = SETTINGS["freezed"] | {"iterations": 1, "lr": 1e-30}
    adapt_by("freezed", tiny.target_poses(), tmp_path / "a", settings=settings, source=game)
    first = tiny.stats(tmp_path / "a" / "adapt" / "stats.jsonl")[0]
    assert (first["judge_found"], first["judge_steps"]) == (True, 0)
    kept = take(Checkpoints(tmp_path / "a" / "adapt" / "checkpoints").latest()[0], "D")
    assert all(torch.equal(kept[name], own[name]) for name in own)


# --- learning


@pytest.mark.parametrize("name", ["lora", "full-delta", "adagan"])
def test_loss_falls(name: str, source: Path, tmp_path: Path) -> None:
    settings = SETTINGS[name] | {"iterations": 30, "batch": 18, "checkpoint_iterations": 100, "lr": 0.1}
    watch = tiny.Watch()
    adapt_by(name, tiny.target_poses(), tmp_path, settings=settings, source=source, progress=watch)
    losses = [figures["loss"] for figures in watch.figures[1:]]
    assert np.mean(losses[-6:]) < 0.95 * np.mean(losses[:6])


def test_the_judge_learns_to_tell(source: Path, tmp_path: Path) -> None:
    settings = SETTINGS["freezed"] | {"iterations": 1, "judge_images": 320, "judge_lr": 0.01, "r1_gamma": 0.0}
    watch = tiny.Watch()
    adapt_by("freezed", tiny.target_poses(), tmp_path / "a", settings=settings, source=source, progress=watch)
    judged = [f for f in watch.figures if "loss_d" in f and "loss_g" not in f]
    assert len(judged) == 20
    assert np.mean([f["loss_d"] for f in judged[-5:]]) < 0.5 * judged[0]["loss_d"]
    assert "loss_g" in watch.figures[-1]


def test_numbers_that_are_lost(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lost its numbers"):
        adapt_by(
            "full-delta",
            tiny.target_poses(),
            tmp_path,
            settings=SETTINGS["full-delta"] | {"lr": 1e25, "mapping_lr_multiplier": 1.0},
            source=source,
        )
    assert not list(tmp_path.glob("*.safetensors"))


# --- not learning


@pytest.mark.parametrize("name", UNLEARNED)
def test_unlearned_samples_are_the_baselines(name: str, runs: dict[str, Path]) -> None:
    from flexpose.adapt.unlearned import UNLEARNED as KNOWN
    from flexpose.adapt.unlearned import read_unlearned
    from flexpose.pretrain.data import step_seed

    held = read_unlearned(result_of(runs[name]))
    generator = load_generator(runs["full-delta"])[1]
    np.testing.assert_array_equal(held.shots, generator.framed(tiny.target_poses()).normalized)
    assert (held.source is not None) == (name in {"ot-affine", "residuals"})
    poses, images = held.draw(100, 7, begin=64)
    expected = KNOWN[name][0](held.shots, held.source, 64, step_seed(7, 40, 2), **held.settings)[:36]
    np.testing.assert_array_equal(poses[64:], expected.astype(np.float32))
    np.testing.assert_array_equal(images, held.drawing.images(poses))


@pytest.mark.parametrize(
    ("views", "known", "times"),
    [("mirrored", 1, 2), ("all", 1e9, 4), ("all", 0, 2), ("likely", 1e9, 1)],  # they lean to one side
)
def test_unlearned_methods_take_other_views_as_well(
    views: str, known: float, times: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From behind as well, as far as the source has such poses: how near they must be is set to all or none."""
    from flexpose.adapt import views as module
    from flexpose.adapt.unlearned import read_unlearned

    monkeypatch.setattr(module, "_KNOWN", known)
    settings = {"dtype": "float32", "views": views}
    shots = read_unlearned(
        adapt_by("gaussian", tiny.target_poses(), tmp_path, settings=settings, source=source)
    ).shots
    given = load_generator(source)[1].framed(tiny.target_poses()).normalized
    mirrored = given[:, tiny.target_poses().skeleton.flip_index] * np.array([-1, 1], np.float32)
    both = np.concatenate([given, mirrored])
    every = np.concatenate([both, both * np.array([-1, 1], np.float32)])
    np.testing.assert_array_equal(shots, every[: times * len(given)])


def test_a_sampler_needs_no_source(runs: dict[str, Path], source: Path, tmp_path: Path) -> None:
    shutil.copy(result_of(runs["residuals"]), tmp_path / "residuals.safetensors")
    assert len(sample(tmp_path / "residuals.safetensors", SampleConfig(n=5))) == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sampler", "magic"),
        ("settings", {"bandwidth": "wide"}),
        ("settings", {"bandwidth": 0.03, "n": 3}),
        ("hash", "0"),
        ("drawing", {}),
        ("tensors", {}),
    ],
)
def test_a_sampler_file_that_lies(field: str, value: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    from flexpose.checkpoint import load_tensors, save_tensors

    tensors, header = load_tensors(result_of(runs["kde"]), "sampler")
    if field == "tensors":
        tensors = {"shots": tensors["shots"][:, :5]}
    else:
        header[field] = value
    save_tensors(tmp_path / "s.safetensors", tensors, header)
    with pytest.raises(DataError):
        sample(tmp_path / "s.safetensors", SampleConfig(n=5))


# --- messages


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("magic", {}, "method must be one of flexpose, affine-layers, lora"),
        ("lora", {"rank": 0}, "rank must be > 0, got 0"),
        ("lora", {"layers": (1, 1)}, "layers must be distinct"),
        ("lora", {"layers": (7,)}, r"layers must be from 1 to 6, got \[7\]"),
        ("lora", {"freeze_d": 1}, "freeze_d: unknown key; known are seed, dtype"),
        ("full-delta", {"features": ()}, "features must name at least one"),
        ("full-delta", {"mapping_lr_multiplier": 0}, "mapping_lr_multiplier must be > 0"),
        ("adagan", {"z_std": 0}, "z_std must be > 0"),
        ("adagan", {"drift_weight": -1}, "drift_weight must be >= 0"),
        ("freezed", {"freeze_d": 3}, "freeze_d must be from 0 to 2, got 3"),
        ("freezed", {"ema": 1.0}, r"ema must be in \[0, 1\)"),
        ("freezed", {"betas": (0.9, 1.0)}, r"betas must be in \[0, 1\)"),
        ("kde", {"bandwidth": 0}, "bandwidth must be > 0"),
        ("residuals", {"neighbors": 0}, "neighbors must be > 0"),
        ("none", {"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_wrong_settings(
    name: str, settings: dict[str, Any], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, UsageError), match=message):
        adapt_by(name, tiny.target_poses(), tmp_path / "run", settings=settings, source=source)
    assert not (tmp_path / "run").exists()


def test_wrong_calls(source: Path, tmp_path: Path, runs: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="preset must be one of aligned, tuned, got 'best'"):
        adapt_by("lora", tiny.target_poses(), tmp_path, preset="best", source=source)
    with pytest.raises(UsageError, match="at least 2 fully labelled poses, got 1 of 1"):
        adapt_by("lora", tiny.target_poses()[:1], tmp_path, source=source)
    with pytest.raises(UsageError, match=r"generator\.safetensors: is there already"):
        adapt_by("full-delta", tiny.target_poses(), source, source=source)
    for name in ("kde", "full-delta"):
        with pytest.raises(UsageError, match="strength must be 1 for"):
            sample(runs[name], SampleConfig(n=5, strength=0.5))
    with pytest.raises(UsageError, match="truncation must be 1 for kde"):
        sample(runs["kde"], SampleConfig(n=5, truncation=0.5))

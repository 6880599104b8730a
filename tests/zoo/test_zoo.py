"""The zoo: names, cards, files of half size that draw the same, and adapters that name their source by name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import flexpose.zoo as module
from flexpose.adapt import AdaptConfig, adapt, read_adapter
from flexpose.checkpoint import load_tensors, save_tensors
from flexpose.cli import app
from flexpose.errors import DataError, UsageError
from flexpose.pretrain import load_beta, load_generator, pretrain, save_source, train_beta
from flexpose.sample import SampleConfig, latents, load_sampler, sample
from flexpose.zoo import DEFAULT, list_zoo, source_file, source_reference, zoo_source

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


def command(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source wide enough to be adapted by least squares."""
    folder = tmp_path_factory.mktemp("run")
    train_beta(tiny.source_poses(), tiny.BETA, folder)
    config = replace(tiny.PRETRAIN, z_dim=32, w_dim=48, channel_base=256, channel_max=16, stages=())
    pretrain(tiny.source_poses(), config, folder)
    return folder


@pytest.fixture
def own_zoo(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with one source, under the default's name."""
    import hashlib

    folder = tmp_path / "zoo"
    folder.mkdir()
    file = folder / f"{DEFAULT}.safetensors"
    save_source(file, run)
    card = {
        "skeleton": "body13",
        "size_px": 16,
        "licence": "none",
        "data": {"name": "made up"},
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    file.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    monkeypatch.setattr(module, "_FOLDER", folder)
    return folder


# --- what ships


def test_what_ships_is_as_its_card_says() -> None:
    assert DEFAULT in list_zoo()
    assert list_zoo()[0] == DEFAULT
    for name in list_zoo():
        source = zoo_source(name)
        source.verify()
        card = source.card
        assert source.file.stat().st_size == card["bytes"] <= 10_000_000
        assert card["licence"] == "CC BY 4.0"
        assert "attribution" in card["data"]
        generator, drawing, header = load_generator(source.file)
        assert header["hash"] == card["generator_hash"]
        assert (drawing.skeleton.name, drawing.size_px) == (card["skeleton"], card["size_px"])
        assert load_beta(source.file)[2]["hash"] == card["beta_hash"]
        assert card["figures"]["samples"] > 0
        assert generator.config.size_px == card["size_px"]


# --- a source file


def test_half_precision_draws_the_same(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "source.safetensors"
    save_source(file, run)
    full = sum((run / f"{name}.safetensors").stat().st_size for name in ("generator", "beta"))
    assert file.stat().st_size < 0.6 * full
    tensors, header = load_tensors(file, "source")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert header["generator"]["facts"]["config"]["z_dim"] == 32
    whole, halved = load_generator(run)[0], load_generator(file)[0]
    z = latents(8, 32, 0)
    with torch.no_grad():
        torch.testing.assert_close(halved(z), whole(z), rtol=0, atol=0.02)
    mine, theirs = load_sampler(file), load_sampler(run)
    a, b = (sampler.draw(8, 0, dtype=torch.float32)[0] for sampler in (mine, theirs))
    # A beta that has hardly learned is unsure where a joint is, and then the last bits count; 0.125 is a pixel.
    assert np.abs(a - b).mean() < 0.01
    assert np.abs(a - b).max() < 0.1


def test_weights_that_float16_cannot_hold(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    generator, drawing, _ = load_generator(copy)
    generator.affine[0].weight[0, 0] = 1e5
    from flexpose.pretrain.files import save_generator

    save_generator(copy / "generator.safetensors", generator, drawing)
    with pytest.raises(DataError, match="float16 cannot hold it") as caught:
        save_source(tmp_path / "source.safetensors", copy)
    assert caught.value.field == "affine.0.weight"
    assert not (tmp_path / "source.safetensors").exists()


def test_a_source_file_without_a_part(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "source.safetensors"
    save_source(file, run)
    tensors, header = load_tensors(file)
    del header["beta"]
    save_tensors(file, tensors, header)
    load_generator(file)
    with pytest.raises(DataError, match="description of its beta"):
        load_beta(file)


# --- names


def test_names_and_paths(own_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = own_zoo / f"{DEFAULT}.safetensors"
    assert source_file(None) == source_file(DEFAULT) == source_file(f"zoo:{DEFAULT}") == file
    assert source_file("runs/coco") == type(file)("runs/coco")
    assert source_file("coco", beside=tmp_path / "runs") == tmp_path / "runs" / "coco"
    (tmp_path / DEFAULT).mkdir()
    assert source_file(DEFAULT) == type(file)(DEFAULT), "a path that is there wins"
    assert source_reference(file, tmp_path) == f"zoo:{DEFAULT}"
    assert source_reference(tmp_path / "a" / "b.safetensors", tmp_path / "c") == "../a/b.safetensors"
    with pytest.raises(UsageError, match=f"the zoo has no source 'cats'; it has: {DEFAULT}"):
        source_file("zoo:cats")


def test_adapt_and_sample_without_a_source(own_zoo: Path, tmp_path: Path) -> None:
    config = AdaptConfig(mixed=300, dtype="float32")
    file = adapt(tiny.target_poses(), config, tmp_path / "run")
    assert read_adapter(file)[1]["source"] == f"zoo:{DEFAULT}"
    moved = tmp_path / "elsewhere" / "adapter.safetensors"
    moved.parent.mkdir()
    shutil.copy(file, moved)
    here, there = (sample(path, SampleConfig(n=5, dtype="float32")) for path in (tmp_path / "run", moved))
    np.testing.assert_array_equal(here.keypoints, there.keypoints)


# --- the command


def test_commands(own_zoo: Path) -> None:
    assert f"{DEFAULT}: body13, 16 px, made up" in command("zoo", "list")
    (row,) = json.loads(command("zoo", "list", "--json"))
    assert row["licence"] == "none"
    assert "licence: none" in command("zoo", "show")
    assert json.loads(command("zoo", "show", DEFAULT, "--json"))["data"] == {"name": "made up"}
    assert "as its card says" in command("zoo", "verify")
    file = own_zoo / f"{DEFAULT}.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert "expected sha256" in command("zoo", "verify", code=3)
    assert "the zoo has no source" in command("zoo", "show", "cats", code=2)
    file.with_suffix(".json").write_text("[", encoding="utf-8")
    assert "cannot be read" in command("zoo", "list", code=3)

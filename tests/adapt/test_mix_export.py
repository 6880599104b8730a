"""Adapters mixed and exported: the ends are what went in, and the merged generator draws what tau draws."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from flexpose.adapt import adapt, export_adapter, mix_adapters, read_adapter
from flexpose.cli import app
from flexpose.errors import UsageError
from flexpose.poses import synth_poses, target_domain
from flexpose.pretrain import load_beta, load_generator
from flexpose.pretrain.files import save_generator
from flexpose.sample import SampleConfig, sample

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    folder = tmp_path_factory.mktemp("other")
    shots = synth_poses(6, seed=5, domain=target_domain())
    adapt(shots, replace(tiny.ADAPT, layers=(3, 4)), folder, source=source)
    return folder


@pytest.mark.parametrize("amount", [0.0, 0.25, 1.0])
def test_mixes_lie_between(tmp_path: Path, unbroken: Path, other: Path, amount: float) -> None:
    file = mix_adapters(unbroken, other, tmp_path / "mixed", amount=amount)
    mixed, header = read_adapter(file)
    one, two = read_adapter(unbroken)[0], read_adapter(other)[0]
    for layer in range(1, 7):
        wanted = (1 - amount) * one.matrix(layer) + amount * two.matrix(layer)
        torch.testing.assert_close(mixed.matrix(layer), wanted, rtol=0, atol=1e-6)
    assert header["facts"]["amount"] == amount
    assert len(sample(tmp_path / "mixed", SampleConfig(n=3, dtype="float32"))) == 3


def test_the_exported_generator_draws_the_same(tmp_path: Path, unbroken: Path, source: Path) -> None:
    export_adapter(unbroken, tmp_path / "merged")
    ours = sample(tmp_path / "merged", SampleConfig(n=20, dtype="float32"))
    theirs = sample(unbroken, SampleConfig(n=20, dtype="float32"))
    np.testing.assert_allclose(ours.keypoints, theirs.keypoints, atol=0.5)  # of 256 pixels
    assert load_generator(tmp_path / "merged")[2]["facts"]["strength"] == 1
    assert load_beta(tmp_path / "merged")[2]["hash"] == load_beta(source)[2]["hash"]
    export_adapter(unbroken, tmp_path / "still", strength=0)
    assert load_generator(tmp_path / "still")[2]["hash"] == load_generator(source)[2]["hash"]


def test_what_is_refused(tmp_path: Path, unbroken: Path, other: Path) -> None:
    with pytest.raises(UsageError, match="amount must be a finite number"):
        mix_adapters(unbroken, other, tmp_path / "mixed", amount=float("nan"))
    mix_adapters(unbroken, other, tmp_path / "mixed")
    with pytest.raises(UsageError, match="is there already"):
        mix_adapters(unbroken, other, tmp_path / "mixed")
    export_adapter(unbroken, tmp_path / "merged")
    with pytest.raises(UsageError, match="is there already"):
        export_adapter(unbroken, tmp_path / "merged")
    foreign = tiny.train_source(tmp_path / "foreign")
    generator, drawing, _ = load_generator(foreign)
    generator.affine[0].weight[0, 0] += 1
    save_generator(foreign / "generator.safetensors", generator, drawing)
    adapt(tiny.target_poses(), replace(tiny.ADAPT, iterations=1), tmp_path / "far", source=foreign)
    with pytest.raises(UsageError, match="expected one source, got"):
        mix_adapters(unbroken, tmp_path / "far", tmp_path / "both")


def test_commands(tmp_path: Path, unbroken: Path, other: Path) -> None:
    def command(*arguments: object) -> dict[str, object]:
        result = CliRunner().invoke(app, [str(part) for part in arguments], prog_name="flexpose")
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout))

    told = command("adapters", "mix", unbroken, other, tmp_path / "m", "--amount", 0.3, "--json")
    assert told == {"adapter": str(tmp_path / "m" / "adapter.safetensors"), "amount": 0.3}
    told = command("adapters", "export", tmp_path / "m", tmp_path / "e", "--json")
    assert told == {"generator": str(tmp_path / "e" / "generator.safetensors"), "strength": 1.0}

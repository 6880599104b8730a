"""The adapter file: tau comes back, on its own source alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flexpose.adapt import load_transfer, read_adapter
from flexpose.adapt.adapter import save_adapter
from flexpose.checkpoint import content_hash
from flexpose.errors import DataError, UsageError
from flexpose.models import Generator, Transfer
from flexpose.pretrain import load_generator

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("form", ["equalized", "raw"])
def test_tau_comes_back(tmp_path: Path, form: Any) -> None:
    transfer = Transfer([4, 6, 8, 3], [3, 1], num_layers=3, form=form)
    for block in transfer.blocks.values():
        torch.nn.init.normal_(block)
    source = tmp_path / "runs" / "source" / "generator.safetensors"
    path = tmp_path / "runs" / "mine" / "adapter.safetensors"
    save_adapter(path, transfer, source_hash="0123", source=source, facts={"note": [1]})
    for place in (path, path.parent):
        again, header = read_adapter(place)
        assert (again.layers, again.form, again.style_dims, again.num_layers) == (
            (1, 3),
            form,
            (4, 6, 8, 3),
            3,
        )
        for layer in range(1, 4):
            assert torch.equal(again.matrix(layer), transfer.matrix(layer))
        assert not any(p.requires_grad for p in again.parameters())
    assert header["source_hash"] == "0123"
    assert Path(header["source"]) == Path("../source/generator.safetensors"), "a folder of runs can be moved"
    assert header["facts"] == {"note": [1]}


def test_adapter_of_a_run(unbroken: Path, source: Path) -> None:
    generator, _, theirs = load_generator(source)
    transfer, header = read_adapter(unbroken)
    assert transfer.layers == tiny.ADAPT.layers == (3,)
    assert transfer.style_dims == tuple(generator.synthesis.style_dims)
    assert header["source_hash"] == theirs["hash"]
    assert header["hash"] == content_hash(load_file(unbroken / "adapter.safetensors"))
    assert (unbroken / header["source"]).resolve() == (source / "generator.safetensors").resolve()
    assert header["facts"]["num_shots"] == 6
    assert header["facts"]["config"]["iterations"] == tiny.ADAPT.iterations
    bound = load_transfer(unbroken, generator, theirs)
    assert torch.equal(bound.matrix(3), transfer.matrix(3))


def test_another_source_is_refused(unbroken: Path, source: Path) -> None:
    """The same sizes are not enough."""
    generator, _, header = load_generator(source)
    with pytest.raises(UsageError, match="was trained on the source") as caught:
        load_transfer(unbroken, generator, header | {"hash": "f" * 64})
    assert header["hash"][:12] in str(caught.value)
    assert "ffffffffffff" in str(caught.value)
    assert "--source" in str(caught.value)


def test_a_generator_of_other_sizes_is_refused(unbroken: Path, source: Path) -> None:
    _, _, header = load_generator(source)
    other = Generator(size_px=16, z_dim=8, w_dim=8, channel_base=64, channel_max=4)
    with pytest.raises(DataError, match="expected style widths") as caught:
        load_transfer(unbroken, other, header)
    assert caught.value.field == "style_dims"


@pytest.fixture
def copied(unbroken: Path, tmp_path: Path) -> Path:
    path = tmp_path / "adapter.safetensors"
    shutil.copy(unbroken / "adapter.safetensors", path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["flexpose"])
    change(header)
    save_file(load_file(path), str(path), metadata={"flexpose": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda h: h.update(kind="generator"), "kind"),
        (lambda h: h.pop("layers"), "layers"),
        (lambda h: h.update(layers=[]), "layers"),
        (lambda h: h.update(layers=[3, 3]), "layers"),
        (lambda h: h.update(layers=[99]), "layers"),
        (lambda h: h.update(layers=["three"]), "layers"),
        (lambda h: h.update(layers=5), "layers"),
        (lambda h: h.update(layers=[4]), None),
        (lambda h: h.update(layers=[3, 4]), None),
        (lambda h: h.update(num_layers=2), "layers"),
        (lambda h: h.update(num_layers=1 << 70, layers=[1 << 69]), "layers"),
        (lambda h: h.update(form="lora"), "layers"),
        (lambda h: h.pop("style_dims"), "layers"),
        (lambda h: h.update(style_dims=[8] * 2), "layers"),
        (lambda h: h.update(style_dims=[1 << 20] * 9), "blocks.3"),
        (lambda h: h.update(style_dims=[1 << 62] * 9), "layers"),
        (lambda h: h.update(style_dims=[-8] * 9), "layers"),
        (lambda h: h.pop("hash"), "hash"),
        (lambda h: h.update(hash="0" * 64), "hash"),
    ],
)
def test_header_that_does_not_fit(
    copied: Path, change: Callable[[dict[str, Any]], Any], field: str | None
) -> None:
    rewrite(copied, change)
    with tiny.bounded_memory(), pytest.raises(DataError) as caught:
        read_adapter(copied)
    assert caught.value.path == copied
    assert field in {None, caught.value.field}


def test_a_changed_bit_is_refused(copied: Path) -> None:
    raw = bytearray(copied.read_bytes())
    raw[-1] ^= 1
    copied.write_bytes(raw)
    with pytest.raises(DataError, match="not those whose hash"):
        read_adapter(copied)


def test_no_adapter_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_adapter(tmp_path)

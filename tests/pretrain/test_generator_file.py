"""The file of a trained generator: it comes back whole, and nothing else is taken for it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flexpose.checkpoint import content_hash
from flexpose.drawing import Drawing
from flexpose.errors import DataError, UsageError
from flexpose.models import Generator
from flexpose.pretrain import load_generator
from flexpose.pretrain.files import save_generator
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("beta_there")


def test_generator_comes_back(unbroken: Path) -> None:
    generator, drawing, header = load_generator(unbroken)
    other, *_ = load_generator(unbroken / "generator.safetensors")
    assert generator.config == tiny.PRETRAIN.generator_config()
    assert (drawing.size_px, drawing.skeleton) == (16, load_skeleton("body13"))
    assert header["hash"] == content_hash(load_file(unbroken / "generator.safetensors"))
    assert header["facts"]["num_poses"] == 57
    assert header["facts"]["kimg"] == tiny.PRETRAIN.total_kimg
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())
    z = torch.randn(2, 8)
    assert torch.equal(generator(z), other(z))
    checkpoint = load_file(unbroken / "pretrain" / "checkpoints" / "000000015.safetensors")
    assert torch.equal(checkpoint["G_ema/synthesis.const"], generator.synthesis.const), "the averaged weights"
    assert not torch.equal(checkpoint["G/synthesis.const"], generator.synthesis.const)


def rewrite(path: Path, header: Callable[[dict[str, Any]], None] | None = None, **tensors: Any) -> None:
    """Change a file's tensors or header, and leave the rest as it is."""
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["flexpose"])
    changed = {k: v for k, v in (load_file(path) | tensors).items() if v is not None}
    if header is not None:
        header(metadata)
    save_file(changed, str(path), metadata={"flexpose": json.dumps(metadata)})


@pytest.fixture
def copied(unbroken: Path, tmp_path: Path) -> Path:
    path = tmp_path / "generator.safetensors"
    shutil.copy(unbroken / "generator.safetensors", path)
    return path


def test_a_changed_bit_is_refused(copied: Path) -> None:
    raw = bytearray(copied.read_bytes())
    raw[-1] ^= 1  # of the last tensor's last number
    copied.write_bytes(raw)
    with pytest.raises(DataError, match="not those whose hash the header holds") as caught:
        load_generator(copied)
    assert (caught.value.path, caught.value.field) == (copied, "hash")


def set_size(**sizes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["generator"].update(sizes)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda header: header.update(kind="beta"), "kind"),
        (lambda header: header.pop("generator"), "generator"),
        (lambda header: header.update(generator=[16]), "generator"),
        (set_size(size_px=15), "generator"),
        (set_size(colour="red"), "generator"),
        (set_size(size_px="big"), "generator"),
        (set_size(z_dim=9), "mapping.layers.0.weight"),
        (set_size(w_dim=9), None),
        (set_size(mapping_layers=2), None),
        (set_size(size_px=32), None),
        # A stranger's header must not make this machine allocate what the file does not hold.
        (set_size(z_dim=1 << 45), "mapping.layers.0.weight"),
        (set_size(w_dim=1 << 30), None),
        (set_size(channel_base=1 << 40, channel_max=1 << 40), None),
        (set_size(size_px=1 << 40, channel_base=1 << 41), None),
        (set_size(mapping_layers=1 << 40), "generator"),
        (lambda header: header.pop("drawing"), "drawing"),
        (lambda header: header.update(drawing=7), "drawing"),
        (lambda header: header["drawing"].update(skeleton_fingerprint="0"), "skeleton"),
        (lambda header: header["drawing"].update(size_px=32), "drawing"),
        (lambda header: header.pop("hash"), "hash"),
        (lambda header: header.update(hash="0" * 64), "hash"),
    ],
)
def test_header_that_does_not_fit(
    copied: Path, change: Callable[[dict[str, Any]], None], field: str | None
) -> None:
    rewrite(copied, change)
    with tiny.bounded_memory(), pytest.raises(DataError) as caught:
        load_generator(copied)
    assert caught.value.path == copied
    assert field is None or caught.value.field == field


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"synthesis.const": None}, "missing"),
        ({"more": torch.zeros(1)}, "unknown"),
        ({"synthesis.const": torch.zeros(1, 8, 8, 8)}, r"expected \[1, 8, 4, 4\], got \[1, 8, 8, 8\]"),
        ({"synthesis.const": torch.full((1, 8, 4, 4), float("nan"))}, "NaN"),
    ],
)
def test_tensors_that_do_not_fit(copied: Path, tensors: dict[str, Any], message: str) -> None:
    rewrite(copied, **tensors)
    with pytest.raises(DataError, match=message):
        load_generator(copied)


def test_no_generator_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "generator.safetensors"):
        with pytest.raises(UsageError, match="no such file"):
            load_generator(path)


def test_save_generator_says_what_it_wrote(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = Generator(tiny.PRETRAIN.generator_config())
    drawing = Drawing(load_skeleton("body13"), 16)
    digest = save_generator(tmp_path / "g.safetensors", generator, drawing, note=3)
    again, _, header = load_generator(tmp_path / "g.safetensors")
    assert header["hash"] == digest == content_hash(again.state_dict())
    assert header["facts"] == {"note": 3}

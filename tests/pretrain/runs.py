"""Tiny runs, and when two of them are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from flexpose.pretrain import pretrain

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, **options: Any) -> Path:
    return pretrain(tiny.source_poses(), options.pop("config", tiny.PRETRAIN), folder, **options)


def assert_same_run(folder: Path, unbroken: Path) -> None:
    """Bit for bit the same generator, and the same curve."""
    name = "generator.safetensors"
    mine, theirs = load_file(folder / name), load_file(unbroken / name)
    assert mine.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert torch.equal(mine[key], tensor), key
    assert (folder / name).read_bytes() == (unbroken / name).read_bytes()
    assert tiny.stats(folder / "pretrain" / "stats.jsonl") == tiny.stats(
        unbroken / "pretrain" / "stats.jsonl"
    )

"""Annotators on disk: what is written comes back, and what is damaged is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flexpose.checkpoint import content_hash
from flexpose.errors import DataError, UsageError
from flexpose.match.files import load_annotator, save_annotator
from flexpose.models import Regressor, RegressorConfig
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BODY = load_skeleton("body13")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Regressor(RegressorConfig(size_px=32, num_keypoints=13, width=8))
    path = tmp_path / "annotator.safetensors"
    save_annotator(path, network, BODY, pictures=20)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any], **tensors: torch.Tensor) -> None:
    """Write the file again with its header changed."""
    with safe_open(str(path), framework="pt") as opened:
        header = json.loads(opened.metadata()["flexpose"])
    change(header)
    save_file(load_file(path) | tensors, path, metadata={"flexpose": json.dumps(header)})


def test_round_trip(file: Path) -> None:
    annotator, skeleton, header = load_annotator(file)
    assert skeleton == BODY
    assert not annotator.training
    assert header["facts"] == {"pictures": 20}
    again = load_annotator(str(file.parent))[0]
    assert content_hash(again.state_dict()) == content_hash(annotator.state_dict()) == header["hash"]
    before = file.read_bytes()
    save_annotator(file, again, skeleton, pictures=20)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda h: h.update(kind="beta"), "kind"),
        (lambda h: h.update(format=99), "format"),
        (lambda h: h.pop("hash"), "hash"),
        (lambda h: h.update(hash="0" * 64), "hash"),
        (lambda h: h.pop("regressor"), "regressor"),
        (lambda h: h.update(regressor=[32]), "regressor"),
        (lambda h: h["regressor"].update(size_px=1 << 50), "regressor"),
        (lambda h: h["regressor"].update(num_keypoints=12), None),
        (lambda h: h.pop("skeleton"), "skeleton"),
        (lambda h: h.update(skeleton="names = ["), "skeleton"),
        (lambda h: h.update(skeleton=[1]), "skeleton"),
        (lambda h: h.update(skeleton=load_skeleton("face68").to_toml()), "skeleton"),
    ],
)
def test_header_that_does_not_fit(
    file: Path, change: Callable[[dict[str, Any]], Any], field: str | None
) -> None:
    rewrite(file, change)
    with tiny.bounded_memory(), pytest.raises(DataError) as caught:
        load_annotator(file)
    assert caught.value.path == file
    assert field in {None, caught.value.field}


def test_content_that_does_not_fit(file: Path) -> None:
    weight = load_file(file)["maps.weight"]
    rewrite(file, lambda _: None, **{"maps.weight": weight * 1.01})
    with pytest.raises(DataError, match="hash"):
        load_annotator(file)
    weight[0, 0] = float("nan")
    rewrite(file, lambda _: None, **{"maps.weight": weight})
    with pytest.raises(DataError, match="NaN"):
        load_annotator(file)
    whole = file.read_bytes()
    for damaged in (b"", b"no annotator", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="safetensors"):
            load_annotator(file)
    with pytest.raises(UsageError, match="no such file"):
        load_annotator(file.parent / "absent")

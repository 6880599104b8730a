"""Devices: their names, and every command's work on a card, which is a pretended one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from flexpose._device import find_device
from flexpose._distributed import World
from flexpose._threads import compute_dtype
from flexpose.adapt import AdaptConfig, adapt, adapt_by
from flexpose.checkpoint import load_tensors
from flexpose.errors import DeviceError, UsageError
from flexpose.layer_scan import LayerScanConfig, layer_scan
from flexpose.pretrain import pretrain, train_beta
from flexpose.sample import SampleConfig, sample

from . import tiny
from .card import CARD, Card, Graph, pretend_graphs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAST_SQUARES = AdaptConfig(mixed=300, plausible=0.0, rounds=1, dtype="float32")
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2},
    "full-delta": {},
    "adagan": {},
    "freezed": {"freeze_d": 1, "judge_images": 8, "judge_batch": 4},
}


def test_the_processor_is_always_there() -> None:
    assert find_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "", "cuda:0,1"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"device must be auto, cpu, cuda or cuda:N, got"):
        find_device(name)


def test_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == "cpu"
    with pytest.raises(DeviceError, match="'cuda' is not there: torch sees 0 cards"):
        find_device("cuda")


class TestCards:
    """A torch that sees two cards, the second of which it cannot compute on."""

    @pytest.fixture(autouse=True)
    def two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ones(size: int, device: str) -> torch.Tensor:
            if device == "cuda:1":
                raise RuntimeError("no kernel image is available\nfor execution on the device")
            return torch.zeros(size)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch, "ones", ones)

    @pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0"])
    def test_the_first(self, name: str) -> None:
        assert find_device(name) == "cuda:0"

    def test_one_that_does_not_compute(self) -> None:
        with pytest.raises(DeviceError, match=r"'cuda:1' cannot be used: no kernel image is available$"):
            find_device("cuda:1")

    def test_one_too_many(self) -> None:
        with pytest.raises(DeviceError, match="'cuda:2' is not there: torch sees 2 cards"):
            find_device("cuda:2")

    def test_auto_does_without_one_that_does_not_compute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flexpose._device._trouble", lambda _: "too old")
        assert find_device("auto") == "cpu"


def test_bfloat16_where_the_card_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for native, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, n=native: n)
        assert compute_dtype("auto", "cuda:0") is expected


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.train_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    train_beta(tiny.source_poses(), tiny.BETA, folder)
    pretrain(tiny.source_poses(), tiny.LESSONS, folder)
    return folder


class TestPretended:
    """Runs on the pretended card end, publish, and give what the processor gives."""

    @pytest.fixture(autouse=True)
    def on_card(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for module in ("adapt.loop", "adapt.methods.learner", "sample.loop", "layer_scan.loop"):
            monkeypatch.setattr(
                f"flexpose.{module}.find_device", lambda name: CARD if name == "cuda" else "cpu"
            )
        enabled = torch.is_autocast_enabled  # which knows real devices only
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda name: name != "lazy" and enabled(name))
        pretend_graphs(monkeypatch)
        with Card():
            yield

    def test_the_pretence_holds(self) -> None:
        here, there = torch.ones(3), torch.ones(3).to(CARD)
        assert str(there.device) == CARD
        assert (there * 2).sum().item() == 6
        with pytest.raises(RuntimeError, match="on two devices"):
            here + there
        with pytest.raises(RuntimeError, match="rows on the card"):
            here[torch.tensor([0, 1]).to(CARD)]
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()

    def test_training(self, tmp_path: Path, source: Path) -> None:
        world = World(device=CARD)
        train_beta(tiny.source_poses(), tiny.BETA, tmp_path, world=world)
        same(tmp_path / "beta.safetensors", source / "beta.safetensors")
        # From the same beta: a difference in its last bit would grow.
        (tmp_path / "beta.safetensors").write_bytes((source / "beta.safetensors").read_bytes())
        config = replace(tiny.PRETRAIN, snapshot_kimg=0.004)
        with pytest.raises(tiny.Killed):
            pretrain(tiny.source_poses(), config, tmp_path, world=world, progress=tiny.KillAt(7))
        pretrain(tiny.source_poses(), config, tmp_path, world=world, resume=True)
        same(tmp_path / "generator.safetensors", source / "generator.safetensors", tolerance=0.05)

    @pytest.mark.parametrize("pairing", ["random", "match", "match-mix"])
    def test_descent(self, tmp_path: Path, source: Path, pairing: Any) -> None:
        config = replace(tiny.ADAPT, pairing=pairing, features=("beta", "pyramid", "keypoints"))
        for device in ("cuda", "cpu"):
            adapt(tiny.target_poses(), config, tmp_path / device, source=source, device=device)
        same(*(tmp_path / device / "adapter.safetensors" for device in ("cuda", "cpu")), tolerance=0.01)
        assert [graph.replays for graph in Graph.made] == [config.iterations]

    def test_least_squares_and_samples(self, tmp_path: Path, taught: Path) -> None:
        shots = tiny.target_poses(12)
        for device in ("cuda", "cpu"):
            adapt(shots, LEAST_SQUARES, tmp_path / device, source=taught, device=device)
        same(*(tmp_path / device / "adapter.safetensors" for device in ("cuda", "cpu")), tolerance=0.01)
        on_card = sample(tmp_path / "cpu", SampleConfig(n=100, dtype="float32"), device="cuda")
        here = sample(tmp_path / "cpu", SampleConfig(n=100, dtype="float32"), device="cpu")
        np.testing.assert_allclose(on_card.keypoints, here.keypoints, atol=0.01)
        assert Graph.made[-1].replays == 2  # blocks of 64

    @pytest.mark.parametrize("method", METHODS)
    def test_methods(self, tmp_path: Path, source: Path, method: str) -> None:
        settings = {"iterations": 2, "batch": 4, "dtype": "float32"} | METHODS[method]
        if method not in {"freezed", "adagan"}:
            settings |= {"mixed": 8, "pool": 16}
        for device in ("cuda", "cpu"):
            adapt_by(
                method,
                tiny.target_poses(),
                tmp_path / device,
                settings=settings,
                source=source,
                device=device,
            )
        name = "adapter" if method == "lora" else "generator"
        same(*(tmp_path / device / f"{name}.safetensors" for device in ("cuda", "cpu")), tolerance=0.01)

    @pytest.mark.parametrize("way", ["descent", "least-squares"])
    def test_layer_scan(self, source: Path, taught: Path, way: Any) -> None:
        config = LayerScanConfig(
            way=way,
            layers="3",
            augment=("scale",),
            iterations=2,
            seeds=1,
            pool=300,
            poses=16,
            dtype="float32",
        )
        where = source if way == "descent" else taught
        found = [layer_scan(None, config, source=where, device=device) for device in ("cuda", "cpu")]
        losses = [[cell.loss for cell in scan.cells] for scan in found]
        np.testing.assert_allclose(*losses, rtol=0.01)


def same(one: Path, other: Path, *, tolerance: float = 1e-3) -> None:
    """The tensors of two files, near enough for sums in another order."""
    tensors, expected = load_tensors(one)[0], load_tensors(other)[0]
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(tensor.numpy(), expected[name].numpy(), rtol=tolerance, atol=tolerance)

"""VGG16 and LPIPS from a local file: the same as by hand, in the loss, in runs, and what is refused."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from flexpose.adapt import AdaptConfig, adapt, adapt_by, read_adapter
from flexpose.adapt.features import Gamma
from flexpose.adapt.vgg import Vgg16, read_vgg16
from flexpose.config import config_dict, make_config
from flexpose.errors import ConfigError, DataError, UsageError
from flexpose.layer_scan import LayerScanConfig, layer_scan
from flexpose.models import Regressor, RegressorConfig, Transfer
from flexpose.pretrain import load_generator
from flexpose.sample import latents

from .. import tiny
from ..reference.vgg import convolutions, lpips, thin_vgg16

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

Weights = dict[str, torch.Tensor]


def arrays(weights: Weights) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in weights.items()}


@pytest.fixture(scope="session")
def weights() -> Weights:
    return thin_vgg16()


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(weights, path)
    return path


@pytest.fixture
def vgg(file: Path) -> Vgg16:
    return read_vgg16(file, heads=True)


@pytest.fixture(scope="module")
def beta() -> Regressor:
    torch.manual_seed(0)
    return Regressor(RegressorConfig(size_px=16, num_keypoints=5, width=8)).requires_grad_(False)


@pytest.fixture
def pictures() -> Tensor:
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    images[:, :, :5] = -1  # black, as most of a drawing
    return images


# --- the network


def test_taps_by_plain_loops(vgg: Vgg16, weights: Weights, pictures: Tensor) -> None:
    taps = vgg(pictures[:2])
    assert [tuple(tap.shape[1:]) for tap in taps] == [
        (4, 16, 16),
        (8, 8, 8),
        (16, 4, 4),
        (32, 2, 2),
        (32, 1, 1),
    ]
    for row in range(2):
        for tap, expected in zip(taps, convolutions(pictures[row].numpy(), arrays(weights)), strict=True):
            np.testing.assert_allclose(tap[row].numpy(), expected, rtol=1e-4, atol=1e-5)
            assert expected.max() > 0


def test_lpips_by_plain_loops(vgg: Vgg16, weights: Weights, pictures: Tensor) -> None:
    black = torch.full_like(pictures[:1], -1)
    mine, theirs = torch.cat([pictures[:2], black]), pictures[2:]
    found = (vgg.lpips(vgg(mine)) - vgg.lpips(vgg(theirs))).square().mean(1)
    expected = [lpips(a.numpy(), b.numpy(), arrays(weights)) for a, b in zip(mine, theirs, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_places_that_see_nothing_have_gradients(vgg: Vgg16, pictures: Tensor) -> None:
    """A length of 0 has no direction; the picture's gradient must still be a number."""
    taps = [torch.zeros_like(tap).requires_grad_() for tap in vgg(pictures)]
    torch.autograd.backward((vgg.lpips(taps) - vgg.lpips(vgg(pictures))).square().mean())
    images = torch.full_like(pictures, -1).requires_grad_()
    with torch.no_grad():
        for bias in vgg.biases:
            bias.fill_(-1)
    torch.autograd.backward((vgg.lpips(vgg(images)) - vgg.lpips(vgg(pictures.flip(3)))).square().mean())
    for tensor in (*taps, images):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_type_of_the_computation(vgg: Vgg16, pictures: Tensor) -> None:
    exact = vgg(pictures)
    coarse = vgg.compute(torch.device("cpu"), torch.bfloat16)(pictures)
    for mine, theirs in zip(coarse, exact, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.float() - theirs).abs().mean() < 0.03 * theirs.abs().mean()
    assert vgg.lpips(coarse).dtype == torch.float32
    assert coarse[0].is_contiguous(memory_format=torch.channels_last)


def test_pictures_below_16_px_are_refused(vgg: Vgg16) -> None:
    with pytest.raises(UsageError, match=r"at least 16 px for VGG16, got \[1, 3, 8, 8\]"):
        vgg(torch.zeros(1, 3, 8, 8))


# --- Gamma


def test_lpips_weighs_half_the_mean_of_pairs(
    beta: Regressor, vgg: Vgg16, weights: Weights, pictures: Tensor
) -> None:
    gamma = Gamma(("lpips",), beta, dtype=torch.float32, vgg=vgg)
    targets = gamma.targets(pictures, batch=2)
    by_hand = arrays(weights)
    pairs = [lpips(a.numpy(), b.numpy(), by_hand) for a, b in combinations(pictures, 2)]
    assert gamma.weights == [pytest.approx(2 / np.mean(pairs), rel=1e-3)]
    rows = torch.tensor([3, 0])
    expected = np.mean([lpips(pictures[i].numpy(), pictures[i + 1].numpy(), by_hand) for i in (3, 0)])
    distance = gamma.distance(pictures[rows + 1], [level[rows] for level in targets])
    assert distance.item() == pytest.approx(2 * expected / np.mean(pairs), rel=1e-3)


def test_levels_beside_the_others(beta: Regressor, vgg: Vgg16, pictures: Tensor) -> None:
    gamma = Gamma(("vgg16", "pyramid", "lpips", "keypoints"), beta, dtype=torch.float32, vgg=vgg)
    targets, other = gamma.targets(pictures, batch=3), pictures.flip(3)
    light = Gamma(("pyramid", "keypoints"), beta, dtype=torch.float32)(pictures)
    levels = gamma(pictures)
    assert len(levels) == len(light) + 5 + 1
    for mine, theirs in zip(levels, [*light, *vgg(pictures), vgg.lpips(vgg(pictures))], strict=True):
        torch.testing.assert_close(mine, theirs)
    terms = [
        (mine - theirs).square().mean() / theirs.var(0).mean()
        for mine, theirs in zip(gamma(other), levels, strict=True)
    ]
    torch.testing.assert_close(gamma.distance(other, targets), torch.stack(terms).mean(), rtol=1e-4, atol=0)
    assert gamma.distance(pictures, targets) < 1e-9


@pytest.mark.parametrize("name", ["vgg16", "lpips"])
def test_gradient_reaches_tau_alone(source: Path, vgg: Vgg16, name: Any) -> None:
    generator, _, _ = load_generator(source)
    beta = Regressor(RegressorConfig(size_px=16, width=8)).requires_grad_(False)
    gamma = Gamma((name,), beta, dtype=torch.float32, vgg=vgg)
    styles = generator.styles(generator.map(latents(4, generator.config.z_dim, 0)))
    transfer = Transfer.for_generator(generator, (3,))
    images = generator.synthesis(transfer(styles))
    targets = gamma.targets(images.detach().flip(3), batch=4)
    torch.autograd.backward(gamma.distance(images, targets))
    for parameter in transfer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in vgg.parameters())


# --- runs


@pytest.mark.parametrize("features", [("vgg16",), ("lpips", "keypoints")], ids=str)
def test_adapt(tmp_path: Path, source: Path, file: Path, vgg: Vgg16, features: Any) -> None:
    config = replace(tiny.ADAPT, features=features, features_file=file)
    shots, unbroken = tiny.target_poses(), tmp_path / "unbroken"
    adapt(shots, config, unbroken, source=source)
    transfer, header = read_adapter(unbroken)
    assert not torch.equal(transfer.matrix(3), torch.eye(8))
    digest = read_vgg16(file, heads="lpips" in features).hash
    assert header["facts"]["features"] == digest
    assert json.loads((unbroken / "adapt" / "config.json").read_text())["inputs"]["features"] == digest
    with pytest.raises(tiny.Killed):
        adapt(shots, config, tmp_path / "killed", source=source, progress=tiny.KillAt(8))
    adapt(shots, config, tmp_path / "killed", source=source, resume=True)
    assert torch.equal(read_adapter(tmp_path / "killed")[0].matrix(3), transfer.matrix(3))


def test_another_file_is_another_run(tmp_path: Path, source: Path, weights: Weights) -> None:
    path = tmp_path / "vgg16.safetensors"
    save_file(weights, path)
    config = replace(tiny.ADAPT, features=("vgg16",), features_file=path)
    with pytest.raises(tiny.Killed):
        adapt(tiny.target_poses(), config, tmp_path / "run", source=source, progress=tiny.KillAt(4))
    save_file(thin_vgg16(seed=1), path)
    with pytest.raises(ConfigError, match=r"cannot resume with other settings: inputs\.features"):
        adapt(tiny.target_poses(), config, tmp_path / "run", source=source, resume=True)
    save_file({name: tensor for name, tensor in weights.items() if "features" in name}, path)
    adapt(tiny.target_poses(), config, tmp_path / "run", source=source, resume=True)


def test_the_default_reads_no_file(unbroken: Path) -> None:
    assert "features" not in read_adapter(unbroken)[1]["facts"]
    assert "features" not in json.loads((unbroken / "adapt" / "config.json").read_text())["inputs"]


def test_other_methods_and_the_scan(tmp_path: Path, source: Path, file: Path) -> None:
    settings = {"features": ("lpips",), "features_file": str(file), "iterations": 2, "mixed": 12, "pool": 20}
    settings |= {"batch": 4, "dtype": "float32"}
    adapt_by("lora", tiny.target_poses(), tmp_path / "lora", settings=settings, source=source)
    digest = read_vgg16(file, heads=True).hash
    assert read_adapter(tmp_path / "lora")[1]["facts"]["features"] == digest
    config = LayerScanConfig(
        features=("vgg16",),
        features_file=file,
        way="descent",
        codes="matched",
        layers="3",
        augment=("none",),
        iterations=2,
        seeds=1,
        poses=8,
        pool=20,
        dtype="float32",
    )
    result = layer_scan(None, config, source=source)
    assert result.inputs["features"] == read_vgg16(file, heads=False).hash != digest
    assert all(cell.loss > 0 for cell in result.cells)


# --- files


@pytest.mark.parametrize("prefix", ["", "vgg.", "vgg16.", "net."])
def test_names_of_torchvision(tmp_path: Path, weights: Weights, vgg: Vgg16, prefix: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file({(prefix if "features" in k else "") + k: v for k, v in weights.items()}, path)
    assert read_vgg16(path, heads=True).hash == vgg.hash


def test_names_of_lpips(tmp_path: Path, weights: Weights, vgg: Vgg16) -> None:
    """Its state has the network in five slices, and its heads twice."""
    state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    for name, tensor in weights.items():
        number = int(name.split(".")[1]) if name.startswith("features") else -1
        slice_ = 1 + sum(number >= first for first in (4, 9, 16, 23))
        state[name if number < 0 else f"net.slice{slice_}.{name.removeprefix('features.')}"] = tensor
        if name.startswith("lin"):
            state[f"lins.{name[3:]}"] = tensor.clone()
    save_file(state, tmp_path / "a.safetensors")
    assert read_vgg16(tmp_path / "a.safetensors", heads=True).hash == vgg.hash


def test_half_precision_is_read(tmp_path: Path, weights: Weights, pictures: Tensor) -> None:
    save_file({name: tensor.half() for name, tensor in weights.items()}, tmp_path / "a.safetensors")
    save_file({name: tensor.half().float() for name, tensor in weights.items()}, tmp_path / "b.safetensors")
    a, b = (read_vgg16(tmp_path / f"{name}.safetensors", heads=True) for name in "ab")
    assert a.hash == b.hash
    assert torch.equal(a(pictures)[4], b(pictures)[4])


def test_a_pickle_is_not_read_and_the_message_tells_how_to_convert(
    tmp_path: Path, weights: Weights, vgg: Vgg16, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = {name: tensor for name, tensor in weights.items() if "lin" not in name}
    torch.save(network, tmp_path / "vgg16.pth")
    heads = {name: tensor for name, tensor in weights.items() if "lin" in name}
    torch.save(heads, tmp_path / "lpips.pth", _use_new_zipfile_serialization=False)
    for name in ("vgg16.pth", "lpips.pth"):
        with pytest.raises(DataError, match=rf"{name}: is a pickle, which can run code") as caught:
            read_vgg16(tmp_path / name, heads=False)
    python, *command = shlex.split(str(caught.value).partition(" by: ")[2])
    assert python == "python"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*command[:1], *command[2:], "vgg16.pth"])
    exec(command[1], {})
    assert read_vgg16(tmp_path / "features.safetensors", heads=True).hash == vgg.hash


WRONG: list[tuple[str, Any, str]] = [
    ("features.24.bias", None, r"features\.24\.bias: is missing, expected VGG16"),
    ("lin3.model.1.weight", None, r"lin3\.model\.1\.weight: is missing, expected LPIPS heads"),
    ("features.5.weight", torch.zeros(8, 4, 1, 1), r"features\.5\.weight: expected \[8, 4, 3, 3\], got \[8, 4, 1, 1\]"),
    ("features.0.weight", torch.zeros(4, 1, 3, 3), r"features\.0\.weight: expected \[4, 3, 3, 3\]"),
    ("features.7.bias", torch.zeros(8, 1), r"features\.7\.bias: expected \[8\], got \[8, 1\]"),
    ("features.7.bias", torch.tensor(1.0), r"features\.7\.bias: expected \[1\], got \[\]"),
    ("features.7.bias", torch.zeros(0), r"features\.7\.bias: expected \[1\], got \[0\]"),
    ("lin4.model.1.weight", torch.zeros(1, 5, 1, 1), r"lin4\.model\.1\.weight: expected \[1, 32, 1, 1\]"),
    ("lin1.model.1.weight", torch.full((1, 8, 1, 1), -1.0), r"lin1\.model\.1\.weight: expected weights of at least 0"),
    ("features.2.bias", torch.full((4,), torch.nan), r"features\.2\.bias: expected finite numbers"),
    ("features.2.bias", torch.zeros(4, dtype=torch.int64), r"features\.2\.bias: expected floating point numbers"),
    ("vgg.features.2.bias", torch.zeros(4), r"vgg\.features\.2\.bias: is there twice, also as"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tensor", "message"), WRONG)
def test_files_that_do_not_fit(
    tmp_path: Path, weights: Weights, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    path = tmp_path / "bad.safetensors"
    changed = {key: value for key, value in weights.items() if key != name}
    save_file(changed | ({} if tensor is None else {name: tensor}), path)
    with pytest.raises(DataError, match=rf"bad\.safetensors: {message}"):
        read_vgg16(path, heads=True)


def test_files_that_are_none(tmp_path: Path, file: Path, source: Path) -> None:
    with pytest.raises(UsageError, match=r"features_file: .*none\.safetensors: no such file"):
        read_vgg16(tmp_path / "none.safetensors", heads=False)
    for name, data in (("a", b""), ("b", b"not a file of tensors"), ("c", file.read_bytes()[:-100])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="is no safetensors file"):
            read_vgg16(tmp_path / name, heads=False)
    config = replace(tiny.ADAPT, features=("vgg16",), features_file=tmp_path / "b")
    with pytest.raises(DataError, match="is no safetensors file"):
        adapt(tiny.target_poses(), config, tmp_path / "run", source=source)
    assert not (tmp_path / "run").exists()


# --- settings


def test_settings() -> None:
    given = {"features": ["beta", "lpips"], "features_file": "a.safetensors", "iterations": 10}
    config = make_config(AdaptConfig, given)
    assert make_config(AdaptConfig, config_dict(config)) == config
    for wrong, message in (
        ({"features_file": None}, "features_file must name a safetensors file where features has lpips"),
        ({"features": ["beta"]}, "features_file is for the features vgg16 and lpips, got features beta"),
        ({"iterations": 0}, "features_file is for gradient descent: iterations must be > 0, got 0"),
        ({"features": []}, "at least one of beta, keypoints, pyramid, vgg16, lpips"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_config(AdaptConfig, given | wrong)

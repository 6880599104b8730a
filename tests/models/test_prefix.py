"""Activations that are computed once: the pictures and gradients are those of the whole run."""

from __future__ import annotations

import pytest
import torch

from flexpose.models import Generator, Prefix, Transfer

LAYERS = 6


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(size_px=16, z_dim=6, w_dim=10, channel_base=64, channel_max=12).requires_grad_(False)


@pytest.fixture
def bank(generator: Generator) -> list[torch.Tensor]:
    return generator.styles(generator.map(torch.randn(40, 6, generator=torch.Generator().manual_seed(5))))


@pytest.mark.parametrize("layer", range(1, LAYERS + 1))
@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_pictures_and_gradients_are_those_of_the_whole_run(
    generator: Generator, bank: list[torch.Tensor], layer: int, limit: int
) -> None:
    prefix = Prefix(generator.synthesis, bank, layer, limit=limit)
    assert prefix.kept == (limit > 0)
    rows = torch.tensor([39, 0, 7])
    results = []
    for start in (prefix.rows(rows), None):
        transfer = Transfer.for_generator(generator, [layer])
        with torch.no_grad():
            transfer.blocks[str(layer)].normal_(generator=torch.Generator().manual_seed(1))
        images = generator.synthesis(transfer([s[rows] for s in bank]), start=start)
        images.square().sum().backward()
        results.append((images.detach(), transfer.blocks[str(layer)].grad))
    (images, gradient), (whole, expected) = results
    torch.testing.assert_close(images, whole, rtol=1e-5, atol=1e-5)
    assert gradient is not None
    assert expected is not None
    assert expected.abs().max() > 0
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", range(1, LAYERS + 1))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_are_what_is_kept(
    generator: Generator, bank: list[torch.Tensor], layer: int, dtype: torch.dtype
) -> None:
    prefix = Prefix(generator.synthesis, bank, layer, dtype=dtype)
    _, x, image = prefix.rows(torch.arange(40))
    assert x.dtype == dtype
    total = x.numel() * x.element_size() + (0 if image is None else image.numel() * image.element_size())
    assert total <= prefix.bytes <= total + 40 * 16 * 12 + 40 * 3 * 4 * x.shape[2] ** 2

"""Latent codes by index, pictures and keypoints in blocks: sample i knows nothing of the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flexpose.errors import DataError
from flexpose.models import Generator, Regressor, RegressorConfig, Transfer
from flexpose.sample import draw_images, latents, read_keypoints
from flexpose.sample.draw import map_codes


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    # Wide enough that matrix products of other batch sizes take other paths.
    return Generator(
        size_px=16, z_dim=96, w_dim=80, mapping_layers=3, channel_base=128, channel_max=24
    ).requires_grad_(False)


@pytest.fixture(scope="module")
def beta() -> Regressor:
    torch.manual_seed(1)
    return Regressor(RegressorConfig(size_px=16, num_keypoints=5, width=8)).requires_grad_(False)


# --- latents


@pytest.mark.parametrize(("begin", "n"), [(0, 1), (0, 64), (0, 65), (63, 2), (64, 64), (100, 150), (1000, 3)])
def test_a_row_is_a_function_of_its_index(begin: int, n: int) -> None:
    whole = latents(1100, 7, seed=5)
    part = latents(n, 7, seed=5, begin=begin)
    assert part.shape == (n, 7)
    assert part.dtype == torch.float32
    assert torch.equal(part, whole[begin : begin + n])


def test_none() -> None:
    assert latents(0, 7, seed=5).shape == (0, 7)


def test_seed_and_stream_matter() -> None:
    base = latents(10, 7, seed=0)
    for other in (latents(10, 7, seed=1), latents(10, 7, seed=0, stream=1), latents(10, 7, seed=0, begin=64)):
        assert not torch.isclose(base, other).any()
    assert torch.equal(base, latents(10, 7, seed=0))


def test_rows_are_standard_normal() -> None:
    z = latents(5000, 8, seed=2).double()
    assert (z.mean(0).abs() < 5 / 5000**0.5).all()
    torch.testing.assert_close(
        torch.cov(z.T), torch.eye(8, dtype=torch.float64), atol=5 * (2 / 5000) ** 0.5, rtol=0
    )
    assert len(torch.unique(z[:, 0])) > 4990


# --- blocks

SIZES = [1, 2, 5, 63, 64, 65, 130]


@pytest.mark.parametrize("n", SIZES)
def test_codes_do_not_depend_on_how_many_there_are(generator: Generator, n: int) -> None:
    z = latents(200, 96, seed=0)
    whole = map_codes(generator, z)
    assert torch.equal(map_codes(generator, z[:n]), whole[:n])
    torch.testing.assert_close(whole, generator.map(z), rtol=1e-4, atol=1e-5)
    half = map_codes(generator, z[:n], truncation=0.5)
    torch.testing.assert_close(half, generator.map(z[:n], truncation=0.5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pictures_and_keypoints_do_not_depend_on_how_many_there_are(
    generator: Generator, beta: Regressor, n: int, dtype: torch.dtype
) -> None:
    codes = map_codes(generator, latents(140, 96, seed=0))
    images = draw_images(generator, codes, dtype=dtype)
    assert images.shape == (140, 3, 16, 16)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(draw_images(generator, codes[:n], dtype=dtype), images[:n])
    read = read_keypoints(beta, images, dtype=dtype)
    assert read.shape == (140, 5, 2)
    np.testing.assert_array_equal(read_keypoints(beta, images[:n], dtype=dtype), read[:n])


def test_pictures_are_rounded_to_levels(generator: Generator) -> None:
    codes = generator.map(latents(4, 96, seed=0))
    exact = generator.synthesize(generator.styles(codes)).double().numpy()
    expected = np.clip(np.rint((exact + 1) * 127.5), 0, 255)
    got = draw_images(generator, codes).astype(np.float64)
    assert np.abs(got - expected).max() <= 1
    assert (got == expected).mean() > 0.999
    assert got.std() > 10


def test_tau_is_applied(generator: Generator) -> None:
    torch.manual_seed(2)
    transfer = Transfer.for_generator(generator, [3]).requires_grad_(False)
    codes = generator.map(latents(70, 96, seed=0))
    source = draw_images(generator, codes)
    np.testing.assert_array_equal(draw_images(generator, codes, transfer=transfer), source)
    transfer.blocks["3"].normal_()
    changed = draw_images(generator, codes, transfer=transfer)
    assert (changed != source).mean() > 0.1
    folded = draw_images(transfer.folded(generator), codes)
    assert np.abs(folded.astype(int) - changed).max() <= 1


def test_keypoints_are_beta_s(beta: Regressor) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), np.uint8)
    expected = beta(torch.from_numpy(images).float() / 127.5 - 1).normalized.numpy()
    np.testing.assert_allclose(read_keypoints(beta, images), expected, atol=1e-5)


def test_nothing_in_nothing_out(generator: Generator, beta: Regressor) -> None:
    assert map_codes(generator, torch.empty(0, 96)).shape == (0, 80)
    images = draw_images(generator, torch.empty(0, 80))
    assert images.shape == (0, 3, 16, 16)
    assert read_keypoints(beta, images).shape == (0, 5, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pictures_that_are_no_numbers_are_never_rounded_to_some(generator: Generator, value: float) -> None:
    codes = generator.map(latents(70, 96, seed=0))
    codes[66, 0] = value
    with pytest.raises(DataError, match="NaN or infinity"):
        draw_images(generator, codes)

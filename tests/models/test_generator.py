"""The generator in three calls: which style acts where, and that a run can be taken up at any layer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from flexpose.config import make_config
from flexpose.errors import ConfigError, UsageError
from flexpose.models import Generator, GeneratorConfig
from flexpose.models.synthesis import channels_at
from flexpose.ops import modulated_conv2d_ref, upfirdn2d

LAYERS = 6  # at 16 px
WIDTHS = [12, 8, 4]  # at 4, 8 and 16 px


def make(**changes: Any) -> Generator:
    """A small generator in which everything that is zero at birth is not."""
    torch.manual_seed(0)
    sizes = {
        "size_px": 16,
        "z_dim": 6,
        "w_dim": 10,
        "mapping_layers": 2,
        "channel_base": 64,
        "channel_max": 12,
    }
    generator = Generator(GeneratorConfig(**(sizes | changes))).requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith(("noise_strength", "bias")):
            parameter.add_(torch.randn_like(parameter) * 0.3)
    generator.mapping.w_avg.normal_()
    return generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    return make()


@pytest.fixture
def z() -> torch.Tensor:
    return torch.randn(3, 6, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def styles(generator: Generator, z: torch.Tensor) -> list[torch.Tensor]:
    return generator.styles(generator.map(z))


@pytest.mark.parametrize("options", [{}, {"noise": "none"}, {"dtype": torch.bfloat16}, {"truncation": 0.7}])
def test_three_calls_are_the_forward(generator: Generator, z: torch.Tensor, options: dict[str, Any]) -> None:
    rest = dict(options)
    w = generator.map(z, truncation=rest.pop("truncation", 1.0))
    assert w.shape == (3, 10)
    image = generator.synthesize(generator.styles(w), **rest)
    assert image.shape == (3, 3, 16, 16)
    assert image.dtype == torch.float32
    assert torch.equal(generator(z, **options), image)


# --- layers


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
def test_layers_are_numbered_from_coarse_to_fine_two_at_each_resolution(size: int) -> None:
    generator = make(size_px=size, channel_base=2 * size)
    assert generator.num_layers == 2 * (int(math.log2(size)) - 1)
    expected = [side for side in (4, 8, 16, 32, 64, 128) if side <= size for _ in range(2)]
    assert generator.layer_resolutions == expected
    assert (
        len(generator.styles(generator.map(torch.randn(1, 6))))
        == generator.num_layers + int(math.log2(size)) - 1
    )


def test_128_px_has_the_paper_s_12_layers() -> None:
    assert make(size_px=128, channel_base=128).num_layers == 12


def test_widths_of_the_styles(generator: Generator, styles: list[torch.Tensor]) -> None:
    # Each layer is styled at its input: 4x4 twice, then up to 8x8 from the width at 4x4, and so on; colours last.
    assert [s.shape[1] for s in styles] == [12, 12, 12, 8, 8, 4, *WIDTHS]
    assert generator.synthesis.style_dims == [12, 12, 12, 8, 8, 4, *WIDTHS]
    assert [channels_at(r, 64, 12) for r in (4, 8, 16)] == WIDTHS


def test_styles_are_the_affine_layers(generator: Generator, z: torch.Tensor) -> None:
    w = generator.map(z)
    for style, affine in zip(generator.styles(w), generator.affine, strict=True):
        torch.testing.assert_close(
            style, w @ affine.weight.T / math.sqrt(10) + affine.bias, rtol=1e-5, atol=1e-5
        )


def test_untrained_styles_are_about_one() -> None:
    torch.manual_seed(0)
    generator = Generator(size_px=16, channel_base=64, channel_max=12)
    for affine in generator.affine:
        assert (affine.bias == 1).all()


def test_one_code_is_the_code_of_each_layer(generator: Generator, z: torch.Tensor) -> None:
    w = generator.map(z)
    repeated = w[:, None].expand(-1, LAYERS + 1, -1)
    for one, each in zip(generator.styles(w), generator.styles(repeated), strict=True):
        torch.testing.assert_close(one, each, rtol=1e-6, atol=1e-6)


def changed_styles(generator: Generator, w: torch.Tensor, code: int) -> set[int]:
    codes = w[:, None].repeat(1, LAYERS + 1, 1)
    before = generator.styles(codes)
    codes[:, code] += 1
    after = generator.styles(codes)
    return {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if not torch.equal(a, b)}


def test_each_code_has_its_layer_and_colours_take_the_one_after(
    generator: Generator, z: torch.Tensor
) -> None:
    """As in StyleGAN2, the colours of a resolution share the code of the next resolution's first layer."""
    w = generator.map(z)
    owned = [changed_styles(generator, w, code) for code in range(LAYERS + 1)]
    first_colour = LAYERS
    assert owned == [
        {0},
        {1},
        {2, first_colour},
        {3},
        {4, first_colour + 1},
        {5},
        {first_colour + 2},
    ]


@pytest.mark.parametrize(("resolution", "codes"), [(4, 3), (8, 5), (16, 7)])
def test_codes_beyond_a_resolution_do_not_reach_it(
    generator: Generator, z: torch.Tensor, resolution: int, codes: int
) -> None:
    w = generator.map(z)[:, None].repeat(1, LAYERS + 1, 1)
    before = generator.synthesize(generator.styles(w), last_resolution=resolution)
    assert before.shape == (3, 3, resolution, resolution)
    for code in range(LAYERS + 1):
        changed = w.clone()
        changed[:, code] += 1
        after = generator.synthesize(generator.styles(changed), last_resolution=resolution)
        assert torch.equal(before, after) == (code >= codes)


# --- the network itself


def by_reference(generator: Generator, styles: list[torch.Tensor]) -> torch.Tensor:
    """StyleGAN2's skip architecture (Fig. 7b), written down again over the reference convolution."""
    net = generator.synthesis
    x, image = net.const.expand(len(styles[0]), -1, -1, -1), None
    for number, layer in enumerate(net.layers, 1):
        x = modulated_conv2d_ref(
            x,
            layer.weight / math.sqrt(layer.weight.shape[1] * 9),
            styles[number - 1],
            up=2 if number % 2 and number > 1 else 1,
            noise=layer.noise_const * layer.noise_strength,
            bias=layer.bias,
        )
        if number % 2 == 0:
            colour = net.to_rgb[number // 2 - 1]
            rgb = modulated_conv2d_ref(
                x,
                colour.weight / math.sqrt(colour.weight.shape[1]),
                styles[LAYERS + number // 2 - 1],
                demodulate=False,
                bias=colour.bias,
                activation="linear",
            )
            image = rgb if image is None else upfirdn2d(image, up=2, padding=(2, 1)) + rgb
    assert image is not None
    return image


def test_image_equals_the_reference_network_in_float64(z: torch.Tensor) -> None:
    generator = make().double()
    styles = generator.styles(generator.map(z.double()))
    image = generator.synthesize(styles, dtype=torch.float64)
    torch.testing.assert_close(image, by_reference(generator, styles), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("layer", range(1, LAYERS + 1))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_run_taken_up_before_a_layer_is_the_whole_run(
    generator: Generator, styles: list[torch.Tensor], layer: int, dtype: torch.dtype
) -> None:
    whole = generator.synthesize(styles, dtype=dtype)
    x, image = generator.synthesis.features_before(styles, layer, dtype=dtype)
    assert x.dtype == dtype
    assert x.shape[1] == generator.synthesis.style_dims[layer - 1]
    assert (image is None) == (layer <= 2)
    assert torch.equal(generator.synthesis(styles, dtype=dtype, start=(layer, x, image)), whole)


@pytest.mark.parametrize("layer", range(1, LAYERS + 1))
def test_what_enters_a_layer_does_not_depend_on_its_style_or_later_ones(
    generator: Generator, styles: list[torch.Tensor], layer: int
) -> None:
    later = [style + 1 if number >= layer else style for number, style in enumerate(styles[:LAYERS], 1)]
    before = generator.synthesis.features_before(styles, layer)[0]
    assert torch.equal(generator.synthesis.features_before([*later, *styles[LAYERS:]], layer)[0], before)
    if layer > 1:
        earlier = [style + 1 if number < layer else style for number, style in enumerate(styles[:LAYERS], 1)]
        after = generator.synthesis.features_before([*earlier, *styles[LAYERS:]], layer)[0]
        assert not torch.equal(after, before)


def test_fade_goes_from_the_doubled_picture_to_the_own_one(
    generator: Generator, styles: list[torch.Tensor]
) -> None:
    coarse = generator.synthesize(styles, last_resolution=8)
    faded = [generator.synthesize(styles, last_resolution=16, fade=f) for f in (0.0, 0.25, 1.0)]
    torch.testing.assert_close(faded[0], upfirdn2d(coarse, up=2, padding=(2, 1)))
    torch.testing.assert_close(faded[1], torch.lerp(faded[0], faded[2], 0.25), rtol=1e-5, atol=1e-5)
    assert torch.equal(faded[2], generator.synthesize(styles))
    assert (faded[2] - faded[0]).abs().max() > 0.1


def test_bfloat16_is_close(generator: Generator, styles: list[torch.Tensor]) -> None:
    exact, low = (generator.synthesize(styles, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert low.dtype == torch.float32
    assert 0 < (low - exact).norm() / exact.norm() < 0.02


def test_noise(generator: Generator, styles: list[torch.Tensor]) -> None:
    const, again, none = (generator.synthesize(styles, noise=noise) for noise in ("const", "const", "none"))
    assert torch.equal(const, again)
    assert not torch.equal(const, none)
    torch.manual_seed(1)
    first, second = (generator.synthesize(styles, noise="random") for _ in range(2))
    torch.manual_seed(1)
    third = generator.synthesize(styles, noise="random")
    assert not torch.equal(first, second)
    assert torch.equal(first, third)
    assert "synthesis.layers.0.noise_const" in generator.state_dict(), (
        "constant noise is part of the generator"
    )


def test_noise_of_no_strength_is_none(z: torch.Tensor) -> None:
    generator = make()
    for layer in generator.synthesis.layers:
        layer.noise_strength.zero_()
    images = [generator(z, noise=noise) for noise in ("const", "random", "none")]
    torch.testing.assert_close(images[0], images[2])
    torch.testing.assert_close(images[1], images[2])


def test_truncation_goes_to_the_mean_code(generator: Generator, z: torch.Tensor) -> None:
    w, mean = generator.map(z), generator.mapping.w_avg
    assert torch.equal(generator.map(z, truncation=0.0), mean.expand(3, -1))
    torch.testing.assert_close(generator.map(z, truncation=0.25), mean + 0.25 * (w - mean))


def test_samples_do_not_meet(generator: Generator, z: torch.Tensor) -> None:
    whole = generator(z)
    for i in range(3):
        torch.testing.assert_close(generator(z[i : i + 1]), whole[i : i + 1], rtol=1e-4, atol=1e-5)


def test_every_parameter_is_trained() -> None:
    generator = make().requires_grad_(True)
    generator(torch.randn(2, 6)).square().sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    assert generator.num_parameters() == sum(p.numel() for p in generator.parameters())


# --- errors


def test_wrong_codes(generator: Generator) -> None:
    with pytest.raises(UsageError, match=r"z must be \[N, 6\], got \[2, 7\]"):
        generator.map(torch.zeros(2, 7))
    with pytest.raises(UsageError, match=r"z must be \[N, 6\], got \[6\]"):
        generator.map(torch.zeros(6))


@pytest.mark.parametrize("shape", [(2, 7, 9), (2, 6, 10), (2, 9), (10,), (2, 7, 10, 1)])
def test_wrong_intermediate_codes(generator: Generator, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"w must be \[N, 10\] or \[N, 7, 10\], got \[") as caught:
        generator.styles(torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)


def test_wrong_styles(generator: Generator, styles: list[torch.Tensor]) -> None:
    with pytest.raises(UsageError, match="styles must have widths"):
        generator.synthesize(styles[:-1])
    with pytest.raises(UsageError, match="styles must have widths"):
        generator.synthesize([styles[3], *styles[1:]])


@pytest.mark.parametrize("resolution", [2, 5, 32])
def test_wrong_resolution(generator: Generator, styles: list[torch.Tensor], resolution: int) -> None:
    with pytest.raises(UsageError, match=rf"last_resolution must be one of \[4, 8, 16\], got {resolution}"):
        generator.synthesize(styles, last_resolution=resolution)


def test_wrong_sizes() -> None:
    with pytest.raises(ConfigError, match="size_px must be a power of two >= 8, got 24"):
        make_config(GeneratorConfig, {"size_px": 24})

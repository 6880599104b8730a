"""tau: the identity at birth, a matrix on the named layers afterwards, the same folded into A."""

from __future__ import annotations

import copy
from typing import Any, get_args

import pytest
import torch

from flexpose.errors import UsageError
from flexpose.models import Generator, GeneratorConfig, Transfer, TransferForm

FORMS = get_args(TransferForm)
LAYERS = 6


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    # 16 channels at 4x4: the square root of d is exact, so that U can be compared bit for bit.
    sizes = {
        "size_px": 16,
        "z_dim": 6,
        "w_dim": 10,
        "mapping_layers": 2,
        "channel_base": 64,
        "channel_max": 16,
    }
    generator = Generator(GeneratorConfig(**sizes)).requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith("bias"):
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return generator


@pytest.fixture
def styles(generator: Generator) -> list[torch.Tensor]:
    return generator.styles(generator.map(torch.randn(3, 6, generator=torch.Generator().manual_seed(5))))


def trained(generator: Generator, layers: list[int], form: Any = "equalized", seed: int = 0) -> Transfer:
    torch.manual_seed(seed)
    transfer = Transfer.for_generator(generator, layers, form=form)
    with torch.no_grad():
        for block in transfer.blocks.values():
            block.normal_(std=1.0 if form == "equalized" else 0.2)
    return transfer


def assert_same(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layers", [[3], [1, 3], [1, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_birth_pictures_are_the_source_s_bit_for_bit(
    generator: Generator, styles: list[torch.Tensor], form: Any, layers: list[int], dtype: torch.dtype
) -> None:
    transfer = Transfer.for_generator(generator, layers, form=form)
    assert_same(transfer(styles), styles)
    source = generator.synthesize(styles, dtype=dtype)
    assert torch.equal(generator.synthesize(transfer(styles), dtype=dtype), source)
    for layer in range(1, LAYERS + 1):
        assert torch.equal(transfer.matrix(layer), torch.eye(generator.synthesis.style_dims[layer - 1]))


@pytest.mark.parametrize("form", FORMS)
def test_only_the_named_layers_change(generator: Generator, styles: list[torch.Tensor], form: Any) -> None:
    before = [style.clone() for style in styles]
    changed = trained(generator, [5, 2], form)(styles)
    assert_same(styles, before)
    different = [not torch.equal(a, b) for a, b in zip(changed, styles, strict=True)]
    assert different == [False, True, False, False, True, False, False, False, False]


def test_only_the_blocks_are_trained(generator: Generator) -> None:
    transfer = trained(generator, [2, 5])
    assert {name: p.numel() for name, p in transfer.named_parameters()} == {
        "blocks.2": 16**2,
        "blocks.5": 8**2,
    }
    assert transfer.layers == (2, 5)


def test_equalized_and_raw_blocks(generator: Generator) -> None:
    """U = I + V / sqrt(d) and U = I + V: with d = 16 the root is 4 and nothing is rounded."""
    for form, scale in (("equalized", 4.0), ("raw", 1.0)):
        transfer = trained(generator, [3], form)
        block = transfer.blocks["3"].detach()
        assert block.shape == (16, 16)
        assert torch.equal(transfer.matrix(3), torch.eye(16) + block / scale)
        assert torch.equal(transfer.matrix(4), torch.eye(8))


@pytest.mark.parametrize("form", FORMS)
def test_styles_are_multiplied_by_u(generator: Generator, styles: list[torch.Tensor], form: Any) -> None:
    transfer = trained(generator, [1, 4], form).double()
    exact = [style.double() for style in styles]
    for layer in (1, 4):
        expected = torch.stack([transfer.matrix(layer) @ s for s in exact[layer - 1]])  # s' = U s, Eq. 6
        torch.testing.assert_close(transfer(exact)[layer - 1], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_folded_is_applied(generator: Generator, form: Any) -> None:
    transfer = trained(generator, [1, 3, 6], form)
    before = copy.deepcopy(generator.state_dict())
    folded = transfer.folded(generator)
    z = torch.randn(4, 6)
    w = generator.map(z)
    torch.testing.assert_close(
        folded.synthesize(folded.styles(w)),
        generator.synthesize(transfer(generator.styles(w))),
        rtol=1e-4,
        atol=1e-4,
    )
    assert not torch.allclose(folded(z), generator(z), atol=0.01)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, before[name]), "the source stays"
        touched = any(name.startswith(f"affine.{layer - 1}.") for layer in (1, 3, 6))
        assert torch.equal(folded.state_dict()[name], tensor) == (not touched), name
    assert folded.num_parameters() == generator.num_parameters()


# --- strength and mixtures


@pytest.mark.parametrize("form", FORMS)
def test_strength(generator: Generator, styles: list[torch.Tensor], form: Any) -> None:
    transfer = trained(generator, [3, 4], form)
    assert_same(transfer.scaled(0.0)(styles), styles)
    assert_same(transfer.scaled(1.0)(styles), transfer(styles))
    for amount in (0.5, 2.0, -1.0):
        scaled = transfer.scaled(amount)
        for layer in (3, 4):
            eye = torch.eye(len(transfer.matrix(layer)))
            torch.testing.assert_close(scaled.matrix(layer) - eye, amount * (transfer.matrix(layer) - eye))
    assert not torch.equal(transfer.matrix(3), torch.eye(16)), "scaling makes a copy"


@pytest.mark.parametrize(
    "forms", [("equalized", "equalized"), ("raw", "raw"), ("equalized", "raw"), ("raw", "equalized")]
)
def test_mixture_of_two(generator: Generator, forms: tuple[Any, Any]) -> None:
    one, other = trained(generator, [3], forms[0], 1), trained(generator, [3, 5], forms[1], 2)
    for amount in (0.0, 0.25, 1.0):
        mixed = one.interpolated(other, amount)
        assert mixed.layers == (3, 5)
        for layer in range(1, LAYERS + 1):
            expected = (1 - amount) * one.matrix(layer) + amount * other.matrix(layer)
            torch.testing.assert_close(mixed.matrix(layer), expected, rtol=1e-5, atol=1e-6)
    middle = one.interpolated(other, 0.5)
    swapped = other.interpolated(one, 0.5)
    torch.testing.assert_close(middle.matrix(3), swapped.matrix(3), rtol=1e-5, atol=1e-6)


# --- errors


@pytest.mark.parametrize("layers", [[], [0], [7], [-1], [3, 3], [1, 99]])
def test_wrong_layers(generator: Generator, layers: list[int]) -> None:
    with pytest.raises(UsageError, match="layers must be distinct numbers from 1 to 6, got") as caught:
        Transfer.for_generator(generator, layers)
    assert str(layers) in str(caught.value)


def test_wrong_form(generator: Generator) -> None:
    with pytest.raises(UsageError, match="form must be 'equalized' or 'raw', got 'lora'"):
        Transfer.for_generator(generator, [3], form="lora")  # type: ignore[arg-type]


def test_another_generator(generator: Generator) -> None:
    other = Generator(size_px=16, z_dim=6, w_dim=10, channel_base=64, channel_max=12)
    transfer = trained(generator, [3])
    with pytest.raises(UsageError, match="generator must have style widths"):
        transfer.folded(other)
    with pytest.raises(UsageError, match="other must have style widths"):
        transfer.interpolated(Transfer.for_generator(other, [3]), 0.5)

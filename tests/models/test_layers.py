"""Equalised layers and the mapping network, by their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from flexpose.models import MappingNetwork
from flexpose.models.layers import EqualConv2d, EqualLinear


def lrelu(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, 0.2 * x, x) * math.sqrt(2)


@pytest.mark.parametrize("activate", [False, True])
def test_linear(activate: bool) -> None:
    layer = EqualLinear(7, 3, activate=activate, bias_init=0.5)
    assert (layer.bias == 0.5).all()
    x = torch.randn(4, 7)
    expected = x @ layer.weight.T / math.sqrt(7) + layer.bias
    torch.testing.assert_close(layer(x), lrelu(expected) if activate else expected)


def test_stored_weights_are_unit_normal_whatever_the_width() -> None:
    torch.manual_seed(0)
    for width in (16, 1024):
        layer = EqualLinear(width, 64)
        assert abs(layer.weight.std().item() - 1) < 0.1
        assert abs(layer(torch.randn(256, width)).std().item() - 1) < 0.15
    conv = EqualConv2d(64, 64, 3, activate=False)
    assert abs(conv.weight.std().item() - 1) < 0.1
    assert abs(conv(torch.randn(4, 64, 12, 12))[..., 1:-1, 1:-1].std().item() - 1) < 0.15


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("gain", [1.0, math.sqrt(0.5)])
@pytest.mark.parametrize("activate", [False, True])
def test_convolution(kernel: int, gain: float, activate: bool) -> None:
    layer = EqualConv2d(5, 4, kernel, activate=activate)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 5, 6, 7)
    expected = F.conv2d(x, layer.weight / math.sqrt(5 * kernel**2), layer.bias, padding=kernel // 2)
    expected = (lrelu(expected) if activate else expected) * gain
    torch.testing.assert_close(layer(x, gain=gain), expected, rtol=1e-5, atol=1e-5)


def plainly(layer: EqualConv2d, x: torch.Tensor, gain: float) -> torch.Tensor:
    """The layer in torch's operators: filter, convolution, activation, one after the other."""
    kernel = layer.weight.shape[2]
    pad = kernel // 2
    weight, bias = layer.weight / math.sqrt(layer.weight.shape[1] * kernel**2), layer.bias
    if layer.down == 1:
        y = F.conv2d(x, weight, bias, padding=pad)
    else:
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 8
        fir = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
        x = F.conv2d(x, fir, padding=1 + pad, groups=x.shape[1])
        y = F.conv2d(x if pad else x[:, :, ::2, ::2], weight, bias, stride=2 if pad else 1)
    return (lrelu(y) if layer.activate else y) * gain


@pytest.mark.parametrize(("kernel", "down"), [(1, 1), (3, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize(("activate", "bias"), [(True, True), (False, False), (False, True)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("size", [(8, 8), (9, 12)])
def test_a_layer_and_its_gradients_are_those_of_its_formula(
    kernel: int,
    down: int,
    activate: bool,
    bias: bool,
    dtype: torch.dtype,
    tolerance: float,
    size: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    layer = EqualConv2d(32, 32, kernel, down=down, activate=activate, bias=bias).to(dtype)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(3, 32, *size, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    found = []
    for run in (layer, lambda x, gain: plainly(layer, x, gain)):
        y = run(x, gain=math.sqrt(0.5))
        first = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()], create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), layer.weight)
        found.append([t.detach() for t in (y, *first, *second)])
    for a, b in zip(*found, strict=True):
        # float32 sums of hundreds of terms are compared by their norm.
        assert (a - b).norm() <= (tolerance if dtype == torch.float64 else 4 * tolerance) * b.norm()


@pytest.mark.parametrize("kernel", [1, 3])
def test_halving_keeps_the_place(kernel: int) -> None:
    """Main path and skip must look at the same spot: output p stands for the input about 2 p + 1/2."""
    layer = EqualConv2d(1, 1, kernel, down=2, activate=False, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, kernel // 2, kernel // 2] = 1 / layer.weight_gain
    rows = torch.arange(12.0)[:, None] + 100 * torch.arange(12.0)
    got = layer(rows.expand(1, 1, 12, 12))[0, 0]
    assert got.shape == (6, 6)
    middle = 2 * torch.arange(6.0) + 0.5
    expected = middle[:, None] + 100 * middle
    torch.testing.assert_close(got[1:-1, 1:-1], expected[1:-1, 1:-1])


def test_convolution_computes_in_the_input_s_type() -> None:
    layer = EqualConv2d(5, 4, 3, down=2)
    x = torch.randn(2, 5, 8, 8)
    y = layer(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=0.05, atol=0.05)


def test_mapping_is_the_layers_on_normalised_codes() -> None:
    torch.manual_seed(0)
    network = MappingNetwork(6, 10, 3)
    assert [(layer.weight.shape[1], layer.weight.shape[0]) for layer in network.layers] == [
        (6, 10),
        (10, 10),
        (10, 10),
    ]
    z = torch.randn(5, 6)
    x = z / z.square().mean(1, keepdim=True).sqrt()
    for layer in network.layers:
        x = lrelu(x @ layer.weight.T / math.sqrt(layer.weight.shape[1]) + layer.bias)
    torch.testing.assert_close(network(z), x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network(z * 7), network(z), rtol=1e-5, atol=1e-5)
    assert network(torch.zeros(2, 6)).isfinite().all()
    assert not network.w_avg.requires_grad
    assert "w_avg" in network.state_dict()

"""The kernels on a card; the same comparisons as on the processor, and what only a card has."""

from __future__ import annotations

import pytest
import torch

from flexpose import cuda
from flexpose.ops import upfirdn2d

pytestmark = pytest.mark.needs_cuda


@pytest.fixture(autouse=True)
def _kernels():
    usable, reason = cuda.available()
    assert usable, reason


def test_modulated_convolution_and_its_gradients(parity, case, dtype):
    inputs = parity.make_inputs(case, dtype, "cuda")
    y = parity.check_forward(inputs)
    parity.check_backward(inputs, y)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("size", [4, 17, 64])
def test_channels_and_sides_of_real_networks(parity, up, size):
    for dtype in (torch.bfloat16, torch.float16):
        inputs = parity.make_inputs(
            parity.case(9, 128, 264, size, size, up=up, noise=(-1, -1)), dtype, "cuda"
        )
        y = parity.check_forward(inputs)
        parity.check_backward(inputs, y)


def test_every_layout_of_x_gives_the_same(parity, dtype):
    inputs = parity.make_inputs(parity.case(2, 8, 16, 6, 5), dtype, "cuda")
    expected = parity.check_forward(inputs)
    wide = torch.zeros(2, 8, 6, 10, dtype=dtype, device="cuda")
    wide[..., ::2] = inputs.x
    for x in (inputs.x.contiguous(), wide[..., ::2]):
        assert torch.equal(parity.check_forward(inputs, x=x), expected)


def test_an_empty_batch_is_an_empty_result(parity, dtype):
    inputs = parity.make_inputs(parity.case(0, 8, 3, 4, 5, up=2), dtype, "cuda")
    y = cuda.modulated_conv2d(inputs.x, inputs.weight, inputs.styles, **inputs.options)
    assert y.shape == (0, 3, 8, 10)


def test_work_goes_to_the_current_stream(parity):
    inputs = parity.make_inputs(parity.case(4, 64, 64, 32, 32, up=2), torch.float32, "cuda")
    expected = parity.check_forward(inputs)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        x = inputs.x * 0 + inputs.x  # there only when the stream has slept
        found = cuda.modulated_conv2d(x, inputs.weight, inputs.styles, **inputs.options)
    stream.synchronize()
    assert torch.equal(found, expected)


def test_a_cuda_graph_replays_it_with_new_inputs(parity):
    inputs = parity.make_inputs(parity.case(2, 32, 40, 8, 8, up=2), torch.bfloat16, "cuda")
    packed = cuda.pack_weight(inputs.weight, inputs.x)
    x = inputs.x.clone(memory_format=torch.channels_last)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        cuda.modulated_conv2d(x, packed, inputs.styles, **inputs.options)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = cuda.modulated_conv2d(x, packed, inputs.styles, **inputs.options)
    x.copy_(inputs.x.flip(0))
    graph.replay()
    expected = cuda.modulated_conv2d(inputs.x.flip(0), packed, inputs.styles, **inputs.options)
    assert torch.equal(y, expected)


def test_results_are_the_same_in_every_run(parity):
    inputs = parity.make_inputs(parity.case(3, 64, 72, 33, 31, up=2), torch.bfloat16, "cuda")
    grad = torch.randn(3, 72, 66, 62, device="cuda").bfloat16()

    def run():
        y = cuda.modulated_conv2d(inputs.x, inputs.weight, inputs.styles, **inputs.options)
        return (
            y,
            *cuda.modulated_conv2d_backward(
                grad, inputs.x, inputs.weight, inputs.styles, y, **inputs.options
            ),
        )

    first = run()
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


def test_more_than_two_to_the_31_elements(parity):
    free, _ = torch.cuda.mem_get_info()
    if free < 24 * 2**30:
        pytest.skip("needs 24 GiB of free memory on the card")
    n, c, side = 40, 1024, 256  # 2.7e9 elements in x
    x = torch.zeros(n, c, side, side, dtype=torch.bfloat16, device="cuda").to(
        memory_format=torch.channels_last
    )
    x[-1] = torch.randn(c, side, side, device="cuda")
    weight = torch.randn(8, c, 1, 1, device="cuda").bfloat16() / 32
    styles = torch.ones(n, c, device="cuda")
    found = cuda.modulated_conv2d(x, weight, styles, activation="linear")
    assert not found[:-1].any()
    alone = cuda.modulated_conv2d(x[-1:], weight, styles[-1:], activation="linear")
    assert alone.any()
    assert torch.equal(found[-1:], alone)


@pytest.mark.parametrize("channels", [3, 16])
def test_filter_and_activation(parity, channels, dtype):
    x = torch.randn(2, channels, 13, 9, dtype=torch.float64, device="cuda").to(dtype)
    for up, down, padding in ((1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 2, (0, 3))):
        truth = upfirdn2d(x.double(), up=up, down=down, padding=padding)
        found = cuda.filter_and_activate(x, up=up, down=down, padding=padding)
        assert parity.relative(found, truth) <= parity.tolerance[dtype]
    y = cuda.filter_and_activate(x, filtered=False, activation="lrelu", clamp=1.0)
    truth = (torch.nn.functional.leaky_relu(x.double(), 0.2) * 2.0**0.5).clamp(-1, 1)
    assert parity.relative(y, truth) <= parity.tolerance[dtype]
    assert cuda.activation_gradient(y, y, clamp=1.0).isfinite().all()

"""The kernels' own code, run by fibers on the processor, against the reference in float64."""

from __future__ import annotations

import pytest
import torch

from flexpose import cuda
from flexpose.cuda.ptxas import kernel_name
from flexpose.ops import bias_act, bias_act_ref, upfirdn2d, upfirdn2d_ref


def test_modulated_convolution_and_its_gradients(emulated, parity, case, dtype):
    inputs = parity.make_inputs(case, dtype)
    y = parity.check_forward(inputs)
    parity.check_backward(inputs, y)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_threads_and_copies_changes_no_bit(emulated, parity, up, seed):
    inputs = parity.make_inputs(parity.case(2, 72, 40, 5, 6, up=up), torch.bfloat16)
    grad = torch.randn(2, 40, 5 * up, 6 * up).bfloat16()

    def run():
        y = cuda.modulated_conv2d(inputs.x, inputs.weight, inputs.styles, **inputs.options)
        gradients = cuda.modulated_conv2d_backward(
            grad, inputs.x, inputs.weight, inputs.styles, y, **inputs.options
        )
        return (y, *gradients)

    first = run()
    emulated(seed=seed)
    assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


@pytest.mark.parametrize("shared_limit", [48 * 1024, 227 * 1024])
@pytest.mark.parametrize("processors", [1, 1000])
def test_cards_of_every_size_cut_other_tiles_and_agree(emulated, parity, shared_limit, processors):
    inputs = parity.make_inputs(parity.case(2, 24, 72, 5, 4, up=2), torch.float16)
    emulated(shared_limit=shared_limit, processors=processors)
    y = parity.check_forward(inputs)
    parity.check_backward(inputs, y)


def test_nothing_around_the_tensors_is_read_or_written(emulated, parity):
    inputs = parity.make_inputs(parity.case(2, 40, 72, 5, 7, noise=(2, 1, -1, -1)), torch.bfloat16)

    def islanded(tensor):
        memory = torch.full((tensor.numel() + 4096,), float("nan"), dtype=tensor.dtype)
        view = memory[2048:-2048].view(tensor.permute(0, 2, 3, 1).shape if tensor.ndim == 4 else tensor.shape)
        view = view.permute(0, 3, 1, 2) if tensor.ndim == 4 else view
        return view.copy_(tensor), memory

    x, around = islanded(inputs.x)
    styles, around_styles = islanded(inputs.styles)
    y = parity.check_forward(inputs, x=x, styles=styles)
    for memory in (around, around_styles):
        assert memory[:2048].isnan().all()
        assert memory[-2048:].isnan().all()
    parity.check_backward(inputs, y)


def test_every_layout_of_x_gives_the_same(emulated, parity):
    inputs = parity.make_inputs(parity.case(2, 8, 16, 6, 5), torch.float32)
    expected = parity.check_forward(inputs)
    wide = torch.zeros(2, 8, 6, 10)
    wide[..., ::2] = inputs.x
    for x in (inputs.x.contiguous(), wide[..., ::2], inputs.x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert torch.equal(parity.check_forward(inputs, x=x), expected)


def test_a_packed_weight_serves_many_calls_and_a_wide_one_is_rounded_late(emulated, parity):
    inputs = parity.make_inputs(parity.case(2, 16, 24, 4, 5), torch.bfloat16)
    packed = cuda.pack_weight(inputs.weight, inputs.x)
    expected = parity.check_forward(inputs)
    assert torch.equal(parity.check_forward(inputs, weight=packed), expected)
    assert torch.equal(parity.check_forward(inputs, weight=inputs.weight.float()), expected)
    assert packed.forward.shape == (9, 24, 16)
    assert torch.equal(packed.forward[5], inputs.weight[:, :, 1, 2])
    assert torch.equal(packed.backward[5], inputs.weight[:, :, 1, 2].T)
    assert torch.allclose(packed.energy, inputs.weight.float().square().sum((2, 3)))


@pytest.mark.parametrize(
    ("channels", "kind", "kernels"),
    [
        (72, torch.bfloat16, ["ConvMma<BFloat, 128>", "Filter<BFloat, 8>"]),
        (64, torch.float16, ["ConvMma<Half, 64>", "Filter<Half, 8>"]),
        (7, torch.float16, ["ConvMma<Half, 64>", "Filter<Half, 1>"]),
        (72, torch.float32, ["ConvPlain<float>", "Filter<float, 4>"]),
    ],
)
def test_each_type_and_width_has_its_kernel(emulated, emulator, parity, channels, kind, kernels):
    inputs = parity.make_inputs(parity.case(2, 8, channels, 4, 5, up=2, tau=False, demodulate=False), kind)
    packed = cuda.pack_weight(inputs.weight, inputs.x)
    emulated(dry=True, processors=1)
    cuda.modulated_conv2d(inputs.x, packed, inputs.styles, **inputs.options)
    assert [kernel_name(name) for name, _, _ in emulator.launches()] == kernels


def test_tiles_waste_little_at_the_sizes_of_real_networks(emulated, emulator, parity):
    packed = cuda.pack_weight(torch.zeros(64, 32, 3, 3).bfloat16(), torch.zeros(1, dtype=torch.bfloat16))
    for side, up, most in (
        (4, 1, 1.0),
        (8, 1, 1.0),
        (16, 2, 1.35),
        (32, 2, 1.35),
        (64, 1, 1.0),
        (64, 2, 1.35),
    ):
        emulated(dry=True, processors=1, shared_limit=227 * 1024)
        x = torch.zeros(128, 32, side, side, dtype=torch.bfloat16)
        cuda.modulated_conv2d(x, packed, torch.zeros(128, 32), demodulate=False, up=up)
        _, blocks, shared_bytes = emulator.launches()[0]
        points = 128 * (side**2 if up == 1 else (2 * side + 1) ** 2)
        assert blocks * 128 <= most * points
        assert shared_bytes <= 113 * 1024  # two blocks on one processor


def test_an_empty_batch_is_an_empty_result(emulated, parity, dtype):
    inputs = parity.make_inputs(parity.case(0, 8, 3, 4, 5, up=2), dtype)
    y = cuda.modulated_conv2d(inputs.x, inputs.weight, inputs.styles, **inputs.options)
    assert y.shape == (0, 3, 8, 10)
    of_x, of_styles = cuda.modulated_conv2d_backward(
        y, inputs.x, inputs.weight, inputs.styles, y, **inputs.options
    )
    assert of_x.shape == (0, 8, 4, 5)
    assert of_styles.shape == (0, 8)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("down", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1), (1, 3), (-1, 2)])
@pytest.mark.parametrize("channels", [3, 16])
def test_filter_is_upfirdn2d(emulated, parity, up, down, padding, channels, dtype):
    x = torch.randn(2, channels, 6, 9, dtype=torch.float64).to(dtype)
    truth = upfirdn2d_in_float64(x, up, down, padding)
    found = cuda.filter_and_activate(x, up=up, down=down, padding=padding)
    assert parity.relative(found, truth) <= parity.tolerance[dtype]


def upfirdn2d_in_float64(x, up, down, padding):
    if min(padding) >= 0:
        return upfirdn2d(x.double(), up=up, down=down, padding=padding)
    assert padding == (-1, 2)
    spread = upfirdn2d(x.double(), up=up, padding=(0, 2))
    return spread[:, :, 1::1, 1::1][:, :, ::down, ::down]


def test_the_filter_is_its_own_adjoint(emulated):
    for up, down, before, size in ((1, 1, 1, 8), (2, 1, 2, 6), (1, 2, 1, 9), (1, 2, 2, 8)):
        x = torch.randn(1, 4, size, size, dtype=torch.float64)
        y = cuda.filter_and_activate(x, up=up, down=down, padding=(before, 1))
        g = torch.randn_like(y)
        after = (size - 1) * up + 4 - (3 - before) - y.shape[2] * down
        turned = cuda.filter_and_activate(g, up=down, down=up, padding=(3 - before, after), gain=up * up)
        assert turned.shape == x.shape
        assert torch.allclose((y * g).sum(), (x * turned).sum())


@pytest.mark.parametrize(
    ("up", "down", "padding"), [(1, 1, (2, 2)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 2, (3, 0))]
)
def test_operators_of_training_on_the_kernels_are_the_definition(emulated, monkeypatch, up, down, padding):
    """Results, gradients and the gradients of these, where nothing but the kernels computes; one side is odd."""
    import sys

    for module in ("bias_act", "upfirdn"):
        monkeypatch.setattr(sys.modules[f"flexpose.ops.{module}"], "plain_choice", lambda x: "cuda")
        monkeypatch.setattr(sys.modules[f"flexpose.ops.{module}"], "cuda_kernels", lambda: cuda)
    found = []
    for filtered, act in ((upfirdn2d, bias_act), (upfirdn2d_ref, bias_act_ref)):
        random = torch.Generator().manual_seed(0)
        x = torch.randn(2, 5, 6, 9, dtype=torch.float64, generator=random).requires_grad_()
        bias = torch.randn(5, dtype=torch.float64, generator=random).requires_grad_()
        y = act(filtered(x, up=up, down=down, padding=padding), bias, clamp=1.5)
        once = torch.autograd.grad(y.pow(3).sum(), [x, bias], create_graph=True)
        twice = torch.autograd.grad(once[0].square().sum(), [x, bias])
        found.append([t.detach() for t in (y, *once, *twice)])
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("activation", ["linear", "lrelu"])
@pytest.mark.parametrize("clamp", [None, 0.8])
@pytest.mark.parametrize("channels", [5, 8])
def test_bias_and_activation_and_their_gradient(emulated, parity, activation, clamp, channels, dtype):
    x = torch.randn(3, channels, 5, 4, dtype=torch.float64).to(dtype)
    bias = torch.randn(channels, dtype=torch.float64).to(dtype)
    kwargs = {"activation": activation, "clamp": clamp}
    y = cuda.filter_and_activate(x, filtered=False, bias=bias, activation_gain=1.5, **kwargs)

    z = (x.double() + bias.double()[:, None, None]).requires_grad_()
    active = torch.nn.functional.leaky_relu(z, 0.2) if activation == "lrelu" else z
    truth = active * 1.5 if clamp is None else (active * 1.5).clamp(-clamp, clamp)
    assert parity.relative(y, truth.detach()) <= parity.tolerance[dtype]

    grad = torch.randn(y.shape, dtype=torch.float64).to(dtype)
    found = cuda.activation_gradient(grad, y, gain=1.5, **kwargs)
    (expected,) = torch.autograd.grad(truth, z, grad.double())
    if clamp is not None:  # a rounded result may be at the limit where the exact one is just below
        expected = torch.where(
            y.abs() >= torch.tensor(clamp, dtype=dtype), torch.zeros_like(expected), expected
        )
    assert parity.relative(found, expected) <= parity.tolerance[dtype]


def test_nan_goes_through_and_infinity_is_clamped(emulated):
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0]).reshape(1, 1, 2, 2)
    y = cuda.filter_and_activate(x, filtered=False, clamp=3.0).flatten()
    assert y[0].isnan()
    assert y[1:].tolist() == [3.0, -3.0, 2.0]


def test_sixteen_bit_numbers_round_as_torch_rounds_them(emulated):
    values = torch.cat(
        [torch.randn(4000) * 10.0**e for e in range(-9, 6)]
        + [torch.tensor([65504.0, 65519.0, 65520.0, 2.0**-24, 2.0**-25, 0.0, -0.0, float("inf")])]
    )
    grid = values[: values.numel() // 8 * 8].reshape(1, 8, -1, 1)
    for dtype in (torch.float16, torch.bfloat16):
        # A 1 x 1 weight as float32, packed, is rounded once and nothing else happens to it.
        packed = cuda.pack_weight(grid.reshape(8, -1, 1, 1), grid.to(dtype))
        assert torch.equal(
            packed.forward.flatten().view(torch.int16), grid.flatten().to(dtype).view(torch.int16)
        )
        # Through the epilogue alone it is widened and rounded back.
        same = cuda.filter_and_activate(grid.to(dtype), filtered=False)
        assert torch.equal(same.flatten(), grid.to(dtype).flatten())

"""What is refused before anything is launched: in Python, and once more at the edge of the compiled module."""

from __future__ import annotations

import pytest
import torch

from flexpose import cuda
from flexpose.errors import DeviceError, UsageError


@pytest.fixture
def inputs(emulated, parity):
    return parity.make_inputs(parity.case(2, 8, 16, 4, 5), torch.float32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(2, 7, 4, 5)}, r"x must be \[N, 8, H, W\], got \[2, 7, 4, 5\]"),
        ({"x": torch.zeros(2, 8, 4)}, r"x must be \[N, 8, H, W\]"),
        ({"x": torch.zeros(2, 8, 4, 5, dtype=torch.int32)}, "x must be of float32, .*, got int32"),
        ({"weight": torch.zeros(16, 8, 5, 5)}, r"weight must be \[O, I, k, k\] with k 1 or 3"),
        ({"weight": torch.zeros(16, 8, 3, 1)}, r"weight must be \[O, I, k, k\] with k 1 or 3"),
        ({"styles": torch.zeros(2, 9)}, r"styles must be \[2, 8\], got \[2, 9\]"),
        ({"tau": torch.zeros(8, 7)}, r"tau must be \[8, 8\], got \[8, 7\]"),
        ({"bias": torch.zeros(15)}, r"bias must be \[16\], got \[15\]"),
        ({"noise": torch.zeros(3, 1, 4, 5)}, r"noise must broadcast to \[2, 1, 4, 5\]"),
        ({"up": 3}, "up must be 1 or 2"),
        ({"activation": "relu"}, "activation must be 'linear' or 'lrelu', got 'relu'"),
        ({"gain": float("nan")}, "gain must be finite"),
        ({"clamp": -1.0}, "clamp must not be negative"),
        ({"styles": torch.zeros(2, 8, device="meta")}, "styles must be on cpu like x, got meta"),
    ],
)
def test_a_wrong_argument_is_named(inputs, changed, message):
    arguments = {"x": inputs.x, "weight": inputs.weight, "styles": inputs.styles, **inputs.options, **changed}
    with pytest.raises(UsageError, match=message):
        cuda.modulated_conv2d(**arguments)


def test_the_backward_pass_checks_its_own_arguments(inputs):
    y = cuda.modulated_conv2d(inputs.x, inputs.weight, inputs.styles, **inputs.options)
    rest = (inputs.x, inputs.weight, inputs.styles)
    with pytest.raises(UsageError, match=r"grad_y must be \[2, 16, 4, 5\]"):
        cuda.modulated_conv2d_backward(y[:, :8], *rest, y, **inputs.options)
    with pytest.raises(UsageError, match=r"y must be \[2, 16, 4, 5\]"):
        cuda.modulated_conv2d_backward(y, *rest, y.double(), **inputs.options)


def test_a_weight_packed_for_another_type_is_refused(inputs):
    packed = cuda.pack_weight(inputs.weight, inputs.x.double())
    with pytest.raises(UsageError, match=r"weight must be packed for torch\.float32, got torch\.float64"):
        cuda.modulated_conv2d(inputs.x, packed, inputs.styles)


def test_filters_and_gradients_refuse_what_does_not_fit(emulated):
    x = torch.zeros(1, 4, 2, 2)
    with pytest.raises(UsageError, match="large enough"):
        cuda.filter_and_activate(x)
    with pytest.raises(UsageError, match="up and down must be 1 or 2"):
        cuda.filter_and_activate(x, up=3, padding=(4, 4))
    with pytest.raises(UsageError, match=r"bias must be \[4\]"):
        cuda.filter_and_activate(x, filtered=False, bias=torch.zeros(5))
    with pytest.raises(UsageError, match="grad_y must be like y"):
        cuda.activation_gradient(x, x.double())


def test_supports_says_which_tensors_have_a_kernel():
    x, weight = torch.zeros(2, 8, 4, 4), torch.zeros(3, 8, 3, 3)
    assert cuda.supports(x, weight, 2)
    assert cuda.supports(x.bfloat16(), weight, 1)
    assert cuda.supports(x[:0], weight, 1)
    assert not cuda.supports(x, weight, 3)
    assert not cuda.supports(x.int(), weight, 1)
    assert not cuda.supports(x, torch.zeros(3, 8, 5, 5), 1)
    assert not cuda.supports(x, torch.zeros(3, 7, 3, 3), 1)
    assert not cuda.supports(x[0], weight, 1)
    huge = torch.zeros(1, 1, 1, 1).expand(2**16, 8, 2**8, 2**8)
    assert not cuda.supports(huge, weight, 1)


def modconv(module, **changed):
    arguments = {
        "dtype": "float32",
        "up": 1,
        "demodulate": False,
        "x_shape": (1, 8, 4, 4),
        "out_c": 8,
        "kernel": 3,
        "x": 16,
        "packed": 16,
        "energy": 0,
        "styles": 16,
        "tau": 0,
        "modulated": 0,
        "factors": 0,
        "epilogue": module.Epilogue(),
        "y": 16,
    }
    return module.Modconv(**(arguments | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": 8}, "aligned to 16 bytes"),
        ({"packed": 0}, "a pointer that is needed is null"),
        ({"demodulate": True}, "a pointer that is needed is null"),
        ({"tau": 16}, "a pointer that is needed is null"),
        ({"kernel": 5}, "kernel must be 1 or 3"),
        ({"x_shape": (1, 8, 0, 4)}, "sizes must be positive"),
        ({"x_shape": (-1, 8, 4, 4)}, "sizes must be positive"),
        ({"x_shape": (2**15, 8, 2**8, 2**8)}, "less than 2\\^31 pixels"),
        ({"x_shape": (2**62, 8, 2**62, 2**62)}, "less than 2\\^31 pixels"),
        ({"out_c": 0}, "sizes must be positive"),
    ],
)
def test_the_module_itself_trusts_no_number(emulator, changed, message):
    assert emulator.modconv_workspace(modconv(emulator)) == 0
    args = modconv(emulator, **changed)
    with pytest.raises(ValueError, match=message):
        emulator.modconv_workspace(args)
    with pytest.raises(ValueError, match=message):
        emulator.modconv_forward(args, workspace=0, bytes=0, stream=0)


def test_the_module_refuses_unknown_types_and_a_small_workspace(emulator):
    with pytest.raises(ValueError, match=r"dtype must be .* got int8"):
        modconv(emulator, dtype="int8")
    args = modconv(emulator, up=2)
    assert emulator.modconv_workspace(args) == 9 * 9 * 8 * 4 // 256 * 256 + 256
    with pytest.raises(RuntimeError, match="status -3"):
        emulator.modconv_forward(args, workspace=0, bytes=64, stream=0)


def test_a_status_of_the_module_becomes_a_device_error(emulated, parity):
    emulated(shared_limit=16)
    inputs = parity.make_inputs(parity.case(1, 8, 8, 4, 4), torch.float32)
    with pytest.raises(DeviceError, match=r"flexpose\._cuda: .*status -2"):
        cuda.modulated_conv2d(inputs.x, inputs.weight, inputs.styles)

"""The fused modulated convolution on a card, and its gradients for the input and the styles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import load
from ._call import address, dense, dtype_name, epilogue, launching, same_device, wide, wide_dtype

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PackedWeight", "modulated_conv2d", "modulated_conv2d_backward", "pack_weight", "supports"]

_KERNELS = (1, 3)
_MOST_PIXELS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """A weight in the order of the kernels, for pictures of one type; it does not follow later changes of the weight.

    Attributes:
        shape: of the weight, [O, I, k, k].
        forward: [k * k, O, I].
        backward: [k * k, I, O].
        energy: [O, I], squares summed over the kernel.
    """

    shape: tuple[int, int, int, int]
    forward: Tensor
    backward: Tensor
    energy: Tensor


def supports(x: Tensor, weight: Tensor, up: int) -> bool:
    """Whether there is a kernel: floats of 16 to 64 bits, a weight of 1 x 1 or 3 x 3, less than 2^31 pixels."""
    if str(x.dtype).removeprefix("torch.") not in {"float32", "float64", "float16", "bfloat16"}:
        return False
    if x.ndim != 4 or weight.ndim != 4 or up not in {1, 2} or x.device != weight.device:
        return False
    n, i, h, w = x.shape
    shapes = weight.shape[1] == i and weight.shape[2] == weight.shape[3] and weight.shape[2] in _KERNELS
    sizes = min(i, h, w, weight.shape[0]) > 0 and n * (h * up + 1) * (w * up + 1) <= _MOST_PIXELS
    return shapes and sizes


def pack_weight(weight: Tensor, like: Tensor) -> PackedWeight:
    """Order a weight for pictures of the type of `like`.

    Args:
        weight: [O, I, k, k], k 1 or 3; of the type of `like`, or wider.
        like: a picture.

    Raises:
        UsageError: a shape or a type is wrong.
        DeviceError: the kernels cannot be used here, or CUDA reports an error.
    """
    import torch

    module = load.kernels()
    name, total = dtype_name(like), wide_dtype(like)
    same_device(like, weight=weight)
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] not in _KERNELS:
        raise UsageError(f"weight must be [O, I, k, k] with k 1 or 3, got {list(weight.shape)}")
    if weight.dtype not in {like.dtype, total}:
        weight = weight.to(total)
    weight = wide(weight, weight.dtype)
    o, i, k, _ = weight.shape
    forward = torch.empty((k * k, o, i), dtype=like.dtype, device=like.device)
    backward = torch.empty((k * k, i, o), dtype=like.dtype, device=like.device)
    energy = torch.empty((o, i), dtype=total, device=like.device)
    with launching(like) as stream:
        module.pack_weight(
            dtype=name,
            weight_dtype=dtype_name(weight),
            shape=(o, i, k),
            weight=address(weight),
            packed=address(forward),
            transposed=address(backward),
            energy=address(energy),
            stream=stream,
        )
    return PackedWeight((o, i, k, k), forward, backward, energy)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Checked arguments in the kernels' form. It keeps the tensors alive whose addresses are in `args`."""

    args: Any
    x: Tensor
    y: Tensor
    tensors: tuple[Tensor | None, ...]


def _prepare(
    module: Any,
    x: Tensor,
    weight: PackedWeight,
    styles: Tensor,
    y: Tensor | None,
    tau: Tensor | None,
    noise: Tensor | None,
    bias: Tensor | None,
    demodulate: bool,
    up: int,
    activation: str,
    gain: float | None,
    clamp: float | None,
) -> _Prepared:
    import torch

    if x.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise UsageError(f"x must be [N, {weight.shape[1]}, H, W], got {list(x.shape)}")
    n, i, h, w = x.shape
    o, _, k, _ = weight.shape
    if styles.shape != (n, i):
        raise UsageError(f"styles must be [{n}, {i}], got {list(styles.shape)}")
    if tau is not None and tau.shape != (i, i):
        raise UsageError(f"tau must be [{i}, {i}], got {list(tau.shape)}")
    if bias is not None and bias.shape != (o,):
        raise UsageError(f"bias must be [{o}], got {list(bias.shape)}")
    if weight.forward.dtype != x.dtype:
        raise UsageError(f"weight must be packed for {x.dtype}, got {weight.forward.dtype}")
    same_device(x, weight=weight.forward, styles=styles, y=y, tau=tau, noise=noise, bias=bias)
    total = wide_dtype(x)
    x = dense(x.detach())
    styles = wide(styles, total)
    tau = None if tau is None else wide(tau, total)
    bias = None if bias is None else wide(bias, total)
    if noise is not None:
        try:
            noise = wide(noise, total).broadcast_to(n, 1, h * up, w * up)[:, 0]
        except RuntimeError as error:
            raise UsageError(
                f"noise must broadcast to [{n}, 1, {h * up}, {w * up}], got {list(noise.shape)}"
            ) from error
    modulated = None if tau is None else torch.empty_like(styles)
    factors = styles.new_empty(n, o) if demodulate else None
    shape = (n, o, h * up, w * up)
    if y is None:
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    elif y.shape != shape or y.dtype != x.dtype:
        raise UsageError(f"y must be {list(shape)} of {x.dtype}, got {list(y.shape)} of {y.dtype}")
    y = dense(y.detach())
    args = module.Modconv(
        dtype=dtype_name(x),
        up=up,
        demodulate=demodulate,
        x_shape=(n, i, h, w),
        out_c=o,
        kernel=k,
        x=address(x),
        packed=address(weight.forward),
        energy=address(weight.energy),
        styles=address(styles),
        tau=address(tau),
        modulated=address(modulated),
        factors=address(factors),
        epilogue=epilogue(module, noise, bias, activation=activation, gain=gain, clamp=clamp),
        y=address(y),
    )
    return _Prepared(args, x, y, (styles, tau, noise, bias, modulated, factors))


def _workspace(x: Tensor, size: int) -> Tensor:
    import torch

    return torch.empty(size, dtype=torch.uint8, device=x.device)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor | PackedWeight,
    styles: Tensor,
    *,
    tau: Tensor | None = None,
    demodulate: bool = True,
    up: int = 1,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    activation: str = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`flexpose.ops.modulated_conv2d` on a card, without autograd; on torch's current stream.

    Factors and sums are kept in float (in double for double); 16-bit types are rounded when x is scaled, behind a
    transposed convolution (`up` 2), and at the end.

    Args:
        x: [N, I, H, W]; channels_last is read as it is, any other layout is copied first.
        weight: [O, I, k, k], k 1 or 3; or `pack_weight` of it, which a frozen network does once.
        styles: [N, I].
        tau: [I, I], or None.
        demodulate: scale each output channel to unit expected variance.
        up: 1, or 2 for twofold upsampling with the [1, 3, 3, 1] filter.
        noise: broadcastable to [N, 1, H * up, W * up].
        bias: [O].
        activation: "lrelu" (slope 0.2) or "linear".
        gain: factor after the activation; None is sqrt(2) for lrelu and 1 for linear.
        clamp: limit of the absolute value of the result.

    Returns:
        [N, O, H * up, W * up] in channels_last.

    Raises:
        UsageError: a shape, a type or an option is wrong.
        DeviceError: the kernels cannot be used here, or CUDA reports an error.

    Source: StyleGAN2, arXiv:1912.04958, Eq. 1 and 3. Definition: `flexpose.ops.modulated_conv2d_ref`.
    """
    module = load.kernels()
    packed = weight if isinstance(weight, PackedWeight) else pack_weight(weight, x)
    call = _prepare(
        module, x, packed, styles, None, tau, noise, bias, demodulate, up, activation, gain, clamp
    )
    if x.shape[0] == 0:
        return call.y
    with launching(x) as stream:
        size = module.modconv_workspace(call.args)
        workspace = _workspace(x, size)
        module.modconv_forward(call.args, workspace=address(workspace), bytes=size, stream=stream)
    return call.y


def modulated_conv2d_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor | PackedWeight,
    styles: Tensor,
    y: Tensor,
    *,
    tau: Tensor | None = None,
    demodulate: bool = True,
    up: int = 1,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    activation: str = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
    need_x: bool = True,
    need_styles: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `modulated_conv2d` for the input and for the styles; none for the weight is computed.

    Args:
        grad_y: [N, O, H * up, W * up], the gradient of the result.
        x: as it was passed to the forward call, like `weight` and all options.
        weight: see `modulated_conv2d`.
        styles: see `modulated_conv2d`.
        y: the result of the forward call. What the activation was given is read from it, so that nothing else is kept.
        tau: see `modulated_conv2d`, like all that follow.
        demodulate: as it was.
        up: as it was.
        noise: as it was.
        bias: as it was.
        activation: as it was.
        gain: as it was.
        clamp: as it was; results at the limit pass no gradient.
        need_x: whether the first gradient is wanted.
        need_styles: whether the second one is.

    Returns:
        (the gradient for x, like x in channels_last; the gradient g [N, I] for tau @ styles, float or double). The
        gradient for styles is ``g @ tau``, that for tau ``g.T @ styles``.

    Raises:
        UsageError: a shape, a type or an option is wrong.
        DeviceError: the kernels cannot be used here, or CUDA reports an error.
    """
    import torch

    module = load.kernels()
    packed = weight if isinstance(weight, PackedWeight) else pack_weight(weight, x)
    call = _prepare(module, x, packed, styles, y, tau, noise, bias, demodulate, up, activation, gain, clamp)
    if grad_y.shape != call.y.shape or grad_y.dtype != x.dtype or grad_y.device != x.device:
        raise UsageError(
            f"grad_y must be {list(call.y.shape)} of {x.dtype} on {x.device}, "
            f"got {list(grad_y.shape)} of {grad_y.dtype} on {grad_y.device}"
        )
    grad_y = dense(grad_y.detach())
    grad_x = torch.empty_like(call.x) if need_x else None
    grad_modulated = call.x.new_empty(styles.shape, dtype=wide_dtype(x)) if need_styles else None
    if x.shape[0] == 0 or not (need_x or need_styles):
        return grad_x, grad_modulated
    args = module.ModconvBackward(
        forward=call.args,
        transposed=address(packed.backward),
        grad_y=address(grad_y),
        grad_x=address(grad_x),
        grad_modulated=address(grad_modulated),
    )
    with launching(x) as stream:
        size = module.modconv_backward_workspace(args)
        workspace = _workspace(x, size)
        module.modconv_gradient(args, workspace=address(workspace), bytes=size, stream=stream)
    return grad_x, grad_modulated

"""What every call of a kernel needs: dense pictures, wide factors, addresses, the stream, and errors that say what."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

__all__ = ["address", "dense", "dtype_name", "epilogue", "launching", "same_device", "wide", "wide_dtype"]

_DTYPES = ("float32", "float64", "float16", "bfloat16")


def dtype_name(x: Tensor) -> str:
    """The kernels' name of the type of `x`.

    Raises:
        UsageError: there is no kernel for it.
    """
    name = str(x.dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise UsageError(f"x must be of {', '.join(_DTYPES)}, got {name}")
    return name


def wide_dtype(x: Tensor) -> torch.dtype:
    """The type of sums, factors, noise and bias beside pictures of the type of `x`."""
    import torch

    return torch.float64 if x.dtype == torch.float64 else torch.float32


def dense(x: Tensor) -> Tensor:
    """[N, C, H, W] whose memory is [N, H, W, C] without gaps and begins at a multiple of 16 bytes."""
    import torch

    x = x.contiguous(memory_format=torch.channels_last)
    # Sides of one leave a stride open; a view may begin anywhere.
    expected = (x.shape[1] * x.shape[2] * x.shape[3], 1, x.shape[1] * x.shape[3], x.shape[1])
    strides_fit = all(
        size == 1 or have == want for size, have, want in zip(x.shape, x.stride(), expected, strict=True)
    )
    return x if strides_fit and x.data_ptr() % 16 == 0 else x.clone(memory_format=torch.channels_last)


def wide(values: Tensor, dtype: torch.dtype) -> Tensor:
    """`values` as the kernels take factors: of the wide type, contiguous, at a multiple of 16 bytes."""
    values = values.detach().to(dtype).contiguous()
    return values if values.data_ptr() % 16 == 0 else values.clone()


def address(tensor: Tensor | None) -> int:
    """Where the memory of a tensor begins, 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def same_device(x: Tensor, **others: Tensor | None) -> None:
    """Raise UsageError if a tensor is not where `x` is."""
    for name, other in others.items():
        if other is not None and other.device != x.device:
            raise UsageError(f"{name} must be on {x.device} like x, got {other.device}")


def epilogue(
    module: Any,
    noise: Tensor | None,
    bias: Tensor | None,
    *,
    activation: str,
    gain: float | None,
    clamp: float | None,
) -> Any:
    """What follows the filter: noise [N, H, W] with any strides and bias [C], both wide, kept by the caller."""
    if activation not in {"linear", "lrelu"}:
        raise UsageError(f"activation must be 'linear' or 'lrelu', got {activation!r}")
    default = 2.0**0.5 if activation == "lrelu" else 1.0
    return module.Epilogue(
        noise=address(noise),
        noise_stride=(0, 0, 0) if noise is None else noise.stride(),
        bias=address(bias),
        leaky=activation == "lrelu",
        gain=default if gain is None else gain,
        clamp=float("inf") if clamp is None else clamp,
    )


@contextmanager
def launching(x: Tensor) -> Iterator[int]:
    """Make the card of `x` current and yield torch's stream there; what the kernels report becomes an error.

    Raises:
        UsageError: an argument is wrong.
        DeviceError: CUDA reports an error.
    """
    import torch

    try:
        if x.device.type != "cuda":  # the emulator's
            yield 0
            return
        with torch.cuda.device(x.device):
            yield torch.cuda.current_stream().cuda_stream
    except RuntimeError as error:
        if str(error).startswith("flexpose._cuda:"):
            raise DeviceError(str(error)) from error
        raise
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(str(error)) from error

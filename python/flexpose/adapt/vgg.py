"""VGG16's convolutions and LPIPS' heads, from a file that the user has: nothing is fetched, and no pickle is read."""

from __future__ import annotations

import math
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F

from ..checkpoint import content_hash, not_finite
from ..errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

__all__ = ["Vgg16", "read_vgg16"]

_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""torchvision's numbers of the convolutions; a block ends at a tap, and the next begins by halving."""
_LEAST_PX = 1 << (len(_BLOCKS) - 1)
_CONV = re.compile(r"(?:vgg16\.|vgg\.|net\.)?(?:features|slice[1-5])\.(\d+)\.(weight|bias)")
_HEAD = re.compile(r"(?:lpips\.)?lin([0-4])\.model\.1\.weight")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, pictures in [0, 1]
_NO_LENGTH = 1e-20  # added to squared lengths
_PICKLES = (b"PK\x03\x04", b"\x80")  # how files of torch.save begin: a zip of pickles, or a pickle
_CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; s.save_file({k: v.clone() for f in sys.argv[2:] '
    "for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}, sys.argv[1])\" "
    "features.safetensors"
)


class Vgg16(nn.Module):
    """VGG16 as torchvision has it up to relu5_3, frozen; the heads of LPIPS if they were asked for.

    Attributes:
        hash: content hash of the weights, those of the heads included.
        heads: [C] of each tap, at least 0; or none.

    Source: Simonyan and Zisserman, arXiv:1409.1556, configuration D; Zhang et al., arXiv:1801.03924 (LPIPS 0.1).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.hash = content_hash(weights)
        numbers = [number for block in _BLOCKS for number in block]
        self.weights = nn.ParameterList([weights[f"features.{number}.weight"] for number in numbers])
        self.biases = nn.ParameterList([weights[f"features.{number}.bias"] for number in numbers])
        names = [f"lin{tap}" for tap in range(len(_BLOCKS)) if f"lin{tap}" in weights]
        self.heads = nn.ParameterList([weights[name].flatten() for name in names])
        # Of pictures in [-1, 1]; LPIPS' own shift and scale are the same numbers.
        self.register_buffer("mean", 2 * torch.tensor(_MEAN)[:, None, None] - 1)
        self.register_buffer("std", 2 * torch.tensor(_STD)[:, None, None])
        self.requires_grad_(False)

    def compute(self, device: torch.device, dtype: torch.dtype) -> Vgg16:
        """This network, its convolutions in that type; what comes before and after them stays float32."""
        self.to(device)
        self.weights.to(dtype).to(memory_format=torch.channels_last)
        self.biases.to(dtype)
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Activations relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 of [N, 3, S, S] in [-1, 1].

        Raises:
            UsageError: pictures below 16 px, of which the last tap would see nothing.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < _LEAST_PX:
            raise UsageError(
                f"images must be [N, 3, S, S] of at least {_LEAST_PX} px for VGG16, got {list(images.shape)}"
            )
        x = (images.float() - self.mean) / self.std
        x = x.to(self.weights[0].dtype).contiguous(memory_format=torch.channels_last)
        layers = zip(self.weights, self.biases, strict=True)
        taps = []
        for number, block in enumerate(_BLOCKS):
            if number:
                x = F.max_pool2d(x, 2)
            for weight, bias in islice(layers, len(block)):
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            taps.append(x)
        return taps

    def lpips(self, taps: list[Tensor]) -> Tensor:
        """[N, D] float32, of which the mean squared difference is LPIPS.

        LPIPS gives each place's channels the length 1, weighs their squared differences by the head, takes the mean
        over places and the sum over taps.
        """
        parts = []
        for tap, head in zip(taps, self.heads, strict=True):
            x = tap.float()
            unit = x * (x.square().sum(1, keepdim=True) + _NO_LENGTH).rsqrt()
            share = head.float() / (tap.shape[2] * tap.shape[3])
            parts.append((unit * share.sqrt()[:, None, None]).flatten(1))
        joined = torch.cat(parts, 1)
        return joined * math.sqrt(joined.shape[1])


def read_vgg16(path: str | PathLike[str], *, heads: bool) -> Vgg16:
    """Read VGG16 from a safetensors file with torchvision's names, ``features.0.weight`` and so on.

    The names may begin with ``vgg16.``, ``vgg.`` or ``net.``, and LPIPS' own (``net.slice1.0.weight``) are
    understood, too. Other tensors, such as the classifier's, are left alone. How many channels there are the tensors
    tell.

    Args:
        path: the file.
        heads: LPIPS' linear heads (``lin0.model.1.weight`` to ``lin4``) must be in it.

    Raises:
        UsageError: there is no such file.
        DataError: it is no safetensors file, or a tensor is missing, of another shape or not finite.
    """
    if not Path(path).is_file():
        raise UsageError(f"features_file: {path}: no such file")
    wanted = [
        f"features.{number}.{part}" for block in _BLOCKS for number in block for part in ("weight", "bias")
    ]
    wanted += [f"lin{tap}" for tap in range(len(_BLOCKS))] if heads else []
    weights = {}
    try:
        with safe_open(str(path), framework="pt") as file:
            stored = _stored_names(list(file.keys()), path)
            for name in wanted:
                if name not in stored:
                    raise DataError(
                        f"is missing, expected {'LPIPS heads' if name.startswith('lin') else 'VGG16'} by the names "
                        "that torchvision and LPIPS 0.1 give",
                        path=path,
                        field=f"{name}.model.1.weight" if name.startswith("lin") else name,
                    )
                weights[name] = _checked(file.get_tensor(stored[name]), stored[name], path)
    except OSError as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
    except SafetensorError as error:
        raise DataError(_why_not(path, error), path=path) from error
    _check_shapes(weights, stored, path)
    return Vgg16(weights)


def _why_not(path: str | PathLike[str], error: SafetensorError) -> str:
    """What to tell of a file that is no safetensors file."""
    with Path(path).open("rb") as file:
        begin = file.read(9)
    if begin.startswith(_PICKLES) and not begin.endswith(
        b"{"
    ):  # a length and a brace are safetensors, cut off
        return (
            "is a pickle, which can run code and is never read; make a safetensors file of it (and of LPIPS' heads, "
            f"named after it) by: {_CONVERT} {path}"
        )
    return f"is no safetensors file: {error}"


def _stored_names(keys: list[str], path: str | PathLike[str]) -> dict[str, str]:
    """Our name -> the name in the file."""
    found: dict[str, str] = {}
    for key in keys:
        conv, head = _CONV.fullmatch(key), _HEAD.fullmatch(key)
        if conv is None and head is None:
            continue
        name = f"features.{conv[1]}.{conv[2]}" if conv is not None else f"lin{head[1]}"  # type: ignore[index]
        if name in found:
            raise DataError(f"is there twice, also as {found[name]}", path=path, field=key)
        found[name] = key
    return found


def _checked(tensor: Tensor, name: str, path: str | PathLike[str]) -> Tensor:
    if not tensor.is_floating_point():
        raise DataError(f"expected floating point numbers, got {tensor.dtype}", path=path, field=name)
    tensor = tensor.float()
    if not_finite({name: tensor}) is not None:
        raise DataError("expected finite numbers, got NaN or infinity", path=path, field=name)
    return tensor


def _check_shapes(
    weights: Mapping[str, Tensor], stored: Mapping[str, str], path: str | PathLike[str]
) -> None:
    def expect(name: str, shape: list[int]) -> None:
        if list(weights[name].shape) != shape:
            raise DataError(
                f"expected {shape}, got {list(weights[name].shape)}", path=path, field=stored[name]
            )

    channels = 3
    for tap, block in enumerate(_BLOCKS):
        for number in block:
            name = f"features.{number}"
            out = max(weights[f"{name}.bias"].numel(), 1)
            expect(f"{name}.bias", [out])
            expect(f"{name}.weight", [out, channels, 3, 3])
            channels = out
        if f"lin{tap}" in weights:
            expect(f"lin{tap}", [1, channels, 1, 1])
            if (weights[f"lin{tap}"] < 0).any():
                raise DataError(
                    "expected weights of at least 0, as LPIPS is trained to have",
                    path=path,
                    field=stored[f"lin{tap}"],
                )

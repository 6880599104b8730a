"""Tensors on disk: safetensors with a JSON header, published whole, bound by content hash; never a pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ._atomic import atomic_path, atomic_write
from .errors import DataError, ResourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

    from torch import Tensor

M = TypeVar("M", bound=nn.Module)

__all__ = [
    "Checkpoints",
    "content_hash",
    "flat",
    "flat_optimiser",
    "load_as",
    "load_module",
    "load_optimiser",
    "load_tensors",
    "not_finite",
    "read_header",
    "save_tensors",
    "take",
]

_MAX_TENSORS = 10_000
_KEY = "flexpose"
_FORMAT = 1  # of the header; raised when an older flexpose could not read it


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes of the tensors, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_tensors(path: str | PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    data = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {_KEY: json.dumps({"format": _FORMAT, **header}, sort_keys=True)}
    with atomic_path(path) as temporary:
        try:
            save_file(data, str(temporary), metadata=metadata)
        except SafetensorError as error:  # how it reports a full disk
            raise ResourceError(f"{path}: could not be written: {error}") from error


def read_header(path: str | PathLike[str], kind: str | None = None) -> dict[str, Any]:
    """The JSON header of a file of `save_tensors`.

    Raises:
        UsageError: there is no such file.
        DataError: it is no safetensors file of flexpose, or not of this kind.
    """
    if not Path(path).is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise DataError(f"is no safetensors file: {error}", path=path) from error
    if not isinstance(header, dict):
        raise DataError("is a safetensors file, but not one of flexpose", path=path)
    number = header.get("format", 1)
    if not isinstance(number, int) or number > _FORMAT:
        raise DataError(
            f"expected format {_FORMAT}, got {number!r}: a newer flexpose wrote it", path=path, field="format"
        )
    if kind is not None and header.get("kind") != kind:
        raise DataError(f"expected kind {kind!r}, got {header.get('kind')!r}", path=path, field="kind")
    return header


def load_tensors(
    path: str | PathLike[str], kind: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read (tensors, header) of a file of `save_tensors`.

    Raises:
        UsageError: there is no such file.
        DataError: it is no safetensors file of flexpose, or holds NaN or infinity, or too many tensors.
    """
    header = read_header(path, kind)
    tensors = {}
    try:
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
            if len(names) > _MAX_TENSORS:
                raise DataError(f"expected at most {_MAX_TENSORS} tensors, got {len(names)}", path=path)
            for name in names:
                tensors[name] = file.get_tensor(name)
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"is no safetensors file: {error}", path=path) from error
    lost = not_finite(tensors)
    if lost is not None:
        raise DataError("expected finite numbers, got NaN or infinity", path=path, field=lost)
    return tensors, header


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity, or None."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def load_as(
    make: Callable[[], M],
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    *,
    path: str | PathLike[str],
    sizes: str,
) -> M:
    """The network that a file holds, in the sizes that its header tells.

    A stranger's header may tell any size, so the network is first made without memory and held against the tensors.

    Args:
        make: makes the network from the header; what it raises makes the header unusable.
        tensors: what the file holds.
        header: its header, whose ``hash`` must be that of the tensors.
        path: the file.
        sizes: the header's field that holds the sizes, for the message.

    Raises:
        DataError: the sizes are no sizes, or not those of the tensors, or the tensors are not those of the hash.
    """
    try:
        with torch.device("meta"):
            own = make().state_dict()
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, MemoryError, RuntimeError) as error:
        raise DataError(f"no usable sizes: {error}", path=path, field=sizes) from error
    _check_fit(own, tensors, path)
    if content_hash(tensors) != header.get("hash"):
        raise DataError("the weights are not those whose hash the header holds", path=path, field="hash")
    with torch.random.fork_rng(
        devices=[]
    ):  # its first weights are drawn; reading a file must not show in that
        module = make()
    load_module(module, tensors, path=path)
    return module


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], *, path: str | PathLike[str]) -> None:
    """Fill a module from tensors; names and shapes must agree.

    Raises:
        DataError: a tensor is missing, unknown or of another shape.
    """
    own = module.state_dict()
    _check_fit(own, tensors, path)
    module.load_state_dict({name: tensors[name].to(tensor.dtype) for name, tensor in own.items()})


def _check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: str | PathLike[str]) -> None:
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unknown:
        raise DataError(
            f"tensors do not fit the network: missing {missing[:3]}, unknown {unknown[:3]}", path=path
        )
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape:
            raise DataError(
                f"expected {list(tensor.shape)}, got {list(tensors[name].shape)}", path=path, field=name
            )


def flat(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under ``prefix/name``."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def take(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors that `flat` put under `prefix`, by their own names."""
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def flat_optimiser(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments and counts of an optimiser under ``prefix/parameter/name``."""
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}/{index}/{name}": tensor for index, entry in state.items() for name, tensor in entry.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Fill an optimiser from what `flat_optimiser` gave, its prefix taken off.

    Raises:
        DataError: a tensor belongs to no parameter, or has another shape than its parameter.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise DataError(f"expected a parameter's number from 0 to {len(parameters) - 1}", field=key)
        shape = parameters[int(index)].shape
        if tensor.ndim and tensor.shape != shape:  # counts of steps have no axes
            raise DataError(f"expected {list(shape)}, got {list(tensor.shape)}", field=key)
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


class Checkpoints:
    """The last checkpoints of a run, in its folder ``checkpoints``; ``latest.json`` names the newest.

    A checkpoint is a safetensors file whose header says where the run stood. The pointer is published last, so it
    never names a file that is not whole.
    """

    def __init__(self, folder: str | PathLike[str], *, keep: int = 2) -> None:
        self.folder, self.keep = Path(folder), keep

    def save(self, step: int, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
        """Publish the state after `step` and remove what is older than the last `keep`.

        Raises:
            DataError: a tensor holds NaN or infinity; such a state is never written.
            ResourceError: the disk is full or the folder cannot be written.
        """
        lost = not_finite(tensors)
        if lost is not None:
            raise DataError(
                f"training lost its numbers at step {step - 1}; the last good checkpoint is in {self.folder}",
                field=lost,
            )
        path = self.folder / f"{step:09d}.safetensors"
        full = {"kind": "checkpoint", "step": step, **header}
        save_tensors(path, tensors, full)
        atomic_write(path.with_suffix(".json"), (json.dumps(full, indent=2, sort_keys=True) + "\n").encode())
        atomic_write(self.folder / "latest.json", json.dumps({"file": path.name, "step": step}).encode())
        self._prune(path)
        return path

    def _prune(self, newest: Path) -> None:
        older: Iterable[Path] = sorted(p for p in self.folder.glob("*.safetensors") if p.name <= newest.name)[
            : -self.keep
        ]
        for path in older:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """(tensors, header) of the newest checkpoint, or None if there is none.

        Raises:
            DataError: the pointer or the file that it names cannot be read.
        """
        pointer = self.folder / "latest.json"
        if not pointer.exists():
            return None
        try:
            name = json.loads(pointer.read_text(encoding="utf-8"))["file"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"cannot be read: {error}", path=pointer) from error
        if not isinstance(name, str) or Path(name).name != name or not (self.folder / name).is_file():
            raise DataError(f"expected a file of the folder, got {name!r}", path=pointer, field="file")
        tensors, header = load_tensors(self.folder / name, "checkpoint")
        step = header.get("step")
        if not isinstance(step, int) or step < 0:
            raise DataError(
                f"expected a number of steps, got {step!r}", path=self.folder / name, field="step"
            )
        return tensors, header

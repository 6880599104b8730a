"""Adapters: tau on disk, bound to its source by content hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint import content_hash, load_as, load_tensors, save_tensors
from ..errors import DataError, UsageError
from ..models.transfer import Transfer
from ..zoo import source_reference

if TYPE_CHECKING:
    from os import PathLike

    from ..models import Generator

__all__ = ["adapter_file", "load_transfer", "read_adapter", "save_adapter"]


def adapter_file(path: str | PathLike[str]) -> Path:
    """The adapter file of a run folder, or the path itself."""
    file = Path(path)
    return file / "adapter.safetensors" if file.is_dir() else file


def save_adapter(
    path: str | PathLike[str], transfer: Transfer, *, source_hash: str, source: Path, facts: dict[str, Any]
) -> None:
    """Publish tau with the hash of its source and where that source lay."""
    tensors = transfer.state_dict()
    header = {
        "kind": "adapter",
        "layers": list(transfer.layers),
        "form": transfer.form,
        "style_dims": list(transfer.style_dims),
        "num_layers": transfer.num_layers,
        "source_hash": source_hash,
        "source": source_reference(source, Path(path).parent),
        "hash": content_hash(tensors),
        "facts": facts,
    }
    save_tensors(path, tensors, header)


def read_adapter(path: str | PathLike[str]) -> tuple[Transfer, dict[str, Any]]:
    """Read (tau, header).

    Raises:
        UsageError: there is no such file.
        DataError: it is no adapter of flexpose, or its content is not what its header says.
    """
    file = adapter_file(path)
    tensors, header = load_tensors(file, "adapter")

    def make() -> Transfer:
        return Transfer(
            [int(d) for d in header["style_dims"]],
            [int(layer) for layer in header["layers"]],
            num_layers=int(header["num_layers"]),
            form=header["form"],
        )

    transfer = load_as(make, tensors, header, path=file, sizes="layers")
    transfer.requires_grad_(False)
    return transfer, header


def load_transfer(
    path: str | PathLike[str], generator: Generator, generator_header: dict[str, Any]
) -> Transfer:
    """Read tau for a generator, and refuse it on any other source than its own.

    Raises:
        UsageError: the generator is not the source that tau was trained on.
        DataError: the file is no adapter of flexpose.
    """
    transfer, header = read_adapter(path)
    if header.get("source_hash") != generator_header.get("hash"):
        raise UsageError(
            f"{adapter_file(path)}: was trained on the source {str(header.get('source_hash'))[:12]}, "
            f"got the source {str(generator_header.get('hash'))[:12]}; name the right one by --source"
        )
    if transfer.style_dims != tuple(generator.synthesis.style_dims):
        raise DataError(
            f"expected style widths {tuple(generator.synthesis.style_dims)}, got {transfer.style_dims}",
            path=adapter_file(path),
            field="style_dims",
        )
    return transfer

"""Adapters: tau on disk, bound to its source by content hash."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint import content_hash, load_as, load_tensors, save_tensors
from ..errors import DataError, UsageError
from ..models.transfer import Transfer
from ..pretrain.files import beta_of, load_beta, load_generator, save_beta, save_generator
from ..zoo import source_file, source_reference

if TYPE_CHECKING:
    from os import PathLike

    from ..metrics import KinematicLimits
    from ..models import Generator

__all__ = [
    "VARIETY",
    "adapter_file",
    "export_adapter",
    "load_transfer",
    "mix_adapters",
    "read_adapter",
    "save_adapter",
]

VARIETY = ("nearest_shot", "nearest_sample", "nearest_shot_of_shots")
"""Facts of an adapter, in frame units: median distances of samples to their nearest guide pose, of samples to the
nearest other one, and of guide poses to the nearest other one."""


def adapter_file(path: str | PathLike[str]) -> Path:
    """The adapter file of a run folder, or the path itself."""
    file = Path(path)
    return file / "adapter.safetensors" if file.is_dir() else file


def save_adapter(
    path: str | PathLike[str],
    transfer: Transfer,
    *,
    source_hash: str,
    source: Path,
    facts: dict[str, Any],
    limits: KinematicLimits | None = None,
) -> None:
    """Publish tau with the hash of its source, where that source lay, and what samples have to stay within."""
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
    if limits is not None:
        header["limits"] = limits.to_dict()
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


def mix_adapters(
    first: str | PathLike[str], second: str | PathLike[str], out: str | PathLike[str], *, amount: float = 0.5
) -> Path:
    """Publish (1 - amount) of one adapter and `amount` of another of the same source, entry by entry of tau.

    Args:
        first: adapter file or run folder of `adapt`.
        second: the other.
        out: run folder to make; it gets ``adapter.safetensors``.
        amount: 0 is the first, 1 the second; beyond goes on in the same direction.

    Returns:
        The path of the new adapter.

    Raises:
        UsageError: the adapters belong to different sources, `amount` is no number, or `out` has an adapter already.
        DataError: a file is no adapter of flexpose.
    """
    if not math.isfinite(amount):
        raise UsageError(f"amount must be a finite number, got {amount}")
    (one, header), (other, other_header) = read_adapter(first), read_adapter(second)
    if header["source_hash"] != other_header["source_hash"]:
        raise UsageError(
            f"{adapter_file(first)} and {adapter_file(second)}: expected one source, got "
            f"{header['source_hash'][:12]} and {other_header['source_hash'][:12]}"
        )
    target = _new(Path(out) / "adapter.safetensors")
    facts = {"mixed": [header["hash"], other_header["hash"]], "amount": amount}
    source = source_file(str(header["source"]), beside=adapter_file(first).parent)
    save_adapter(
        target,
        one.interpolated(other, amount),
        source_hash=str(header["source_hash"]),
        source=source,
        facts=facts,
    )
    return target


def export_adapter(
    run: str | PathLike[str],
    out: str | PathLike[str],
    *,
    source: str | PathLike[str] | None = None,
    strength: float = 1.0,
) -> Path:
    """Publish the adapted generator with tau multiplied into it, and its beta: a source that needs no adapter.

    Args:
        run: adapter file or run folder of `adapt`.
        out: folder to make; it gets ``generator.safetensors`` and ``beta.safetensors``.
        source: where the source is, if it was moved.
        strength: scales tau first.

    Returns:
        The path of the generator.

    Raises:
        UsageError: the source is not there or not tau's, or `out` has a generator already.
        DataError: a file cannot be used.
    """
    header = read_adapter(run)[1]
    where = source_file(
        str(header["source"]) if source is None else source,
        beside=adapter_file(run).parent if source is None else None,
    )
    generator, drawing, generator_header = load_generator(where)
    transfer = load_transfer(run, generator, generator_header).scaled(strength)
    beta, beta_drawing, beta_header = load_beta(beta_of(where))
    target = _new(Path(out) / "generator.safetensors")
    save_beta(_new(Path(out) / "beta.safetensors"), beta, beta_drawing, **beta_header.get("facts", {}))
    facts = {"adapter": header["hash"], "source": generator_header["hash"], "strength": strength}
    save_generator(target, transfer.folded(generator), drawing, **facts)
    return target


def _new(file: Path) -> Path:
    """The file, which must not be there yet, in a folder that is."""
    if file.exists():
        raise UsageError(f"{file}: is there already; name another folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file

"""Networks on disk: a generator, a beta, or both in one source file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch.nn import Module

from ..checkpoint import content_hash, flat, load_as, load_tensors, read_header, save_tensors, take
from ..config import config_dict
from ..drawing import Drawing
from ..errors import DataError
from ..models import Generator, GeneratorConfig, Regressor, RegressorConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from torch import Tensor

__all__ = ["beta_of", "load_beta", "load_generator", "save_beta", "save_generator", "save_source"]

_Part = Literal["generator", "beta"]
_SIZES: dict[_Part, str] = {"generator": "generator", "beta": "regressor"}  # where a header has them
N = TypeVar("N", bound=Module)


def save_generator(path: str | PathLike[str], generator: Generator, drawing: Drawing, **facts: Any) -> str:
    """Publish a generator with its sizes and its drawing; returns the content hash that adapters are bound to."""
    return _save(path, "generator", generator, drawing, facts)


def save_source(path: str | PathLike[str], source: str | PathLike[str]) -> dict[str, Any]:
    """Publish generator and beta of a run folder as one file of half the size, its weights in float16.

    Equalised weights are near 1, where float16 keeps eleven bits.

    Returns:
        The header: the headers of both under ``generator`` and ``beta``, with the hashes of what was written.

    Raises:
        UsageError: a file is not there.
        DataError: a file cannot be used, both were trained on different pictures, or float16 cannot hold a weight.
    """
    folder = Path(source)
    beta, beta_drawing, _ = load_beta(folder)
    generator, drawing, _ = load_generator(folder)
    drawing.check_same(beta_drawing, "generator and beta")
    header: dict[str, Any] = {"kind": "source"}
    tensors: dict[str, Tensor] = {}
    for part, network in (("generator", generator), ("beta", beta)):
        halved = {name: tensor.half() for name, tensor in network.state_dict().items()}
        lost = next((name for name, tensor in halved.items() if not bool(torch.isfinite(tensor).all())), None)
        if lost is not None:
            raise DataError("float16 cannot hold it", path=folder / f"{part}.safetensors", field=lost)
        own = read_header(folder / f"{part}.safetensors", part)
        header[part] = {**own, "hash": content_hash(halved)}
        tensors |= flat(part, halved)
    save_tensors(path, tensors, header)
    return header


def load_generator(path: str | PathLike[str]) -> tuple[Generator, Drawing, dict[str, Any]]:
    """Read (generator, drawing, header) from a generator file, a source file, or the run folder that holds one.

    Raises:
        UsageError: there is no such file.
        DataError: it is no generator of flexpose, or its content is not what its header says.
    """
    generator, drawing, header, file = _load(
        path, "generator", lambda sizes: Generator(GeneratorConfig(**sizes))
    )
    if drawing.size_px != generator.config.size_px:
        raise DataError(
            f"expected pictures of {generator.config.size_px} px, got {drawing.size_px}",
            path=file,
            field="drawing",
        )
    return generator, drawing, header


def save_beta(path: str | PathLike[str], beta: Regressor, drawing: Drawing, **facts: Any) -> str:
    """Publish a beta with its sizes and its drawing; returns its content hash."""
    return _save(path, "beta", beta, drawing, facts)


def load_beta(path: str | PathLike[str]) -> tuple[Regressor, Drawing, dict[str, Any]]:
    """Read (beta, drawing, header) from a beta file, a source file, or the run folder that holds one.

    Raises:
        UsageError: there is no such file.
        DataError: it is no beta of flexpose, or its content is not what its header says.
    """
    beta, drawing, header, file = _load(path, "beta", lambda sizes: Regressor(RegressorConfig(**sizes)))
    expected = (beta.config.size_px, beta.config.num_keypoints)
    if (drawing.size_px, drawing.skeleton.num_keypoints) != expected:
        raise DataError(
            f"expected pictures of {expected[0]} px and {expected[1]} keypoints, "
            f"got {drawing.size_px} and {drawing.skeleton.num_keypoints}",
            path=file,
            field="drawing",
        )
    return beta, drawing, header


def beta_of(source: Path) -> Path:
    """Where the beta of a generator is: in the same folder, or in the same file."""
    if source.is_dir() or (source.is_file() and read_header(source).get("kind") == "source"):
        return source
    return source.parent


def _save(
    path: str | PathLike[str],
    part: _Part,
    network: Generator | Regressor,
    drawing: Drawing,
    facts: dict[str, Any],
) -> str:
    tensors = network.state_dict()
    digest = content_hash(tensors)
    header = {
        "kind": part,
        _SIZES[part]: config_dict(network.config),
        "drawing": drawing.header(),
        "hash": digest,
        "facts": facts,
    }
    save_tensors(path, tensors, header)
    return digest


def _load(
    path: str | PathLike[str], part: _Part, build: Callable[[dict[str, Any]], N]
) -> tuple[N, Drawing, dict[str, Any], Path]:
    """(network, frozen and in evaluation mode; drawing, header, file)."""
    tensors, header, file = _read(path, part)
    sizes = _SIZES[part]
    network = load_as(lambda: build(header[sizes]), tensors, header, path=file, sizes=sizes)
    network.eval().requires_grad_(False)
    return network, Drawing.from_header(header.get("drawing", {}), path=file), header, file


def _read(path: str | PathLike[str], part: _Part) -> tuple[dict[str, Tensor], dict[str, Any], Path]:
    """(tensors, header, file) of one network."""
    file = Path(path)
    if file.is_dir():
        file = file / f"{part}.safetensors"
    if read_header(file).get("kind") != "source":
        return *load_tensors(file, part), file
    tensors, header = load_tensors(file, "source")
    own = header.get(part)
    if not isinstance(own, dict):
        raise DataError(f"expected a description of its {part}, got {own!r}", path=file, field=part)
    return take(tensors, part), own, file

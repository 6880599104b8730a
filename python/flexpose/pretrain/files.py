"""Generators on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint import content_hash, load_as, load_tensors, save_tensors
from ..config import config_dict
from ..drawing import Drawing
from ..errors import DataError
from ..models import Generator, GeneratorConfig

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["load_generator", "save_generator"]


def save_generator(path: str | PathLike[str], generator: Generator, drawing: Drawing, **facts: Any) -> str:
    """Publish a generator with its sizes and its drawing; returns the content hash that adapters are bound to."""
    tensors = generator.state_dict()
    digest = content_hash(tensors)
    header = {
        "kind": "generator",
        "generator": config_dict(generator.config),
        "drawing": drawing.header(),
        "hash": digest,
        "facts": facts,
    }
    save_tensors(path, tensors, header)
    return digest


def load_generator(path: str | PathLike[str]) -> tuple[Generator, Drawing, dict[str, Any]]:
    """Read (generator, drawing, header) from a generator file or the run folder that holds one.

    Raises:
        UsageError: there is no such file.
        DataError: it is no generator of flexpose, or its content is not what its header says.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "generator.safetensors"
    tensors, header = load_tensors(file, "generator")
    generator = load_as(
        lambda: Generator(GeneratorConfig(**header["generator"])),
        tensors,
        header,
        path=file,
        sizes="generator",
    )
    drawing = Drawing.from_header(header.get("drawing", {}), path=file)
    if drawing.size_px != generator.config.size_px:
        raise DataError(
            f"expected pictures of {generator.config.size_px} px, got {drawing.size_px}",
            path=file,
            field="drawing",
        )
    generator.eval().requires_grad_(False)
    return generator, drawing, header

"""What adaptation starts from: a generator, the beta that reads it, and their drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..pretrain.files import beta_of, load_beta, load_generator

if TYPE_CHECKING:
    from pathlib import Path

    from ..drawing import Drawing
    from ..models import Generator
    from ..models.regressor import Regressor

__all__ = ["load_sources"]


def load_sources(
    source: Path, beta_path: Path | None, device: str
) -> tuple[Generator, Regressor, Drawing, dict[str, Any], str]:
    """(generator, beta, drawing, the generator's header, beta's hash); the networks are on `device`."""
    generator, drawing, header = load_generator(source)
    beta, beta_drawing, beta_header = load_beta(beta_of(source) if beta_path is None else beta_path)
    drawing.check_same(beta_drawing, "generator and beta")
    return generator.to(device), beta.to(device), drawing, header, str(beta_header["hash"])

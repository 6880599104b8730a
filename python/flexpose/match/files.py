"""Annotators on disk: one safetensors file with the skeleton and the sizes in its header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint import content_hash, load_as, load_tensors, save_tensors
from ..config import config_dict
from ..errors import DataError
from ..models.regressor import Regressor, RegressorConfig
from ..skeleton import Skeleton

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["load_annotator", "save_annotator"]

_FILE = "annotator.safetensors"


def save_annotator(path: str | PathLike[str], annotator: Regressor, skeleton: Skeleton, **facts: Any) -> None:
    """Publish an annotator with its sizes and the skeleton of what it reads.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    tensors = annotator.state_dict()
    header = {
        "kind": "annotator",
        "regressor": config_dict(annotator.config),
        "skeleton": skeleton.to_toml(),
        "hash": content_hash(tensors),
        "facts": facts,
    }
    save_tensors(path, tensors, header)


def load_annotator(path: str | PathLike[str]) -> tuple[Regressor, Skeleton, dict[str, Any]]:
    """Read (annotator, skeleton, header) from a file of `flexpose match`, or from the run folder that holds one.

    Raises:
        UsageError: there is no such file.
        DataError: it is no annotator of flexpose, or its content is not what its header says.
    """
    file = Path(path) / _FILE if Path(path).is_dir() else Path(path)
    tensors, header = load_tensors(file, "annotator")
    annotator = load_as(
        lambda: Regressor(RegressorConfig(**header["regressor"])),
        tensors,
        header,
        path=file,
        sizes="regressor",
    )
    try:
        skeleton = Skeleton.from_toml(str(header["skeleton"]))
    except (KeyError, ValueError) as error:
        raise DataError(f"no usable skeleton: {error}", path=file, field="skeleton") from error
    if skeleton.num_keypoints != annotator.config.num_keypoints:
        raise DataError(
            f"expected {annotator.config.num_keypoints} keypoints, got {skeleton.num_keypoints}",
            path=file,
            field="skeleton",
        )
    return annotator.eval(), skeleton, header

"""Configurations: validated dataclasses, filled from a TOML file and then from the command's options."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

__all__ = ["STRICT", "config_dict", "load_config", "make_config"]

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
"""What every configuration dataclass of flexpose is made with: unknown keys and NaN are errors."""


def make_config(cls: type[T], values: Mapping[str, Any], *, where: str | None = None) -> T:
    """Build the configuration `cls` from `values`.

    Args:
        cls: a pydantic dataclass.
        values: its fields by name.
        where: what the values come from, for the message.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range; all of them are named.
    """
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            name = ".".join(str(part) for part in item["loc"]) or cls.__name__
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "unexpected_keyword_argument":
                known = ", ".join(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
                message = f"unknown key; known are {known}"
            elif item["type"] not in {"value_error", "missing"}:
                message = f"{message}, got {item['input']!r}"
            problems.append(f"{name}: {message}")
        prefix = f"{where}: " if where else ""
        raise ConfigError(prefix + "; ".join(problems)) from None


def load_config(
    cls: type[T],
    toml_path: str | PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    base: Mapping[str, Any] | None = None,
) -> T:
    """Read a configuration: `base` (a preset), then the TOML file, then the overrides that are not None.

    Raises:
        ConfigError: the file is missing or no TOML, or a key or value is wrong.
    """
    values: dict[str, Any] = dict(base or {})
    where = None
    if toml_path is not None:
        where = str(toml_path)
        try:
            text = Path(toml_path).read_text(encoding="utf-8")
            values |= tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{toml_path}: cannot be read as TOML: {error}") from error
    values |= {key: value for key, value in (overrides or {}).items() if value is not None}
    return make_config(cls, values, where=where)


def config_dict(config: Any) -> dict[str, Any]:
    """The configuration as JSON-ready values; `make_config` of it gives the same configuration."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")  # type: ignore[no-any-return]

"""From options to a configuration: preset, then TOML file, then --set, then the command's own options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flexpose.errors import UsageError

from ._options import parse_settings
from ._output import print_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["settings", "show_settings"]

T = TypeVar("T")


def settings(
    cls: type[T],
    *,
    preset: str | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    toml: Path | None = None,
    assignments: list[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> T:
    """Build the configuration `cls`; what comes later wins, and an option that is None says nothing.

    Raises:
        UsageError: there is no such preset, or an assignment is not KEY=VALUE.
        ConfigError: a key is unknown, or a value is wrong.
    """
    from flexpose.config import load_config

    known = presets or {}
    if preset is not None and preset not in known:
        raise UsageError(f"--preset must be one of {', '.join(sorted(known))}, got {preset!r}")
    given = {key: value for key, value in (options or {}).items() if value is not None}
    overrides = parse_settings(assignments) | given
    return load_config(cls, toml, overrides, base=known[preset] if preset is not None else None)


def show_settings(config: Any) -> None:
    """Print a configuration as JSON, for --dry-run."""
    from flexpose.config import config_dict

    print_json(config_dict(config))

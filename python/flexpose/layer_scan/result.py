"""What a scan found: means and spreads, the recommendation, tables and the chart."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._atomic import atomic_write
from ..charts import Chart, Series, save_png
from ..errors import DataError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["ENCODED", "SCAN_FILE", "UNCHANGED", "LayerScan", "Measured", "read_scan"]

SCAN_FILE = "layer-scan.json"
_FORMAT = "flexpose layer scan 1"

UNCHANGED = "source as it is"
ENCODED = "codes of the asked poses"
_GAIN = 0.98  # of what the unchanged source has; above it nothing was gained
_MEASURES = {
    "loss": ("perceptual loss", 4),
    "error_px": ("pose error, pixels", 2),
}


@dataclass(frozen=True)
class Measured:
    """One cell.

    Attributes:
        seed: of the repeat.
        augment: name of the augmentation.
        layers: name of the layer set, such as ``3`` or ``1,3``, or of a reference.
        loss: mean perceptual loss, in variances of the features of the pictures wanted.
        error_px: mean distance of the joints read to those asked for, pixels of the source's pictures.
        error: the same in half frame sides.
    """

    seed: int
    augment: str
    layers: str
    loss: float
    error_px: float
    error: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class LayerScan:
    """The table of a scan.

    Attributes:
        config: the settings, JSON-ready.
        inputs: content hashes of what went in.
        layers: pixels of each style layer's output by its number.
        size_px: side of the source's pictures.
        poses: how many were asked for.
        cells: all that was measured.
        versions: of the software.
    """

    config: dict[str, Any]
    inputs: dict[str, str]
    layers: dict[str, int]
    size_px: int
    poses: int
    cells: tuple[Measured, ...]
    versions: dict[str, str]

    def augmentations(self) -> list[str]:
        """Their names, in the order of the scan."""
        return list(dict.fromkeys(cell.augment for cell in self.cells))

    def names(self) -> list[str]:
        """The references and the layer sets, in the order of the scan."""
        return list(dict.fromkeys(cell.layers for cell in self.cells))

    def values(self, augment: str, layers: str, measure: str) -> list[float]:
        """What the repeats gave."""
        return [
            getattr(cell, measure) for cell in self.cells if (cell.augment, cell.layers) == (augment, layers)
        ]

    def mean_spread(self, augment: str, layers: str, measure: str) -> tuple[float, float | None]:
        """Mean over the repeats and their standard deviation; None for a single one."""
        values = self.values(augment, layers, measure)
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None

    def best(self, augment: str, measure: str = "loss") -> tuple[str | None, list[str]]:
        """The single layer that is best under an augmentation, and those that are not clearly worse.

        A layer is not clearly worse if its mean lead over the best one is within the spread of that lead: a repeat
        asks the same of every layer.
        """
        single = [name for name in self.names() if name in self.layers]
        if not single:
            return None, []
        values = {name: np.array(self.values(augment, name, measure)) for name in single}
        best = min(single, key=lambda name: float(values[name].mean()))
        ties = []
        for name in single:
            lead = values[name] - values[best]
            if name != best and lead.mean() <= (lead.std(ddof=1) if len(lead) > 1 else 0.0):
                ties.append(name)
        return best, ties

    def recommendation(self) -> list[str]:
        """Sentences: the best single layer under each augmentation, over all of them, and the best set."""
        lines = []
        for augment in self.augmentations():
            for measure, (title, digits) in _MEASURES.items():
                best, ties = self.best(augment, measure)
                if best is None:
                    continue
                before = self.mean_spread(augment, UNCHANGED, measure)[0]
                value = self.mean_spread(augment, best, measure)
                if value[0] > _GAIN * before:
                    lines.append(f"{augment}, {title}: no layer alone helps, {before:.{digits}f} as it is.")
                    continue
                also = f"; not clearly worse: {', '.join(ties)}" if ties else ""
                lines.append(
                    f"{augment}, {title}: layer {best}, {_text(value, digits)} "
                    f"(source as it is: {before:.{digits}f}){also}."
                )
        sets = [name for name in self.names() if name not in {UNCHANGED, ENCODED}]
        over_all = {
            name: float(np.mean([self.mean_spread(a, name, "loss")[0] for a in self.augmentations()]))
            for name in sets
        }
        single = [name for name in sets if name in self.layers]
        if single:
            best = min(single, key=over_all.__getitem__)
            lines.append(f"Over all of these, by the mean loss: layer {best} ({over_all[best]:.4f}).")
        best = min(sets, key=over_all.__getitem__)
        if best not in single:
            lines.append(f"Of the layer sets: {best} ({over_all[best]:.4f}).")
        return lines

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(title, headers, rows of cells) for each measure."""
        found = []
        for measure, (title, digits) in _MEASURES.items():
            rows = []
            for name in self.names():
                label = f"{name} ({self.layers[name]} px)" if name in self.layers else name
                values = (self.mean_spread(augment, name, measure) for augment in self.augmentations())
                rows.append([label, *(_text(value, digits) for value in values)])
            found.append((title, ["free layers", *self.augmentations()], rows))
        return found

    def charts(self) -> list[Chart]:
        """The losses of the single layers, a chart for each measure; none where no layer was tried alone."""
        single = [name for name in self.names() if name in self.layers]
        if not single:
            return []
        charts = []
        for measure, (title, _) in _MEASURES.items():
            series = []
            for augment in self.augmentations():
                values = [self.mean_spread(augment, name, measure) for name in single]
                series.append(
                    Series(
                        augment,
                        tuple(map(float, single)),
                        tuple(mean for mean, _ in values),
                        y_spread=tuple(spread or 0.0 for _, spread in values),
                    )
                )
            charts.append(Chart(f"One free layer: {title}", "free layer", title, tuple(series)))
        return charts

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "format": _FORMAT,
            "config": self.config,
            "inputs": self.inputs,
            "layers": self.layers,
            "size_px": self.size_px,
            "poses": self.poses,
            "cells": [cell.to_dict() for cell in self.cells],
            "recommendation": self.recommendation(),
            "versions": self.versions,
        }

    def to_csv(self) -> str:
        """One line a cell."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(Measured.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(cell.to_dict() for cell in self.cells)
        return text.getvalue()

    def to_markdown(self) -> str:
        """The tables, the recommendation, and how it was measured."""
        lines = ["# Layer scan", ""]
        for title, headers, rows in self.tables():
            lines += [f"## {title[:1].upper()}{title[1:]}", "", f"| {' | '.join(headers)} |"]
            lines += ["|" + " --- |" * len(headers), *(f"| {' | '.join(row)} |" for row in rows), ""]
        lines += ["## Recommendation", "", *(f"- {line}" for line in self.recommendation()), ""]
        lines += ["## How it was measured", "", *(f"- {note}" for note in self.notes()), ""]
        return "\n".join(lines)

    def notes(self) -> list[str]:
        """How to read the tables."""
        config = self.config
        return [
            f"{self.poses} poses; mean +- standard deviation over {config['seeds']} seeds; way: {config['way']}; "
            f"codes: {config['codes']}; an augmentation for each {config['per']}; Gamma: "
            f"{', '.join(config['features'])}.",
            "Perceptual loss: mean squared difference of the features, each level in variances of the features of "
            "the pictures that are asked for. Pose error: mean distance of the joints that beta reads to those "
            f"asked for; one pixel is {2 / self.size_px:g} half frame sides.",
            f"`{UNCHANGED}`: no layer is free. `{ENCODED}`: every layer gets the styles of a code that draws the "
            "pose, which is what the generator and beta can do at best.",
            "Tau is fitted to the poses that are measured.",
            "Versions: " + ", ".join(f"{name} {value}" for name, value in self.versions.items()) + ".",
        ]

    def write(self, folder: str | PathLike[str]) -> list[Path]:
        """Publish ``layer-scan.json``, ``.csv`` and ``.md`` in a folder.

        Raises:
            ResourceError: the folder cannot be written.
        """
        written = []
        for ending, text in (
            ("json", json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"),
            ("csv", self.to_csv()),
            ("md", self.to_markdown()),
        ):
            written.append(Path(folder) / f"layer-scan.{ending}")
            atomic_write(written[-1], text.encode())
        return written

    def plot(self, folder: str | PathLike[str]) -> Path:
        """Publish ``layer-scan.png``.

        Raises:
            UsageError: matplotlib is not installed.
            ResourceError: the folder cannot be written.
        """
        path = Path(folder) / "layer-scan.png"
        save_png(path, self.charts())
        return path


def read_scan(path: str | PathLike[str]) -> LayerScan:
    """Read what `LayerScan.write` has written as JSON.

    Raises:
        DataError: it is no layer scan of flexpose.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise ValueError(f"expected format {_FORMAT!r}, got {found['format']!r}")
        names = ("config", "inputs", "layers", "size_px", "poses", "versions")
        cells = tuple(Measured(**cell) for cell in found["cells"])
        return LayerScan(**{name: found[name] for name in names}, cells=cells)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"is no layer scan: {error}", path=path) from error


def _text(value: tuple[float, float | None], digits: int) -> str:
    mean, spread = value
    return f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} +- {spread:.{digits}f}"

"""The sections of a report: figures and tables with their words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._atomic import atomic_write
from ..charts import save_png
from ..evaluate import METRICS
from ..raster import encode_png, image_grid
from .curves import curves_of, last_figures
from .evidence import kinematic_shift
from .figures import (
    distance_chart,
    neighbor_tiles,
    precision_recall_chart,
    shift_charts,
    triples,
)
from .page import Html, chart_figure, element, picture, table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..charts import Chart
    from ..evaluate import EvaluationReport
    from .config import ReportConfig
    from .evidence import Evidence, Shift
    from .figures import Tiles
    from .gather import Run

__all__ = [
    "Pictures",
    "evaluation_table",
    "evidence_section",
    "overview",
    "run_section",
    "scan_section",
    "tsne_section",
]

_GALLERY_COLUMNS = 6
_KINDS = {
    "adapted": "adapted generator",
    "source": "source generator",
    "scan": "layer scan",
    "log": "logs alone",
}
_AIMS = {"lower": "↓", "higher": "↑", "real": "≈"}


@dataclass(frozen=True)
class Pictures:
    """The figures as PNG files, if a folder was named for them.

    Attributes:
        folder: None for none.
    """

    folder: Path | None

    def chart(self, name: str, charts: list[Chart]) -> None:
        """Publish charts as one file."""
        if self.folder is not None and charts:
            save_png(self.folder / f"{name}.png", charts)

    def image(self, name: str, image: NDArray[np.uint8]) -> None:
        """Publish a picture [H, W, 3]."""
        if self.folder is not None:
            atomic_write(self.folder / f"{name}.png", encode_png(image))


def overview(runs: tuple[Run, ...], evidence: dict[str, Evidence]) -> Html:
    """What the runs are, a row each, with the headline figures where there is a target."""
    headers = ["run", "what", "skeleton", "free layers", "guide poses", "FD", "P", "R"]
    rows = []
    for run in runs:
        sampler = run.sampler
        transfer = None if sampler is None else sampler.transfer
        found = evidence.get(run.name)
        figures = ["-", "-", "-"]
        if found is not None and found.evaluation is not None:
            values = found.evaluation.row("generated").values
            by_key = {metric.key: metric for metric in METRICS}
            figures = [
                _plus_minus(values[key].format(by_key[key].factor, by_key[key].digits))
                for key in ("fd", "precision", "recall")
            ]
        rows.append(
            [
                run.name,
                _KINDS[run.kind],
                "-" if sampler is None else f"{sampler.drawing.skeleton.name}, {sampler.drawing.size_px} px",
                "-" if transfer is None else ", ".join(map(str, transfer.layers)),
                str(run.facts.get("num_shots", "-")),
                *figures,
            ]
        )
    return table("Runs, and their distances to the target (spread: see below)", headers, rows)


def evaluation_table(evaluation: EvaluationReport) -> Html:
    """A row a metric, a column a set of poses."""
    headers, cells = evaluation.cells()
    # What was added is the generator before adaptation; it belongs beside the adapted one.
    order = {"generated": 0, "added": 1}
    pairs = sorted(zip(evaluation.rows(), cells, strict=True), key=lambda pair: order.get(pair[0].kind, 2))
    lines = [line for _, line in pairs]
    aims = {metric.title: _AIMS[metric.better] for metric in METRICS}
    rows = [
        [f"{title} {aims.get(title, '')}".rstrip(), *(_plus_minus(line[index]) for line in lines)]
        for index, title in enumerate(headers[1:], 1)
    ]
    return table(
        "Distances to the target poses, value ± standard deviation. ↓ less is better, ↑ more is better, ≈ the nearer "
        "to the real target's own value the better.",
        ["metric", *(line[0] for line in lines)],
        rows,
    )


def _plus_minus(text: str) -> str:
    return text.replace(" +- ", " ± ")


def _tiles(tiles: Tiles, caption: str, *, pairs: bool = False) -> Html:
    figures = []
    for images, note in zip(tiles.images, tiles.notes, strict=True):
        pictures = [
            picture(image, f"{label}, {note}") for image, label in zip(images, tiles.labels, strict=True)
        ]
        figures.append(element("figure", element("div", *pictures), element("figcaption", note)))
    order = "left to right: " + ", ".join(tiles.labels)
    return Html(
        element("p", f"{caption} In each group, {order}.")
        + element("div", *figures, class_="tiles pairs" if pairs else "tiles")
    )


def _grid(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    return image_grid(np.ascontiguousarray(images), columns)


def evidence_section(evidence: Evidence, config: ReportConfig, pictures: Pictures) -> list[Html]:
    """Everything that samples of a run show."""
    run, name = evidence.run, evidence.run.slug
    sampler = run.sampler
    if sampler is None:
        return []
    parts: list[Html] = []
    if evidence.evaluation is not None:
        chart = precision_recall_chart(evidence.evaluation)
        pictures.chart(f"{name}-precision-recall", [chart])
        parts += [
            element("h3", "Against the target"),
            evaluation_table(evidence.evaluation),
            element(
                "div",
                chart_figure(
                    chart,
                    "Precision: are the poses right? Recall: are all kinds there? Upper right is best. Bars are "
                    "standard deviations; a way of not learning copies the guide poses or invents.",
                ),
                class_="charts",
            ),
            element("details", element("summary", "How it was measured"), _list(evidence.evaluation.notes)),
        ]
    if run.kind == "adapted":
        groups = triples(evidence, sampler.drawing, config)
        flat = groups.images.reshape(-1, *groups.images.shape[2:])
        pictures.image(f"{name}-triples", _grid(flat, len(groups.labels)))
        parts += [
            element("h3", "The same noise before and after"),
            _tiles(groups, "Pictures that the generators draw from one latent code."),
        ]
    count = min(config.gallery, len(evidence.drawn.images))
    shown = [("adapted" if run.kind == "adapted" else "source", evidence.drawn)]
    if run.kind == "adapted":
        shown.insert(0, ("source", evidence.before))
    figures = []
    for what, drawn in shown:
        image = _grid(drawn.images[:count], _GALLERY_COLUMNS)
        pictures.image(f"{name}-gallery-{what}", image)
        alt = f"{count} skeleton pictures drawn by the {what} generator of {run.name}"
        figures.append(
            element("figure", picture(image, alt), element("figcaption", f"{what}: samples 1 to {count}"))
        )
    parts += [element("h3", "Gallery"), element("div", *figures, class_="gallery")]
    parts += _memory(evidence, config, pictures, name)
    shift = kinematic_shift(evidence, sampler.drawing) if run.kind == "adapted" else None
    if shift is not None:
        charts = shift_charts(shift)
        pictures.chart(f"{name}-kinematics", charts)
        parts += [
            element("h3", "Bones and joints before and after"),
            _shift_table(shift),
            element("div", *(chart_figure(chart) for chart in charts), class_="charts"),
        ]
    return parts


def _memory(evidence: Evidence, config: ReportConfig, pictures: Pictures, name: str) -> list[Html]:
    sampler = evidence.run.sampler
    chart = distance_chart(evidence)
    if sampler is None or chart is None:
        return []
    pairs = neighbor_tiles(evidence, sampler.drawing, config)
    pictures.chart(f"{name}-nearest-guide-pose", [chart])
    parts = [element("h3", "Learned by heart?")]
    if pairs is not None:
        flat = pairs.images.reshape(-1, *pairs.images.shape[2:])
        pictures.image(f"{name}-neighbors", _grid(flat, 2 * len(pairs.labels)))
        parts.append(
            _tiles(
                pairs,
                "Random samples as beta reads them, beside the guide poses nearest to them; distances are the root "
                "mean square over the joints, in half frame sides.",
                pairs=True,
            )
        )
    caption = "A curve left of the target's says that samples repeat guide poses more than real poses do."
    parts.append(element("div", chart_figure(chart, caption), class_="charts"))
    return parts


def _shift_table(shift: Shift) -> Html:
    rows = []
    turn = 180 / np.pi
    for title, before, after, factor in (
        ("bone ratios, % of the summed length", shift.before.bone_ratio, shift.after.bone_ratio, 100.0),
        ("joint angles, degrees", shift.before.joint_angle, shift.after.joint_angle, turn),
        ("trunk, degrees", shift.before.orientation, shift.after.orientation, turn),
    ):
        if before is not None and after is not None:
            rows.append([title, f"{before * factor:.3f}", f"{after * factor:.3f}"])
    return table(f"Mean W1 distance to {shift.reference}", ["measure", "before", "after"], rows)


def tsne_section(chart: Chart, pictures: Pictures) -> list[Html]:
    """All sets of poses in one plane."""
    pictures.chart("tsne", [chart])
    return [
        element("h2", "t-SNE", id="tsne"),
        element("p", "All sets are placed at once, on one scale; near points are similar poses."),
        element("div", chart_figure(chart), class_="charts wide"),
    ]


def run_section(run: Run, pictures: Pictures) -> list[Html]:
    """Curves and settings of a run."""
    parts: list[Html] = []
    charts = [chart for log in run.logs for chart in curves_of(log)]
    if charts:
        pictures.chart(f"{run.slug}-training", charts)
        parts += [
            element("h3", "Training"),
            element("div", *(chart_figure(chart) for chart in charts), class_="charts"),
        ]
    rows = [
        [f"{log.verb}: {key}", f"{value:.6g}"] for log in run.logs for key, value in last_figures(log).items()
    ]
    if rows:
        parts.append(
            element(
                "details",
                element("summary", "Last figures of the logs"),
                table("Logs", ["figure", "last"], rows),
            )
        )
    settings: dict[str, Any] = {log.verb: log.config for log in run.logs if log.config}
    if run.facts:
        settings["adapter"] = run.facts
    if run.sampler is not None:
        settings["hashes"] = run.sampler.hashes
    if run.scan is not None:
        settings["layer-scan"] = run.scan.config | {"hashes": run.scan.inputs}
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    parts.append(element("details", element("summary", "Settings and hashes"), element("pre", text)))
    return parts


def scan_section(run: Run, pictures: Pictures) -> list[Html]:
    """What a layer scan found; nothing for other runs."""
    scan = run.scan
    if scan is None:
        return []
    charts = scan.charts()
    pictures.chart(f"{run.slug}-layers", charts)
    return [
        *(
            table(
                f"{title[:1].upper()}{title[1:]}, mean ± standard deviation",
                headers,
                [[*map(_plus_minus, row)] for row in rows],
            )
            for title, headers, rows in scan.tables()
        ),
        element("div", *(chart_figure(chart) for chart in charts), class_="charts"),
        _list([*map(_plus_minus, scan.recommendation())]),
        element("details", element("summary", "How it was measured"), _list(scan.notes())),
    ]


def _list(lines: list[str]) -> Html:
    return element("ul", *(element("li", line) for line in lines))

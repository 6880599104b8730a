"""The figures of a report, as data: charts, and rows of pictures with captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..charts import Chart, Series
from .evidence import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..drawing import Drawing
    from ..evaluate import EvaluationReport
    from .config import ReportConfig
    from .evidence import Evidence, Shift

__all__ = [
    "Tiles",
    "distance_chart",
    "neighbor_tiles",
    "precision_recall_chart",
    "shift_charts",
    "triples",
    "tsne_chart",
]

_QUANTILES = tuple(range(0, 101, 5))
_SAME_POSE = 1e-3  # a target pose so near is the guide pose itself


@dataclass(frozen=True)
class Tiles:
    """Pictures that belong together, side by side, several times.

    Attributes:
        labels: what the pictures of a group are.
        images: uint8 [G, len(labels), S, S, 3].
        notes: a caption for each group.
    """

    labels: tuple[str, ...]
    images: NDArray[np.uint8]
    notes: tuple[str, ...]


def triples(evidence: Evidence, drawing: Drawing, config: ReportConfig) -> Tiles:
    """Source and adapted pictures of one noise, and the guide pose nearest to the adapted pose (Fig. 5)."""
    count = min(config.triples, len(evidence.drawn.poses))
    groups = [evidence.before.images[:count], evidence.drawn.images[:count]]
    labels = ["source", "adapted"]
    notes = [f"noise {number}" for number in range(1, count + 1)]
    if evidence.shots is not None:
        index, distance = nearest(evidence.drawn.framed[:count], evidence.shots)
        groups.append(drawing.images(evidence.shots[index], layout="nhwc"))
        labels.append("nearest guide pose")
        notes = [
            f"noise {number}: guide pose {shot + 1}, {far:.3f} away"
            for number, shot, far in zip(range(1, count + 1), index, distance, strict=True)
        ]
    return Tiles(tuple(labels), np.stack(groups, 1), tuple(notes))


def neighbor_tiles(evidence: Evidence, drawing: Drawing, config: ReportConfig) -> Tiles | None:
    """Random samples, drawn as they were read, beside their nearest guide poses; the nearest pairs come first."""
    if evidence.shots is None:
        return None
    rng = np.random.default_rng((config.seed, 1))
    rows = rng.permutation(len(evidence.drawn.given))[: config.neighbors]
    index, distance = nearest(evidence.drawn.given[rows], evidence.shots)
    order = np.argsort(distance, kind="stable")
    pictures = [
        drawing.images(evidence.drawn.given[rows[order]], layout="nhwc"),
        drawing.images(evidence.shots[index[order]], layout="nhwc"),
    ]
    notes = tuple(f"sample {rows[i] + 1}: guide pose {index[i] + 1}, {distance[i]:.3f} away" for i in order)
    return Tiles(("sample", "nearest guide pose"), np.stack(pictures, 1), notes)


def distance_chart(evidence: Evidence) -> Chart | None:
    """Quantiles of the distance to the nearest guide pose: of samples, of the source's, of real poses."""
    shots = evidence.shots
    if shots is None:
        return None
    sets = {"adapted": evidence.drawn.given, "source": evidence.before.given}
    found = {name: nearest(poses, shots)[1] for name, poses in sets.items()}
    if evidence.target is not None:
        rows = np.random.default_rng(0).permutation(len(evidence.target))[: len(evidence.drawn.given)]
        distances = nearest(evidence.target[rows], shots)[1]
        found["target"] = distances[distances > _SAME_POSE]
    series = tuple(
        Series(name, tuple(np.percentile(values, _QUANTILES).tolist()), tuple(map(float, _QUANTILES)))
        for name, values in found.items()
        if len(values)
    )
    return Chart(
        "Distance to the nearest guide pose",
        "distance, half frame sides",
        "share of poses nearer, %",
        series,
        y_range=(0.0, 100.0),
    )


def precision_recall_chart(evaluation: EvaluationReport) -> Chart:
    """Precision against recall of every row of an evaluation."""
    series = []
    for row in evaluation.rows():
        recall, precision = row.values["recall"], row.values["precision"]
        series.append(
            Series(
                row.name,
                (recall.mean,),
                (precision.mean,),
                (recall.spread or 0.0,),
                (precision.spread or 0.0,),
                kind="points",
            )
        )
    return Chart(
        "Precision and recall",
        "recall",
        "precision",
        tuple(series),
        x_range=(-0.03, 1.03),
        y_range=(-0.03, 1.03),
    )


def shift_charts(shift: Shift) -> list[Chart]:
    """W1 distances of bone ratios and joint angles to the reference, before and after."""
    before, after, turn = shift.before, shift.after, 180 / np.pi
    charts = []
    for title, unit, names, sets in (
        (
            "Bone ratios",
            "W1 distance, % of the summed length",
            shift.bones,
            {"before": before.per_bone * 100, "after": after.per_bone * 100},
        ),
        (
            "Joint angles",
            "W1 distance, degrees",
            shift.angles,
            {"before": before.per_angle * turn, "after": after.per_angle * turn},
        ),
    ):
        if not names:
            continue
        rows = tuple(map(float, range(len(names))))
        series = tuple(Series(name, tuple(x.tolist()), rows, kind="points") for name, x in sets.items())
        high = 1.05 * max(max(one.x) for one in series)
        charts.append(
            Chart(
                f"{title} against {shift.reference}",
                unit,
                "",
                series,
                x_range=(0.0, high or 1.0),
                y_names=names,
            )
        )
    return charts


def tsne_chart(places: Mapping[str, NDArray[np.floating]]) -> Chart:
    """Poses of all sets in one plane."""
    series = tuple(
        Series(name, tuple(points[:, 0].tolist()), tuple(points[:, 1].tolist()), kind="points")
        for name, points in places.items()
    )
    return Chart("t-SNE of the poses", "", "", series, equal=True, bare=True)

"""The paper's figures as commands: which layer draws what (4, 9), same noise (5), and t-SNE (6)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..adapt import adapt_by
from ..errors import UsageError
from ..layer_scan import LayerScanConfig, layer_scan
from ..poses import read_dataset, split_fewshot
from ..report import ReportConfig, report
from .grid import load_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from os import PathLike

    from ..poses import PoseSet
    from ..runs import Progress
    from .grid import Target

__all__ = ["FIGURES", "run_figure"]

_TSNE = 400


@dataclass(frozen=True)
class _Order:
    """What is to be drawn, and from what; the arguments of `run_figure`."""

    targets: tuple[Target, ...]
    root: Path
    out: Path
    source: str | None
    quick: bool
    progress: Progress | None
    device: str

    def scan(self, shots: PoseSet | None, config: LayerScanConfig, out: Path) -> Path:
        """Scan the layers in a folder."""
        layer_scan(
            shots,
            config,
            source=self.source,
            out=out,
            resume=out.exists(),
            progress=self.progress,
            device=self.device,
        )
        return out / "layer-scan.md"


def _guide_poses(target: Target, root: Path) -> tuple[PoseSet, PoseSet]:
    poses = read_dataset(target.name, root)
    split = split_fewshot(poses, seed=0, shots=target.shots, shots_per_label=target.shots_per_label)
    return poses[split.shots], poses[split.rest]


def _figure4(order: _Order) -> list[Path]:
    config = LayerScanConfig(
        augment=("none",),
        codes="matched",
        seeds=1 if order.quick else 3,
        pool=300 if order.quick else 1000,
    )
    return [
        order.scan(_guide_poses(target, order.root)[0], config, order.out / target.name)
        for target in order.targets
    ]


def _figure9(order: _Order) -> list[Path]:
    config = LayerScanConfig(
        augment=("global", "local", "scale"),
        seeds=1 if order.quick else 3,
        poses=64 if order.quick else 256,
        pool=300 if order.quick else 1000,
    )
    return [order.scan(None, config, order.out)]


def _pages(order: _Order) -> list[Path]:
    pages = []
    sizes = ReportConfig(samples=500, seeds=1, n_baseline=500) if order.quick else ReportConfig(tsne=_TSNE)
    for target in order.targets:
        shots, rest = _guide_poses(target, order.root)
        run = order.out / target.name
        adapt_by(
            "flexpose",
            shots,
            run,
            settings={"mixed": 1000} if order.quick else None,
            source=order.source,
            resume=run.exists(),
            progress=order.progress,
            device=order.device,
        )
        page = order.out / f"{target.name}.html"
        report(
            [run],
            sizes,
            page,
            target=rest,
            source_poses=read_dataset("coco", order.root),
            shots={"shots": shots},
            source=order.source,
            pictures=order.out / f"{target.name}-pictures",
            progress=order.progress,
            device=order.device,
        )
        pages.append(page)
    return pages


FIGURES: dict[str, Callable[[_Order], list[Path]]] = {
    "fig4": _figure4,  # reconstruction loss of the guide poses by layer
    "fig5": _pages,  # triples of one noise: source, adapted, guide pose
    "fig6": _pages,  # t-SNE of source, target and adapted
    "fig9": _figure9,  # loss by layer under rotation, a leg's rotation and scale
}
"""Figures of the paper that a command makes; 5 and 6 are parts of one page."""


def run_figure(
    name: str,
    data_root: str | PathLike[str],
    out: str | PathLike[str],
    *,
    targets: Collection[str] | None = None,
    source: str | None = None,
    quick: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
) -> list[Path]:
    """Make a figure of the paper for the targets of Table 1.

    Args:
        name: a key of `FIGURES`.
        data_root: folder of the data sets, see `flexpose.poses.read_dataset`.
        out: folder; a second call goes on in it.
        targets: names of some of the targets; all by default. Figure 9 is of the source alone.
        source: by default the zoo's first.
        quick: fewer repeats and poses.
        progress: is told of each step.
        device: see `flexpose.adapt.adapt`.

    Returns:
        The files to look at.

    Raises:
        UsageError: no such figure or target, or a data set is not there.
        DataError: a file cannot be used.
        Interrupted: SIGINT or SIGTERM came; what was finished is kept.
    """
    if name not in FIGURES:
        raise UsageError(f"figure must be one of {', '.join(FIGURES)}, got {name!r}")
    grid = load_grid("table1").only(targets=targets)
    chosen = grid.targets[:1] if quick and targets is None else grid.targets
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return FIGURES[name](_Order(chosen, Path(data_root), folder, source, quick, progress, device))

"""A tiny source, an adaptation of it whose folder has a hostile name, and poses to hold against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from flexpose.adapt import adapt
from flexpose.poses import synth_poses, target_domain
from flexpose.report import ReportConfig, report

from .. import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from flexpose.poses import PoseSet
    from flexpose.report.evidence import Evidence

EVIL = "a<script>alert(1)<&'\"b"
SMALL = ReportConfig(
    samples=40,
    triples=3,
    gallery=8,
    neighbors=4,
    tsne=20,
    seeds=2,
    n_pr=20,
    n_baseline=30,
    n_mmd=60,
    dtype="float32",
)


@dataclass(frozen=True)
class Made:
    """A report, what it was made from, and what it measured."""

    page: Path
    pictures: Path
    source: Path
    adapted: Path
    shots: PoseSet
    target: PoseSet
    evidence: dict[str, Evidence]

    @property
    def html(self) -> str:
        return self.page.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("report")
    source = tiny.train_source(folder / "source")
    adapted = folder / EVIL
    shots = tiny.target_poses()
    adapt(shots, tiny.ADAPT, adapted, source=source)
    target = synth_poses(60, seed=9, domain=target_domain())
    evidence = report(
        [adapted, source],
        SMALL,
        folder / "report.html",
        target=target,
        source_poses=tiny.source_poses(),
        shots={"shots.json": shots},
        pictures=folder / "pictures",
    )
    return Made(folder / "report.html", folder / "pictures", source, adapted, shots, target, evidence)

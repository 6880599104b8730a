"""Reports: whole pages that fetch nothing, with the numbers of the evaluation, the same for the same seed."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from flexpose.config import make_config
from flexpose.errors import DataError, UsageError
from flexpose.evaluate import evaluate
from flexpose.layer_scan import LayerScanConfig, layer_scan
from flexpose.metrics import KinematicLimits, bone_ratios, joint_angles, nearest_shot_distances
from flexpose.report import report
from flexpose.report.evidence import angle_names, draw, kinematic_shift, nearest, tsne
from flexpose.report.figures import triples
from flexpose.report.gather import gather_runs
from flexpose.sample import SampleConfig, load_sampler, sample
from flexpose.sample.loop import Sampler
from flexpose.skeleton import load_skeleton

from .. import tiny
from .conftest import EVIL, SMALL, Made
from .html import Page, outside

if TYPE_CHECKING:
    from pathlib import Path


def test_page_is_balanced_escaped_and_fetches_nothing(made: Made) -> None:
    page = Page(made.html)
    assert outside(made.html) == []
    assert "<script" not in made.html
    assert EVIL in page.text
    assert page.all("meta")[1]["content"].startswith("width=device-width")
    assert "prefers-color-scheme: dark" in made.html


def test_page_is_accessible(made: Made) -> None:
    page = Page(made.html)
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"].strip() for image in page.all("img"))
    charts = [svg for svg in page.all("svg") if svg.get("class") == "chart"]
    assert len(charts) >= 6
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in charts)
    assert all(svg.get("aria-hidden") for svg in page.all("svg") if svg.get("class") != "chart")
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") == tags.count("thead") >= 4
    assert {scope["scope"] for scope in page.all("th")} == {"col", "row"}
    levels = [int(tag[1]) for tag in tags if tag in {"h1", "h2", "h3"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)


def test_numbers_are_those_of_sample_and_evaluate(made: Made) -> None:
    poses = sample(made.adapted, SampleConfig(n=40, seed=0, dtype="float32"))
    expected = evaluate(
        poses,
        made.target,
        shots=made.shots,
        source=tiny.source_poses(),
        seeds=2,
        n_pr=20,
        n_baseline=30,
        n_mmd=60,
    )
    headers, rows = expected.cells()
    tables = [table for table in Page(made.html).tables if table[0][0] == "metric"]
    assert len(tables) == 2  # of the adapted generator and of its source
    found = {row[0].rstrip(" ↓↑≈"): [cell.replace("±", "+-") for cell in row[1:]] for row in tables[0]}
    names = [row[0] for row in rows]
    assert found["metric"] == [names[0], "generator before adaptation", *names[1:]]
    assert len(rows) == 8
    for index, header in enumerate(headers[1:], 1):
        assert [found[header][0], *found[header][2:]] == [row[index] for row in rows], header
    overview = Page(made.html).tables[0]
    assert overview[1][0] == EVIL
    assert [cell.replace("±", "+-") for cell in overview[1][-3:]] == [
        rows[0][headers.index(name)] for name in ("FD", "P", "R")
    ]
    # The source before adaptation is the source run itself: the same noise, the same poses.
    assert found["FD"][1] == tables[1][2][1].replace("±", "+-")


def test_same_seed_same_page(made: Made, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    config = dataclasses.replace(SMALL, tsne=0)
    for path in (tmp_path / "one.html", again):
        report([made.adapted], config, path, shots={"s": made.shots})
    assert again.read_bytes() == (tmp_path / "one.html").read_bytes()
    report([made.adapted], dataclasses.replace(config, seed=1), again, shots={"s": made.shots})
    assert again.read_bytes() != (tmp_path / "one.html").read_bytes()


def test_pictures_are_files_too(made: Made) -> None:
    names = {path.name for path in made.pictures.iterdir()}
    run = "a-script-alert-1-b"
    parts = [
        "precision-recall",
        "triples",
        "gallery-source",
        "gallery-adapted",
        "neighbors",
        "kinematics",
    ]
    assert names >= {f"{run}-{part}.png" for part in [*parts, "nearest-guide-pose"]} | {"tsne.png"}
    for path in made.pictures.iterdir():
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 1, path.name
    with Image.open(made.pictures / f"{run}-triples.png") as image:
        assert image.size == (3 * 17 - 1, 3 * 17 - 1)


def test_triples_share_their_noise(made: Made) -> None:
    evidence = made.evidence[EVIL]
    sampler = load_sampler(made.adapted)
    found = triples(evidence, sampler.drawing, SMALL)
    adapted = sampler.draw(3, 0, dtype=__import__("torch").float32)[1].transpose(0, 2, 3, 1)
    source = load_sampler(made.source).draw(3, 0, dtype=__import__("torch").float32)[1].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found.images[:, 1], adapted)
    np.testing.assert_array_equal(found.images[:, 0], source)
    assert found.labels == ("source", "adapted", "nearest guide pose")
    index, distance = nearest(evidence.drawn.framed[:3], evidence.shots)  # type: ignore[arg-type]
    np.testing.assert_allclose(
        distance,
        nearest_shot_distances(evidence.drawn.framed[:3], evidence.shots),  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(
        found.images[:, 2],
        sampler.drawing.images(evidence.shots[index], layout="nhwc"),  # type: ignore[index]
    )
    assert found.notes[0] == f"noise 1: guide pose {index[0] + 1}, {distance[0]:.3f} away"


def test_shifts_are_towards_the_target(made: Made) -> None:
    evidence = made.evidence[EVIL]
    drawing = load_sampler(made.adapted).drawing
    shift = kinematic_shift(evidence, drawing)
    assert shift is not None
    assert shift.reference == "the target poses"
    bones = bone_ratios(evidence.drawn.framed, drawing.skeleton)
    real = bone_ratios(evidence.target, drawing.skeleton)  # type: ignore[arg-type]
    scipy_stats = pytest.importorskip("scipy.stats")
    assert shift.after.per_bone[0] == pytest.approx(scipy_stats.wasserstein_distance(bones[:, 0], real[:, 0]))
    assert len(shift.bones) == bones.shape[1]
    assert len(shift.angles) == joint_angles(evidence.drawn.framed, drawing.skeleton).shape[1]
    alone = kinematic_shift(dataclasses.replace(evidence, target=None), drawing)
    assert alone is not None
    assert alone.reference == "the guide poses"


def test_angles_have_names_of_their_own() -> None:
    names = angle_names(load_skeleton("body13"))
    assert len(set(names)) == len(names) == 15
    assert "left_elbow: left_wrist" in names


def test_tsne_tells_apart_what_is_apart() -> None:
    rng = np.random.default_rng(0)
    sets = {"a": rng.normal(0, 0.1, (40, 13, 2)), "b": rng.normal(3, 0.1, (50, 13, 2))}
    one, two = (tsne(sets, SMALL) for _ in range(2))
    assert [len(one[name]) for name in sets] == [20, 20]
    np.testing.assert_array_equal(one["a"], two["a"])
    gap = np.linalg.norm(one["a"].mean(0) - one["b"].mean(0))
    assert gap > 2 * max(one[name].std() for name in sets)


def test_without_scikit_learn_the_rest_is_there(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    heard = tiny.Watch()
    report([made.adapted], SMALL, tmp_path / "r.html", target=made.target, progress=heard)
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "scikit-learn is not installed: install the extra [report] of flexpose-pda" in text
    assert any("[report]" in message for message in heard.messages)
    assert "Gallery" in text
    assert f"The guide poses of {EVIL} were not given (--shots)" in text


def test_without_matplotlib_pictures_fail_before_the_work(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"the extra \[report\]"):
        report([made.adapted], SMALL, tmp_path / "r.html", pictures=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_without_target_it_says_so(made: Made, tmp_path: Path) -> None:
    report([made.adapted], dataclasses.replace(SMALL, tsne=0), tmp_path / "r.html", shots={"s": made.shots})
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "No target poses were given (--target)" in page.text
    assert not [table for table in page.tables if table[0][0] == "metric"]
    assert "Mean W1 distance to the guide poses" in page.text


def test_logs_alone_are_a_run(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "train-beta"
    folder.mkdir(parents=True)
    for name in ("stats.jsonl", "config.json"):
        (folder / name).write_bytes((made.source / "train-beta" / name).read_bytes())
    with (folder / "stats.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 99, "lo')  # a run that is writing right now
    report([folder.parent], SMALL, tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "logs alone" in Page(html).text
    records = tiny.stats(made.source / "train-beta" / "stats.jsonl")
    assert f"{records[-1]['held_out_mean_px']:.6g}" in Page(html).text
    (folder / "stats.jsonl").write_text("no json\n{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"stats\.jsonl: record 0: is no JSON"):
        gather_runs([folder.parent])


def test_what_is_missing_or_wrong_is_named(made: Made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such run"):
        report([tmp_path / "nowhere"], SMALL, tmp_path / "r.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UsageError, match="empty: expected a run of adapt, pretrain, train-beta or layer-scan"
    ):
        report([tmp_path / "empty"], SMALL, tmp_path / "r.html")
    with pytest.raises(UsageError, match="runs must be at least one"):
        report([], SMALL, tmp_path / "r.html")
    with pytest.raises(UsageError, match="twice"):
        report([made.source, made.source / "."], SMALL, tmp_path / "r.html")
    with pytest.raises(UsageError, match=r"other\.json: are not the guide poses of any of these runs"):
        report([made.adapted], SMALL, tmp_path / "r.html", shots={"other.json": made.target})
    with pytest.raises(UsageError, match="target must have at least"):
        report([made.adapted], SMALL, tmp_path / "r.html", target=made.target[:3])
    assert not (tmp_path / "r.html").exists()


def test_runs_of_one_name_stay_apart(made: Made, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "run" / "adapt").mkdir(parents=True)
        (tmp_path / name / "run" / "adapt" / "stats.jsonl").write_text('{"step": 1, "loss": 2}\n')
    runs = gather_runs([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert [run.name for run in runs] == [str(tmp_path / name / "run") for name in ("a", "b")]
    for name, old in (("r-1", "a"), ("r 1", "b")):
        (tmp_path / old / "run").rename(tmp_path / name)
    assert [run.slug for run in gather_runs([tmp_path / "r-1", tmp_path / "r 1"])] == ["r-1", "r-1--2"]


def test_a_layer_scan_is_a_run(made: Made, tmp_path: Path) -> None:
    config = make_config(
        LayerScanConfig,
        {"way": "descent", "codes": "matched", "layers": "1;2", "iterations": 1, "seeds": 1, "pool": 64},
    )
    found = layer_scan(made.shots, config, source=made.source, out=tmp_path / "scan")
    report([tmp_path / "scan"], SMALL, tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(html)
    assert outside(html) == []
    for _, headers, rows in found.tables():
        assert [headers, *rows] in page.tables
    for line in found.recommendation():
        assert line in page.text
    (tmp_path / "scan" / "layer-scan.json").write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(DataError, match=r"layer-scan\.json: is no layer scan: expected format"):
        gather_runs([tmp_path / "scan"])


def test_figures_are_of_what_sample_gives(made: Made) -> None:
    """With limits in the adapter samples are brought within them; pictures of the same noise stay."""
    import torch

    sampler = load_sampler(made.adapted)
    assert isinstance(sampler, Sampler)
    whole = draw(sampler, SMALL, torch.float32)
    assert whole.kept.all()
    limits = KinematicLimits.from_reference(whole.framed, sampler.drawing.skeleton, tail=0.02, widen=0.01)
    held = draw(dataclasses.replace(sampler, limits=limits), SMALL, torch.float32)
    bad = limits.violated(whole.framed)
    assert 0 < bad.mean() < 1
    np.testing.assert_array_equal(held.kept, limits.clamped(whole.poses)[1])
    np.testing.assert_array_equal(held.framed[~bad], whole.framed[~bad])
    assert not limits.violated(held.given).any()
    np.testing.assert_array_equal(held.images, whole.images)
    assert len(held.pose_set(sampler.drawing.skeleton)) == held.kept.sum()

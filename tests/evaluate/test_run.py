"""The whole evaluation on small sets whose relation is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from flexpose.errors import ConfigError, UsageError
from flexpose.evaluate import BASELINES, METRICS, EvaluationReport, evaluate
from flexpose.metrics import MMDReference, frechet_distance, mmd2
from flexpose.poses import PoseSet, normalized_poses
from flexpose.runs import Progress
from flexpose.skeleton import load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

BODY = load_skeleton("body13")
SMALL: dict[str, Any] = {"n_pr": 60, "n_baseline": 80, "worth_draws": 2, "threads": 1}
GENERATED, REAL = "generated", "real target, half against half"

# A person upright, in pixels; joints in the order of body13.
HALF = np.array([[18, -55], [26, -25], [28, 0], [11, 0], [12, 42], [13, 82]], dtype=np.float64)
UPRIGHT = np.concatenate([[[0.0, -80.0]], np.stack([HALF, HALF * [-1, 1]], axis=1).reshape(12, 2)])


def people(n: int, seed: int, *, lean: float = 0.0, spread: float = 6.0) -> PoseSet:
    """Upright people with noise, rotated by `lean` radians, somewhere in a picture of 400 x 400."""
    rng = np.random.default_rng(seed)
    points = UPRIGHT + rng.normal(0, spread, (n, 13, 2))
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    points = points @ turn * rng.uniform(0.7, 1.3, (n, 1, 1)) + rng.uniform(180, 220, (n, 1, 2))
    return PoseSet(points, skeleton=BODY, image_size=(400, 400), ids=np.arange(n) + 1)


@pytest.fixture(scope="module")
def target() -> PoseSet:
    return people(400, 0)


@pytest.fixture(scope="module")
def shots(target: PoseSet) -> PoseSet:
    """Every fiftieth target pose, as a file with two decimals gives them back, with ids of its own."""
    some = target[::50]
    return some.replace(keypoints=np.round(some.keypoints, 2), ids=np.arange(len(some)) + 1)


@pytest.fixture(scope="module")
def source() -> PoseSet:
    return people(300, 1, lean=0.5, spread=9.0)


@pytest.fixture(scope="module")
def report(target: PoseSet, shots: PoseSet, source: PoseSet) -> EvaluationReport:
    return evaluate(people(150, 2), target, shots=shots, source=source, **SMALL)


def test_rows_and_columns(report: EvaluationReport) -> None:
    rows = report.rows()
    assert [row.name for row in rows] == [GENERATED, *(baseline.name for baseline in BASELINES), REAL]
    assert [row.kind for row in rows] == ["generated", *["baseline"] * len(BASELINES), "real"]
    assert [row.n for row in rows] == [150, *[80] * len(BASELINES), 196]
    for row in rows:
        assert set(row.values) == {metric.key for metric in METRICS}
        assert all(value.spread is not None and value.spread >= 0 for value in row.values.values())
        for key in ("precision", "recall", "coverage", "implausible", "copies"):
            assert 0 <= row.values[key].mean <= 1
        assert (row.worth_fd is None) == (row.kind == "real") == (row.worth_mmd2 is None)


def test_values_are_those_of_the_metrics(report: EvaluationReport, target: PoseSet, shots: PoseSet) -> None:
    fake = normalized_poses(people(150, 2))
    keep = np.ones(400, np.bool_)
    keep[::50] = False
    real = normalized_poses(target[keep])
    values = report.row(GENERATED).values
    assert values["fd"].mean == pytest.approx(frechet_distance(fake, real), abs=1e-9)
    assert values["mmd2"].mean == pytest.approx(mmd2(fake, real, report.bandwidth), abs=1e-9)
    scales = [mmd2(fake, real, report.bandwidth * scale) for scale in (0.5, 1.0, 2.0)]
    assert values["mmd2_scales"].mean == pytest.approx(np.mean(scales), abs=1e-7)


def test_spread_is_that_of_new_sets(target: PoseSet) -> None:
    reports = [evaluate(people(150, seed), target, **{**SMALL, "seeds": 5}) for seed in range(2, 14)]
    for key in ("fd", "mmd2", "joint_angle_w1", "orientation_w1"):
        found = [report.row(GENERATED).values[key] for report in reports]
        claimed = np.mean([value.spread for value in found])  # type: ignore[misc]
        seen = np.std([value.mean for value in found], ddof=1)
        assert 0.5 < claimed / seen < 2.0


def test_one_bandwidth_for_all_rows(target: PoseSet, shots: PoseSet, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Noted(MMDReference):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            seen.append(self.bandwidth)

    monkeypatch.setattr("flexpose.evaluate.scoring.MMDReference", Noted)
    report = evaluate(people(60, 2), target, shots=shots, **SMALL)
    assert len(seen) == 1 + report.config["seeds"]
    assert set(seen) == {report.bandwidth}


def test_good_poses_are_told_from_bad_ones(report: EvaluationReport) -> None:
    good, bad, real = (report.row(name) for name in (GENERATED, "source as it is", REAL))
    for key in (
        "fd",
        "mmd2",
        "mmd2_scales",
        "bone_ratio_w1",
        "joint_angle_w1",
        "orientation_w1",
        "implausible",
    ):
        assert good.values[key].mean < bad.values[key].mean
    for key in ("precision", "coverage"):
        assert good.values[key].mean > bad.values[key].mean
    assert good.values["fd"].mean < 3 * real.values["fd"].mean + 0.01
    assert bad.values["orientation_w1"].mean == pytest.approx(0.5, abs=0.05)
    assert str(bad.worth_fd) == "<16"
    assert good.worth_fd is not None
    assert good.worth_fd.poses > 32


def test_repeating_the_shots_shows_as_copies(report: EvaluationReport) -> None:
    assert report.row("Pose-mixup of the shots").values["copies"].mean > 0.1
    assert report.row(REAL).values["copies"].mean < 0.05
    assert report.row("Pose-mixup of the shots").values["nearest_shot"].mean < (
        report.row(REAL).values["nearest_shot"].mean
    )


def test_guide_poses_do_not_count_as_target(
    report: EvaluationReport, target: PoseSet, shots: PoseSet
) -> None:
    assert report.counts["target_same_as_shots"] == 8
    assert any("8 target poses equal one of the 8 guide poses" in note for note in report.notes)
    kept = evaluate(people(60, 2), target, shots=shots, exclude_shots=False, baselines=False, **SMALL)
    assert "target_same_as_shots" not in kept.counts
    assert [row.kind for row in kept.rows()] == ["generated", "real"]


def test_without_source_only_what_needs_none(target: PoseSet, shots: PoseSet) -> None:
    names = [row.name for row in evaluate(people(60, 2), target, shots=shots, **SMALL).rows()]
    assert names == [GENERATED, *(b.name for b in BASELINES if not b.needs_source), REAL]


def test_without_shots_no_baseline_and_no_distance_to_them(target: PoseSet, source: PoseSet) -> None:
    found = evaluate(people(60, 2), target, source=source, **SMALL)
    assert [row.name for row in found.rows()] == [GENERATED, REAL]
    assert not {"nearest_shot", "copies"} & set(found.row(GENERATED).values)
    assert "copies, %" not in found.to_markdown()


def test_same_whatever_the_threads(target: PoseSet, shots: PoseSet) -> None:
    one, two = (
        evaluate(people(60, 2), target, shots=shots, **{**SMALL, "threads": threads}).to_dict()
        for threads in (1, 3)
    )
    assert one["rows"] == two["rows"]


def test_added_row_is_measured_as_the_generated_one(target: PoseSet) -> None:
    report = evaluate(people(60, 2), target, **SMALL)
    # Frame coordinates of any scale are framed again.
    added = report.add_row("the same", normalized_poses(people(60, 2)) * 0.8 + 0.1)
    assert added.kind == "added"
    assert report.rows()[-1] is added
    for key, value in report.row(GENERATED).values.items():
        assert added.values[key].mean == pytest.approx(value.mean, abs=1e-5)
        assert added.values[key].spread == pytest.approx(value.spread, abs=1e-5)
    with pytest.raises(UsageError, match="name must be new, 'the same' is taken"):
        report.add_row("the same", normalized_poses(people(60, 2)))
    with pytest.raises(UsageError, match=r"normalized must be \[N, 13, 2\]"):
        report.add_row("other", np.zeros((60, 12, 2)))
    with pytest.raises(UsageError, match="normalized must have at least 12 poses, got 11"):
        report.add_row("other", normalized_poses(people(11, 2)))
    with pytest.raises(KeyError):
        report.row("other")


def test_other_skeleton_is_carried_over(target: PoseSet) -> None:
    coco = load_skeleton("coco17")
    rows = [coco.names.index(name) for name in BODY.names]
    points: NDArray[np.float64] = np.zeros((400, 17, 2))
    points[:, rows] = target.keypoints
    points[:, [i for i in range(17) if i not in rows]] = target.keypoints[:, :1]
    wide = PoseSet(points, skeleton=coco, image_size=(400, 400))
    assert (
        evaluate(people(60, 2), wide, **SMALL).to_dict()["rows"]
        == evaluate(people(60, 2), target, **SMALL).to_dict()["rows"]
    )


def test_incomplete_poses_are_left_out_and_counted(target: PoseSet) -> None:
    visibility = target.visibility.copy()
    visibility[:30, 5] = 0
    some = target.replace(visibility=visibility)
    found = evaluate(people(60, 2), some, **SMALL)
    assert found.counts["target"] == 370
    assert found.counts["target_incomplete"] == 30
    assert "30 target poses miss a keypoint and are left out." in found.notes
    assert found.to_dict()["rows"] == evaluate(people(60, 2), target[30:], **SMALL).to_dict()["rows"]


@pytest.mark.parametrize("frame", ["keep", "root"])
def test_other_frames(frame: str, target: PoseSet, shots: PoseSet, source: PoseSet) -> None:
    found = evaluate(people(60, 2), target, shots=shots, source=source, frame=frame, **SMALL)
    fake, real = (normalized_poses(poses, frame, 0.1) for poses in (people(60, 2), target))  # type: ignore[arg-type]
    keep = np.ones(400, np.bool_)
    keep[::50] = False
    assert found.row(GENERATED).values["fd"].mean == pytest.approx(frechet_distance(fake, real[keep]))
    assert found.row("source as it is").values["fd"].mean > found.row(GENERATED).values["fd"].mean


def test_small_target_has_no_curve(target: PoseSet) -> None:
    found = evaluate(people(20, 2), target[:31], **SMALL)
    assert found.curve is None
    assert found.row(GENERATED).worth_fd is None
    assert "worth by FD" not in found.cells()[0]
    assert found.to_dict()["worth_curve"] is None


def test_one_repeat_has_no_spread(target: PoseSet, shots: PoseSet) -> None:
    found = evaluate(people(60, 2), target, shots=shots, seeds=1, **SMALL)
    assert all(value.spread is None for row in found.rows() for value in row.values.values())
    assert "+-" not in "".join(found.cells()[1][0])


def test_json_and_markdown(report: EvaluationReport) -> None:
    data = json.loads(report.to_json())
    assert data["format"] == "flexpose evaluation 1"
    assert data["config"]["n_pr"] == 60
    assert data["rows"][0]["values"]["fd"]["mean"] == report.row(GENERATED).values["fd"].mean
    assert data["rows"][0]["worth_fd"]["bound"] in {"", "<", ">"}
    assert set(data["details"]) == {"joint_fd", "bone_ratio_w1", "joint_angle_w1"}
    assert list(data["details"]["joint_fd"]) == list(BODY.names)
    assert len(data["details"]["bone_ratio_w1"]) == len(BODY.bones)
    assert np.mean(list(data["details"]["joint_angle_w1"].values())) == pytest.approx(
        data["rows"][0]["values"]["joint_angle_w1"]["mean"]
    )
    assert "flexpose-pda" in data["versions"]
    headers, table = report.cells()
    text = report.to_markdown()
    lines = text.splitlines()
    assert lines[2] == "| " + " | ".join(headers) + " |"
    assert lines[4 : 4 + len(table)] == ["| " + " | ".join(line) + " |" for line in table]
    assert all(len(line) == len(headers) for line in table)
    degrees = report.row(GENERATED).values["joint_angle_w1"].mean * 180 / np.pi
    assert table[0][headers.index("angle W1, deg")].startswith(f"{degrees:.2f} +- ")
    for source in ("1706.08500", "1904.06991", "2002.09797", "Gretton"):
        assert source in text


def test_progress_hears_of_every_row(target: PoseSet, shots: PoseSet) -> None:
    class Heard(Progress):
        def __init__(self) -> None:
            self.total, self.done = 0, [0]

        def start(self, what: str, total: int) -> None:
            self.total = total

        def advance(self, done: int, **figures: float) -> None:
            assert set(figures) == {"fd"}
            self.done.append(done)

    heard = Heard()
    report = evaluate(people(60, 2), target, shots=shots, progress=heard, **SMALL)
    assert heard.done == list(range(heard.total + 1))
    assert heard.total == len(report.rows())


def test_wrong_arguments_are_named(target: PoseSet, shots: PoseSet) -> None:
    with pytest.raises(ConfigError, match="draws: unknown key"):
        evaluate(people(60, 2), target, draws=3)
    with pytest.raises(UsageError, match="generated must have at least 12 complete poses, got 5"):
        evaluate(people(5, 2), target)
    with pytest.raises(UsageError, match="target must have at least 12 complete poses, got 8"):
        evaluate(people(60, 2), shots)
    with pytest.raises(UsageError, match="shots must have at least 2 complete poses, got 1"):
        evaluate(people(60, 2), target, shots=shots[:1])
    with pytest.raises(UsageError, match="at least 12 poses that are no guide poses, got 5"):
        evaluate(people(60, 2), target[:15], shots=target[:10])

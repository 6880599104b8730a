"""Where a step stands in the schedule: phase, resolution, fade, shares."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flexpose.pretrain import PretrainConfig
from flexpose.pretrain.schedule import Schedule


def schedule(**changes: Any) -> Schedule:
    """Steps: flow 0 to 3, mapping 4 to 6, drawing 7 to 16 and 17 to 21, game 22 to 41 and 42 to 51."""
    values: dict[str, Any] = {
        "size_px": 32,
        "batch": 10,
        "pose_layers": 2,
        "flow_steps": 4,
        "mapping_steps": 3,
        "lessons": ((8, 0.1), (32, 0.05)),
        "stages": ((16, 0.2), (32, 0.1)),
        "fade_kimg": 0.05,
    }
    return Schedule(PretrainConfig(**(values | changes)))


def test_parts_follow_each_other() -> None:
    plan = schedule()
    assert plan.steps == 4 + 3 + 10 + 5 + 20 + 10
    moments = [plan.at(step) for step in range(plan.steps)]
    assert [m.phase for m in moments] == ["flow"] * 4 + ["mapping"] * 3 + ["drawing"] * 15 + ["game"] * 30
    assert [m.resolution for m in moments] == [0] * 7 + [8] * 10 + [32] * 5 + [16] * 20 + [32] * 10
    counts = [4, 3, 10, 5, 20, 10]
    assert [m.since for m in moments] == [since for count in counts for since in range(count)]
    assert {name: plan.begin(name) for name in ("flow", "mapping", "drawing", "game")} == {
        "flow": 0,
        "mapping": 4,
        "drawing": 7,
        "game": 22,
    }


def test_only_a_grown_stage_of_the_game_fades_in() -> None:
    plan = schedule()
    fades = [plan.at(step).fade for step in range(plan.steps)]
    assert fades[:42] == [1.0] * 42
    assert fades[42:] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_no_fade() -> None:
    plan = schedule(fade_kimg=0.0)
    assert {plan.at(step).fade for step in range(plan.steps)} == {1.0}


def test_a_fade_longer_than_its_stage() -> None:
    plan = schedule(fade_kimg=0.2)
    assert [plan.at(step).fade for step in (42, 51)] == pytest.approx([0.05, 0.5])


def test_without_lessons_the_game_begins_at_once() -> None:
    plan = schedule(lessons=())
    assert (plan.begin("game"), plan.steps) == (0, 30)
    assert plan.at(0) == ("game", 0, 16, 1.0)
    assert plan.at(20) == ("game", 0, 32, pytest.approx(0.2))
    assert plan.begin("flow") == plan.begin("mapping") == plan.begin("drawing") == 30
    assert [plan.pictures(steps) for steps in (0, 1, 30)] == [0, 10, 300]


def test_lessons_alone() -> None:
    plan = schedule(stages=())
    assert plan.steps == 22
    assert plan.at(21) == ("drawing", 4, 32, 1.0)
    assert plan.begin("game") == 22, "the end of the training"
    assert plan.drawing_share(7) == 1.0


def test_pictures_are_counted_where_some_are_drawn() -> None:
    plan = schedule()
    assert plan.first_picture == 7
    assert [plan.pictures(steps) for steps in (0, 6, 7, 8, 22, 52)] == [0, 0, 0, 10, 150, 450]
    assert plan.pictures(plan.steps) == pytest.approx(plan.config.total_kimg * 1000)


@pytest.mark.parametrize(("kimg", "steps"), [(0.1, 10), (0.101, 11), (0.001, 1), (0.0999, 10)])
def test_a_part_is_never_cut_short(kimg: float, steps: int) -> None:
    assert schedule(lessons=(), stages=((32, kimg),)).steps == steps
    assert schedule(lessons=((32, kimg),), stages=()).steps == 7 + steps


def test_share_of_the_drawing_lessons_is_one_cosine_over_all_of_them() -> None:
    plan = schedule(lessons=((8, 6.0), (32, 4.0)))
    begin = plan.begin("drawing")
    assert plan.begin("game") - begin == 1000
    shares = [plan.drawing_share(begin + i) for i in range(1000)]
    assert shares[0] == 1
    assert shares[500] == pytest.approx(0.5)
    assert shares[250] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert shares[999] == pytest.approx((math.pi / 1000) ** 2 / 4, rel=1e-3), "a parabola at the end"
    assert shares == sorted(shares, reverse=True)


def test_the_judge_learns_alone_at_the_beginning_of_the_game() -> None:
    plan = schedule(judge_first_kimg=0.035)
    assert [plan.judge_alone(step) for step in range(22, 28)] == [True] * 4 + [False] * 2
    assert not schedule(judge_first_kimg=0.0).judge_alone(22)

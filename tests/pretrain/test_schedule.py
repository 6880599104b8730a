"""Where a step stands in the schedule: stage, fade, rates."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flexpose.pretrain import PretrainConfig
from flexpose.pretrain.loop import _Schedule


def schedule(**changes: Any) -> _Schedule:
    values: dict[str, Any] = {
        "size_px": 32,
        "batch": 10,
        "warmup": ((8, 0.1), (16, 0.05)),
        "stages": ((16, 0.2), (32, 0.1)),
        "fade_kimg": 0.05,
    }
    return _Schedule(PretrainConfig(**(values | changes)))


def test_stages_follow_each_other() -> None:
    plan = schedule()
    assert plan.steps == 10 + 5 + 20 + 10
    assert plan.game == 15
    sides = [plan.at(step)[0] for step in range(plan.steps)]
    assert sides == [8] * 10 + [16] * 5 + [16] * 20 + [32] * 10


def test_only_a_grown_stage_of_the_game_fades_in() -> None:
    plan = schedule()
    fades = [plan.at(step)[1] for step in range(plan.steps)]
    assert fades[:35] == [1.0] * 35
    assert fades[35:] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_no_fade() -> None:
    plan = schedule(fade_kimg=0.0)
    assert {plan.at(step)[1] for step in range(plan.steps)} == {1.0}


def test_a_fade_longer_than_its_stage() -> None:
    plan = schedule(fade_kimg=0.2)
    assert [plan.at(step)[1] for step in (35, 44)] == pytest.approx([0.05, 0.5])


def test_without_lessons_the_game_begins_at_once() -> None:
    plan = schedule(warmup=())
    assert (plan.game, plan.steps) == (0, 30)
    assert plan.at(0) == (16, 1.0)
    assert plan.at(20) == (32, pytest.approx(0.2))


@pytest.mark.parametrize(("kimg", "steps"), [(0.1, 10), (0.101, 11), (0.001, 1), (0.0999, 10)])
def test_a_stage_is_never_cut_short(kimg: float, steps: int) -> None:
    assert schedule(warmup=(), stages=((32, kimg),)).steps == steps


def test_rate_of_the_lessons() -> None:
    plan = schedule(warmup=((8, 10.0),), warmup_lr=0.06, lr=0.002)
    assert plan.game == 1000
    rates = [plan.warmup_lr(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.06 / 100, rel=1e-4)
    assert rates[49] == pytest.approx(0.5 * 0.06, rel=0.02)
    assert rates[500] == pytest.approx((0.06 + 0.002) / 2)
    assert rates[999] == pytest.approx(0.002, rel=1e-3)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    share = 0.5 + 0.5 * math.cos(math.pi * 0.25)
    assert rates[250] == pytest.approx(0.002 + 0.058 * share)


def test_the_judge_learns_alone_at_the_beginning_of_the_game() -> None:
    plan = schedule(judge_first_kimg=0.035)
    assert [plan.judge_alone(step) for step in range(15, 21)] == [True] * 4 + [False] * 2
    assert not schedule(judge_first_kimg=0.0).judge_alone(15)
